//! `Idempotency-Key`: the same request again gets the first answer again
//! (draft-ietf-httpapi-idempotency-key-header), also when the first answer was never received.

use axum::response::Response;
use hob_bus::{Begun, Ticket};
use hob_core::{Name, Scope, code};
use hob_wire::{Hal, Incoming, Published};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use crate::error::ApiError;
use crate::state::Api;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");
/// Characters of a key.
const KEY_LENGTH_MAX: usize = 128;

/// What a request may do.
pub(super) enum Turn {
    /// Publish, for the first time or without a key.
    Go(Option<Ticket>),
    /// Give the first answer again.
    Again(Response),
}

/// Looks whether the request has a key, and what that means. `target` is what the key is good for.
pub(super) async fn turn(
    api: &Api,
    (scope, service, target): (&Scope, &Name, &str),
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Turn, ApiError> {
    let Some(key) = headers.get(KEY) else { return Ok(Turn::Go(None)) };
    let key = key.to_str().ok().filter(|key| (1..=KEY_LENGTH_MAX).contains(&key.len()));
    let key = key.ok_or_else(|| {
        ApiError::new(code::BAD_REQUEST, "Idempotency-Key is empty, too long or not printable")
            .hint(format!("use 1 to {KEY_LENGTH_MAX} printable characters, such as a UUID"))
    })?;
    let caller = format!("{service} {target}");
    match api.bus.idempotency().begin(scope, &caller, key, body).await? {
        Begun::New(ticket) => Ok(Turn::Go(Some(ticket))),
        Begun::Replay(answer) => Ok(Turn::Again(again(answer))),
        Begun::InFlight => Err(ApiError::new(code::KEY_BUSY, "the first request with this key is under way")
            .hint("ask again in a moment; its answer is then given again")),
        Begun::Mismatch => {
            Err(ApiError::new(code::KEY_REUSED, "this key was used before, with another body")
                .hint("use a new key for a new request"))
        }
    }
}

/// Gives events without an id one that the same request has again.
pub(super) fn name(events: &mut [Incoming<'_>], ticket: Option<&Ticket>) {
    let Some(ticket) = ticket else { return };
    for (nth, event) in events.iter_mut().enumerate().filter(|(_, event)| event.id.is_none()) {
        event.id = Some(ticket.event_id(nth).into());
    }
}

/// Keeps the answer for those who ask again.
pub(super) async fn keep(ticket: Option<Ticket>, published: &Published) -> Result<(), ApiError> {
    let Some(ticket) = ticket else { return Ok(()) };
    let answer = serde_json::to_string(published)
        .map_err(|error| ApiError::new(code::INTERNAL, format!("failed to write an answer: {error}")))?;
    Ok(ticket.finish(&answer).await?)
}

fn again(answer: bytes::Bytes) -> Response {
    let mut response = Response::new(answer.into());
    *response.status_mut() = StatusCode::CREATED;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Hal::<()>::MEDIA_TYPE));
    headers.insert(REPLAYED, HeaderValue::from_static("true"));
    response
}
