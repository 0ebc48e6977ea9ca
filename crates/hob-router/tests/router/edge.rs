//! What the router does by itself: orders to hold back or to answer, limits of clients, shares between releases, and
//! handing over to another router.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use hob_core::Clock;
use hob_router::{Doors, Limits, Router, Stop};
use hob_wire::{RouteLimit, Shield, ShieldKind};
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

use crate::harness::{Core, Server, World, ask, client, config, eventually, reply, request, snapshot, text};

async fn plain() -> Server {
    Server::start(|_| reply(text("ok"))).await
}

fn shield(kind: ShieldKind) -> Shield {
    Shield {
        id: "one".to_owned(),
        service: Some("orders".parse().unwrap()),
        environment: None,
        tenant: None,
        path: Some("/slow".to_owned()),
        kind,
        since: Clock::system().now(),
        by: "a test".to_owned(),
    }
}

#[tokio::test]
async fn what_is_held_back_goes_on_when_the_order_is_lifted() {
    let instance = plain().await;
    let world = World::start(&[instance.address], Limits::default()).await;
    world.core.route(|s| s.shields = vec![shield(ShieldKind::Hold { max_ms: 15_000 })]).await;
    let url = world.url("/slow/1");
    let held = tokio::spawn(async move { ask(&client(), request("GET", &url, "")).await });
    let is_held = |report: &hob_wire::RouterReport| report.held.get("orders.qa.uk") == Some(&1);
    world.core.hears("it is held", is_held).await;
    assert_eq!(ask(&client(), request("GET", &world.url("/other"), "")).await.0, StatusCode::OK);
    world.core.route(|snapshot| snapshot.shields.clear()).await;
    assert_eq!(held.await.unwrap(), (StatusCode::OK, "ok".to_owned()));
}

#[tokio::test]
async fn what_is_held_back_too_long_is_told_so() {
    let instance = plain().await;
    let world = World::start(&[instance.address], Limits { held_max: 1, ..Limits::default() }).await;
    world.core.route(|s| s.shields = vec![shield(ShieldKind::Hold { max_ms: 300 })]).await;
    let (status, body) = ask(&client(), request("GET", &world.url("/slow"), "")).await;
    assert_eq!(status, StatusCode::GATEWAY_TIMEOUT);
    assert!(body.contains("HOB-0113"), "{body}");
    let is_counted = |report: &hob_wire::RouterReport| report.limited.iter().any(|l| l.reason == "hold");
    world.core.hears("it is counted", is_counted).await;
}

#[tokio::test]
async fn maintenance_is_a_page_for_people_and_a_document_for_programs() {
    let instance = plain().await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let kind = ShieldKind::Maintenance { message: "back at noon".to_owned(), retry_after: 120 };
    world.core.route(|snapshot| snapshot.shields = vec![shield(kind)]).await;
    let mut asked = request("GET", &world.url("/slow"), "");
    asked.headers_mut().insert("accept", "text/html,*/*".parse().unwrap());
    let answer = client().request(asked).await.unwrap();
    assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
    assert_eq!(answer.headers()["retry-after"], "120");
    let (_, body) = ask(&client(), request("GET", &world.url("/slow"), "")).await;
    assert!(body.contains("HOB-0114") && body.contains("back at noon"), "{body}");
}

#[tokio::test]
async fn a_client_that_asks_too_often_is_told_when_to_come_back() {
    let instance = plain().await;
    let world = World::start(&[instance.address], Limits::default()).await;
    world.core.route(|s| s.routes[0].limit = Some(RouteLimit { per_second: 0.1, burst: 3 })).await;
    let client = client();
    for _ in 0..3 {
        assert_eq!(ask(&client, request("GET", &world.url("/"), "")).await.0, StatusCode::OK);
    }
    let answer = client.request(request("GET", &world.url("/"), "")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.headers()["retry-after"], "10");
    assert_eq!(answer.headers()["ratelimit-policy"], "\"client\";q=3;w=30");
    // A new snapshot with the same limit forgets nothing.
    world.core.route(|_| ()).await;
    assert_eq!(ask(&client, request("GET", &world.url("/"), "")).await.0, StatusCode::TOO_MANY_REQUESTS);
    let is_counted = |report: &hob_wire::RouterReport| report.limited.iter().any(|l| l.reason == "rate");
    world.core.hears("it is counted", is_counted).await;
}

#[tokio::test]
async fn one_client_has_so_many_connections() {
    let instance = plain().await;
    let limits = Limits { client_connections_max: 2, ..Limits::default() };
    let world = World::start(&[instance.address], limits).await;
    let _one = TcpStream::connect(world.router).await.unwrap();
    let _two = TcpStream::connect(world.router).await.unwrap();
    world.core.hears("two are open", |report| report.connections == 2).await;
    let mut three = TcpStream::connect(world.router).await.unwrap();
    assert!(three.read_u8().await.is_err(), "the third is closed");
}

/// Routers follow each other behind one door while clients ask without a pause, each on a kept connection; not one
/// request may fail.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn routers_follow_each_other_and_no_request_is_lost() {
    const ROUTERS: usize = 4;
    let instance = plain().await;
    let core = Core::start(snapshot(1, &[instance.address])).await;
    let door = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    door.set_nonblocking(true).unwrap();
    let address = door.local_addr().unwrap();
    let start = |(ready, hand_over): (oneshot::Sender<()>, oneshot::Receiver<()>)| {
        let plain = tokio::net::TcpListener::from_std(door.try_clone().unwrap()).unwrap();
        let fast = Duration::from_millis(100);
        let limits = Limits { fresh: Duration::from_secs(10), spread: fast, ..Limits::default() };
        let router = Router::behind(config(core.address, limits), Doors { plain, secure: None }).unwrap();
        let stop = async move {
            _ = hand_over.await;
            Stop::HandOver
        };
        tokio::spawn(router.run_until(move || _ = ready.send(()), stop))
    };
    let (is_over, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let (is_over, answered) = (Arc::clone(&is_over), Arc::clone(&answered));
        clients.spawn(async move {
            let client = client();
            while !is_over.load(Ordering::Relaxed) {
                let (status, _) = ask(&client, request("GET", &format!("http://{address}/"), "")).await;
                assert_eq!(status, StatusCode::OK);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let mut running = Vec::new();
    let mut before: Option<oneshot::Sender<()>> = None;
    for _ in 0..ROUTERS {
        let (ready, is_ready) = oneshot::channel();
        let (hand_over, told) = oneshot::channel();
        running.push(start((ready, told)));
        is_ready.await.unwrap();
        before.replace(hand_over).into_iter().for_each(|before| _ = before.send(()));
        let from = answered.load(Ordering::Relaxed);
        let more = || async { (answered.load(Ordering::Relaxed) > from + 100).then_some(()) };
        eventually("requests between two routers", more).await;
    }
    for router in running.drain(..ROUTERS - 1) {
        tokio::time::timeout(crate::harness::PATIENCE, router).await.expect("it ends").unwrap();
    }
    is_over.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), b'H');
}
