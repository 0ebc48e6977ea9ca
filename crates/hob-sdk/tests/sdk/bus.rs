//! A bus in memory that speaks as much of Hob's API as the SDK calls, and a service whose entities it tells of.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hob_sdk::axum::extract::{Path, State};
use hob_sdk::axum::http::{HeaderMap, StatusCode};
use hob_sdk::axum::response::sse::{Event as SseEvent, Sse};
use hob_sdk::axum::response::{IntoResponse, Response};
use hob_sdk::axum::routing::{get, post, put};
use hob_sdk::axum::{Json, Router};
use hob_sdk::core::{CODES, Code, code};
use hob_sdk::server::Representation;
use hob_sdk::wire::{Ack, Batch, Draft, Event, Notice, Problem, Published, Seek, sequence_text};
use hob_sdk::{Client, Config};
use tokio::net::TcpListener;
use tokio::sync::watch;

pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// What the tests see and steer.
#[derive(Clone)]
pub(crate) struct Bus {
    pub(crate) shared: Arc<Shared>,
    pub(crate) origin: String,
}

pub(crate) struct Shared {
    pub(crate) events: Mutex<Vec<Event>>,
    pub(crate) posts: Mutex<Vec<usize>>,
    pub(crate) cursors: Mutex<HashMap<String, usize>>,
    pub(crate) refuse: Mutex<Option<StatusCode>>,
    /// Posts with more drafts are too large.
    pub(crate) drafts_max: Mutex<usize>,
    /// Posts that are answered with 429 before one is taken again.
    pub(crate) over_quota: Mutex<usize>,
    /// Events up to here are no longer kept.
    pub(crate) gone: Mutex<usize>,
    pub(crate) seeks: Mutex<Vec<String>>,
    pub(crate) acks: Mutex<Vec<Ack>>,
    pub(crate) entities: Mutex<HashMap<String, u64>>,
    pub(crate) fetches: Mutex<Vec<HeaderMap>>,
    head: watch::Sender<usize>,
    cut: watch::Sender<u64>,
}

impl Bus {
    /// A bus and a service on a port of their own; the router is left out, as the service is where its hrefs point.
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            posts: Mutex::default(),
            cursors: Mutex::default(),
            refuse: Mutex::default(),
            drafts_max: Mutex::new(usize::MAX),
            over_quota: Mutex::default(),
            gone: Mutex::default(),
            seeks: Mutex::default(),
            acks: Mutex::default(),
            entities: Mutex::default(),
            fetches: Mutex::default(),
            head: watch::Sender::new(0),
            cut: watch::Sender::new(0),
        });
        let router = Router::new()
            .route("/v1/events", post(publish))
            .route("/v1/topics/{topic}/events", post(publish_on))
            .route("/v1/subscriptions/{name}", put(subscribe).delete(unsubscribe))
            .route("/v1/subscriptions/{name}/events", get(follow))
            .route("/v1/subscriptions/{name}/cursor", put(seek))
            .route("/v1/subscriptions/{name}/acks", post(acknowledge))
            .route("/things/{name}", get(thing))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { hob_sdk::axum::serve(listener, router).await.unwrap() });
        Self { shared, origin }
    }

    pub(crate) fn config(&self, data_dir: &std::path::Path) -> Config {
        config(&self.origin, data_dir)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.config(std::path::Path::new("/nowhere"))).unwrap()
    }

    pub(crate) fn href(&self, name: &str) -> String {
        format!("{}/things/{name}", self.origin)
    }

    /// Changes a thing and tells of it.
    pub(crate) fn change(&self, name: &str) {
        *self.shared.entities.lock().unwrap().entry(name.to_owned()).or_default() += 1;
        let notice = Notice { href: Some(self.href(name)), ..Notice::new("update") };
        self.shared.append(&[Draft { topic: "things".parse().unwrap(), notice }]);
    }

    /// Ends every stream.
    pub(crate) fn cut(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    pub(crate) fn fetches(&self) -> usize {
        self.shared.fetches.lock().unwrap().len()
    }

    pub(crate) fn hrefs(&self) -> Vec<String> {
        self.shared.events.lock().unwrap().iter().filter_map(|event| event.subject.clone()).collect()
    }
}

pub(crate) fn config(origin: &str, data_dir: &std::path::Path) -> Config {
    let vars = [
        ("HOB_TOKEN", "secret"),
        ("HOB_SERVICE", "things"),
        ("HOB_ENVIRONMENT", "demo"),
        ("HOB_TENANT", "uk"),
        ("HOB_URL", origin),
        ("HOB_PUBLIC_URL", origin),
        ("DATA_DIR", data_dir.to_str().unwrap()),
    ];
    Config::from_vars(vars.map(|(name, value)| (name.to_owned(), value.to_owned()))).unwrap()
}

impl Shared {
    /// Streams that are open.
    pub(crate) fn followers(&self) -> usize {
        self.head.receiver_count()
    }

    /// Loses every event and cursor's place.
    pub(crate) fn forget(&self) {
        self.events.lock().unwrap().clear();
        self.cursors.lock().unwrap().values_mut().for_each(|cursor| *cursor = 0);
    }

    fn append(&self, drafts: &[Draft]) -> Published {
        let mut events = self.events.lock().unwrap();
        let first = events.len() + 1;
        let mut deduplicated = 0;
        for draft in drafts {
            let sequence = events.len() + 1;
            let notice = draft.notice.clone();
            let id = notice.id.unwrap_or_else(|| format!("hob-{sequence}"));
            if events.iter().any(|event| event.id == id) {
                deduplicated += 1;
                continue;
            }
            let nth = events.iter().filter(|event| event.subject == notice.href).count() as u64 + 1;
            events.push(Event {
                specversion: "1.0".to_owned(),
                id,
                source: "/services/things".to_owned(),
                kind: format!("{}.{}", draft.topic, notice.kind),
                subject: notice.href,
                time: notice.t.unwrap_or_default(),
                dataschema: None,
                data_base64: None,
                notbefore: None,
                extensions: std::collections::BTreeMap::new(),
                datacontenttype: None,
                data: notice.data,
                topic: draft.topic.clone(),
                sequence: sequence_text(sequence as u64),
                recordedtime: notice.t.unwrap_or_default(),
                requestid: notice.requestid,
                traceparent: notice.traceparent,
                entityseq: Some(nth),
                entitytag: notice.entitytag,
                environment: "demo".parse().unwrap(),
                tenant: "uk".parse().unwrap(),
            });
        }
        let last = events.len();
        drop(events);
        self.head.send_replace(last);
        Published { first: sequence_text(first as u64), last: sequence_text(last as u64), deduplicated }
    }
}

type Bus_ = State<Arc<Shared>>;

async fn publish(State(bus): Bus_, headers: HeaderMap, Json(drafts): Json<Vec<Draft>>) -> Response {
    assert_eq!(headers["authorization"], "Bearer secret");
    bus.posts.lock().unwrap().push(drafts.len());
    let mut over_quota = bus.over_quota.lock().unwrap();
    if *over_quota > 0 {
        *over_quota -= 1;
        return ([("retry-after", "0")], problem(code::QUOTA)).into_response();
    }
    if drafts.len() > *bus.drafts_max.lock().unwrap() {
        return problem(code::TOO_LARGE);
    }
    let flawed = drafts.iter().find_map(|draft| flaw(&draft.notice.kind));
    let refused = *bus.refuse.lock().unwrap();
    match refused.map(IntoResponse::into_response).or(flawed) {
        Some(refusal) => refusal,
        None => (StatusCode::CREATED, Json(bus.append(&drafts))).into_response(),
    }
}

/// How Hob answers to an event of this type: those that are named after an error number get it.
fn flaw(kind: &str) -> Option<Response> {
    match kind.strip_prefix("hob-").and_then(|number| number.parse::<u16>().ok()) {
        Some(number) => CODES.iter().find(|code| code.number == number).map(|code| problem(*code)),
        None => (kind == "bad").then(|| StatusCode::UNPROCESSABLE_ENTITY.into_response()),
    }
}

fn problem(code: Code) -> Response {
    (StatusCode::from_u16(code.status).unwrap(), Json(Problem::new(code, code.title))).into_response()
}

async fn publish_on(State(bus): Bus_, Path(topic): Path<String>, Json(notice): Json<Notice>) -> Response {
    let draft = Draft { topic: topic.parse().unwrap(), notice };
    (StatusCode::CREATED, Json(bus.append(&[draft]))).into_response()
}

async fn subscribe(State(bus): Bus_, Path(name): Path<String>) -> Response {
    let head = bus.events.lock().unwrap().len();
    let cursor = *bus.cursors.lock().unwrap().entry(name.clone()).or_insert(head);
    let state = serde_json::json!({
        "name": name, "service": "things", "environment": "demo", "tenant": "uk", "topics": ["things"],
        "state": "active", "cursor": sequence_text(cursor as u64), "lag_events": 0, "lag_seconds": 0.0,
        "in_flight": 0, "streams": 0,
    });
    Json(state).into_response()
}

async fn unsubscribe(State(bus): Bus_, Path(name): Path<String>) -> StatusCode {
    if bus.cursors.lock().unwrap().remove(&name).is_some() {
        StatusCode::NO_CONTENT
    } else {
        StatusCode::NOT_FOUND
    }
}

async fn follow(State(bus): Bus_, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(cursor) = bus.cursors.lock().unwrap().get(&name).copied() else {
        return StatusCode::NOT_FOUND.into_response();
    };
    if headers.get("accept").is_none_or(|accept| accept != "text/event-stream") {
        let events = bus.events.lock().unwrap()[cursor..].to_vec();
        if events.is_empty() {
            return StatusCode::NO_CONTENT.into_response();
        }
        return Json(Batch { lease: "l1".to_owned(), expires: Default::default(), events }).into_response();
    }
    let last = headers.get("last-event-id").map(|id| id.to_str().unwrap().parse::<usize>().unwrap());
    if last.unwrap_or(cursor) < *bus.gone.lock().unwrap() {
        return problem(code::CURSOR_EXPIRED);
    }
    if last.is_some_and(|last| last > bus.events.lock().unwrap().len()) {
        return problem(code::SEEK_AHEAD);
    }
    let (head, cut) = (bus.head.subscribe(), bus.cut.subscribe());
    Sse::new(futures_util::stream::unfold((last.unwrap_or(cursor), true, head, cut, bus), step))
        .into_response()
}

async fn seek(State(bus): Bus_, Path(name): Path<String>, Json(seek): Json<Seek>) -> Response {
    let at = if seek.at == "end" { bus.events.lock().unwrap().len() } else { *bus.gone.lock().unwrap() };
    bus.cursors.lock().unwrap().insert(name.clone(), at);
    bus.seeks.lock().unwrap().push(seek.at);
    subscribe(State(bus), Path(name)).await
}

type Following = (usize, bool, watch::Receiver<usize>, watch::Receiver<u64>, Arc<Shared>);

/// Every event, and a heartbeat whenever all of them have been brought.
async fn step(state: Following) -> Option<(Result<SseEvent, Infallible>, Following)> {
    let (position, beat, mut head, mut cut, bus) = state;
    loop {
        if cut.has_changed().unwrap_or(true) {
            return None;
        }
        let next = bus.events.lock().unwrap().get(position).cloned();
        if let Some(event) = next {
            let sse = SseEvent::default().id(&event.sequence).event("event").json_data(&event).unwrap();
            return Some((Ok(sse), (position + 1, true, head, cut, bus)));
        }
        if beat {
            let data = serde_json::json!({ "head": sequence_text(position as u64) });
            let sse = SseEvent::default().event("heartbeat").json_data(data).unwrap();
            return Some((Ok(sse), (position, false, head, cut, bus)));
        }
        tokio::select! {
            _ = head.changed() => {}
            _ = cut.changed() => return None,
        }
    }
}

async fn acknowledge(State(bus): Bus_, Path(name): Path<String>, Json(ack): Json<Ack>) -> StatusCode {
    let done = ack.ack.len();
    *bus.cursors.lock().unwrap().get_mut(&name).unwrap() += done;
    bus.acks.lock().unwrap().push(ack);
    StatusCode::NO_CONTENT
}

async fn thing(State(bus): Bus_, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let version = bus.entities.lock().unwrap().get(&name).copied();
    bus.fetches.lock().unwrap().push(headers.clone());
    match version {
        Some(version) => {
            let body = serde_json::json!({ "name": name, "version": version });
            Representation::hal(&body).unwrap().answer(&headers)
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Asks again and again until the answer is yes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let poll = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, poll).await.is_ok(), "waited in vain until {what}");
}
