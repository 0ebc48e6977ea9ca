//! What is sent again when an instance dies, and what never is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hob_router::Limits;
use http_body_util::BodyExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::harness::{Server, World, ask, client, eventually, raw_server, reply, request, text};

/// An instance that reads a request and dies; counts how often.
async fn dying() -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let deaths = Arc::new(AtomicUsize::new(0));
    let of_deaths = Arc::clone(&deaths);
    let address = raw_server(move |mut stream| {
        let deaths = Arc::clone(&of_deaths);
        async move {
            let mut bytes = [0; 1024];
            if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                deaths.fetch_add(1, Ordering::SeqCst);
            }
        }
    })
    .await;
    (address, deaths)
}

/// An address where nobody listens.
async fn nobody() -> std::net::SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn a_repeatable_request_outlives_an_instance_that_dies_under_it() {
    for (method, body) in [("GET", ""), ("PUT", "hello"), ("DELETE", ""), ("OPTIONS", "")] {
        let (dead, deaths) = dying().await;
        let alive = Server::start(|request| {
            Box::pin(async move { text(request.into_body().collect().await.unwrap().to_bytes()) })
        })
        .await;
        let world = World::start(&[dead, alive.address], Limits::default()).await;
        let client = client();
        for _ in 0..40 {
            let answer = ask(&client, request(method, &world.url("/"), body)).await;
            assert_eq!((answer.0.as_u16(), answer.1.as_str()), (200, body), "{method}");
        }
        assert!(deaths.load(Ordering::SeqCst) > 0, "{method}: the dying instance was never asked");
    }
}

#[tokio::test]
async fn a_post_is_never_sent_twice() {
    let (one, deaths_of_one) = dying().await;
    let (two, deaths_of_two) = dying().await;
    let world = World::start(&[one, two], Limits::default()).await;
    let client = client();
    for sent in 1..=10 {
        let (status, body) = ask(&client, request("POST", &world.url("/"), "order")).await;
        assert_eq!(status.as_u16(), 502, "{body}");
        assert!(body.contains("HOB-0062") && body.contains("not sent again"), "{body}");
        assert_eq!(deaths_of_one.load(Ordering::SeqCst) + deaths_of_two.load(Ordering::SeqCst), sent);
    }
    let record = world.core.record("an error", |record| record.access.is_some()).await;
    assert!(record.access.unwrap().error.is_some());
}

#[tokio::test]
async fn attempts_are_bounded() {
    let (one, deaths) = dying().await;
    let world = World::start(&[one], Limits::default()).await;
    let (status, _) = ask(&client(), request("GET", &world.url("/"), "")).await;
    assert_eq!((status.as_u16(), deaths.load(Ordering::SeqCst)), (502, 3));
}

#[tokio::test]
async fn whatever_was_not_sent_is_sent_elsewhere() {
    let dead = nobody().await;
    let alive = Server::start(|_| reply(text("ok"))).await;
    let world = World::start(&[dead, alive.address], Limits::default()).await;
    let client = client();
    for _ in 0..40 {
        assert_eq!(ask(&client, request("POST", &world.url("/"), "order")).await.0, 200);
    }
}

#[tokio::test]
async fn a_large_body_is_passed_on_but_not_repeated() {
    let (dead, deaths) = dying().await;
    let world = World::start(&[dead], Limits { replay_bytes_max: 100, ..Limits::default() }).await;
    let body = vec![b'x'; 1_000_000];
    let (status, _) = ask(&client(), request("PUT", &world.url("/"), body)).await;
    assert_eq!((status.as_u16(), deaths.load(Ordering::SeqCst)), (502, 1));
}

#[tokio::test]
async fn a_connection_that_the_instance_closed_meanwhile_costs_no_post() {
    // It answers one request per connection as if it kept it, and closes it then.
    let address = raw_server(|mut stream| async move {
        let mut bytes = [0; 4096];
        if stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let world = World::start(&[address], Limits::default()).await;
    let client = client();
    for _ in 0..50 {
        assert_eq!(ask(&client, request("POST", &world.url("/"), "order")).await.0, 200);
        // The close must have arrived; the promise is about connections that are known to be closed.
        tokio::time::sleep(std::time::Duration::from_millis(3)).await;
    }
}

#[tokio::test]
async fn connections_are_used_again() {
    let connections = Arc::new(AtomicUsize::new(0));
    let of_connections = Arc::clone(&connections);
    let address = raw_server(move |mut stream| {
        of_connections.fetch_add(1, Ordering::SeqCst);
        async move {
            let mut bytes = [0; 4096];
            while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {
                let answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
                _ = stream.write_all(answer).await;
            }
        }
    })
    .await;
    let world = World::start(&[address], Limits::default()).await;
    let client = client();
    for method in ["GET", "POST", "PUT", "GET"].repeat(10) {
        assert_eq!(ask(&client, request(method, &world.url("/"), "")).await.0, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_killed_instance_of_two_costs_no_repeatable_request() {
    let asked = Arc::new(AtomicUsize::new(0));
    let of_asked = Arc::clone(&asked);
    let slow = move |_| -> crate::harness::Reply {
        of_asked.fetch_add(1, Ordering::SeqCst);
        Box::pin(async {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            text("ok")
        })
    };
    let (one, two) = (Server::start(slow.clone()).await, Server::start(slow).await);
    let world = World::start(&[one.address, two.address], Limits::default()).await;
    let (client, url) = (client(), world.url("/"));
    let clients: Vec<_> = (0..20)
        .map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move {
                for _ in 0..30 {
                    assert_eq!(ask(&client, request("GET", &url, "")).await.0, 200);
                }
            })
        })
        .collect();
    eventually("load", || async { (asked.load(Ordering::SeqCst) > 100).then_some(()) }).await;
    one.kill();
    for client in clients {
        client.await.unwrap();
    }
}

#[tokio::test]
async fn nonsense_and_silence_have_their_statuses() {
    let nonsense = raw_server(|mut stream| async move {
        let mut bytes = [0; 1024];
        _ = stream.read(&mut bytes).await;
        _ = stream.write_all(b"SSH-2.0-OpenSSH\r\n\r\n").await;
        _ = stream.read(&mut bytes).await;
    })
    .await;
    let silent = raw_server(|mut stream| async move {
        let mut bytes = [0; 1024];
        while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    })
    .await;
    let limits = Limits { response_head: std::time::Duration::from_millis(100), ..Limits::default() };
    for (address, status, code) in [(nonsense, 502, "HOB-0062"), (silent, 504, "HOB-0063")] {
        let world = World::start(&[address], limits.clone()).await;
        let (told, body) = ask(&client(), request("GET", &world.url("/"), "")).await;
        assert_eq!(told.as_u16(), status, "{body}");
        assert!(body.contains(code), "{body}");
    }
}
