//! Every door is tried: without a token, with a wrong one, and with tokens that may not pass.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod fleet;
mod flood;
mod following;
mod house;
mod publishing;

use axum::body::Body;
use futures_util::StreamExt as _;
use hob_api::{Who, doors};
use hob_wire::{Problem, Role};
use house::{INSTANCE, house};
use http::{Method, Request, StatusCode};
use serde_json::json;
use tower::ServiceExt as _;

fn fill(path: &str) -> String {
    let pairs = [
        ("{service}", "orders"),
        ("{topic}", "orders"),
        ("{name}", "x"),
        ("{digest}", "x"),
        ("{id}", "x"),
        ("{relation}", "x"),
        ("{node}", "node-1"),
        ("{router}", "router"),
        ("{sequence}", "1"),
        ("{code}", "1"),
        ("{number}", "1"),
    ];
    pairs.iter().fold(path.to_owned(), |path, (parameter, value)| path.replace(parameter, value))
}

#[tokio::test]
async fn no_door_opens_without_a_token() {
    let house = house().await;
    let mut tried = 0;
    for (method, path, who) in doors() {
        if who == Who::Public {
            continue;
        }
        let path = fill(path);
        assert!(!path.contains('{'), "{path}: the test does not know this parameter");
        house.denied(&method, &path, None, StatusCode::UNAUTHORIZED).await;
        house.denied(&method, &path, Some("nonsense"), StatusCode::UNAUTHORIZED).await;
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[tokio::test]
async fn every_token_has_its_doors() {
    let house = house().await;
    for (method, path, who) in doors() {
        let path = fill(path);
        for token in ["viewer", "operator", "developer", "node", "router", INSTANCE] {
            let role: Role = match token {
                INSTANCE => Role::Instance,
                other => serde_json::from_value(json!(other)).unwrap(),
            };
            let caller = hob_api::Caller { name: token.to_owned(), role, instance: None };
            if !who.takes(&caller) {
                house.denied(&method, &path, Some(token), StatusCode::FORBIDDEN).await;
            }
        }
    }
}

#[tokio::test]
async fn an_instance_publishes_only_its_own_topics_in_its_own_scope() {
    let house = house().await;
    let notice = json!({"type": "update", "href": "http://x.test/orders/7"});
    let post = |path: &'static str| house.call(Method::POST, path, Some(INSTANCE), Some(notice.clone()));
    let (status, body) = post("/v1/topics/orders/events").await;
    assert_eq!(status, StatusCode::CREATED, "{body}");
    assert_eq!(body["first"], body["last"]);
    let (status, body) = post("/v1/topics/riders/events").await;
    assert_eq!((status, &body["code"]), (StatusCode::FORBIDDEN, &json!("HOB-0021")));
    assert_eq!(post("/v1/topics/hob.issues/events").await.0, StatusCode::FORBIDDEN);
    assert_eq!(post("/v1/topics/orders/events?environment=other").await.0, StatusCode::FORBIDDEN);
    let (status, body) = post("/v1/topics/oders/events").await;
    assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("HOB-0022")));
    let (status, body) = house.call(Method::PUT, "/v1/topics/tarts", Some(INSTANCE), Some(json!({}))).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "only what the descriptor names is its own: {body}");
    let (_, page) = house.call(Method::GET, "/v1/events?topic=orders", Some("viewer"), None).await;
    assert_eq!(page["items"].as_array().unwrap().len(), 1, "what was refused changed nothing: {page}");
}

#[tokio::test]
async fn bad_bodies_say_what_is_wrong() {
    let house = house().await;
    let check = async |body: &str, status: StatusCode, words: &str| {
        let request =
            Request::post("/v1/topics/orders/events").header("authorization", format!("Bearer {INSTANCE}"));
        let response =
            house.app.clone().oneshot(request.body(Body::from(body.to_owned())).unwrap()).await.unwrap();
        assert_eq!(response.status(), status, "{body}");
        assert_eq!(response.headers()["content-type"], Problem::MEDIA_TYPE);
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(words), "{body}: {text}");
    };
    check("{", StatusCode::BAD_REQUEST, "JSON").await;
    check("{\"type\":\"updated\",\"href\":\"http://x.test/1\"}", StatusCode::UNPROCESSABLE_ENTITY, "update")
        .await;
    check("{\"type\":\"update\",\"href\":\"orders/7\"}", StatusCode::UNPROCESSABLE_ENTITY, "absolute").await;
    check("[]", StatusCode::UNPROCESSABLE_ENTITY, "event").await;
}

#[tokio::test]
async fn etags_spare_what_is_known() {
    let house = house().await;
    let get = |etag: Option<String>| {
        let mut request = Request::get("/v1/topics/orders").header("authorization", "Bearer viewer");
        if let Some(etag) = etag {
            request = request.header("if-none-match", etag);
        }
        house.app.clone().oneshot(request.body(Body::empty()).unwrap())
    };
    let first = get(None).await.unwrap();
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(get(Some(etag)).await.unwrap().status(), StatusCode::NOT_MODIFIED);
    assert_eq!(get(Some("\"other\"".to_owned())).await.unwrap().status(), StatusCode::OK);
}

#[tokio::test]
async fn the_event_log_can_be_followed_live() {
    let house = house().await;
    let request = Request::get("/v1/events?topic=orders")
        .header("authorization", "Bearer viewer")
        .header("accept", "text/event-stream");
    let response = house.app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let notice = json!({"type": "update", "href": "http://x.test/orders/7"});
    let path = "/v1/topics/orders/events";
    assert_eq!(house.call(Method::POST, path, Some(INSTANCE), Some(notice)).await.0, StatusCode::CREATED);
    let mut stream = response.into_body().into_data_stream();
    let mut told = String::new();
    while !told.contains("http://x.test/orders/7") {
        told.push_str(&String::from_utf8_lossy(&stream.next().await.unwrap().unwrap()));
    }
    assert!(told.contains("event: event"), "{told}");
}

#[tokio::test]
async fn the_event_log_is_read_from_either_end() {
    let house = house().await;
    for n in 1..=5 {
        let notice =
            json!({"type": "create", "href": format!("http://x.test/orders/{n}"), "id": n.to_string()});
        house.call(Method::POST, "/v1/topics/orders/events", Some(INSTANCE), Some(notice)).await;
    }
    let get = async |path: String| {
        let (_, page) = house.call(Method::GET, &path, Some("viewer"), None).await;
        page
    };
    let ids = |page: &serde_json::Value| -> Vec<String> {
        page["items"].as_array().unwrap().iter().map(|e| e["id"].as_str().unwrap().to_owned()).collect()
    };
    let mut path = "/v1/events?topic=orders&order=desc&limit=2".to_owned();
    let mut told = Vec::new();
    loop {
        let page = get(path).await;
        told.extend(ids(&page));
        match page["_links"]["next"]["href"].as_str() {
            Some(next) => path = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(told, ["5", "4", "3", "2", "1"]);
    assert_eq!(ids(&get("/v1/events?topic=orders&id=3".to_owned()).await), ["3"]);
    let both = "/v1/events?order=desc&after=1";
    assert_eq!(house.call(Method::GET, both, Some("viewer"), None).await.0, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_request_with_a_key_is_safe_to_repeat() {
    let house = house().await;
    let notice = json!({"type": "create", "href": "http://x.test/orders/1"});
    let post = async |key: &str, body: &serde_json::Value| {
        let path = "/v1/topics/orders/events";
        house
            .call_with(Method::POST, path, Some(INSTANCE), Some(body.clone()), &[("idempotency-key", key)])
            .await
    };
    let (status, first) = post("k1", &notice).await;
    assert_eq!(status, StatusCode::CREATED);
    let (status, again) = post("k1", &notice).await;
    assert_eq!((status, &again), (StatusCode::CREATED, &first));
    let (status, other) = post("k2", &notice).await;
    assert_eq!(status, StatusCode::CREATED);
    assert_ne!(other["first"], first["first"]);
    let (status, problem) = post("k1", &json!({"type": "update", "href": "http://x.test/orders/1"})).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::UNPROCESSABLE_ENTITY, Some("HOB-0071")));
    let (status, problem) = post("", &notice).await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::BAD_REQUEST, Some("HOB-0002")));
}

#[tokio::test]
async fn a_subscription_that_lost_events_to_retention_says_so_and_goes_on_when_it_is_told_where() {
    let house = house().await;
    let get = async |path: &str| house.call(Method::GET, path, Some("developer"), None).await;
    let terms = json!({"kind": "notify", "retention": {"bytes": 2_000}});
    let path = "/v1/topics/orders?service=orders";
    assert_eq!(house.call(Method::PUT, path, Some("developer"), Some(terms)).await.0, StatusCode::OK);
    let spec = json!({"topics": ["orders"], "from": "start"});
    let subscription = "/v1/subscriptions/orders.mail?service=mail";
    let (status, _) = house.call(Method::PUT, subscription, Some("developer"), Some(spec)).await;
    assert_eq!(status, StatusCode::CREATED);
    for round in 0..4 {
        let notices: Vec<_> = (0..40)
            .map(|n| json!({"type": "update", "href": format!("http://x.test/orders/{round}/{n}")}))
            .collect();
        let path = "/v1/topics/orders/events";
        let (status, body) = house.call(Method::POST, path, Some(INSTANCE), Some(json!(notices))).await;
        assert_eq!(status, StatusCode::CREATED, "{body}");
        house.bus.tend_log().await.unwrap();
    }
    let (status, problem) = get("/v1/subscriptions/orders.mail/events?service=mail").await;
    assert_eq!((status, problem["code"].as_str()), (StatusCode::GONE, Some("HOB-0025")), "{problem}");
    let (_, state) = get(subscription).await;
    assert_eq!((&state["state"], &state["stall"]), (&json!("stalled"), &json!("cursor-expired")));
    assert!(state["stall_reason"].as_str().unwrap().contains("seek to start"), "{state}");
    let seek = "/v1/subscriptions/orders.mail/cursor?service=mail";
    let (status, state) =
        house.call(Method::PUT, seek, Some("developer"), Some(json!({"at": "start"}))).await;
    assert_eq!((status, state.get("stall")), (StatusCode::OK, None), "{state}");
    let (status, batch) = get("/v1/subscriptions/orders.mail/events?service=mail").await;
    assert_eq!(status, StatusCode::OK);
    let first = batch["events"][0]["subject"].as_str().unwrap();
    assert!(!first.starts_with("http://x.test/orders/0/"), "what is gone is gone: {first}");
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_a_problem_like_any_other() {
    let house = house().await;
    for path in ["/v1/topics/ME%20NU", "/v1/services/A/releases", "/v1/subscriptions/%20?service=shop"] {
        let (status, problem) = house.call(Method::GET, path, Some("admin"), None).await;
        assert_eq!((status, problem["code"].as_str()), (StatusCode::BAD_REQUEST, Some("HOB-0002")), "{path}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(
            detail.starts_with("failed to read the path: ") && !detail.contains("Invalid URL"),
            "{detail}"
        );
    }
}
