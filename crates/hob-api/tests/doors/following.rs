//! Live streams over HTTP: their form, and how a reader is told that it cannot go on where it was.

use axum::body::{Body, BodyDataStream};
use futures_util::StreamExt as _;
use http::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

use crate::house::{House, INSTANCE, house};

const EVENTS: &str = "/v1/subscriptions/seen/events";

async fn follow(house: &House, path: &str, headers: &[(&str, &str)]) -> Response<Body> {
    let mut request = Request::get(path).header("authorization", format!("Bearer {INSTANCE}"));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    house.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn problem(response: Response<Body>) -> (StatusCode, String) {
    let status = response.status();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let problem: Value = serde_json::from_slice(&bytes).unwrap();
    (status, problem["code"].as_str().unwrap().to_owned())
}

/// Reads until a text has come.
async fn until(stream: &mut BodyDataStream, told: &mut String, text: &str) {
    while !told.contains(text) {
        told.push_str(std::str::from_utf8(&stream.next().await.unwrap().unwrap()).unwrap());
    }
}

async fn publish(house: &House, count: usize) -> Value {
    let notices: Vec<Value> =
        (1..=count).map(|n| json!({"type": "update", "href": format!("http://x.test/orders/{n}")})).collect();
    let path = "/v1/topics/orders/events";
    let (status, body) = house.call(Method::POST, path, Some(INSTANCE), Some(json!(notices))).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    body
}

async fn subscribed() -> House {
    let house = house().await;
    let spec = json!({"topics": ["orders"], "from": "start"});
    let path = "/v1/subscriptions/seen";
    assert_eq!(house.call(Method::PUT, path, Some(INSTANCE), Some(spec)).await.0, StatusCode::CREATED);
    house
}

#[tokio::test]
async fn both_forms_bring_events_and_heartbeats() {
    let house = subscribed().await;
    let published = publish(&house, 3).await;
    let (first, last) = (published["first"].as_str().unwrap(), published["last"].as_str().unwrap());
    let sse = follow(&house, EVENTS, &[("accept", "text/event-stream")]).await;
    assert_eq!(sse.headers()["content-type"], "text/event-stream");
    let (mut stream, mut told) = (sse.into_body().into_data_stream(), String::new());
    until(&mut stream, &mut told, "event: heartbeat\n").await;
    let frame = told.split("\n\n").next().unwrap();
    let data = frame.strip_prefix(&format!("id: {first}\nevent: event\ndata: ")).unwrap();
    let event: Value = serde_json::from_str(data).unwrap();
    assert_eq!((&event["type"], &event["sequence"]), (&json!("orders.update"), &json!(first)));
    assert_eq!(told.matches("event: event\n").count(), 3);
    assert!(told.contains(&format!("event: heartbeat\ndata: {{\"head\":\"{last}\"}}\n\n")), "{told}");

    let after = format!("{EVENTS}?after={first}");
    let lines = follow(&house, &after, &[("accept", "application/x-ndjson")]).await;
    assert_eq!(lines.headers()["content-type"], "application/x-ndjson");
    let (mut stream, mut told) = (lines.into_body().into_data_stream(), String::new());
    until(&mut stream, &mut told, "{\"heartbeat\":{\"head\":").await;
    let lines: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let events: Vec<&Value> = lines.iter().filter(|line| line["event"].is_object()).collect();
    assert_eq!(events.len(), 2);
    assert_eq!(events[1]["event"]["sequence"], json!(last));
}

#[tokio::test]
async fn a_stream_is_acknowledged_beside_its_being_read() {
    let house = subscribed().await;
    publish(&house, 3).await;
    let path = format!("{EVENTS}?progress=acknowledged");
    let response = follow(&house, &path, &[("accept", "text/event-stream")]).await;
    let (mut stream, mut told) = (response.into_body().into_data_stream(), String::new());
    until(&mut stream, &mut told, "http://x.test/orders/3").await;
    let lag = async || {
        let state = house.call(Method::GET, "/v1/subscriptions/seen", Some(INSTANCE), None).await.1;
        (state["lag_events"].as_u64().unwrap(), state["streams"].as_u64().unwrap())
    };
    assert_eq!(lag().await, (3, 1));
    let second = told.split("id: ").nth(2).unwrap().split('\n').next().unwrap();
    let ack = json!({"lease": "stream", "upto": second});
    let path = "/v1/subscriptions/seen/acks";
    assert_eq!(house.call(Method::POST, path, Some(INSTANCE), Some(ack)).await.0, StatusCode::NO_CONTENT);
    assert_eq!(lag().await, (1, 1));
    let bad = follow(&house, &format!("{EVENTS}?progress=none"), &[("accept", "text/event-stream")]).await;
    assert_eq!(bad.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_place_ahead_of_the_log_is_refused() {
    let house = subscribed().await;
    publish(&house, 1).await;
    let ahead = house.bus.head() + 1_000;
    let (query, text) = (format!("{EVENTS}?after={ahead}"), ahead.to_string());
    for accept in ["text/event-stream", "application/x-ndjson"] {
        let refused = (StatusCode::UNPROCESSABLE_ENTITY, "HOB-0074".to_owned());
        assert_eq!(problem(follow(&house, &query, &[("accept", accept)]).await).await, refused);
        let resumed = follow(&house, EVENTS, &[("accept", accept), ("last-event-id", &text)]).await;
        assert_eq!(problem(resumed).await, refused);
    }
    let log = format!("/v1/events?after={ahead}");
    let refused = problem(follow(&house, &log, &[("accept", "text/event-stream")]).await).await;
    assert_eq!(refused.0, StatusCode::UNPROCESSABLE_ENTITY);
    let nonsense = follow(&house, EVENTS, &[("accept", "text/event-stream"), ("last-event-id", "x")]).await;
    assert_eq!(nonsense.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_place_that_is_no_longer_kept_is_gone() {
    let house = subscribed().await;
    let terms = json!({"kind": "notify", "retention": {"bytes": 4_000}});
    let (status, body) =
        house.call(Method::PUT, "/v1/topics/orders?service=orders", Some("developer"), Some(terms)).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    for _ in 0..4 {
        publish(&house, 20).await;
        house.bus.tend_log().await.unwrap();
    }
    let kept = house.call(Method::GET, "/v1/events?topic=orders&limit=1", Some(INSTANCE), None).await.1;
    let oldest = kept["items"][0]["sequence"].as_str().unwrap().to_owned();
    for (path, last) in [(EVENTS, None), (EVENTS, Some("1")), ("/v1/events?topic=orders", Some("1"))] {
        let mut headers = vec![("accept", "text/event-stream")];
        headers.extend(last.map(|last| ("last-event-id", last)));
        let (status, code) = problem(follow(&house, path, &headers).await).await;
        assert_eq!((status, code.as_str()), (StatusCode::GONE, "HOB-0025"), "{path} {last:?}");
    }
    // Whoever wants what there is gets it.
    let fresh = follow(&house, &format!("{EVENTS}?after=0"), &[("accept", "text/event-stream")]).await;
    let mut told = String::new();
    until(&mut fresh.into_body().into_data_stream(), &mut told, &oldest).await;
}
