//! Publishing over HTTP: the short way and the general one answer alike, quotas are told, CloudEvents come in both modes.

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::house::{House, INSTANCE, house};

const NOTICE: &str = r#"{"type":"update","href":"http://x.test/orders/7"}"#;

async fn declare(house: &House, topic: &str, terms: Value) {
    let path = format!("/v1/topics/{topic}?service=orders");
    let (status, body) = house.call(Method::PUT, &path, Some("admin"), Some(terms)).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
}

async fn publish(
    house: &House,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> (StatusCode, HeaderMap, Value) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    house.send(request, body.to_owned()).await
}

/// What of an answer is the same each time. Its length is written at the latest by the server.
fn shape(headers: &HeaderMap, body: &Value) -> (Vec<String>, Value) {
    let names = headers.keys().filter(|name| *name != CONTENT_LENGTH);
    let mut names: Vec<String> = names.map(ToString::to_string).collect();
    names.sort_unstable();
    let mut body = body.clone();
    for member in ["first", "last", "request_id"] {
        body.as_object_mut().and_then(|body| body.get_mut(member)).map(Value::take);
    }
    (names, body)
}

#[tokio::test]
async fn both_ways_of_publishing_answer_alike() {
    let house = house().await;
    let many = format!("[{}]", vec![NOTICE; 1_001].join(","));
    let instance = format!("Bearer {INSTANCE}");
    let bodies = [NOTICE, "[]", "{", "", r#"{"type":"updated","href":"x"}"#, &many];
    let tokens = ["Bearer viewer", "Bearer developer", "Bearer nobody", "Basic x", &instance];
    let topics = ["orders", "riders", "oders", "hob.issues", "Orders"];
    let types = ["application/json", "application/x-ndjson", "text/html", "application/cloudevents+json"];
    for token in tokens {
        for topic in topics {
            for (body, content_type) in
                bodies.iter().map(|body| (*body, types[0])).chain(types.map(|kind| (NOTICE, kind)))
            {
                let headers =
                    [("authorization", token), ("content-type", content_type), ("x-request-id", "mine")];
                let path = format!("/v1/topics/{topic}/events");
                let (status, told, answer) = publish(&house, &path, &headers, body).await;
                assert_eq!(told["x-request-id"], "mine");
                if !status.is_success() {
                    assert_eq!(answer["request_id"], "mine", "{answer}");
                }
                let path = format!("{path}?environment=demo");
                let (also, also_told, also_answer) = publish(&house, &path, &headers, body).await;
                assert_eq!(status, also, "{token} {topic} {content_type} {answer} {also_answer}");
                assert_eq!(shape(&told, &answer), shape(&also_told, &also_answer));
            }
        }
    }
}

#[tokio::test]
async fn answers_tell_what_is_left_of_a_quota() {
    let house = house().await;
    let terms = json!({"kind": "notify", "quota": {"events_per_second": 1, "burst": 5}});
    declare(&house, "metered", terms).await;
    let headers = [("authorization", "Bearer developer")];
    let path = "/v1/topics/metered/events";
    let (status, told, body) = publish(&house, path, &headers, NOTICE).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(told["ratelimit"], "\"metered\";r=4;t=1");
    assert_eq!(told["ratelimit-policy"], "\"metered\";q=1;w=1");
    for _ in 0..1_000 {
        let (status, told, body) = publish(&house, path, &headers, NOTICE).await;
        if status == StatusCode::TOO_MANY_REQUESTS {
            assert_eq!(told["ratelimit"], "\"metered\";r=0;t=1");
            assert_eq!(told["ratelimit-policy"], "\"metered\";q=1;w=1");
            assert_eq!(told["retry-after"], "1");
            assert_eq!(body["code"], "HOB-0070", "{body}");
            return;
        }
    }
    panic!("the quota never ended");
}

#[tokio::test]
async fn an_answer_that_is_given_again_costs_no_quota() {
    let house = house().await;
    let terms = json!({"kind": "notify", "quota": {"events_per_second": 1, "burst": 3}});
    declare(&house, "metered", terms).await;
    let headers = [("authorization", "Bearer developer"), ("idempotency-key", "k1")];
    for nth in 0..200 {
        let (status, told, body) = publish(&house, "/v1/topics/metered/events", &headers, NOTICE).await;
        assert_eq!(status, StatusCode::CREATED, "{nth}: {body}");
        assert_eq!(told.contains_key("idempotent-replayed"), nth > 0);
    }
}

#[tokio::test]
async fn cloudevents_come_in_binary_mode() {
    let house = house().await;
    declare(&house, "payments", json!({"kind": "stream"})).await;
    let headers = |id: &'static str, content_type: &'static str| {
        [
            ("authorization", "Bearer developer"),
            ("content-type", content_type),
            ("ce-specversion", "1.0"),
            ("ce-type", "payments.taken"),
            ("ce-source", "/tills/4"),
            ("ce-id", id),
            ("ce-subject", "order%207"),
            ("ce-currency", "GBP"),
        ]
    };
    let path = "/v1/topics/payments/events";
    let (status, _, body) =
        publish(&house, path, &headers("p1", "application/json"), r#"{"pence":1250}"#).await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let (status, _, body) = publish(&house, path, &headers("p2", "text/plain"), "twelve fifty").await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    let (status, _, body) =
        publish(&house, path, &headers("p1", "application/json"), r#"{"pence":1250}"#).await;
    assert_eq!((status, &body["deduplicated"]), (StatusCode::CREATED, &json!(1)));
    let (_, page) = house.call(Method::GET, "/v1/events?topic=payments", Some("viewer"), None).await;
    let items = page["items"].as_array().unwrap();
    assert_eq!(items.len(), 2, "{page}");
    for (item, id, data) in
        [(&items[0], "p1", json!({"pence": 1250})), (&items[1], "p2", json!("twelve fifty"))]
    {
        assert_eq!((&item["id"], &item["data"]), (&json!(id), &data), "{item}");
        assert_eq!((&item["source"], &item["subject"]), (&json!("/tills/4"), &json!("order 7")));
        assert_eq!((&item["type"], &item["currency"]), (&json!("payments.taken"), &json!("GBP")));
    }
    let no_source = [("authorization", "Bearer developer"), ("ce-specversion", "1.0"), ("ce-type", "x")];
    let (status, _, body) = publish(&house, path, &no_source, "").await;
    assert_eq!((status, body["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("HOB-0023")));
}
