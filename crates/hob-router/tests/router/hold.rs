//! Requests that wait for an instance.

use std::time::Duration;

use hob_router::Limits;

use crate::harness::{Server, World, ask, client, name, reply, request, set, text};

#[tokio::test]
async fn a_request_waits_for_the_next_instance_and_is_told_of() {
    let first = Server::start(|_| reply(text("first"))).await;
    let second = Server::start(|_| reply(text("second"))).await;
    let world = World::start(&[first.address], Limits::default()).await;
    world.core.route(|snapshot| set(snapshot, &[])).await;
    let (url, client) = (world.url("/"), client());
    let waiting = tokio::spawn(async move { ask(&client, request("POST", &url, "order")).await });
    let held = |report: &hob_wire::RouterReport| report.instances.iter().any(|i| i.held == 1);
    let report = world.core.hears("a request held", held).await;
    assert!(report.instances.iter().any(|i| i.instance == name(first.address) && i.held == 1));
    world.core.route(|snapshot| set(snapshot, &[second.address])).await;
    let (status, body) = waiting.await.unwrap();
    assert_eq!((status.as_u16(), body.as_str()), (200, "second"));
}

#[tokio::test]
async fn a_request_waits_for_the_only_instance_to_start_again() {
    let first = Server::start(|_| reply(text("first"))).await;
    let world = World::start(&[first.address], Limits::default()).await;
    let (url, client) = (world.url("/"), client());
    assert_eq!(ask(&client, request("GET", &url, "")).await.1, "first");
    first.kill();
    let address = first.address;
    crate::harness::eventually("the end of the first", || async {
        tokio::net::TcpStream::connect(address).await.is_err().then_some(())
    })
    .await;
    let waiting: Vec<_> = ["GET", "POST"]
        .into_iter()
        .map(|method| {
            let (url, client) = (url.clone(), client.clone());
            tokio::spawn(async move { ask(&client, request(method, &url, "")).await })
        })
        .collect();
    let held = |report: &hob_wire::RouterReport| report.instances.iter().any(|i| i.held > 0);
    world.core.hears("requests held", held).await;
    let _second = Server::start_at(address, |_| reply(text("again"))).await;
    for waiting in waiting {
        let (status, body) = waiting.await.unwrap();
        assert_eq!((status.as_u16(), body.as_str()), (200, "again"));
    }
}

#[tokio::test]
async fn waiting_is_bounded_in_time_and_number() {
    let world =
        World::start(&[], Limits { hold: Duration::from_millis(300), held_max: 1, ..Limits::default() })
            .await;
    let (url, client) = (world.url("/"), client());
    let asks = (0..2).map(|_| {
        let (url, client) = (url.clone(), client.clone());
        tokio::spawn(async move {
            let response = client.request(request("GET", &url, "")).await.unwrap();
            assert_eq!(response.headers()["retry-after"], "1");
            let status = response.status().as_u16();
            let body = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
            (status, String::from_utf8(body.to_vec()).unwrap())
        })
    });
    let answers = futures_util::future::join_all(asks).await;
    let answers: Vec<(u16, String)> = answers.into_iter().map(Result::unwrap).collect();
    assert!(answers.iter().all(|(status, body)| *status == 503 && body.contains("HOB-0061")), "{answers:?}");
    assert_eq!(answers.iter().filter(|(_, body)| body.contains("too many requests wait")).count(), 1);
    assert_eq!(answers.iter().filter(|(_, body)| body.contains("none came within 300ms")).count(), 1);
}
