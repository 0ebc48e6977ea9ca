//! Bodies pass as they come, both ways, whatever their length.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hob_router::Limits;
use http::{Request, Response};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use crate::harness::{Body, PATIENCE, Server, SyncBody, World, eventually, name, raw_server, set, text};

/// A body that a test feeds by hand.
fn fed() -> (mpsc::Sender<Bytes>, Body) {
    let (feed, fed) = mpsc::channel(1);
    let frames = futures_util::stream::unfold(fed, |mut fed: mpsc::Receiver<Bytes>| async move {
        fed.recv().await.map(|bytes| (Ok(Frame::data(bytes)), fed))
    });
    (feed, BodyExt::boxed(SyncBody(Mutex::new(StreamBody::new(frames.boxed())))))
}

#[tokio::test]
async fn events_arrive_one_by_one_and_the_stream_ends_after_its_instance_left() {
    let (feed, body) = fed();
    let body = Mutex::new(Some(body));
    let instance = Server::start(move |_| {
        let mut response = Response::new(body.lock().unwrap().take().unwrap());
        response.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
        crate::harness::reply(response)
    })
    .await;
    let limits = Limits { linger: Duration::from_millis(50), ..Limits::default() };
    let world = World::start(&[instance.address], limits).await;
    let response =
        crate::harness::client().request(crate::harness::request("GET", &world.url("/"), "")).await.unwrap();
    let mut events = response.into_body();
    for number in 0..3 {
        let event = Bytes::from(format!("data: {number}\n\n"));
        feed.send(event.clone()).await.unwrap();
        let frame = tokio::time::timeout(PATIENCE, events.frame()).await.unwrap().unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    let in_flight = |count: u64| {
        let name = name(instance.address);
        move |report: &hob_wire::RouterReport| {
            report.instances.iter().any(|i| i.instance == name && i.in_flight == count)
        }
    };
    world.core.hears("the stream in flight", in_flight(1)).await;
    world.core.route(|snapshot| set(snapshot, &[])).await;
    let end = tokio::time::timeout(PATIENCE, events.frame()).await.unwrap();
    assert!(end.is_none(), "the stream ends as if the instance had ended it");
    let generation = world.core.says.borrow().generation;
    let is_empty = in_flight(0);
    world.core.hears("nothing in flight", |report| report.generation == generation && is_empty(report)).await;
}

#[tokio::test]
async fn a_large_body_passes_both_ways_at_once() {
    const CHUNK: usize = 64 * 1024;
    const CHUNKS: usize = 1024;
    let instance = Server::start(|request| {
        Box::pin(async move { Response::new(request.into_body().map_err(|_| unreachable!()).boxed()) })
    })
    .await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let frames = futures_util::stream::iter(0..CHUNKS)
        .map(|number| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(vec![number as u8; CHUNK]))));
    let client = Client::builder(TokioExecutor::new()).build_http();
    let request = Request::post(world.url("/")).body(StreamBody::new(frames)).unwrap();
    let mut body = client.request(request).await.unwrap().into_body();
    let mut read = 0;
    while let Some(frame) = tokio::time::timeout(PATIENCE, body.frame()).await.expect("it goes on") {
        let data = frame.unwrap().into_data().unwrap();
        assert!(data.iter().enumerate().step_by(997).all(|(at, byte)| *byte == ((read + at) / CHUNK) as u8));
        read += data.len();
    }
    assert_eq!(read, CHUNK * CHUNKS);
}

#[tokio::test]
async fn an_instance_sees_the_first_bytes_before_the_last_are_sent() {
    let (told, mut heard) = mpsc::channel(10);
    let instance = Server::start(move |request| {
        let told = told.clone();
        Box::pin(async move {
            let mut body = request.into_body();
            while let Some(Ok(frame)) = body.frame().await {
                told.send(frame.into_data().unwrap()).await.unwrap();
            }
            text("done")
        })
    })
    .await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let mut client = TcpStream::connect(world.router).await.unwrap();
    let head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 10\r\n\r\n";
    client.write_all(head).await.unwrap();
    let mut bytes = [0; 1024];
    let read = client.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 100 Continue"));
    for part in ["hello", "world"] {
        client.write_all(part.as_bytes()).await.unwrap();
        assert_eq!(tokio::time::timeout(PATIENCE, heard.recv()).await.unwrap().unwrap(), part);
    }
    let read = client.read(&mut bytes).await.unwrap();
    assert!(bytes[..read].starts_with(b"HTTP/1.1 200 OK"));
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_seen_to_break_off() {
    let is_read = Arc::new(Notify::new());
    let of_read = Arc::clone(&is_read);
    let address = raw_server(move |mut stream| {
        let is_read = Arc::clone(&of_read);
        async move {
            let mut bytes = [0; 1024];
            _ = stream.read(&mut bytes).await;
            _ = stream
                .write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
                .await;
            is_read.notified().await;
        }
    })
    .await;
    let world = World::start(&[address], Limits::default()).await;
    let mut client = TcpStream::connect(world.router).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"hello\r\n") {
        answer.push(tokio::time::timeout(PATIENCE, client.read_u8()).await.unwrap().unwrap());
    }
    is_read.notify_one();
    let mut rest = Vec::new();
    _ = tokio::time::timeout(PATIENCE, client.read_to_end(&mut rest)).await.expect("the connection ends");
    assert!(rest.is_empty(), "no last chunk");
    let record = world.core.record("the broken one", |record| record.access.is_some()).await;
    let access = record.access.unwrap();
    assert_eq!((access.status, access.bytes), (200, 5));
    assert!(access.error.unwrap().contains("broke off within its answer"));
}

#[tokio::test]
async fn an_answer_that_stands_still_is_cut_off() {
    let address = raw_server(|mut stream| async move {
        let mut bytes = [0; 1024];
        _ = stream.read(&mut bytes).await;
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello").await;
        _ = stream.read(&mut bytes).await;
    })
    .await;
    let limits = Limits {
        body_idle: Duration::from_millis(100),
        body_look: Duration::from_millis(100),
        ..Limits::default()
    };
    let world = World::start(&[address], limits).await;
    let answer = world.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(answer.ends_with("hello"), "{answer}");
}

#[tokio::test]
async fn a_client_that_goes_away_leaves_nothing_in_flight() {
    let instance = Server::start(|_| Box::pin(std::future::pending())).await;
    let world = World::start(&[instance.address], Limits::default()).await;
    let mut client = TcpStream::connect(world.router).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    world.core.hears("one in flight", |report| report.instances.iter().any(|i| i.in_flight == 1)).await;
    drop(client);
    let newest = || world.core.heard.reports.borrow().last().unwrap().clone();
    let report = eventually("none in flight", || async {
        Some(newest()).filter(|report| report.instances.iter().all(|i| i.in_flight == 0))
    })
    .await;
    assert_eq!(report.instances[0].errors, 0, "the instance is not to blame");
}

#[tokio::test]
async fn requests_in_flight_end_when_the_router_stops() {
    let (feed, body) = fed();
    let body = Mutex::new(Some(body));
    let instance =
        Server::start(move |_| crate::harness::reply(Response::new(body.lock().unwrap().take().unwrap())))
            .await;
    let mut world = World::start(&[instance.address], Limits::default()).await;
    let response =
        crate::harness::client().request(crate::harness::request("GET", &world.url("/"), "")).await.unwrap();
    world.stop();
    let router = world.router;
    eventually("no new connections", || async { TcpStream::connect(router).await.is_err().then_some(()) })
        .await;
    feed.send(Bytes::from("late")).await.unwrap();
    drop(feed);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "late");
    tokio::time::timeout(PATIENCE, &mut world.running).await.expect("the router ends").unwrap();
}
