//! Events as a live stream: server-sent events (html.spec.whatwg.org, section 9.2) that resume where they broke off.

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
