//! Subscriptions: a consumer's cursor over the event log.

use std::time::Duration;

use axum::extract::{FromRequestParts, Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use hob_bus::{Pull, SubscriptionKey};
use hob_core::{TopicName, code, limits, parse_duration};
use hob_wire::{Ack, Batch, Hal, Page, SubscriptionSpec, SubscriptionState};
use http::request::Parts;
use http::{HeaderMap, StatusCode, Uri};
use serde::Deserialize;

use super::topics::OnBehalf;
use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, json, page_of};
use crate::sse;
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let one = "/v1/subscriptions/{name}";
    let service = [("service", "whose subscription it is, when a developer asks")];
    vec![
        Endpoint::get("/v1/subscriptions", Who::Anyone, "The subscriptions of a scope", get(list))
            .scoped()
            .paged()
            .answers::<Page<SubscriptionState>>(200),
        Endpoint::put(one, Who::Service, "Make or change a subscription; its cursor stays", put(make))
            .scoped()
            .params(&service)
            .takes::<SubscriptionSpec>()
            .answers::<Hal<SubscriptionState>>(200),
        Endpoint::get(one, Who::Service, "One subscription and how it is doing", get(show))
            .scoped()
            .params(&service)
            .answers::<Hal<SubscriptionState>>(200),
        Endpoint::delete(one, Who::Service, "Delete a subscription and its cursor", delete(remove))
            .scoped()
            .params(&service),
        Endpoint::get(
            "/v1/subscriptions/{name}/events",
            Who::Service,
            "Lease events; as text/event-stream, follow them live",
            get(events),
        )
        .scoped()
        .params(&service)
        .params(&[
            ("max", "events, at most"),
            ("wait", "how long to wait for the first, for example 30s"),
            ("lease", "how long the events are yours, for example 30s"),
        ])
        .answers_stream::<Batch>("application/json"),
        Endpoint::post("/v1/subscriptions/{name}/acks", Who::Service, "Acknowledge leased events", post(ack))
            .scoped()
            .params(&service)
            .takes::<Ack>(),
    ]
}

/// The subscription that a request is about.
struct Key(SubscriptionKey);

impl FromRequestParts<Api> for Key {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let InScope(scope) = InScope::from_request_parts(parts, api).await?;
        let caller = Caller::from_request_parts(parts, api).await?;
        let Params(on_behalf) = Params::<OnBehalf>::from_request_parts(parts, api).await?;
        let name = Path::<TopicName>::from_request_parts(parts, api).await;
        let Path(name) = name.map_err(|error| ApiError::new(code::BAD_REQUEST, error.body_text()))?;
        Ok(Self(SubscriptionKey { scope, service: on_behalf.service(&caller)?, name }))
    }
}

fn resource(state: SubscriptionState) -> Hal<SubscriptionState> {
    let query =
        format!("?service={}&environment={}&tenant={}", state.service, state.environment, state.tenant);
    let base = format!("/v1/subscriptions/{}", state.name);
    let (events, acks) = (format!("{base}/events{query}"), format!("{base}/acks{query}"));
    Hal::new(state, format!("{base}{query}")).link("events", events).link("acks", acks)
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let subscriptions = api.bus.subscriptions(&scope).await?;
    page_of(subscriptions.into_iter().map(resource).collect(), &params, &uri)
}

async fn make(
    State(api): State<Api>,
    Key(key): Key,
    Body(spec): Body<SubscriptionSpec>,
) -> Result<Response, ApiError> {
    let put = api.bus.put_subscription(&key, spec).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &resource(put.value)))
}

async fn show(State(api): State<Api>, Key(key): Key) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.bus.subscription(&key).await?)))
}

async fn remove(State(api): State<Api>, Key(key): Key) -> Result<Response, ApiError> {
    api.bus.delete_subscription(&key).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
struct PullParams {
    max: Option<usize>,
    wait: Option<String>,
    lease: Option<String>,
}

async fn events(
    State(api): State<Api>,
    Key(key): Key,
    Params(params): Params<PullParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if sse::is_wanted(&headers) {
        let tail = api.bus.stream(&key, sse::last_event_id(&headers)?).await?;
        return Ok(sse::stream(tail.into_stream()));
    }
    let duration = |text: Option<String>, default| match text {
        None => Ok(default),
        Some(text) => parse_duration(&text)
            .map_err(|error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}"))),
    };
    let pull = Pull {
        max: params.max.unwrap_or(limits::PAGE_ITEMS_DEFAULT),
        wait: duration(params.wait, Duration::ZERO)?,
        lease_for: duration(params.lease, hob_bus::limits::LEASE_DEFAULT)?,
    };
    match api.bus.lease(&key, pull).await? {
        Some(batch) => Ok(json(StatusCode::OK, &batch)),
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn ack(State(api): State<Api>, Key(key): Key, Body(ack): Body<Ack>) -> Result<Response, ApiError> {
    api.bus.ack(&key, ack).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
