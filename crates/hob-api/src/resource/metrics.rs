//! Series: what services measured, and the traffic that routers saw.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_core::{Name, Scope, Timestamp, code, parse_duration};
use hob_metrics::Query;
use hob_wire::{Hal, MetricName, Page, Series};
use http::Uri;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, page, page_of};
use crate::state::Api;

/// What is shown when no range is named.
const RANGE_DEFAULT: Duration = Duration::from_secs(15 * 60);
const STEP_DEFAULT: Duration = Duration::from_secs(10);
const STEP_MIN: Duration = Duration::from_secs(1);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let range = [
        ("service", "of this service"),
        ("instance", "of this instance"),
        ("from", "not before this time; fifteen minutes ago when left out"),
        ("to", "before this time; now when left out"),
        ("step", "length of a step, for example 10s"),
    ];
    vec![
        Endpoint::get("/v1/metrics", Who::Viewer, "Series by step", get(list))
            .scoped()
            .params(&[("name", "the metric; a trailing * matches any ending")])
            .params(&range)
            .answers::<Page<Series>>(200),
        Endpoint::get("/v1/metrics/names", Who::Viewer, "Metrics that had samples lately", get(names))
            .scoped()
            .paged()
            .answers::<Page<MetricName>>(200),
        Endpoint::get(
            "/v1/traffic",
            Who::Viewer,
            "Requests, errors and latencies as routers saw them",
            get(traffic),
        )
        .scoped()
        .params(&range)
        .answers::<Page<Series>>(200),
    ]
}

#[derive(Deserialize)]
struct RangeParams {
    name: Option<String>,
    service: Option<Name>,
    instance: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    step: Option<String>,
}

async fn read(api: &Api, scope: Scope, params: RangeParams, uri: &Uri) -> Result<Response, ApiError> {
    let to = params.to.unwrap_or_else(|| api.clock.now());
    let bad = |error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}"));
    let step = params.step.as_deref().map(parse_duration).transpose().map_err(bad)?.unwrap_or(STEP_DEFAULT);
    if step < STEP_MIN {
        return Err(ApiError::new(code::BAD_REQUEST, "a step is at least 1s"));
    }
    let query = Query {
        scope,
        name: params.name,
        service: params.service,
        instance: params.instance,
        from: params.from.unwrap_or_else(|| to.minus(RANGE_DEFAULT)),
        to,
        step,
    };
    let series: Vec<Series> = api.metrics.query(&query).await?;
    Ok(page(series.into_iter().map(|series| Hal::new(series, uri.path())).collect(), None, uri))
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<RangeParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    read(&api, scope, params, &uri).await
}

async fn traffic(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<RangeParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    read(&api, scope, RangeParams { name: Some("http.*".to_owned()), ..params }, &uri).await
}

async fn names(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let from = api.clock.now().minus(RANGE_DEFAULT);
    let names = api.metrics.names(&scope, from).await?.into_iter().map(|(name, services)| {
        let href = format!("/v1/metrics?name={name}");
        Hal::new(MetricName { name, services: services.into_iter().collect() }, href)
    });
    page_of(names.collect(), &params, &uri)
}
