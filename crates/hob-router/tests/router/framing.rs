//! Requests that two readers could take for different ones. Each has a verdict, and none brings an instance a request
//! that the router did not see.

use std::sync::{Arc, Mutex};

use hob_router::Limits;
use http_body_util::BodyExt;

use crate::harness::{Server, World, text};

type SeenRequests = Arc<Mutex<Vec<String>>>;

/// An instance that remembers each request as `METHOD target [body]`.
async fn witness() -> (Server, SeenRequests) {
    let seen = SeenRequests::default();
    let of_seen = Arc::clone(&seen);
    let server = Server::start(move |request| {
        let seen = Arc::clone(&of_seen);
        Box::pin(async move {
            let (head, body) = request.into_parts();
            assert!(
                !(head.headers.contains_key("content-length")
                    && head.headers.contains_key("transfer-encoding")),
                "two framings reached an instance"
            );
            let body = body.collect().await.map(|body| body.to_bytes()).unwrap_or_default();
            let body = String::from_utf8_lossy(&body).into_owned();
            seen.lock().unwrap().push(format!("{} {} [{body}]", head.method, head.uri));
            text("ok")
        })
    })
    .await;
    (server, seen)
}

/// Sends bytes; the first answer's status, how many answers came, and what the instance saw.
async fn verdict(bytes: &str) -> (u16, usize, Vec<String>) {
    let (instance, seen) = witness().await;
    let limits = Limits {
        head_read: std::time::Duration::from_millis(200),
        client_idle: std::time::Duration::from_millis(200),
        body_idle: std::time::Duration::from_millis(300),
        body_look: std::time::Duration::from_millis(300),
        response_head: std::time::Duration::from_millis(300),
        ..Limits::default()
    };
    let world = World::start(&[instance.address], limits).await;
    let answer = world.raw(bytes.as_bytes()).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    let seen = seen.lock().unwrap().clone();
    (status, answer.matches("HTTP/1.1 ").count(), seen)
}

const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: a\r\n\r\n";

#[tokio::test]
async fn what_is_ambiguous_is_refused_and_reaches_nobody() {
    let cases = [
        (
            "two different lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        ),
        ("a list of lengths", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 5\r\n\r\nhello"),
        ("a signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello"),
        ("a negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello"),
        ("an endless length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n"),
        ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        (
            "a coding before chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked not last",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        ),
        ("a coding in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        (
            "a length beside a coding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "a coding beside a length",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        ),
        (
            "the same length twice",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        ),
        ("the same host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        ("bare line feeds", "GET / HTTP/1.1\nHost: a\n\n"),
        ("one bare line feed", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n"),
        ("a bare CR before the end", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\r\n\r\n"),
        ("no host", "GET / HTTP/1.1\r\n\r\n"),
        ("an empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        ("a host that is none", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"),
        ("another host in the target", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("a folded header", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n c\r\n\r\n"),
        ("a blank before the colon", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello"),
        ("a blank before the name", "GET / HTTP/1.1\r\n Host: a\r\n\r\n"),
        ("a NUL in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\0c\r\n\r\n"),
        ("a bare CR in a value", "GET / HTTP/1.1\r\nHost: a\r\nX-A: b\rX-B: c\r\n\r\n"),
        ("a blank in the target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("an unknown version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n"),
        ("no version", "GET /\r\n\r\n"),
    ];
    for (what, bytes) in cases {
        let (status, answers, seen) = verdict(&format!("{bytes}{HIDDEN}")).await;
        assert_eq!((status, answers), (400, 1), "{what}: {seen:?}");
        assert_eq!(seen, Vec::<String>::new(), "{what}");
    }
}

#[tokio::test]
async fn a_bad_chunk_ends_request_and_connection() {
    for chunks in [
        "x\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "-5\r\nhello\r\n",
        "fffffffffffffffff\r\nhello",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5 \r\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nContent-Length: 5\r\n\r\n",
    ] {
        let bytes =
            format!("POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}{HIDDEN}");
        let (status, answers, seen) = verdict(&bytes).await;
        assert!(status == 400 || status == 0, "{chunks:?}: {status}");
        assert!(
            answers <= 1 && seen.iter().all(|request| !request.contains("hidden")),
            "{chunks:?}: {seen:?}"
        );
    }
}

#[tokio::test]
async fn limits_and_methods_have_their_statuses() {
    let check = async |what: &str, bytes: String, expected: u16| {
        let (status, _, seen) = verdict(&bytes).await;
        assert_eq!(status, expected, "{what}");
        assert_eq!(seen, Vec::<String>::new(), "{what}");
    };
    let long = "x".repeat(9000);
    check("a long target", format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n"), 414).await;
    let large = "x".repeat(40_000);
    check("a large head", format!("GET / HTTP/1.1\r\nHost: a\r\nX-A: {large}\r\n\r\n"), 431).await;
    let many: String = (0..150).map(|n| format!("X-{n}: 1\r\n")).collect();
    check("many headers", format!("GET / HTTP/1.1\r\nHost: a\r\n{many}\r\n"), 431).await;
    check("a tunnel", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n".to_owned(), 405).await;
}

#[tokio::test]
async fn other_spellings_of_the_same_pass() {
    let check = async |what: &str, bytes: &str, expected: &str| {
        let (status, _, seen) = verdict(bytes).await;
        assert_eq!((status, seen.as_slice()), (200, [expected.to_owned()].as_slice()), "{what}");
    };
    check("the host in the target", "GET http://A:80/x?y HTTP/1.1\r\nHost: a:80\r\n\r\n", "GET /x?y []")
        .await;
    check("an underscore", "GET /x HTTP/1.1\r\nHost: a_b\r\nX_A: 1\r\n\r\n", "GET /x []").await;
    check("HTTP/1.0", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "GET /x []").await;
    let chunked =
        "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n3;ext=1\r\nabc\r\n0\r\n\r\n";
    check("chunks with extensions", chunked, "POST /x [abc]").await;
    let hidden = "POST /x HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, content-length\r\nContent-Length: 3\r\n\r\nabc";
    check("a length named by Connection", hidden, "POST /x [abc]").await;
}

#[tokio::test]
async fn a_slow_head_and_a_silent_client_are_cut_off() {
    assert_eq!(verdict("GET / HTTP/1.1\r\nHost:").await, (0, 0, vec![]));
    assert_eq!(verdict("").await, (0, 0, vec![]));
    let (status, _, seen) = verdict("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhal").await;
    assert_eq!(status, 400, "half a body, then nothing: {seen:?}");
}
