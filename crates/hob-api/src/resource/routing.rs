//! Routers: by what they route, and what they report.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body as AxumBody, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hob_core::Name;
use hob_wire::{Hal, Page, RouteSummary, RouterReport, RouterSummary, RoutingSnapshot};
use http::{StatusCode, Uri, header};
use serde::Serialize;
use tokio::sync::watch;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, PageParams, Params, Path, page_of};
use crate::state::Api;
use crate::traffic;

/// A quiet stream says this often that it lives.
const HEARTBEAT: Duration = Duration::from_secs(2);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/routing", Who::Router, "The routes, now and from now on", get(routing))
            .answers_stream::<RoutingSnapshot>("application/x-ndjson"),
        Endpoint::post(
            "/v1/routers/{router}/report",
            Who::Router,
            "What a router did and acknowledges",
            post(report),
        )
        .takes::<RouterReport>(),
        Endpoint::get(
            "/v1/routers",
            Who::Viewer,
            "The routers, and what they hold, eject and refuse",
            get(routers),
        )
        .paged()
        .answers::<Page<RouterSummary>>(200),
        Endpoint::get("/v1/routes", Who::Viewer, "The routes, and how each does", get(routes))
            .paged()
            .answers::<Page<RouteSummary>>(200),
    ]
}

async fn routing(State(api): State<Api>) -> Response {
    let routing = api.deploy.routing();
    let is_known = routing.borrow().generation > 0;
    stream::<Arc<RoutingSnapshot>>(routing, is_known)
}

/// The deploy loop hears of the report first: a drain waits for it. The series follow from it.
async fn report(
    State(api): State<Api>,
    Path(router): Path<Name>,
    Body(report): Body<RouterReport>,
) -> Result<Response, ApiError> {
    let samples = traffic::samples(&report);
    api.deploy.router_report(&router, report).await?;
    api.metrics.append(samples).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn routers(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let routers = api.deploy.router_summaries().into_iter();
    page_of(routers.map(|router| Hal::new(router, "/v1/routers")).collect(), &params, &uri)
}

async fn routes(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let resource = |route: RouteSummary| {
        let query = format!("environment={}&tenant={}", route.environment, route.tenant);
        let service = format!("/v1/services/{}?{query}", route.service);
        Hal::new(route, "/v1/routes").link("service", service)
    };
    page_of(api.deploy.routes().into_iter().map(resource).collect(), &params, &uri)
}

/// A stream of whole snapshots, a JSON line each: the present one at once, then each newer one; in between an empty
/// line every two seconds. A reader that is slow misses snapshots in between, never the last.
pub(crate) fn snapshots<T: Serialize + Clone + Send + Sync + 'static>(watch: watch::Receiver<T>) -> Response {
    stream(watch, true)
}

/// The same, without the present one when it is not known yet.
fn stream<T: Serialize + Clone + Send + Sync + 'static>(
    watch: watch::Receiver<T>,
    is_known: bool,
) -> Response {
    let lines = futures_util::stream::unfold((watch, is_known), |(mut watch, first)| async move {
        if !first {
            match tokio::time::timeout(HEARTBEAT, watch.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((Ok::<_, Infallible>(Bytes::from_static(b"\n")), (watch, false))),
            }
        }
        let snapshot = watch.borrow_and_update().clone();
        let mut line = serde_json::to_vec(&snapshot).ok()?;
        line.push(b'\n');
        Some((Ok(Bytes::from(line)), (watch, false)))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], AxumBody::from_stream(lines)).into_response()
}
