//! Answers that the router gives itself: problem+json, with the request's id.

use std::sync::Arc;

use bytes::Bytes;
use hob_wire::{PROXY_STATUS, Problem};
use http::header::{self, HeaderValue};
use http::{Response, StatusCode};

use crate::activity::Activity;
use crate::answer::Answer;
use crate::trace::REQUEST_ID;

/// Writes a problem as an answer, marked as the router's own. Those that may pass say when to try again.
pub(crate) fn refuse(
    mut problem: Problem,
    request_id: &HeaderValue,
    activity: &Arc<Activity>,
) -> Response<Answer> {
    problem.request_id = request_id.to_str().ok().map(str::to_owned);
    let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let body = serde_json::to_vec(&problem).unwrap_or_default();
    let mut response = Response::new(Answer::text(Bytes::from(body), activity));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
    headers.insert(REQUEST_ID, request_id.clone());
    if let Ok(own) = HeaderValue::try_from(hob_wire::proxy_status(&problem)) {
        headers.insert(PROXY_STATUS, own);
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    if status == StatusCode::BAD_REQUEST {
        // Whoever sends a request that can be read in two ways gets no chance to have the next one misread.
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
