//! The whole way of a change: the restaurants' real service and outbox, a bus in memory, the page.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_sdk::axum::Json;
use hob_sdk::axum::body::{Body, to_bytes};
use hob_sdk::axum::extract::{Request, State};
use hob_sdk::axum::http::StatusCode;
use hob_sdk::axum::middleware::{self, Next};
use hob_sdk::axum::response::sse::{Event as SseEvent, Sse};
use hob_sdk::axum::response::{IntoResponse, Response};
use hob_sdk::axum::routing::{post, put};
use hob_sdk::wire::{Draft, sequence_text};
use hob_sdk::{Request as Call, RequestContext};
use serde_json::{Value, json};
use takeaway_domain::Store;
use takeaway_world::Restaurant;
use tokio::sync::watch;
use tokio::time::Instant;
use tower::ServiceExt;

use super::*;

const DEADLINE: Duration = Duration::from_secs(10);
const RESTAURANTS: usize = 100;

#[derive(Clone)]
struct Bus {
    drafts: Arc<Mutex<Vec<Draft>>>,
    head: watch::Sender<usize>,
}

async fn publish(State(bus): State<Bus>, Json(drafts): Json<Vec<Draft>>) -> Response {
    let mut all = bus.drafts.lock().unwrap();
    all.extend(drafts);
    let head = all.len();
    drop(all);
    bus.head.send_replace(head);
    let at = sequence_text(head as u64);
    (StatusCode::CREATED, Json(json!({ "first": at, "last": at, "deduplicated": 0 }))).into_response()
}

async fn subscribe() -> Json<Value> {
    Json(json!({
        "name": "storefront.cache", "service": "storefront", "environment": "demo", "tenant": "uk",
        "topics": ["restaurants"], "state": "active", "cursor": sequence_text(0), "lag_events": 0, "lag_seconds": 0.0,
        "in_flight": 0, "streams": 0,
    }))
}

async fn follow(State(bus): State<Bus>) -> Response {
    let at = bus.drafts.lock().unwrap().len();
    let stream = futures_util::stream::unfold(
        (at, true, bus.head.subscribe(), bus),
        async |(at, beat, mut head, bus)| {
            loop {
                let next = bus.drafts.lock().unwrap().get(at).cloned();
                if let Some(draft) = next {
                    let event = event(&draft, at + 1);
                    return Some((Ok::<_, Infallible>(event), (at + 1, true, head, bus)));
                }
                if beat {
                    let beat = SseEvent::default()
                        .event("heartbeat")
                        .data(json!({ "head": sequence_text(at as u64) }).to_string());
                    return Some((Ok(beat), (at, false, head, bus)));
                }
                head.changed().await.ok()?;
            }
        },
    );
    Sse::new(stream).into_response()
}

fn event(draft: &Draft, sequence: usize) -> SseEvent {
    let sequence = sequence_text(sequence as u64);
    let data = json!({
        "specversion": "1.0", "id": sequence, "source": "/services/restaurants", "topic": draft.topic,
        "type": format!("{}.{}", draft.topic, draft.notice.kind), "subject": draft.notice.href,
        "time": draft.notice.t, "recordedtime": draft.notice.t, "sequence": sequence,
        "entitytag": draft.notice.entitytag, "environment": "demo", "tenant": "uk",
    });
    SseEvent::default().id(sequence).event("event").data(data.to_string())
}

async fn count(State(reads): State<Arc<AtomicUsize>>, request: Request, next: Next) -> Response {
    reads.fetch_add(usize::from(request.method() == "GET"), Ordering::SeqCst);
    next.run(request).await
}

fn config(origin: &str) -> Config {
    let vars = [
        ("HOB_TOKEN", "t"),
        ("HOB_SERVICE", "storefront"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("DATA_DIR", "/nowhere"),
        ("HOB_URL", origin),
        ("HOB_PUBLIC_URL", origin),
    ];
    Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

async fn page(storefront: &Router) -> Value {
    let request = Request::get("/page").body(Body::empty()).unwrap();
    let body = storefront.clone().oneshot(request).await.unwrap().into_body();
    serde_json::from_slice(&to_bytes(body, 1 << 22).await.unwrap()).unwrap()
}

async fn page_when(storefront: &Router, holds: impl Fn(&Value) -> bool) -> Value {
    let poll = async {
        loop {
            let page = page(storefront).await;
            if holds(&page) {
                return page;
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(DEADLINE, poll).await.expect("the page becomes as expected")
}

#[tokio::test]
async fn a_warm_page_asks_nobody_and_is_fresh_soon_after_a_change() {
    let folder = tempfile::tempdir().unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let store = Store::open(folder.path(), "restaurants", &origin).await.unwrap();
    let (bus, reads) =
        (Bus { drafts: Arc::default(), head: watch::Sender::new(0) }, Arc::new(AtomicUsize::new(0)));
    let restaurants = takeaway_domain::router::<Restaurant>(store.clone());
    let counted = restaurants.layer(middleware::from_fn_with_state(Arc::clone(&reads), count));
    let hob = Router::new()
        .route("/v1/events", post(publish))
        .route("/v1/subscriptions/{name}", put(subscribe).delete(async || StatusCode::NO_CONTENT))
        .route("/v1/subscriptions/{name}/events", get(follow))
        .with_state(bus);
    tokio::spawn(async move { hob_sdk::axum::serve(listener, counted.merge(hob)).await });
    let (config, client) = (config(&origin), Client::new(&config(&origin)).unwrap());
    let relay = store.outbox().relay(&client, &config);

    let opened = |number: usize| {
        json!({ "id": format!("open-{number}"), "entity": format!("r{number}"), "change": {
            "change": "opened", "at": "2026-01-05T09:00:00Z", "name": format!("Kitchen {number}"), "x": 0, "y": 0,
        }})
    };
    let all: Vec<Value> = (1..=RESTAURANTS).map(opened).collect();
    let transitions = client.href("/restaurants/transitions");
    let tell = async |changes: Value| {
        let context = RequestContext { request_id: "test".to_owned(), traceparent: None };
        let call = Call::post(&transitions).json(&json!({ "transitions": changes }));
        context.scope(client.send(call)).await.unwrap().success().unwrap();
    };
    tell(json!(all)).await;

    let shared =
        Shared { cache: Cache::new(&client, CacheOptions::default()), directory: Directory::default() };
    let stream = Stream::from_now(&client, "storefront.cache", from_now_on(&["restaurants"]).unwrap());
    tokio::spawn(directory::follow(client.clone(), stream, shared.clone()));
    let storefront = router(shared);
    let warm = |page: &Value| {
        page["live"] == true
            && page["upstream_requests"] == 0
            && page["restaurants"].as_array().unwrap().len() == RESTAURANTS
    };
    page_when(&storefront, warm).await;
    let before = reads.load(Ordering::SeqCst);
    assert!(warm(&page(&storefront).await));
    assert_eq!(reads.load(Ordering::SeqCst), before, "a warm page asked somebody");

    let change = json!({ "change": "accepting", "at": "2026-01-05T10:00:00Z", "accepting": false });
    tell(json!([{ "id": "close-7", "entity": "r7", "change": change }])).await;
    let begun = Instant::now();
    let fresh = page_when(&storefront, |page| page["restaurants"][6]["accepting"] == false).await;
    // Said, not judged: how long it takes depends on the machine.
    println!("fresh {} ms after the change was acknowledged", begun.elapsed().as_millis());
    assert_eq!(fresh["restaurants"].as_array().unwrap().len(), RESTAURANTS);
    assert_eq!(reads.load(Ordering::SeqCst), before + 1, "one change is one request");
    relay.stop().await;
}
