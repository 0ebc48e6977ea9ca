//! Events as a live stream that resumes where it broke off: server-sent events (html.spec.whatwg.org, section 9.2), or a
//! line of JSON for each item.

use std::convert::Infallible;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use hob_bus::{Follow, Framing, Piece};
use hob_core::code;
use hob_wire::sequence_text;
use http::{HeaderMap, header};

use crate::error::{ApiError, chain};

/// The media type of server-sent events.
pub(crate) const EVENTS: &str = "text/event-stream";
/// The media type of lines of JSON.
pub(crate) const LINES: &str = "application/x-ndjson";

/// In which form a caller follows events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Server-sent events: each event with its sequence as id, and a heartbeat every two seconds that names the log's
    /// head. An error ends the stream after an event `error` that says why.
    Events,
    /// `{"event":{…}}` for each event and `{"heartbeat":{"head":"…"}}` every two seconds. An error ends the stream after
    /// a line `{"error":"…"}`.
    Lines,
}

impl Form {
    /// The form of a live stream that the caller asks for, if any.
    pub(crate) fn wanted(headers: &HeaderMap) -> Option<Self> {
        [Self::Events, Self::Lines].into_iter().find(|form| accepts(headers, form.media_type()))
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::Events => EVENTS,
            Self::Lines => LINES,
        }
    }

    /// What stands around each event.
    pub(crate) fn framing(self) -> Framing {
        match self {
            Self::Events => {
                Framing { sequence: Some("id: "), before: "\nevent: event\ndata: ", after: "\n\n" }
            }
            Self::Lines => Framing { sequence: None, before: "{\"event\":", after: "}\n" },
        }
    }

    fn write(self, piece: Result<Piece, hob_bus::Error>) -> Bytes {
        let text = match (self, piece) {
            (_, Ok(Piece::Events(text))) => return text,
            (Self::Events, Ok(Piece::Heartbeat { head })) => {
                format!("event: heartbeat\ndata: {{\"head\":\"{}\"}}\n\n", sequence_text(head))
            }
            (Self::Lines, Ok(Piece::Heartbeat { head })) => {
                format!("{{\"heartbeat\":{{\"head\":\"{}\"}}}}\n", sequence_text(head))
            }
            (Self::Events, Err(error)) => {
                format!("event: error\ndata: {}\n\n", chain(&error).replace(['\n', '\r'], " "))
            }
            (Self::Lines, Err(error)) => format!("{}\n", serde_json::json!({ "error": chain(&error) })),
        };
        text.into()
    }

    /// The answer.
    pub(crate) fn answer(self, follow: Follow) -> Response {
        let pieces = follow.into_stream().map(move |piece| Ok::<_, Infallible>(self.write(piece)));
        let headers = [(header::CONTENT_TYPE, self.media_type()), (header::CACHE_CONTROL, "no-cache")];
        (headers, Body::from_stream(pieces)).into_response()
    }
}

/// Whether the caller accepts a media type by its name.
pub(crate) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    let fields = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let mut ranges = fields.flat_map(|value| value.split(','));
    ranges.any(|range| {
        let name = range.split(';').next().unwrap_or_default();
        name.trim().eq_ignore_ascii_case(media_type)
    })
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

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_media_type_is_accepted_by_its_name() {
        for (accept, expected) in [
            ("text/event-stream", Some(Form::Events)),
            ("text/html, Text/Event-Stream;q=0.9", Some(Form::Events)),
            ("application/x-ndjson", Some(Form::Lines)),
            ("application/x-ndjson-more", None),
            ("application/json", None),
            ("*/*", None),
        ] {
            let headers = HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(accept))]);
            assert_eq!(Form::wanted(&headers), expected, "{accept}");
        }
        assert_eq!(Form::wanted(&HeaderMap::new()), None);
    }
}
