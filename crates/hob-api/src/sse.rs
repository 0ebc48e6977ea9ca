//! Events as a live stream that resumes where it broke off: server-sent events (html.spec.whatwg.org, section 9.2), or a
//! line of JSON for each item.

use std::convert::Infallible;

use axum::response::{IntoResponse, Response, Sse, sse};
use futures_util::{Stream, StreamExt};
use hob_bus::TailItem;
use hob_core::code;
use hob_wire::sequence_text;
use http::{HeaderMap, header};

use crate::error::{ApiError, chain};

/// Whether the caller asks for a stream of server-sent events.
pub(crate) fn is_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|value| value.contains("text/event-stream"))
}

/// Whether the caller asks for a stream of JSON lines.
pub(crate) fn lines_are_wanted(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok());
    accept.is_some_and(|value| value.contains("application/x-ndjson"))
}

/// The answer: `{"event":{…}}` for each event and `{"heartbeat":{"head":"…"}}` every two seconds. An error ends the stream
/// after a line `{"error":"…"}` that says why.
pub(crate) fn lines(tail: impl Stream<Item = Result<TailItem, hob_bus::Error>> + Send + 'static) -> Response {
    let lines = tail.map(|item| {
        let line = match item {
            Ok(TailItem::Event(event)) => serde_json::json!({ "event": event }),
            Ok(TailItem::Heartbeat { head }) => {
                serde_json::json!({ "heartbeat": { "head": sequence_text(head) } })
            }
            Err(error) => serde_json::json!({ "error": chain(&error) }),
        };
        Ok::<_, Infallible>(format!("{line}\n"))
    });
    ([(header::CONTENT_TYPE, "application/x-ndjson")], axum::body::Body::from_stream(lines)).into_response()
}

/// The position after which to go on, when the caller names one.
pub(crate) fn last_event_id(headers: &HeaderMap) -> Result<Option<u64>, ApiError> {
    let Some(value) = headers.get("last-event-id") else { return Ok(None) };
    let position = value.to_str().ok().and_then(|text| text.parse().ok());
    position.map(Some).ok_or_else(|| {
        ApiError::new(code::BAD_REQUEST, "Last-Event-ID is no sequence")
            .hint("send the id of the last event as it came")
    })
}

/// The answer: each event with its sequence as id, and a heartbeat every two seconds that names the log's head. An
/// error ends the stream after an event `error` that says why.
pub(crate) fn stream(
    tail: impl Stream<Item = Result<TailItem, hob_bus::Error>> + Send + 'static,
) -> Response {
    let frames = tail.map(|item| {
        let frame = match item {
            Ok(TailItem::Event(event)) => {
                let data = serde_json::to_string(&event).expect("an event has only JSON values");
                sse::Event::default().id(event.sequence.clone()).event("event").data(data)
            }
            Ok(TailItem::Heartbeat { head }) => {
                let data = format!("{{\"head\":\"{}\"}}", sequence_text(head));
                sse::Event::default().event("heartbeat").data(data)
            }
            Err(error) => sse::Event::default().event("error").data(chain(&error).replace(['\n', '\r'], " ")),
        };
        Ok::<_, Infallible>(frame)
    });
    Sse::new(frames).into_response()
}
