//! Publishing over HTTP: which format a body has, who publishes, and what the answer tells of quotas.

use axum::extract::{FromRequest, Request, State};
use axum::response::Response;
use hob_bus::{Publisher, QuotaLeft};
use hob_core::limits::PUBLISH_BATCH_MAX;
use hob_core::{Name, Scope, code};
use hob_wire::incoming::{self, Format};
use hob_wire::{ErrorItem, Incoming, Published, Unread, cloudevents};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::once::{self, Turn};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::extract::{Bytes, InScope, Path, RequestId, json};
use crate::state::Api;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// How the events of a request are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Body {
    In(Format),
    /// Attributes in headers, data as the body.
    Binary,
}

/// Publishes on the topic that the path names.
pub(super) async fn on_topic(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    RequestId(request_id): RequestId,
    Path(topic): Path<String>,
    request: Request,
) -> Result<Response, ApiError> {
    let (headers, request) = behead(request);
    let body = async { Ok(Bytes::from_request(request, &api).await?.0) };
    publish_on(&api, scope, caller, request_id, &topic, &headers, body).await
}

/// Publishes what a request brings on a topic. The body is read when the caller may publish there, so that a flood
/// costs little.
pub(crate) async fn publish_on(
    api: &Api,
    scope: Scope,
    caller: Caller,
    request_id: String,
    topic: &str,
    headers: &HeaderMap,
    body: impl Future<Output = Result<bytes::Bytes, ApiError>>,
) -> Result<Response, ApiError> {
    let service = match caller.instance {
        Some((service, _)) => service,
        None => api.bus.topic_owner(&scope, topic)?,
    };
    let admission = api.bus.admit(&scope, &service, topic)?;
    let bytes = body.await?;
    let format = format(headers, Format::Notices, Format::NoticeLines)?;
    let mut events = read(format, headers, &bytes)?;
    check_topics(&events, topic)?;
    let turn = once::turn(api, (&scope, &service, topic), headers, &bytes).await;
    let ticket = match turn {
        Ok(Turn::Go(ticket)) => ticket,
        // Whoever only asks again uses up nothing, whatever the answer.
        Ok(Turn::Again(answer)) => {
            admission.give_back();
            return Ok(answer);
        }
        Err(error) => {
            admission.give_back();
            return Err(error);
        }
    };
    once::name(&mut events, ticket.as_ref());
    let publisher = publisher(scope, service, request_id, headers);
    let (published, left) = api.bus.publish_on(&publisher, admission, events).await?;
    once::keep(ticket, &published).await?;
    Ok(with_quota(json(StatusCode::CREATED, &published), topic, left))
}

/// Publishes on several topics, which the events name.
pub(super) async fn on_many(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    RequestId(request_id): RequestId,
    request: Request,
) -> Result<Response, ApiError> {
    let (headers, request) = behead(request);
    let bytes = Bytes::from_request(request, &api).await?.0;
    let format = format(&headers, Format::Drafts, Format::DraftLines)?;
    let mut events = read(format, &headers, &bytes)?;
    let service = match caller.instance {
        Some((service, _)) => service,
        None => owner_of_first(&api, &scope, &events)?,
    };
    let ticket = match once::turn(&api, (&scope, &service, ""), &headers, &bytes).await? {
        Turn::Go(ticket) => ticket,
        Turn::Again(answer) => return Ok(answer),
    };
    once::name(&mut events, ticket.as_ref());
    let publisher = publisher(scope, service, request_id, &headers);
    let published: Published = api.bus.publish_events(&publisher, events).await?;
    once::keep(ticket, &published).await?;
    Ok(json(StatusCode::CREATED, &published))
}

/// Parts a request from its headers, but for the length, which decides whether the body is read at all.
fn behead(mut request: Request) -> (HeaderMap, Request) {
    let headers = std::mem::take(request.headers_mut());
    if let Some(length) = headers.get(header::CONTENT_LENGTH) {
        request.headers_mut().insert(header::CONTENT_LENGTH, length.clone());
    }
    (headers, request)
}

fn publisher(scope: Scope, service: Name, request_id: String, headers: &HeaderMap) -> Publisher {
    let traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok()).map(str::to_owned);
    Publisher { scope, service, request_id: Some(request_id), traceparent }
}

/// For a developer, the service that owns the first topic.
fn owner_of_first(api: &Api, scope: &Scope, events: &[Incoming<'_>]) -> Result<Name, ApiError> {
    let first = events.first().ok_or_else(|| ApiError::new(code::EVENT, "the list of events is empty"))?;
    let topic = api.bus.topic_of(scope, 0, first)?;
    Ok(api.bus.topic_owner(scope, &topic)?)
}

/// A CloudEvent may name its topic although the path does: then it is the same.
fn check_topics(events: &[Incoming<'_>], topic: &str) -> Result<(), ApiError> {
    let other = events.iter().position(|event| event.topic.as_deref().is_some_and(|named| named != topic));
    let Some(index) = other else { return Ok(()) };
    let detail = format!("event {index} names another topic than the path, which names {topic}");
    let item = ErrorItem { place: format!("/{index}/topic"), detail: "is not the path's".to_owned() };
    let mut error = ApiError::new(code::EVENT, detail).hint("send events of several topics to /v1/events");
    error.0.errors = vec![item];
    Err(error)
}

/// The format that the headers tell. curl sends forms unless told otherwise; the body tells what it is.
fn format(headers: &HeaderMap, notices: Format, lines: Format) -> Result<Body, ApiError> {
    let content_type = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is = |media_type: &str| essence.eq_ignore_ascii_case(media_type);
    if is(cloudevents::STRUCTURED) {
        return Ok(Body::In(Format::CloudEvent));
    }
    if is(cloudevents::BATCH) {
        return Ok(Body::In(Format::CloudEvents));
    }
    if incoming::is_binary(headers.keys().map(HeaderName::as_str)) {
        return Ok(Body::Binary);
    }
    if is(cloudevents::LINES) || is("application/ndjson") || is("application/jsonl") {
        return Ok(Body::In(lines));
    }
    if content_type.is_none() || cloudevents::is_json(essence) || is("application/x-www-form-urlencoded") {
        return Ok(Body::In(notices));
    }
    let detail = format!("events are not read from a body of the type {essence:?}");
    Err(ApiError::new(code::MEDIA_TYPE, detail).hint(
        "send notices as application/json or application/x-ndjson, CloudEvents as application/cloudevents+json or \
         application/cloudevents-batch+json, or in binary mode with the header ce-specversion",
    ))
}

fn read<'a>(body: Body, headers: &'a HeaderMap, bytes: &'a [u8]) -> Result<Vec<Incoming<'a>>, ApiError> {
    let events = match body {
        Body::In(format) => incoming::read(format, bytes, PUBLISH_BATCH_MAX),
        Body::Binary => {
            let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            incoming::read_binary(headers, content_type, bytes).map(|event| vec![event])
        }
    };
    events.map_err(unread)
}

fn unread(error: Unread) -> ApiError {
    let detail = format!("failed to {error}");
    match error {
        Unread::Syntax { .. } => ApiError::new(code::BAD_REQUEST, detail),
        Unread::TooMany { max } => ApiError::new(
            code::TOO_LARGE,
            format!("failed to publish more than {max} events: the limit is {max} events"),
        )
        .hint("split the batch"),
        Unread::Flaws { flaws, .. } => {
            let mut problem = ApiError::new(code::EVENT, detail);
            problem.0.errors = flaws.iter().map(ErrorItem::from).collect();
            problem
        }
    }
}

/// Tells what is left of a topic's quota (draft-ietf-httpapi-ratelimit-headers).
fn with_quota(mut response: Response, topic: &str, left: Option<QuotaLeft>) -> Response {
    if let Some(left) = left {
        tell_quota(response.headers_mut(), topic, left);
    }
    response
}

/// Puts the fields of a quota into an answer.
pub(crate) fn tell_quota(headers: &mut HeaderMap, topic: &str, left: QuotaLeft) {
    let seconds = left.wait.as_micros().div_ceil(1_000_000);
    let limit = format!("\"{topic}\";r={};t={seconds}", left.left);
    let policy = format!("\"{topic}\";q={};w=1", left.events_per_second);
    for (name, value) in [(RATE_LIMIT, limit), (RATE_LIMIT_POLICY, policy)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
}
