//! Subscriptions: a consumer's cursor over the event log.

use std::time::Duration;

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post, put};
use hob_bus::{Progress, Pull, SubscriptionKey};
use hob_core::{TopicName, code, limits, parse_duration};
use hob_wire::{
    Ack, Batch, DeadLetter, DeadLetterChoice, Hal, LeaseWish, Page, Seek, SubscriptionPatch,
    SubscriptionSpec, SubscriptionState, Touched,
};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri, header};
use serde::Deserialize;

use super::topics::OnBehalf;
use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, Path, json, page, page_of};
use crate::pieces::Pieces;
use crate::sse::{self, Form};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let one = "/v1/subscriptions/{name}";
    let service = [("service", "whose subscription it is, when a developer asks")];
    let mut endpoints = vec![
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
            "Lease events; as text/event-stream or application/x-ndjson, follow them live",
            get(events),
        )
        .scoped()
        .params(&service)
        .params(&[
            ("max", "events, at most"),
            ("wait", "how long to wait for the first, for example 30s"),
            ("lease", "how long the events are yours, for example 30s"),
            ("after", "a stream goes on after this sequence; from the cursor without it"),
            ("progress", "what moves a stream's cursor: sent (also without it) or acknowledged"),
        ])
        .answers_stream::<Batch>("application/json"),
        Endpoint::post(
            "/v1/subscriptions/{name}/lease",
            Who::Service,
            "Lease events, and acknowledge those of earlier leases in the same request",
            post(lease),
        )
        .scoped()
        .params(&service)
        .takes::<LeaseWish>()
        .answers::<Batch>(200),
        Endpoint::post("/v1/subscriptions/{name}/acks", Who::Service, "Acknowledge leased events", post(ack))
            .scoped()
            .params(&service)
            .takes::<Ack>(),
    ];
    endpoints.extend(controls(&service));
    endpoints
}

/// What people do with a subscription.
fn controls(service: &[(&'static str, &'static str)]) -> Vec<Endpoint> {
    let letters = "/v1/subscriptions/{name}/dead-letters";
    let (replays, drops) =
        ("/v1/subscriptions/{name}/dead-letters/replay", "/v1/subscriptions/{name}/dead-letters/drop");
    let (snapshots, secrets) = ("/v1/subscriptions/{name}/snapshot", "/v1/subscriptions/{name}/secret");
    let cursor = "/v1/subscriptions/{name}/cursor";
    vec![
        Endpoint::new(
            Method::PATCH,
            "/v1/subscriptions/{name}",
            Who::Service,
            "Pause a subscription, or let it go on",
            patch(change),
        )
        .scoped()
        .params(service)
        .takes::<SubscriptionPatch>()
        .answers::<Hal<SubscriptionState>>(200),
        Endpoint::put(cursor, Who::Service, "Put a subscription's cursor elsewhere", put(seek))
            .scoped()
            .params(service)
            .takes::<Seek>()
            .answers::<Hal<SubscriptionState>>(200),
        Endpoint::get(letters, Who::Service, "Events that could not be delivered", get(dead_letters))
            .scoped()
            .params(service)
            .paged()
            .answers::<Page<DeadLetter>>(200),
        Endpoint::post(replays, Who::Service, "Deliver dead letters once more", post(replay))
            .scoped()
            .params(service)
            .takes::<DeadLetterChoice>()
            .answers::<Touched>(200),
        Endpoint::post(drops, Who::Service, "Forget dead letters", post(drop_letters))
            .scoped()
            .params(service)
            .takes::<DeadLetterChoice>()
            .answers::<Touched>(200),
        Endpoint::post(snapshots, Who::Service, "Tell a subscription of every live entity", post(snapshot))
            .scoped()
            .params(service)
            .answers::<Touched>(200),
        Endpoint::post(secrets, Who::Service, "Make a new signing secret", post(rotate))
            .scoped()
            .params(service)
            .answers::<Hal<SubscriptionState>>(200),
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
        let Path(name) = Path::<TopicName>::from_request_parts(parts, api).await?;
        Ok(Self(SubscriptionKey { scope, service: on_behalf.service(&caller)?, name }))
    }
}

fn resource(state: SubscriptionState) -> Hal<SubscriptionState> {
    let query =
        format!("?service={}&environment={}&tenant={}", state.service, state.environment, state.tenant);
    let base = format!("/v1/subscriptions/{}", state.name);
    let (events, acks) = (format!("{base}/events{query}"), format!("{base}/acks{query}"));
    let (letters, cursor) = (format!("{base}/dead-letters{query}"), format!("{base}/cursor{query}"));
    let own = Hal::new(state, format!("{base}{query}"));
    own.link("events", events).link("acks", acks).link("dead-letters", letters).link("cursor", cursor)
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
    after: Option<String>,
    #[serde(default)]
    progress: StreamProgress,
}

/// What moves the cursor of a subscription that is followed.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum StreamProgress {
    #[default]
    Sent,
    Acknowledged,
}

async fn events(
    State(api): State<Api>,
    Key(key): Key,
    Params(params): Params<PullParams>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if let Some(form) = Form::wanted(&headers) {
        let after = params.after.as_deref().map(|text| {
            text.parse::<u64>().map_err(|_| {
                ApiError::new(code::BAD_REQUEST, "after is no sequence")
                    .hint("send the sequence of the last event")
            })
        });
        let after = sse::last_event_id(&headers)?.or(after.transpose()?);
        let progress = match params.progress {
            StreamProgress::Sent => Progress::Sent,
            StreamProgress::Acknowledged => Progress::Acknowledged,
        };
        return Ok(form.answer(api.bus.stream_text(&key, after, progress, form.framing()).await?));
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
    leased(&api, &key, Vec::new(), pull).await
}

async fn lease(
    State(api): State<Api>,
    Key(key): Key,
    Body(wish): Body<LeaseWish>,
) -> Result<Response, ApiError> {
    let pull = Pull {
        max: wish.max.unwrap_or(limits::PAGE_ITEMS_DEFAULT),
        wait: Duration::from_millis(wish.wait_ms.unwrap_or(0)),
        lease_for: wish.lease_ms.map_or(hob_bus::limits::LEASE_DEFAULT, Duration::from_millis),
    };
    leased(&api, &key, wish.acks, pull).await
}

async fn leased(api: &Api, key: &SubscriptionKey, acks: Vec<Ack>, pull: Pull) -> Result<Response, ApiError> {
    match api.bus.lease_text(key, acks, pull).await? {
        Some(batch) => {
            Ok(([(header::CONTENT_TYPE, Hal::<()>::MEDIA_TYPE)], Pieces::of(batch)).into_response())
        }
        None => Ok(StatusCode::NO_CONTENT.into_response()),
    }
}

async fn ack(State(api): State<Api>, Key(key): Key, Body(ack): Body<Ack>) -> Result<Response, ApiError> {
    api.bus.ack(&key, ack).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn change(
    State(api): State<Api>,
    Key(key): Key,
    Body(patch): Body<SubscriptionPatch>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.bus.patch_subscription(&key, patch).await?)))
}

async fn seek(State(api): State<Api>, Key(key): Key, Body(seek): Body<Seek>) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.bus.seek(&key, &seek.at).await?)))
}

async fn dead_letters(
    State(api): State<Api>,
    Key(key): Key,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let found = api.bus.dead_letters(&key, params.cursor()?.unwrap_or(0), params.limit()?).await?;
    let query =
        format!("?service={}&environment={}&tenant={}", key.service, key.scope.environment, key.scope.tenant);
    let address = |letter: &DeadLetter| format!("/v1/events/{}{query}", letter.id);
    let letters = found.letters.into_iter().map(|letter| {
        let address = address(&letter);
        Hal::new(letter, address)
    });
    Ok(page(letters.collect(), found.next.map(|next| next.to_string()), &uri))
}

async fn replay(
    State(api): State<Api>,
    Key(key): Key,
    Body(choice): Body<DeadLetterChoice>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &api.bus.replay_dead_letters(&key, choice).await?))
}

async fn drop_letters(
    State(api): State<Api>,
    Key(key): Key,
    Body(choice): Body<DeadLetterChoice>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &api.bus.drop_dead_letters(&key, choice).await?))
}

async fn snapshot(State(api): State<Api>, Key(key): Key) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &api.bus.snapshot(&key).await?))
}

async fn rotate(State(api): State<Api>, Key(key): Key) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.bus.rotate_secret(&key).await?)))
}
