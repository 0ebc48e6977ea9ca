//! The client: where requests go, what goes along, what is repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hob_sdk::axum::Router;
use hob_sdk::axum::http::{HeaderMap, StatusCode};
use hob_sdk::axum::routing::{get, post};
use hob_sdk::{Client, Config, Request, RequestContext};
use serde_json::Value;

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { hob_sdk::axum::serve(listener, router).await });
    origin
}

fn client(api: &str, public: &str, router: &str) -> Client {
    let vars = [
        ("HOB_TOKEN", "secret"),
        ("HOB_SERVICE", "things"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("DATA_DIR", "/nowhere"),
        ("HOB_URL", api),
        ("HOB_PUBLIC_URL", public),
        ("HOB_ROUTER_URL", router),
    ];
    let vars = vars.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Client::new(&Config::from_vars(vars).unwrap()).unwrap()
}

async fn echo(headers: HeaderMap) -> hob_sdk::axum::Json<Value> {
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    hob_sdk::axum::Json(serde_json::json!({
        "host": text("host"), "token": text("authorization"), "request_id": text("x-request-id"), "trace": text("traceparent"),
    }))
}

#[tokio::test]
async fn hrefs_keep_their_host_and_only_hob_sees_the_token() {
    let origin = serve(Router::new().route("/orders/o1", get(echo)).route("/v1/me", get(echo))).await;
    let client = client(&origin, "https://uk.takeaway.test", &origin);
    let context = RequestContext { request_id: "r1".to_owned(), traceparent: Some("00-a-b-01".to_owned()) };
    let seen: Value =
        context.scope(client.get("https://uk.takeaway.test/orders/o1")).await.unwrap().json().unwrap();
    assert_eq!((&seen["host"], &seen["token"]), (&"uk.takeaway.test".into(), &Value::Null));
    assert_eq!((&seen["request_id"], &seen["trace"]), (&"r1".into(), &"00-a-b-01".into()));
    let seen: Value = client.get("/v1/me").await.unwrap().json().unwrap();
    assert_eq!((&seen["token"], &seen["request_id"]), (&"Bearer secret".into(), &Value::Null));
}

#[tokio::test]
async fn what_may_be_repeated_is_and_the_rest_is_not() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let answer = move || {
        let nth = counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(if nth.is_multiple_of(2) { StatusCode::BAD_GATEWAY } else { StatusCode::OK })
    };
    let origin =
        serve(Router::new().route("/x", get(answer.clone()).post(answer.clone())).route("/y", post(answer)))
            .await;
    let client = client(&origin, &origin, &origin);
    assert_eq!(client.get(&format!("{origin}/x")).await.unwrap().status, 200);
    assert_eq!(client.send(Request::post(format!("{origin}/x"))).await.unwrap().status, 502);
    assert_eq!(calls.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_refusal_says_what_its_problem_says() {
    let problem = async || hob_sdk::server::not_found("order o9 does not exist");
    let origin = serve(Router::new().route("/orders/o9", get(problem))).await;
    let error = client(&origin, &origin, &origin)
        .get(&format!("{origin}/orders/o9"))
        .await
        .unwrap()
        .success()
        .unwrap_err();
    assert_eq!(error.status(), Some(StatusCode::NOT_FOUND));
    assert!(error.to_string().contains("order o9 does not exist"), "{error}");
}
