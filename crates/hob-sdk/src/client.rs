//! The HTTP client: calls other services by href, and Hob's own API, with limits on time, size and retries.
//!
//! An href under the scope's public origin goes to the router and keeps its host; a target that begins with `/v1/` goes to
//! Hob's API with the instance's token; any other absolute address is called as it is, without the token. Over https the
//! certificate is checked ([`crate::tls`]).

mod error;
mod request;
mod retry;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use hob_core::Secret;
use http::{HeaderMap, HeaderValue, StatusCode, header};

pub use error::Error;
pub(crate) use request::gateways_own;
pub use request::{Request, Response};

use crate::{Config, RequestContext, Trust, tls};

/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long the head of a streamed answer may take.
const STREAM_HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// Bytes of an answer that is read whole.
const RESPONSE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Idle connections kept to one host.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long an idle connection is kept: shorter than the router keeps it, so that it is not closed under a request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);

/// An HTTP client; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    http: reqwest::Client,
    origins: Origins,
    token: Option<HeaderValue>,
}

#[derive(Clone, Debug)]
struct Origins {
    api: String,
    public: String,
    router: String,
}

/// An answer whose body is read piece by piece, for instance an event stream.
pub struct Streaming {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body. It has no limit of its own: the reader must have one.
    pub chunks: Chunks,
}

/// Pieces of a body as they arrive.
pub type Chunks = Pin<Box<dyn futures_util::Stream<Item = Result<Bytes, Error>> + Send>>;

/// Where a target really is: the address to call, the host to name when that differs, and whether the token goes along.
#[derive(Debug, PartialEq, Eq)]
struct Resolved {
    url: String,
    host: Option<String>,
    with_token: bool,
}

impl Client {
    /// A client of an instance.
    ///
    /// # Errors
    /// When the token cannot stand in a header, or the file of authorities cannot be used.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let origins = Origins {
            api: config.hob_url.clone(),
            public: config.public_url.clone(),
            router: config.router_url.clone(),
        };
        let trust = Trust::with_ca_file(config.ca_file.as_deref())?;
        Self::build(origins, Some(&config.token), &trust)
    }

    /// A client of Hob's API alone, for agents, routers and tools: `hob_url` is its origin.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn for_api(hob_url: &str, token: Option<&Secret>) -> Result<Self, Error> {
        Self::for_api_trusting(hob_url, token, &Trust::platform())
    }

    /// The same with another trust than the platform's.
    ///
    /// # Errors
    /// As [`Client::for_api`].
    pub fn for_api_trusting(hob_url: &str, token: Option<&Secret>, trust: &Trust) -> Result<Self, Error> {
        let api = hob_url.trim_end_matches('/').to_owned();
        Self::build(Origins { public: api.clone(), router: api.clone(), api }, token, trust)
    }

    fn build(origins: Origins, token: Option<&Secret>, trust: &Trust) -> Result<Self, Error> {
        let header = |token: &Secret| {
            let mut value =
                HeaderValue::from_str(&format!("Bearer {}", token.expose())).map_err(|_| Error::Token)?;
            value.set_sensitive(true);
            Ok::<_, Error>(value)
        };
        let http = trust
            .client_builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build()
            .map_err(|source| Error::Build { source })?;
        Ok(Self(Arc::new(Inner { http, origins, token: token.map(header).transpose()? })))
    }

    /// The absolute href of a path under the scope's public origin.
    pub fn href(&self, path: &str) -> String {
        format!("{}/{}", self.0.origins.public, path.trim_start_matches('/'))
    }

    /// Gets a target: an href, or a path of Hob's API such as `/v1/events`.
    ///
    /// # Errors
    /// When there is no whole answer in time. A status that tells of failure is an answer.
    pub async fn get(&self, target: &str) -> Result<Response, Error> {
        self.send(Request::get(target)).await
    }

    /// Sends a request and reads the answer whole. Repeats it, when it may be repeated, after failures that pass.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn send(&self, request: Request) -> Result<Response, Error> {
        let mut attempt = 0;
        loop {
            let outcome = self.attempt(&request).await;
            match retry::delay(&request, &outcome, attempt) {
                Some(delay) => tokio::time::sleep(delay).await,
                None => return outcome,
            }
            attempt += 1;
        }
    }

    /// Sends a request once and hands over the body as it arrives.
    ///
    /// # Errors
    /// When the answer does not begin in time.
    pub async fn open(&self, request: Request) -> Result<Streaming, Error> {
        let subject = request.subject();
        let head = tokio::time::timeout(STREAM_HEAD_TIMEOUT, self.prepare(&request)?.send()).await;
        let answer = head
            .map_err(|_| Error::Timeout { subject: subject.clone(), limit: STREAM_HEAD_TIMEOUT })?
            .map_err(|source| failed(subject.clone(), source))?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let chunks =
            answer.bytes_stream().map(move |chunk| chunk.map_err(|source| failed(subject.clone(), source)));
        Ok(Streaming { status, headers, chunks: Box::pin(chunks) })
    }

    async fn attempt(&self, request: &Request) -> Result<Response, Error> {
        let whole = async {
            let answer =
                self.prepare(request)?.send().await.map_err(|source| failed(request.subject(), source))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = read_body(answer, request).await?;
            Ok(Response { subject: request.subject(), status, headers, body })
        };
        let limit = request.time_limit();
        let late = |_| Error::Timeout { subject: request.subject(), limit };
        tokio::time::timeout(limit, whole).await.map_err(late)?
    }

    fn prepare(&self, request: &Request) -> Result<reqwest::RequestBuilder, Error> {
        if let Some(reason) = request.flaw() {
            return Err(Error::Request { subject: request.subject(), reason: reason.to_owned() });
        }
        let resolved = self.0.origins.resolve(request.target())?;
        let mut headers = request.headers().clone();
        if let Some(host) = &resolved.host {
            headers.insert(header::HOST, header_value(host, request)?);
        }
        if let (true, Some(token)) = (resolved.with_token, &self.0.token) {
            headers.insert(header::AUTHORIZATION, token.clone());
        }
        if let Some(context) = RequestContext::current() {
            headers.entry("x-request-id").or_insert(header_value(&context.request_id, request)?);
            if let Some(trace) = &context.traceparent {
                headers.entry("traceparent").or_insert(header_value(trace, request)?);
            }
        }
        let builder = self.0.http.request(request.method().clone(), &resolved.url).headers(headers);
        Ok(builder.body(request.body().clone()))
    }
}

/// A failure of the connection; one of TLS says how to mend it.
fn failed(subject: String, source: reqwest::Error) -> Error {
    match tls::flaw(&source) {
        Some(flaw) => Error::Tls { subject, flaw },
        None => Error::Send { subject, source },
    }
}

fn header_value(text: &str, request: &Request) -> Result<HeaderValue, Error> {
    let reason = || format!("{text:?} cannot stand in a header");
    HeaderValue::from_str(text).map_err(|_| Error::Request { subject: request.subject(), reason: reason() })
}

async fn read_body(mut answer: reqwest::Response, request: &Request) -> Result<Bytes, Error> {
    let mut body = BytesMut::new();
    let broken = |source| failed(request.subject(), source);
    while let Some(chunk) = answer.chunk().await.map_err(broken)? {
        if body.len() + chunk.len() > RESPONSE_BYTES_MAX {
            return Err(Error::TooLarge { subject: request.subject(), bytes_max: RESPONSE_BYTES_MAX });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

impl Origins {
    fn resolve(&self, target: &str) -> Result<Resolved, Error> {
        if target.starts_with('/') {
            return Ok(Resolved { url: format!("{}{target}", self.api), host: None, with_token: true });
        }
        if let Some(path) = below(target, &self.api) {
            return Ok(Resolved { url: format!("{}{path}", self.api), host: None, with_token: true });
        }
        if let Some(path) = below(target, &self.public) {
            let host = (self.public != self.router).then(|| authority(&self.public).to_owned());
            return Ok(Resolved { url: format!("{}{path}", self.router), host, with_token: false });
        }
        if target.starts_with("http://") || target.starts_with("https://") {
            return Ok(Resolved { url: target.to_owned(), host: None, with_token: false });
        }
        Err(Error::Target { target: target.chars().take(200).collect() })
    }
}

/// The rest of `target` below `origin`, when that is where it is: `http://a:80` is not below `http://a:8`.
fn below<'a>(target: &'a str, origin: &str) -> Option<&'a str> {
    target.strip_prefix(origin).filter(|rest| rest.is_empty() || rest.starts_with(['/', '?']))
}

fn authority(origin: &str) -> &str {
    origin.split_once("://").map_or(origin, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_go_where_they_belong() {
        let origins = Origins {
            api: "http://127.0.0.1:7070".to_owned(),
            public: "https://uk.takeaway.test".to_owned(),
            router: "http://127.0.0.1:8080".to_owned(),
        };
        let check = |target: &str, url: &str, host: Option<&str>, with_token: bool| {
            let want = Resolved { url: url.to_owned(), host: host.map(str::to_owned), with_token };
            assert_eq!(origins.resolve(target).unwrap(), want);
        };
        check("/v1/events", "http://127.0.0.1:7070/v1/events", None, true);
        check("http://127.0.0.1:7070/v1/events", "http://127.0.0.1:7070/v1/events", None, true);
        let host = Some("uk.takeaway.test");
        check("https://uk.takeaway.test/orders/o1?a=b", "http://127.0.0.1:8080/orders/o1?a=b", host, false);
        check("http://127.0.0.1:70701/x", "http://127.0.0.1:70701/x", None, false);
        check("https://elsewhere.test/", "https://elsewhere.test/", None, false);
        assert!(origins.resolve("ftp://elsewhere.test/").is_err());
        assert!(origins.resolve("orders/o1").is_err());
    }
}
