//! Answers that the router gives itself: problem+json, with the request's id.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_wire::{PROXY_STATUS, Problem};
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::activity::Activity;
use crate::answer::Answer;
use crate::limiter::UsedUp;
use crate::trace::REQUEST_ID;

/// The fields that tell a client how much it may ask (draft-ietf-httpapi-ratelimit-headers).
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");

/// An answer of the router's own: a problem, and what goes with it.
pub(crate) struct Refusal {
    pub(crate) problem: Problem,
    /// Seconds after which to try again.
    pub(crate) retry_after: Option<u64>,
    /// A page for people, in place of the document.
    pub(crate) page: Option<String>,
    pub(crate) used_up: Option<UsedUp>,
}

impl From<Problem> for Box<Refusal> {
    fn from(problem: Problem) -> Self {
        Box::new(Refusal { problem, retry_after: None, page: None, used_up: None })
    }
}

impl From<Box<Problem>> for Box<Refusal> {
    fn from(problem: Box<Problem>) -> Self {
        (*problem).into()
    }
}

/// Writes a refusal as an answer, marked as the router's own. Those that may pass say when to try again.
pub(crate) fn refuse(
    refusal: Refusal,
    request_id: &HeaderValue,
    activity: &Arc<Activity>,
) -> Response<Answer> {
    let Refusal { mut problem, retry_after, page, used_up } = refusal;
    problem.request_id = request_id.to_str().ok().map(str::to_owned);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if page.is_some() { "text/html; charset=utf-8" } else { Problem::MEDIA_TYPE };
    let body = page.map_or_else(|| serde_json::to_vec(&problem).unwrap_or_default(), String::into_bytes);
    let mut response = Response::new(Answer::text(Bytes::from(body), activity));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(REQUEST_ID, request_id.clone());
    if let Ok(own) = HeaderValue::try_from(hob_wire::proxy_status(&problem)) {
        headers.insert(PROXY_STATUS, own);
    }
    if let Some(seconds) = retry_after.or_else(|| (status == StatusCode::SERVICE_UNAVAILABLE).then_some(1)) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if let Some(UsedUp { wait, burst, window }) = used_up {
        let seconds = |time: Duration| time.as_secs_f64().ceil().max(1.0) as u64;
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds(wait)));
        let fields = [
            (RATE_LIMIT_POLICY, format!("\"client\";q={burst};w={}", seconds(window))),
            (RATE_LIMIT, format!("\"client\";r=0;t={}", seconds(wait))),
        ];
        for (name, value) in fields {
            headers.extend(HeaderValue::try_from(value).ok().map(|value| (name, value)));
        }
    }
    if status == StatusCode::BAD_REQUEST {
        // Whoever sends a request that can be read in two ways gets no chance to have the next one misread.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
