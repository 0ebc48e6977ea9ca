//! Where the errors of every floor become answers: one problem each, with number, hint and status.

use axum::response::{IntoResponse, Response};
use hob_core::{Code, code};
use hob_wire::Problem;
use http::{HeaderValue, StatusCode, header};

/// A problem on its way to the caller.
#[derive(Debug)]
pub struct ApiError(pub Box<Problem>, pub(crate) Option<Box<Wait>>);

/// How long a caller is to wait, and for which quota.
#[derive(Debug)]
pub(crate) struct Wait {
    topic: hob_core::TopicName,
    left: hob_bus::QuotaLeft,
}

impl ApiError {
    /// A problem of this number.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)), None)
    }

    /// There is no such thing.
    pub fn not_found(what: impl std::fmt::Display) -> Self {
        Self::new(code::NOT_FOUND, format!("there is no {what}"))
    }

    /// The same with a way out.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self(Box::new(self.0.hint(hint)), self.1)
    }
}

/// The whole chain of an error, from what was being done to why it failed.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = format!("failed to {error}");
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let problem = self.0;
        let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if status.is_server_error() {
            tracing::error!(code = problem.code, detail = problem.detail, "a request failed");
        }
        let body = serde_json::to_vec(&problem).expect("a problem has only texts and numbers");
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(Problem::MEDIA_TYPE));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if let Some(wait) = self.1 {
            let seconds = wait.left.wait.as_micros().div_ceil(1_000_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds as u64));
            crate::resource::events::tell_quota(headers, wait.topic.as_str(), wait.left);
        }
        response
    }
}

impl From<hob_bus::Error> for ApiError {
    fn from(error: hob_bus::Error) -> Self {
        let mut problem = Problem::new(error.code(), chain(&error)).errors(error.items());
        problem.hint = error.hint();
        let wait = match error {
            hob_bus::Error::OverQuota { topic, left } => Some(Box::new(Wait { topic, left })),
            _ => None,
        };
        Self(Box::new(problem), wait)
    }
}

impl From<hob_records::Error> for ApiError {
    fn from(error: hob_records::Error) -> Self {
        Self::new(code::UNAVAILABLE, chain(&error))
    }
}

impl From<hob_metrics::Error> for ApiError {
    fn from(error: hob_metrics::Error) -> Self {
        use hob_metrics::Error;
        let code = match error {
            Error::Append(_) | Error::Read(_) => code::UNAVAILABLE,
            Error::Points { .. } | Error::Series | Error::Rows => code::INVALID,
        };
        Self::new(code, chain(&error))
    }
}

impl From<hob_deploy::Error> for ApiError {
    fn from(error: hob_deploy::Error) -> Self {
        Self(Box::new(Problem::new(error.code(), chain(&error)).errors(error.items().to_vec())), None)
    }
}

impl From<hob_watch::Error> for ApiError {
    fn from(error: hob_watch::Error) -> Self {
        let mut problem = Problem::new(error.code(), chain(&error)).errors(error.items());
        problem.hint = error.hint();
        Self(Box::new(problem), None)
    }
}
