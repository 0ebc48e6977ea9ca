//! The server layer around a real router.

use std::net::UdpSocket;
use std::time::Duration;

use hob_sdk::axum::Router;
use hob_sdk::axum::routing::get;
use hob_sdk::server::{Failure, not_found, serve_until};
use hob_sdk::wire::Problem;
use hob_sdk::{Client, Config, Request, RequestContext};
use tokio::sync::oneshot;

fn config(statsd_port: u16) -> Config {
    let port = statsd_port.to_string();
    let vars = [
        ("HOB_TOKEN", "secret"),
        ("HOB_SERVICE", "things"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("DATA_DIR", "/nowhere"),
        ("STATSD_HOST", "127.0.0.1"),
        ("STATSD_PORT", &port),
    ];
    Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

#[tokio::test]
async fn a_service_is_ready_counted_and_named_in_its_problems() {
    let statsd = UdpSocket::bind("127.0.0.1:0").unwrap();
    statsd.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let config = config(statsd.local_addr().unwrap().port());
    let who = async || RequestContext::current().map(|context| context.request_id).unwrap_or_default();
    let missing = async || Err::<(), Failure>(not_found("order o9 does not exist"));
    let router = Router::new().route("/who", get(who)).route("/missing", get(missing));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(async move {
        serve_until(listener, &config, router, async move { drop(stopped.await) }).await.unwrap();
    });

    let client = Client::for_api(&origin, None).unwrap();
    assert_eq!(client.get("/health/ready").await.unwrap().status, 200);
    let answer = client.send(Request::get("/who").header("x-request-id", "r1")).await.unwrap();
    assert_eq!((answer.header("x-request-id"), answer.body.as_ref()), (Some("r1"), b"r1".as_ref()));
    let answer = client.get("/missing").await.unwrap();
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (404, Some(Problem::MEDIA_TYPE)));
    let request_id = answer.header("x-request-id").map(str::to_owned);
    let problem: Problem = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!((problem.request_id, problem.detail.as_str()), (request_id, "order o9 does not exist"));
    assert_eq!(client.get("/nowhere").await.unwrap().header("content-type"), Some(Problem::MEDIA_TYPE));

    let mut datagrams = Vec::new();
    for _ in 0..6 {
        let mut buffer = [0; 200];
        let length = statsd.recv(&mut buffer).unwrap();
        datagrams.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
    }
    assert_eq!((datagrams[0].as_str(), datagrams[1].as_str()), ("requests:1|c", "responses.2xx:1|c"));
    assert!(datagrams[2].starts_with("request_time:") && datagrams[2].ends_with("|ms"));
    assert_eq!(datagrams[4], "responses.4xx:1|c");

    stop.send(()).unwrap();
    tokio::time::timeout(Duration::from_secs(5), server).await.unwrap().unwrap();
}
