//! A domain service over a real file and its real routes.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use hob_sdk::axum::Router;
use hob_sdk::axum::body::{Body, to_bytes};
use hob_sdk::axum::http::{HeaderMap, Request, StatusCode};
use hob_sdk::server::app;
use hob_sdk::{Config, Database, OutboxError};
use serde_json::{Value, json};
use takeaway_domain::{Store, router};
use takeaway_world::Order;
use tower::ServiceExt;

const ORIGIN: &str = "http://127.0.0.1:8080";

async fn orders(folder: &std::path::Path) -> Router {
    let vars = [
        ("HOB_TOKEN", "t"),
        ("HOB_SERVICE", "orders"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("DATA_DIR", folder.to_str().unwrap()),
    ];
    let config = Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap();
    let store = Store::open(folder, "orders", ORIGIN).await.unwrap();
    app(&config, router::<Order>(store))
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn call(app: &Router, request: Request<Body>) -> Answer {
    let response = app.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    Answer {
        status: parts.status,
        headers: parts.headers,
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    }
}

async fn get(app: &Router, path: &str) -> Answer {
    call(app, Request::get(path).body(Body::empty()).unwrap()).await
}

async fn post(app: &Router, path: &str, body: &Value) -> Answer {
    let request = Request::post(path).header("content-type", "application/json");
    call(app, request.body(Body::from(body.to_string())).unwrap()).await
}

fn placed(id: &str, order: &str) -> Value {
    json!({ "id": id, "entity": order, "change": {
        "change": "placed", "at": "2026-01-05T12:00:00Z", "restaurant": "r1", "x": 10, "y": 20,
        "quoted_minutes": 40, "preparation_minutes": 15, "travel_minutes": 10,
    }})
}

fn accepted(id: &str, order: &str) -> Value {
    json!({ "id": id, "entity": order, "change": {
        "change": "accepted", "at": "2026-01-05T12:01:00Z", "expected_ready_at": "2026-01-05T12:16:00Z",
    }})
}

async fn notices(folder: &std::path::Path) -> Vec<Value> {
    let database = Database::open(folder.join("orders.sqlite"), "").await.unwrap();
    let texts: Vec<String> = database
        .read(|connection| {
            let mut select = connection.prepare("SELECT draft FROM hob_outbox ORDER BY number")?;
            let texts = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok::<_, OutboxError>(texts)
        })
        .await
        .unwrap();
    texts.iter().map(|text| serde_json::from_str(text).unwrap()).collect()
}

#[tokio::test]
async fn transitions_change_an_entity_once_and_tell_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let app = orders(folder.path()).await;
    let batch = json!({ "transitions": [placed("t1", "o1"), accepted("t2", "o1"), placed("t3", "o2")] });
    let answer = post(&app, "/orders/transitions", &batch).await;
    assert_eq!((answer.status, &answer.body["applied"]), (StatusCode::OK, &json!(3)));
    let again = post(&app, "/orders/transitions", &batch).await;
    assert_eq!((&again.body["applied"], &again.body["already"]), (&json!(0), &json!(3)));

    let order = get(&app, "/orders/o1").await;
    assert_eq!((&order.body["state"], &order.body["restaurant"]), (&json!("accepted"), &json!("r1")));
    assert_eq!(order.body["_links"]["self"]["href"], format!("{ORIGIN}/orders/o1"));
    let etag = order.headers["etag"].to_str().unwrap().to_owned();
    let conditional = Request::get("/orders/o1").header("if-none-match", &etag).body(Body::empty()).unwrap();
    assert_eq!(call(&app, conditional).await.status, StatusCode::NOT_MODIFIED);

    // Two changes in one request are one notice, with the time of the last and the tag of what is now served.
    let notices = notices(folder.path()).await;
    assert_eq!(notices.len(), 2);
    assert_eq!((&notices[0]["topic"], &notices[0]["type"]), (&json!("orders"), &json!("create")));
    assert_eq!((&notices[0]["t"], &notices[0]["entitytag"]), (&json!("2026-01-05T12:01:00Z"), &json!(etag)));
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let app = orders(folder.path()).await;
    let batch = json!({ "transitions": [accepted("t1", "o1"), placed("t2", "12"), placed("t3", "o3")] });
    let answer = post(&app, "/orders/transitions", &batch).await;
    let refused = answer.body["refused"].as_array().unwrap();
    assert_eq!((refused.len(), &answer.body["applied"]), (2, &json!(1)));
    assert!(refused[0]["reason"].as_str().unwrap().contains("does not exist yet"), "{refused:?}");

    let mut delivered = accepted("t4", "o3");
    delivered["change"] = json!({ "change": "delivered", "at": "2026-01-05T12:30:00Z" });
    let answer = post(&app, "/orders/o3/transitions", &delivered).await;
    assert_eq!((answer.status, &answer.body["code"]), (StatusCode::CONFLICT, &json!("HOB-0007")));
    assert_eq!(
        post(&app, "/orders/transitions", &json!({ "transitions": 7 })).await.status,
        StatusCode::BAD_REQUEST
    );
    let missing = get(&app, "/orders/o1").await;
    assert_eq!((missing.status, &missing.body["code"]), (StatusCode::NOT_FOUND, &json!("HOB-0005")));
}

#[tokio::test]
async fn lists_are_walked_to_their_end_and_filtered_by_state() {
    let folder = tempfile::tempdir().unwrap();
    let app = orders(folder.path()).await;
    let mut transitions: Vec<Value> = (1..=5).map(|n| placed(&format!("p{n}"), &format!("o{n}"))).collect();
    transitions.push(accepted("a2", "o2"));
    post(&app, "/orders/transitions", &json!({ "transitions": transitions })).await;
    let mut path = "/orders?limit=2".to_owned();
    let mut seen = Vec::new();
    loop {
        let page = get(&app, &path).await;
        seen.extend(
            page.body["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap().to_owned()),
        );
        match page.body["_links"]["next"]["href"].as_str() {
            Some(next) => {
                assert!(page.headers["link"].to_str().unwrap().contains(next));
                next.clone_into(&mut path);
            }
            None => break,
        }
    }
    assert_eq!(seen, ["o1", "o2", "o3", "o4", "o5"]);
    let page = get(&app, "/orders?state=accepted,delivered").await;
    assert_eq!(page.body["items"].as_array().unwrap().len(), 1);
    assert_eq!(get(&app, "/orders?cursor=x").await.status, StatusCode::BAD_REQUEST);
}
