//! Failures as problem+json: what a handler returns when it cannot do what it was asked.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use hob_core::code;
use hob_wire::Problem;

use crate::ClientError;

/// A failure on its way to the caller.
#[derive(Clone, Debug)]
pub struct Failure(Box<Problem>);

impl Failure {
    /// The problem that it tells.
    pub fn problem(&self) -> &Problem {
        &self.0
    }

    /// A failure of our own: its cause is logged, the caller learns only that it happened.
    pub fn internal(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error, "a request could not be done");
        Problem::new(code::INTERNAL, "the service failed; its log says more").into()
    }

    pub(super) fn into_body_response(self) -> Response {
        let status = StatusCode::from_u16(self.0.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self.0).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        let media_type = HeaderValue::from_static(Problem::MEDIA_TYPE);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }
}

impl From<Problem> for Failure {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}

impl From<ClientError> for Failure {
    /// Another service failed us: 503, so that the caller may try again.
    fn from(error: ClientError) -> Self {
        tracing::warn!(error = &error as &dyn std::error::Error, "a call that this request needs failed");
        Problem::new(code::UNAVAILABLE, format!("this needs another service: {error}")).into()
    }
}

#[cfg(feature = "outbox")]
impl From<crate::OutboxError> for Failure {
    fn from(error: crate::OutboxError) -> Self {
        Self::internal(&error)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.clone().into_body_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// There is no such thing: 404.
pub fn not_found(detail: impl Into<String>) -> Failure {
    Problem::new(code::NOT_FOUND, detail).into()
}

/// The request is not understood: 400.
pub fn bad_request(detail: impl Into<String>) -> Failure {
    Problem::new(code::BAD_REQUEST, detail).into()
}
