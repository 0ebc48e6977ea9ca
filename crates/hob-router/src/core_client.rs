//! How the router speaks with the core: a stream to follow, reports and records to post. The token goes with each call.

use std::time::Duration;

use bytes::Bytes;
use hob_core::Secret;
use http::header::{self, HeaderValue};
use http::{Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use tokio::time::timeout;

/// How long a call may take until its answer begins.
const CALL_TIME_MAX: Duration = Duration::from_secs(5);
/// Bytes of an answer that are read for its reason.
const REASON_BYTES_MAX: usize = 4096;

/// Speaks with the core.
pub(crate) struct CoreClient {
    client: legacy::Client<HttpConnector, Full<Bytes>>,
    base: String,
    authorization: HeaderValue,
}

/// A call that did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("write the call to {path}")]
    Write { path: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("call {path}: {source}")]
    Call { path: String, source: legacy::Error },
    #[error("call {path} within {} s", CALL_TIME_MAX.as_secs())]
    Slow { path: String },
    #[error("call {path}: the core answered {status}: {reason}")]
    Refused { path: String, status: StatusCode, reason: String },
}

impl Error {
    /// Whether the same call would be refused again, however often it is made.
    pub(crate) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { status, .. } if [400, 413, 415, 422].contains(&status.as_u16()))
    }
}

impl CoreClient {
    /// A client of the core at `url`; none when that is no address of HTTP.
    pub(crate) fn new(url: &str, token: &Secret) -> Option<Self> {
        let uri: Uri = url.parse().ok()?;
        let is_usable = uri.scheme_str() == Some("http") && uri.host().is_some() && uri.query().is_none();
        let mut authorization = HeaderValue::from_str(&format!("Bearer {}", token.expose())).ok()?;
        authorization.set_sensitive(true);
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CALL_TIME_MAX));
        connector.set_nodelay(true);
        let client = legacy::Client::builder(TokioExecutor::new()).pool_max_idle_per_host(2).build(connector);
        is_usable.then(|| Self { client, base: url.trim_end_matches('/').to_owned(), authorization })
    }

    /// Begins to read a resource.
    pub(crate) async fn get(&self, path: &str) -> Result<Response<Incoming>, Error> {
        self.call("GET", path, Bytes::new()).await
    }

    /// Posts a JSON document.
    pub(crate) async fn post(&self, path: &str, document: &impl Serialize) -> Result<(), Error> {
        let body = serde_json::to_vec(document)
            .map_err(|source| Error::Write { path: path.to_owned(), source: source.into() })?;
        let response = self.call("POST", path, Bytes::from(body)).await?;
        // Read to its end, so that the connection serves the next call.
        _ = timeout(CALL_TIME_MAX, Limited::new(response.into_body(), REASON_BYTES_MAX).collect()).await;
        Ok(())
    }

    async fn call(&self, method: &str, path: &str, body: Bytes) -> Result<Response<Incoming>, Error> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, self.authorization.clone())
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|source| Error::Write { path: path.to_owned(), source: source.into() })?;
        let response = timeout(CALL_TIME_MAX, self.client.request(request))
            .await
            .map_err(|_| Error::Slow { path: path.to_owned() })?
            .map_err(|source| Error::Call { path: path.to_owned(), source })?;
        let status = response.status();
        if status.is_success() {
            return Ok(response);
        }
        let body =
            timeout(CALL_TIME_MAX, Limited::new(response.into_body(), REASON_BYTES_MAX).collect()).await;
        let bytes =
            body.ok().and_then(Result::ok).map(http_body_util::Collected::to_bytes).unwrap_or_default();
        let reason = String::from_utf8_lossy(&bytes).into_owned();
        Err(Error::Refused { path: path.to_owned(), status, reason })
    }
}
