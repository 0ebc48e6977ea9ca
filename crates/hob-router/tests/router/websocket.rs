//! Websockets pass, end with their instance, and nothing else is upgraded.

use std::time::Duration;

use hob_router::Limits;
use http::{Response, StatusCode};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::{PATIENCE, Server, World, name, set, text};

/// An instance that agrees to websockets and sends every byte back.
async fn echo() -> Server {
    Server::start(|mut request| {
        Box::pin(async move {
            if request.uri().path() == "/refused" {
                let mut response = text("no");
                *response.status_mut() = StatusCode::FORBIDDEN;
                return response;
            }
            assert_eq!(request.headers()["upgrade"], "websocket");
            assert_eq!(request.headers()["sec-websocket-key"], "abc");
            let upgrade = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let stream = TokioIo::new(upgrade.await.unwrap());
                let (mut read, mut write) = tokio::io::split(stream);
                _ = tokio::io::copy(&mut read, &mut write).await;
            });
            let response = Response::builder()
                .status(101)
                .header("connection", "upgrade")
                .header("upgrade", "websocket");
            response.body(http_body_util::Empty::new().boxed()).unwrap()
        })
    })
    .await
}

async fn knock(world: &World, path: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(world.router).await.unwrap();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: abc\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(tokio::time::timeout(PATIENCE, stream.read_u8()).await.unwrap().unwrap());
    }
    (stream, String::from_utf8(answer).unwrap().to_lowercase())
}

#[tokio::test]
async fn bytes_pass_both_ways_until_the_instance_has_left() {
    let instance = echo().await;
    let limits = Limits { linger: Duration::from_millis(50), ..Limits::default() };
    let world = World::start(&[instance.address], limits).await;
    let (mut stream, answer) = knock(&world, "/live").await;
    assert!(answer.starts_with("http/1.1 101 ") && answer.contains("upgrade: websocket"), "{answer}");
    for message in ["hello", "again"] {
        stream.write_all(message.as_bytes()).await.unwrap();
        let mut back = [0; 5];
        stream.read_exact(&mut back).await.unwrap();
        assert_eq!(&back, message.as_bytes());
    }
    world.core.hears("it is in flight", |report| report.instances.iter().any(|i| i.in_flight == 1)).await;
    let generation = world.core.route(|snapshot| set(snapshot, &[])).await;
    let end = tokio::time::timeout(PATIENCE, stream.read_u8()).await.expect("it ends");
    assert!(end.is_err());
    let is_empty = |report: &hob_wire::RouterReport| {
        let instance = name(instance.address);
        report.generation == generation
            && report.instances.iter().any(|i| i.instance == instance && i.in_flight == 0)
    };
    world.core.hears("nothing in flight", is_empty).await;
}

#[tokio::test]
async fn a_refused_upgrade_is_an_answer_like_any_other() {
    let instance = echo().await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let (mut stream, answer) = knock(&world, "/refused").await;
    assert!(answer.starts_with("http/1.1 403 "), "{answer}");
    let mut body = [0; 2];
    stream.read_exact(&mut body).await.unwrap();
    assert_eq!(&body, b"no");
}
