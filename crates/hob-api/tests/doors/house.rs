//! An API over real floors in a folder of its own, with a caller of every role.

use std::sync::Arc;

use axum::body::Body;
use futures_util::future::BoxFuture;
use hob_api::{Api, ApiError, App, Facts, Instances, Intake, Parts, Tokens, app};
use hob_bus::Bus;
use hob_core::{Clock, Name, Scope, Secret};
use hob_deploy::{Config, Deploy, Silent, Timings};
use hob_metrics::Metrics;
use hob_records::Records;
use hob_store::{Store, StoreOptions};
use hob_watch::{Act, Acted, Fetch, Fetched, Watch};
use hob_wire::{Declarations, Platform, Problem, RecordBatch, Role, SampleBatch, Service};
use http::{HeaderMap, Method, Request, StatusCode};
use serde_json::{Value, json};
use tower::ServiceExt as _;

/// The token of the one instance, of the service orders.
pub(crate) const INSTANCE: &str = "hob_instance_test";

struct Nothing;

impl Fetch for Nothing {
    fn fetch<'a>(
        &'a self,
        _: &'a str,
        _: Option<&'a str>,
    ) -> std::pin::Pin<Box<dyn Future<Output = Fetched> + Send + 'a>> {
        Box::pin(async { Fetched::failed("nothing is fetched here".to_owned()) })
    }
}

impl Act for Nothing {
    fn act<'a>(
        &'a self,
        _: &'a hob_wire::Action,
    ) -> std::pin::Pin<Box<dyn Future<Output = Acted> + Send + 'a>> {
        Box::pin(async { Acted { status: 503, error: Some("nothing is done here".to_owned()) } })
    }
}

impl Intake for Nothing {
    fn records(&self, _: RecordBatch) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }

    fn samples(&self, _: SampleBatch) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Instances for Nothing {
    fn identify(&self, token: &Secret) -> Option<(String, Name, Scope)> {
        let known = token.expose() == INSTANCE;
        known.then(|| ("orders-web-1".to_owned(), "orders".parse().unwrap(), "demo/uk".parse().unwrap()))
    }
}

fn declarations() -> Declarations {
    let platform = "platform: test\nenvironments: [demo]\ntenants: [uk, ie]\nservices: ['*']\n";
    let service = |name: &str| {
        let text = format!(
            "service: {name}\nkind: domain\npackage: {{include: [x]}}\nprocesses: {{worker: {{run: [x]}}}}\n\
             topics: [{{name: {name}, kind: notify}}]\n"
        );
        (name.parse().unwrap(), Service::read("service.yml", &text).unwrap())
    };
    Declarations {
        platform: Platform::read("hob.yml", platform).unwrap(),
        services: [service("orders"), service("riders")].into(),
        rules: Vec::new(),
    }
}

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) bus: Bus,
    _data: tempfile::TempDir,
}

pub(crate) async fn house() -> House {
    let data = tempfile::tempdir().unwrap();
    let clock = Clock::system();
    let store = Store::open(data.path(), StoreOptions::default()).await.unwrap();
    let bus = Bus::open(&store, clock.clone()).await.unwrap();
    let config = Config {
        ca_file: None,
        api_url: "http://127.0.0.1:1".to_owned(),
        router_url: "http://127.0.0.1:2".to_owned(),
        data: data.path().to_owned(),
        clock: clock.clone(),
        timings: Timings::default(),
    };
    let (deploy, deploying) =
        Deploy::open(config, Arc::clone(&store.kv), Arc::clone(&store.blobs), Arc::new(Silent))
            .await
            .unwrap();
    tokio::spawn(deploying.run(std::future::pending()));
    let watch = Watch::open(&store, &bus, Arc::new(Nothing), Arc::new(Nothing), Vec::new()).await.unwrap();
    let tokens = Tokens::open(Arc::clone(&store.kv), Arc::new(Nothing)).await.unwrap();
    for role in [Role::Viewer, Role::Operator, Role::Developer, Role::Admin, Role::Node, Role::Router] {
        let name = serde_json::to_value(role).unwrap();
        let name = name.as_str().unwrap();
        tokens.admit(&Secret::new(name), name, role).await.unwrap();
    }
    let api = Api::new(Parts {
        bus: bus.clone(),
        deploy,
        watch,
        records: Records::new(Arc::clone(&store.signals)),
        metrics: Metrics::new(Arc::clone(&store.signals)),
        intake: Arc::new(Nothing),
        tokens,
        clock: clock.clone(),
        facts: Facts { router_url: "http://127.0.0.1:2".to_owned(), started: clock.now() },
    });
    let house = House { app: app(api), bus, _data: data };
    let (status, body) =
        house.call(Method::PUT, "/v1/declarations", Some("admin"), Some(json!(declarations()))).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    house
}

impl House {
    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
    ) -> (StatusCode, Value) {
        self.call_with(method, path, token, body, &[]).await
    }

    pub(crate) async fn call_with(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<Value>,
        headers: &[(&str, &str)],
    ) -> (StatusCode, Value) {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request =
            Request::builder().method(method).uri(path).header("content-type", "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let (status, _, body) = self.send(request, body).await;
        (status, body)
    }

    /// Sends a request with the length of its body, as clients do.
    pub(crate) async fn send(
        &self,
        request: http::request::Builder,
        body: String,
    ) -> (StatusCode, HeaderMap, Value) {
        let request = request.header("content-length", body.len()).body(Body::from(body)).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        assert!(parts.headers.contains_key("x-request-id"), "every answer names its request");
        let bytes = axum::body::to_bytes(body, 1 << 20).await.unwrap();
        (parts.status, parts.headers, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    pub(crate) async fn denied(&self, method: &Method, path: &str, token: Option<&str>, status: StatusCode) {
        let (told, body) = self.call(method.clone(), path, token, Some(json!({}))).await;
        assert_eq!(told, status, "{method} {path} with {token:?}");
        let problem: Problem = serde_json::from_value(body).unwrap();
        assert!(problem.request_id.is_some() && problem.code.starts_with("HOB-"), "{problem:?}");
    }
}
