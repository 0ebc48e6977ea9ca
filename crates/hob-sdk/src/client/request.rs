//! A request as it is put together, and an answer read whole.

use std::time::Duration;

use bytes::Bytes;
use hob_wire::Problem;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;

/// How long a request may take from its start to the end of its answer, unless it says otherwise.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// A request to be sent. What is wrong with it is told when it is sent.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
    time_limit: Duration,
    repeatable: bool,
    flaw: Option<String>,
}

impl Request {
    /// A request with any method.
    pub fn new(method: Method, target: impl Into<String>) -> Self {
        Self {
            repeatable: method.is_safe() || method == Method::PUT || method == Method::DELETE,
            method,
            target: target.into(),
            headers: HeaderMap::new(),
            body: Bytes::new(),
            time_limit: REQUEST_TIMEOUT,
            flaw: None,
        }
    }

    /// A `GET`.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new(Method::GET, target)
    }

    /// A `POST`; repeated only when [`Request::repeatable`] says that it may be.
    pub fn post(target: impl Into<String>) -> Self {
        Self::new(Method::POST, target)
    }

    /// A `PUT`.
    pub fn put(target: impl Into<String>) -> Self {
        Self::new(Method::PUT, target)
    }

    /// A `DELETE`.
    pub fn delete(target: impl Into<String>) -> Self {
        Self::new(Method::DELETE, target)
    }

    /// Sets a header.
    #[must_use]
    pub fn header(mut self, name: impl TryInto<HeaderName>, value: &str) -> Self {
        match (name.try_into(), HeaderValue::from_str(value)) {
            (Ok(name), Ok(value)) => drop(self.headers.insert(name, value)),
            _ => self.flaw = Some(format!("{value:?} cannot stand in that header")),
        }
        self
    }

    /// Sends `body` as JSON.
    #[must_use]
    pub fn json<T: Serialize + ?Sized>(mut self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.body = bytes.into(),
            Err(error) => self.flaw = Some(format!("its body cannot be written as JSON: {error}")),
        }
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        self
    }

    /// Sends `body` as it is.
    #[must_use]
    pub fn bytes(mut self, media_type: &'static str, body: Bytes) -> Self {
        self.body = body;
        self.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
        self
    }

    /// Limits the time from start to the end of the answer, each attempt on its own.
    #[must_use]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Says that the request does the same when it arrives twice, so that it may be sent again after a failure.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The target: an href or a path of Hob's API.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(crate) fn body(&self) -> &Bytes {
        &self.body
    }

    pub(super) fn time_limit(&self) -> Duration {
        self.time_limit
    }

    pub(super) fn is_repeatable(&self) -> bool {
        self.repeatable
    }

    pub(super) fn flaw(&self) -> Option<&str> {
        self.flaw.as_deref()
    }

    pub(crate) fn subject(&self) -> String {
        format!("{} {}", self.method, self.target)
    }
}

/// An answer, read whole.
#[derive(Clone, Debug)]
pub struct Response {
    pub(super) subject: String,
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Response {
    /// A header as text.
    pub fn header(&self, name: impl header::AsHeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The entity tag.
    pub fn etag(&self) -> Option<&str> {
        self.header(header::ETAG)
    }

    /// How long the answer asks callers to wait before they try again (`Retry-After` in seconds).
    pub fn retry_after(&self) -> Option<Duration> {
        self.header(header::RETRY_AFTER)?.trim().parse().ok().map(Duration::from_secs)
    }

    /// Whether something on the way to the service gave this answer, such as Hob's router, and not the service itself
    /// (`Proxy-Status` with an error, RFC 9209).
    pub fn is_gateways_own(&self) -> bool {
        gateways_own(&self.headers)
    }

    /// The answer itself when it tells of success or of nothing new (304).
    ///
    /// # Errors
    /// When it tells of failure: with the problem that it holds.
    pub fn success(self) -> Result<Self, Error> {
        if self.status.is_success() || self.status == StatusCode::NOT_MODIFIED {
            return Ok(self);
        }
        let problem = serde_json::from_slice::<Problem>(&self.body).ok().map(Box::new);
        let (retry_after, is_gateways_own) = (self.retry_after(), self.is_gateways_own());
        Err(Error::Status {
            subject: self.subject,
            status: self.status,
            problem,
            retry_after,
            is_gateways_own,
        })
    }

    /// The body as JSON, when the answer tells of success.
    ///
    /// # Errors
    /// When it does not, or when the body is something else.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        let answer = self.success()?;
        serde_json::from_slice(&answer.body)
            .map_err(|source| Error::Decode { subject: answer.subject.clone(), source })
    }
}

/// Whether these are the headers of an answer that no service gave.
pub(crate) fn gateways_own(headers: &HeaderMap) -> bool {
    let values = headers.get_all(hob_wire::PROXY_STATUS).iter();
    values.filter_map(|value| value.to_str().ok()).any(hob_wire::is_gateways_own)
}
