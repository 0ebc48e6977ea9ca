//! A core of a few lines: says what should run, gives packages, and keeps what it is told.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt;
use hob_core::Digest;
use hob_wire::{InstanceReport, Intended, JoinAnswer, JoinRequest, NodeReport, RecordBatch, SampleBatch};
use tokio::sync::watch;

const DEADLINE: Duration = Duration::from_secs(60);
/// What is kept of a line.
const LINE_CHARS: usize = 300;

#[derive(Clone)]
pub(crate) struct FakeCore {
    pub(crate) url: String,
    inner: Arc<Inner>,
}

struct Inner {
    intended: watch::Sender<Intended>,
    packages: Mutex<BTreeMap<String, Bytes>>,
    report: watch::Sender<Option<NodeReport>>,
    lines: watch::Sender<Vec<String>>,
    samples: watch::Sender<Vec<String>>,
    is_away: watch::Sender<bool>,
}

impl FakeCore {
    pub(crate) async fn start() -> Self {
        let inner = Arc::new(Inner {
            intended: watch::Sender::new(Intended::default()),
            packages: Mutex::default(),
            report: watch::Sender::new(None),
            lines: watch::Sender::default(),
            samples: watch::Sender::default(),
            is_away: watch::Sender::new(false),
        });
        let app = Router::new()
            .route("/v1/nodes/local/intended", get(intended))
            .route("/v1/nodes/local/report", post(report))
            .route("/v1/nodes", post(join))
            .route("/v1/packages/{digest}", get(package))
            .route("/v1/records", post(records))
            .route("/v1/samples", post(samples))
            .with_state(Arc::clone(&inner));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, inner }
    }

    pub(crate) fn keep_package(&self, bytes: Vec<u8>) -> Digest {
        let digest = Digest::of(&bytes);
        self.inner.packages.lock().unwrap().insert(digest.to_string(), bytes.into());
        digest
    }

    pub(crate) fn intend(&self, change: impl FnOnce(&mut Intended)) {
        self.inner.intended.send_modify(|intended| {
            change(intended);
            intended.revision += 1;
        });
    }

    /// While it is away every answer is 503 and no stream is open.
    pub(crate) fn go_away(&self, is_away: bool) {
        self.inner.is_away.send_replace(is_away);
    }

    /// Waits for a report in which the instance is as asked for.
    pub(crate) async fn wait_instance(
        &self,
        id: &str,
        what: &str,
        is_so: impl Fn(&InstanceReport) -> bool,
    ) -> InstanceReport {
        let find = |report: &Option<NodeReport>| {
            report.as_ref()?.instances.iter().find(|report| report.id == id && is_so(report)).cloned()
        };
        let mut reports = self.inner.report.subscribe();
        let waited = tokio::time::timeout(DEADLINE, reports.wait_for(|report| find(report).is_some())).await;
        match waited {
            Ok(report) => find(&report.unwrap()).unwrap(),
            Err(_) => panic!(
                "{id} never was {what}: {:?}; {:?}",
                self.inner.report.borrow(),
                self.inner.lines.borrow()
            ),
        }
    }

    /// Waits for a report that is as asked for.
    pub(crate) async fn wait_report(&self, what: &str, is_so: impl Fn(&NodeReport) -> bool) -> NodeReport {
        let is = |report: &Option<NodeReport>| report.as_ref().is_some_and(&is_so);
        let mut reports = self.inner.report.subscribe();
        let waited = tokio::time::timeout(DEADLINE, reports.wait_for(is)).await;
        match waited {
            Ok(report) => report.unwrap().clone().unwrap(),
            Err(_) => panic!("no report was {what}: {:?}", self.inner.report.borrow()),
        }
    }

    /// All lines that were forwarded.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.inner.lines.borrow().clone()
    }

    /// Waits for a report that has taken in the newest revision and no longer lists the instance.
    pub(crate) async fn wait_gone(&self, id: &str) {
        let revision = self.inner.intended.borrow().revision;
        let is_gone = |report: &Option<NodeReport>| {
            report.as_ref().is_some_and(|report| {
                report.revision >= revision && report.instances.iter().all(|instance| instance.id != id)
            })
        };
        let mut reports = self.inner.report.subscribe();
        let waited = tokio::time::timeout(DEADLINE, reports.wait_for(is_gone)).await;
        waited.unwrap_or_else(|_| panic!("{id} is never gone")).unwrap();
    }

    pub(crate) async fn wait_line(&self, what: &str) -> String {
        wait_text(&self.inner.lines, what).await
    }

    pub(crate) async fn wait_sample(&self, what: &str) -> String {
        wait_text(&self.inner.samples, what).await
    }
}

async fn wait_text(texts: &watch::Sender<Vec<String>>, what: &str) -> String {
    let mut reader = texts.subscribe();
    let waited =
        tokio::time::timeout(DEADLINE, reader.wait_for(|all| all.iter().any(|text| text.contains(what))))
            .await;
    match waited {
        Ok(all) => all.unwrap().iter().find(|text| text.contains(what)).unwrap().clone(),
        Err(_) => panic!("{what:?} was never forwarded: {:?}", texts.borrow()),
    }
}

async fn intended(State(core): State<Arc<Inner>>) -> Result<Body, StatusCode> {
    present(&core)?;
    let items = tokio_stream(core.intended.subscribe(), core.is_away.subscribe());
    Ok(Body::from_stream(items.map(Ok::<_, Infallible>)))
}

fn tokio_stream(
    intended: watch::Receiver<Intended>,
    away: watch::Receiver<bool>,
) -> impl futures_util::Stream<Item = Bytes> {
    let line = |intended: &Intended| Bytes::from(format!("{}\n", serde_json::to_string(intended).unwrap()));
    futures_util::stream::unfold(
        (intended, away, true),
        move |(mut intended, mut away, is_first)| async move {
            if is_first {
                let item = line(&intended.borrow_and_update());
                return Some((item, (intended, away, false)));
            }
            let item = tokio::select! {
                changed = intended.changed() => {
                    changed.ok()?;
                    line(&intended.borrow_and_update())
                }
                _ = away.wait_for(|is_away| *is_away) => return None,
                () = tokio::time::sleep(Duration::from_secs(2)) => Bytes::from_static(b"\n"),
            };
            Some((item, (intended, away, false)))
        },
    )
}

async fn join(
    State(core): State<Arc<Inner>>,
    headers: HeaderMap,
    Json(request): Json<JoinRequest>,
) -> Result<Json<JoinAnswer>, StatusCode> {
    present(&core)?;
    assert!(request.facts.cores > 0, "{request:?}");
    match headers["authorization"].to_str().unwrap() {
        "Bearer join-me" => Ok(Json(JoinAnswer { name: request.name, token: "node-token".to_owned() })),
        _ => Err(StatusCode::UNAUTHORIZED),
    }
}

async fn report(State(core): State<Arc<Inner>>, body: Bytes) -> Result<StatusCode, StatusCode> {
    present(&core)?;
    core.report.send_replace(Some(serde_json::from_slice(&body).unwrap()));
    Ok(StatusCode::NO_CONTENT)
}

async fn package(State(core): State<Arc<Inner>>, Path(digest): Path<String>) -> Result<Bytes, StatusCode> {
    present(&core)?;
    core.packages.lock().unwrap().get(&digest).cloned().ok_or(StatusCode::NOT_FOUND)
}

async fn records(State(core): State<Arc<Inner>>, body: Bytes) -> Result<StatusCode, StatusCode> {
    present(&core)?;
    let batch: RecordBatch = serde_json::from_slice(&body).unwrap();
    let lines = batch.records.into_iter().map(|record| {
        let line: String = record.line.unwrap_or_default().chars().take(LINE_CHARS).collect();
        format!("{:?} {} {line}", record.source, record.instance.unwrap_or_default())
    });
    core.lines.send_modify(|all| all.extend(lines));
    Ok(StatusCode::NO_CONTENT)
}

async fn samples(State(core): State<Arc<Inner>>, body: Bytes) -> Result<StatusCode, StatusCode> {
    present(&core)?;
    let batch: SampleBatch = serde_json::from_slice(&body).unwrap();
    let texts = batch.statsd.into_iter().map(|datagram| format!("{} {}", datagram.instance, datagram.text));
    core.samples.send_modify(|all| all.extend(texts));
    Ok(StatusCode::NO_CONTENT)
}

fn present(core: &Inner) -> Result<(), StatusCode> {
    if *core.is_away.borrow() { Err(StatusCode::SERVICE_UNAVAILABLE) } else { Ok(()) }
}
