//! The terms of a route and of a pool: how long an answer may take, how often requests are sent again, how long they wait for a
//! pool at zero, whom a request comes from, how large a body may be.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hob_router::Limits;
use hob_wire::{Retry, RouteLimit, RouterReport};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::io::AsyncReadExt;

use crate::harness::{Server, World, ask, client, pool, raw_server, reply, request, set, text};

#[tokio::test]
async fn an_answer_has_the_time_that_its_route_gives_it() {
    let silent = Server::start(|_| Box::pin(std::future::pending())).await;
    let world = World::start(&[silent.address], Limits::default()).await;
    world.core.route(|snapshot| snapshot.routes[0].timeout_ms = Some(100)).await;
    for method in ["GET", "POST"] {
        let (status, body) = ask(&client(), request(method, &world.url("/"), "")).await;
        assert_eq!(status, StatusCode::GATEWAY_TIMEOUT, "{body}");
        assert!(body.contains("did not begin to answer in time"), "{body}");
    }
}

#[tokio::test]
async fn requests_are_sent_again_within_a_budget() {
    let asked = Arc::new(AtomicUsize::new(0));
    let mut instances = Vec::new();
    for _ in 0..2 {
        let asked = Arc::clone(&asked);
        let dying = raw_server(move |mut stream| {
            let asked = Arc::clone(&asked);
            async move {
                let mut bytes = [0; 1024];
                let read = stream.read(&mut bytes).await;
                asked.fetch_add(usize::from(read.is_ok_and(|read| read > 0)), Ordering::SeqCst);
            }
        });
        instances.push(dying.await);
    }
    let world = World::start(&instances, Limits { attempts_max: 2, ..Limits::default() }).await;
    let no_budget = Retry { budget_percent: 0.0, ..Retry::default() };
    world.core.route(|snapshot| snapshot.routes[0].retry = no_budget).await;
    let client = client();
    for _ in 0..600 {
        let (status, _) = ask(&client, request("GET", &world.url("/"), "")).await;
        assert_eq!(status, StatusCode::BAD_GATEWAY);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 600 + 500, "what was saved up at first, and no more");
}

#[tokio::test]
async fn a_request_to_a_pool_at_zero_waits_as_long_as_the_pool_says() {
    let instance = Server::start(|_| reply(text("awake"))).await;
    let limits = Limits { hold: Duration::from_millis(50), ..Limits::default() };
    let world = World::start(&[], limits).await;
    world
        .core
        .route(|snapshot| {
            let mut empty = pool(&[]);
            empty.idle_hold_ms = Some(15_000);
            snapshot.pools = [("orders.qa.uk".to_owned(), empty)].into();
        })
        .await;
    let url = world.url("/");
    let waiting = tokio::spawn(async move { ask(&client(), request("POST", &url, "")).await });
    let is_held = |report: &RouterReport| report.held.get("orders.qa.uk") == Some(&1);
    let first = world.core.hears("it is held", is_held).await;
    // Reports are a second apart: the router's own time has long passed.
    world.core.hears("it is held still", |report| is_held(report) && report.from > first.to).await;
    world.core.route(|snapshot| set(snapshot, &[instance.address])).await;
    assert_eq!(waiting.await.unwrap(), (StatusCode::OK, "awake".to_owned()));
}

#[tokio::test]
async fn a_trusted_proxy_says_whom_a_request_comes_from_and_others_do_not() {
    let instance = Server::start(|_| reply(text("ok"))).await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let limit = Some(RouteLimit { per_second: 0.01, burst: 1 });
    let ask_as = async |address: &str| {
        let mut asked = request("GET", &world.url("/"), "");
        asked.headers_mut().insert("x-forwarded-for", address.parse().unwrap());
        ask(&client(), asked).await.0
    };
    world
        .core
        .route(|snapshot| {
            snapshot.routes[0].limit = limit;
            snapshot.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
        })
        .await;
    assert_eq!(ask_as("9.9.9.1").await, StatusCode::OK);
    assert_eq!(ask_as("9.9.9.1").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(ask_as("9.9.9.2, 127.0.0.5").await, StatusCode::OK, "another client behind two proxies");
    let is_of_client = |record: &hob_wire::RecordIn| {
        record.access.as_ref().is_some_and(|access| access.client == "9.9.9.2" && access.status == 200)
    };
    world.core.record("a record of the client", is_of_client).await;
    world.core.route(|snapshot| snapshot.trusted_proxies.clear()).await;
    assert_eq!(ask_as("9.9.9.3").await, StatusCode::OK, "the first of 127.0.0.1");
    assert_eq!(ask_as("9.9.9.4").await, StatusCode::TOO_MANY_REQUESTS, "anybody may write a header");
}

#[tokio::test]
async fn a_body_of_unannounced_length_is_cut_off_where_it_is_too_large() {
    let whole = Arc::new(AtomicUsize::new(0));
    let of_whole = Arc::clone(&whole);
    let instance = Server::start(move |request| {
        let whole = Arc::clone(&of_whole);
        Box::pin(async move {
            if request.into_body().collect().await.is_ok() {
                whole.fetch_add(1, Ordering::SeqCst);
            }
            text("took it")
        })
    })
    .await;
    let world = World::start(&[instance.address], Limits { body_bytes_max: 1000, ..Limits::default() }).await;
    let send = async |chunks: usize| {
        let mut bytes =
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
        for _ in 0..chunks {
            bytes.extend_from_slice(b"64\r\n");
            bytes.extend_from_slice(&[b'x'; 100]);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes.extend_from_slice(b"0\r\n\r\n");
        world.raw(&bytes).await
    };
    let answer = send(10).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let answer = send(11).await;
    assert!(answer.starts_with("HTTP/1.1 413") && answer.contains("HOB-0116"), "{answer}");
    assert_eq!(whole.load(Ordering::SeqCst), 1, "the instance does not take the beginning for the whole");
    let is_counted = |report: &RouterReport| report.limited.iter().any(|limited| limited.reason == "body");
    world.core.hears("it is counted", is_counted).await;
}
