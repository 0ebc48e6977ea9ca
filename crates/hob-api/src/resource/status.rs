//! The platform as a whole, and whose token it is.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hob_watch::IssueFilter;
use hob_wire::{EventLogState, Hal, IssueState, Me, SequenceRange, ServiceState, Status};
use http::{StatusCode, header};

use crate::app::document;
use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::json;
use crate::state::Api;

/// Damaged ranges that the status names.
const DAMAGED_MAX: usize = 100;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/status", Who::Anyone, "The platform as a whole", get(status))
            .answers::<Hal<Status>>(200),
        Endpoint::get("/v1/me", Who::Anyone, "Whose token it is", get(me)).answers::<Hal<Me>>(200),
        Endpoint::get("/health/ready", Who::Public, "Whether Hob takes requests", get(ready))
            .answers_as(200, "application/json"),
        Endpoint::get("/openapi.json", Who::Public, "This document", get(openapi))
            .answers_as(200, "application/json"),
    ]
}

async fn status(State(api): State<Api>) -> Result<Response, ApiError> {
    let declared = api.deploy.declarations();
    let scopes = api.scopes();
    let services: Vec<_> = scopes.iter().flat_map(|scope| api.deploy.services(scope)).collect();
    let ready = services.iter().filter(|service| service.state == ServiceState::Ready).count();
    let unresolved =
        IssueFilter { states: vec![IssueState::Open, IssueState::Acknowledged], ..IssueFilter::default() };
    let issues: usize =
        scopes.iter().filter_map(|scope| api.watch.issues(scope, &unresolved).ok()).map(|i| i.len()).sum();
    let nodes = api.deploy.nodes().into_iter().filter(|node| node.live).count();
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let status = Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        ready: declared.is_some() && ready == services.len() && nodes > 0 && !api.deploy.routers().is_empty(),
        uptime_seconds: api.clock.now().since(api.facts.started).as_secs(),
        platform: declared.as_ref().map(|(_, declared)| declared.platform.platform.clone()),
        public_url: declared.and_then(|(_, declared)| declared.platform.public_url.clone()),
        scopes,
        router_url: api.facts.router_url.clone(),
        nodes: count(nodes),
        routers: count(api.deploy.routers().len()),
        services: count(services.len()),
        services_ready: count(ready),
        issues: count(issues),
        events: api.bus.head(),
        event_log: event_log(&api),
    };
    Ok(json(
        StatusCode::OK,
        &Hal::new(status, "/v1/status").link("services", "/v1/services").link("issues", "/v1/issues"),
    ))
}

fn event_log(api: &Api) -> EventLogState {
    let stats = api.bus.log_stats();
    let range = |gap: &hob_bus::Gap| SequenceRange { first: gap.first, last: gap.last };
    EventLogState {
        oldest: stats.oldest,
        sealed: stats.sealed,
        parts: stats.parts,
        bytes: stats.bytes,
        expired: stats.expired_events,
        compacted: stats.compacted_events,
        damaged: stats.damaged.iter().take(DAMAGED_MAX).map(range).collect(),
        full: stats.is_full,
    }
}

async fn me(caller: Caller) -> Response {
    json(StatusCode::OK, &Hal::new(Me { name: caller.name, role: caller.role }, "/v1/me"))
}

async fn ready() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], "{\"ready\":true}").into_response()
}

async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], document()).into_response()
}
