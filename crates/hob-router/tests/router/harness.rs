//! What the tests stand on: a core that is told what to say and remembers what it hears, instances that can be killed,
//! and a router between them.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use hob_core::{Clock, Secret};
use hob_router::{Config, Limits, Router};
use hob_wire::{Pool, RecordBatch, RecordIn, Route, RouterReport, RoutingSnapshot, Target};
use http::{Request, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

pub(crate) type Body = BoxBody<Bytes, Infallible>;
pub(crate) type Reply = BoxFuture<'static, Response<Body>>;

/// How long any test waits for something that must happen.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// An HTTP server on loopback that can be killed with all its connections, as by SIGKILL.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: AbortHandle,
}

impl Server {
    pub(crate) async fn start(handler: impl Fn(Request<Incoming>) -> Reply + Send + Sync + 'static) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), handler).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        handler: impl Fn(Request<Incoming>) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let handler = Arc::new(handler);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let handler = Arc::clone(&handler);
                let service = service_fn(move |request| {
                    let reply = handler(request);
                    async move { Ok::<_, Infallible>(reply.await) }
                });
                connections.spawn(
                    http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades(),
                );
            }
        });
        Self { address, task: task.abort_handle() }
    }

    pub(crate) fn kill(&self) {
        self.task.abort();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A server that speaks raw bytes: each connection is handed to `talk`.
pub(crate) async fn raw_server<F: Future<Output = ()> + Send + 'static>(
    talk: impl Fn(TcpStream) -> F + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(talk(stream));
        }
    });
    address
}

pub(crate) fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed())
}

pub(crate) fn reply(response: Response<Body>) -> Reply {
    Box::pin(async move { response })
}

/// What a core says and hears.
pub(crate) struct Core {
    pub(crate) address: SocketAddr,
    pub(crate) server: Server,
    pub(crate) says: watch::Sender<RoutingSnapshot>,
    pub(crate) heard: Arc<Heard>,
}

pub(crate) struct Heard {
    pub(crate) reports: watch::Sender<Vec<RouterReport>>,
    pub(crate) records: Mutex<Vec<RecordIn>>,
}

pub(crate) const TOKEN: &str = "hob_router_test";

impl Core {
    pub(crate) async fn start(snapshot: RoutingSnapshot) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), snapshot).await
    }

    pub(crate) async fn start_at(address: SocketAddr, snapshot: RoutingSnapshot) -> Self {
        let says = watch::Sender::new(snapshot);
        let heard = Arc::new(Heard { reports: watch::Sender::new(Vec::new()), records: Mutex::default() });
        let (of_says, of_heard) = (says.clone(), Arc::clone(&heard));
        let server = Server::start_at(address, move |request| {
            core_reply(request, of_says.subscribe(), Arc::clone(&of_heard))
        })
        .await;
        Self { address: server.address, server, says, heard }
    }

    /// Waits until a report fits.
    pub(crate) async fn hears(&self, what: &str, fits: impl Fn(&RouterReport) -> bool) -> RouterReport {
        let mut reports = self.heard.reports.subscribe();
        let heard =
            tokio::time::timeout(PATIENCE, reports.wait_for(|reports| reports.iter().any(&fits))).await;
        let reports = heard.unwrap_or_else(|_| panic!("never heard: {what}")).unwrap();
        reports.iter().find(|report| fits(report)).unwrap().clone()
    }

    /// Waits until a record fits.
    pub(crate) async fn record(&self, what: &str, fits: impl Fn(&RecordIn) -> bool) -> RecordIn {
        let found = || self.heard.records.lock().unwrap().iter().find(|record| fits(record)).cloned();
        eventually(what, || async { found() }).await
    }

    /// Says a new snapshot and waits until the router routes by it.
    pub(crate) async fn route(&self, change: impl FnOnce(&mut RoutingSnapshot)) -> u64 {
        self.says.send_modify(|snapshot| {
            change(snapshot);
            snapshot.generation += 1;
        });
        let generation = self.says.borrow().generation;
        self.hears("the new generation", |report| report.generation == generation).await;
        generation
    }
}

fn core_reply(
    request: Request<Incoming>,
    says: watch::Receiver<RoutingSnapshot>,
    heard: Arc<Heard>,
) -> Reply {
    Box::pin(async move {
        assert_eq!(request.headers()["authorization"], format!("Bearer {TOKEN}"));
        let (head, body) = request.into_parts();
        if head.uri.path() == "/v1/routing" {
            let mut says = says;
            says.mark_changed();
            let lines = futures_util::stream::unfold(says, |mut says| async move {
                let line = match tokio::time::timeout(Duration::from_secs(2), says.changed()).await {
                    Err(_) => "\n".to_owned(),
                    Ok(Err(_)) => return None,
                    Ok(Ok(())) => serde_json::to_string(&*says.borrow_and_update()).unwrap() + "\n",
                };
                Some((line, says))
            });
            let frames = lines.map(|line| Ok(Frame::data(Bytes::from(line))));
            return Response::new(BodyExt::boxed(SyncBody(Mutex::new(StreamBody::new(frames.boxed())))));
        }
        let Ok(body) = body.collect().await else { return text("") };
        let body = body.to_bytes();
        match head.uri.path() {
            "/v1/routers/edge/report" => {
                let report: RouterReport = serde_json::from_slice(&body).unwrap();
                heard.reports.send_modify(|reports| reports.push(report));
            }
            "/v1/records" => {
                let batch: RecordBatch = serde_json::from_slice(&body).unwrap();
                heard.records.lock().unwrap().extend(batch.records);
            }
            path => panic!("the core has no {path}"),
        }
        let mut response = text("");
        *response.status_mut() = StatusCode::NO_CONTENT;
        response
    })
}

/// A body that may be shared between threads, which is what a boxed one must be.
pub(crate) struct SyncBody<B>(pub Mutex<B>);

impl<B: hyper::body::Body + Unpin> hyper::body::Body for SyncBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        std::pin::Pin::new(self.get_mut().0.get_mut().unwrap()).poll_frame(cx)
    }
}

/// A router, and the core that it follows.
pub(crate) struct World {
    pub(crate) core: Core,
    pub(crate) router: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    pub(crate) running: JoinHandle<()>,
}

pub(crate) fn config(core: SocketAddr, limits: Limits) -> Config {
    Config {
        name: "edge".parse().unwrap(),
        listen: "127.0.0.1:0".parse().unwrap(),
        core_url: format!("http://{core}"),
        token: Secret::new(TOKEN),
        snapshot_file: None,
        clock: Clock::system(),
        limits,
    }
}

impl World {
    /// A router before these instances, which all serve `/`; ready when this returns.
    pub(crate) async fn start(instances: &[SocketAddr], limits: Limits) -> Self {
        let core = Core::start(snapshot(1, instances)).await;
        let config = config(core.address, limits);
        Self::start_with(core, config).await
    }

    pub(crate) async fn start_with(core: Core, config: Config) -> Self {
        let router = Router::bind(config).await.unwrap();
        let address = router.address();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(router.run(async move { _ = stopped.await }));
        let world = Self { core, router: address, stop: Some(stop), running };
        let generation = world.core.says.borrow().generation;
        world.core.hears("the first generation", |report| report.generation == generation).await;
        world
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.router)
    }

    pub(crate) fn stop(&mut self) {
        _ = self.stop.take().unwrap().send(());
    }

    /// Sends raw bytes on a new connection, and returns all that comes back until the router closes it.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.router).await.unwrap();
        stream.write_all(bytes).await.unwrap();
        let mut answer = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
        read.expect("the router closes the connection").unwrap();
        String::from_utf8(answer).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.running.abort();
    }
}

/// A snapshot in which all instances serve `/` as the service `orders`; instance `i<port>` listens on its port.
pub(crate) fn snapshot(generation: u64, instances: &[SocketAddr]) -> RoutingSnapshot {
    let route =
        Route { host: None, path: "/".to_owned(), pool: "orders.qa.uk".to_owned(), ..Default::default() };
    RoutingSnapshot {
        generation,
        routes: vec![route],
        pools: [("orders.qa.uk".to_owned(), pool(instances))].into(),
        ..RoutingSnapshot::default()
    }
}

pub(crate) fn pool(instances: &[SocketAddr]) -> Pool {
    let target = |address: &SocketAddr| Target {
        instance: name(*address),
        address: address.to_string(),
        release: 1,
        ..Target::default()
    };
    Pool::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), instances.iter().map(target).collect())
}

pub(crate) fn name(address: SocketAddr) -> String {
    format!("i{}", address.port())
}

pub(crate) fn set(snapshot: &mut RoutingSnapshot, instances: &[SocketAddr]) {
    snapshot.pools = [("orders.qa.uk".to_owned(), pool(instances))].into();
}

pub(crate) type HttpClient = Client<HttpConnector, Full<Bytes>>;

/// A client that repeats nothing by itself.
pub(crate) fn client() -> HttpClient {
    Client::builder(TokioExecutor::new()).retry_canceled_requests(false).build_http()
}

pub(crate) fn request(method: &str, url: &str, body: impl Into<Bytes>) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(url).body(Full::new(body.into())).unwrap()
}

/// Sends a request; its status and body.
pub(crate) async fn ask(client: &HttpClient, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let response = tokio::time::timeout(PATIENCE, client.request(request)).await.expect("an answer").unwrap();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

/// Asks again and again until there is an answer; fails the test when there is none for long.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, probe: impl Fn() -> F) -> T {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(tokio::time::Instant::now() < deadline, "never came: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
