//! Endpoints are called as any client would, with more care: the addresses are other people's.
//!
//! No redirect is followed, no proxy asked, no certificate believed unchecked, no link-local or metadata address called, be it written in the URL or found
//! by its name. A sink under the scope's public origin is a service of the platform itself, and is called through the
//! router.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::{BoxFuture, FutureExt};
use hob_bus::{
    ANSWER_BYTES_MAX, Answer, CONNECT_TIMEOUT, Delivery, Endpoint, SinkFlaw, Unreached, check_address,
    check_sink,
};
use hob_core::Scope;
use hob_sdk::{Trust, tls};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Idle connections kept to one endpoint: as many as one subscription may use at once.
const IDLE_CONNECTIONS_MAX: usize = 64;
/// How long an idle connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(20);
/// How long the rest of an answer that nobody needs is read, so that its connection may be used again.
const DRAIN_MAX: Duration = Duration::from_millis(100);
/// Who Hob says that it is.
const USER_AGENT: &str = concat!("Hob/", env!("CARGO_PKG_VERSION"));

/// Says where a scope's own services are found: the scope's public origin.
pub(super) type Origins = Arc<dyn Fn(&Scope) -> Option<String> + Send + Sync>;

/// Looks up the addresses of a name.
type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<SocketAddr>>> + Send + Sync>;

/// Calls endpoints by HTTP.
pub(super) struct HttpEndpoint {
    client: reqwest::Client,
    router_url: String,
    origins: Origins,
}

impl HttpEndpoint {
    /// A caller that knows the router and the scopes' public origins.
    pub(super) fn new(router_url: &str, origins: Origins, trust: &Trust) -> Result<Self, reqwest::Error> {
        let lookup = |name: String| {
            async move { Ok(tokio::net::lookup_host((name.as_str(), 0)).await?.collect()) }.boxed()
        };
        Self::with_lookup(router_url, origins, trust, Arc::new(lookup))
    }

    fn with_lookup(
        router_url: &str,
        origins: Origins,
        trust: &Trust,
        lookup: Lookup,
    ) -> Result<Self, reqwest::Error> {
        let client = trust
            .client_builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .user_agent(USER_AGENT)
            .dns_resolver(Arc::new(Guarded(lookup)))
            .build()?;
        Ok(Self { client, router_url: router_url.trim_end_matches('/').to_owned(), origins })
    }

    async fn send(&self, delivery: Delivery) -> Result<Answer, Unreached> {
        let deadline = tokio::time::Instant::now() + delivery.timeout;
        let limit = delivery.timeout;
        let request = self.request(delivery)?;
        let late = |_| Unreached::Timeout(format!("it had {limit:?}"));
        let head = tokio::time::timeout_at(deadline, request.send()).await.map_err(late)?;
        let answer = head.map_err(|error| unreached(&error))?;
        let status = answer.status();
        let text = |name| answer.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let retry_after = text(header::RETRY_AFTER).map(str::to_owned);
        let is_json = text(header::CONTENT_TYPE).is_some_and(is_json);
        let is_needed = is_json || !status.is_success();
        let deadline =
            if is_needed { deadline } else { deadline.min(tokio::time::Instant::now() + DRAIN_MAX) };
        let body = tokio::time::timeout_at(deadline, read_body(answer)).await.ok().flatten();
        Ok(Answer { status: status.as_u16(), retry_after, is_json, body })
    }

    fn request(&self, delivery: Delivery) -> Result<reqwest::RequestBuilder, Unreached> {
        let Delivery { scope, url, headers: named, body, .. } = delivery;
        let mut headers = HeaderMap::with_capacity(named.len() + 1);
        for (name, value) in named {
            let pair = HeaderName::from_bytes(name.as_bytes()).ok().zip(HeaderValue::from_str(&value).ok());
            let Some((name, value)) = pair else {
                return Err(Unreached::Broken(format!("{name} cannot be sent as a header")));
            };
            headers.append(name, value);
        }
        let origin = (self.origins)(&scope);
        let own = origin.as_deref().and_then(|origin| Some((host_of(origin)?, below(&url, origin)?)));
        let url = match own {
            Some((host, path)) => {
                headers.insert(header::HOST, HeaderValue::from_str(host).map_err(|_| SinkFlaw::NoUrl)?);
                format!("{}{path}", self.router_url)
            }
            None => {
                check_sink(&url)?;
                url
            }
        };
        if body.is_empty() {
            // A post without a word about its length is refused by some servers.
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(self.client.post(url).headers(headers).body(body))
    }
}

impl Endpoint for HttpEndpoint {
    fn post(&self, delivery: Delivery) -> BoxFuture<'_, Result<Answer, Unreached>> {
        self.send(delivery).boxed()
    }
}

/// Resolves names, and refuses those that lead where nothing is called.
struct Guarded(Lookup);

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = (self.0)(name.as_str().to_owned());
        Box::pin(async move {
            let found = lookup.await?;
            for address in &found {
                check_address(address.ip())?;
            }
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// The body, when it ends within the limit.
async fn read_body(mut answer: reqwest::Response) -> Option<Bytes> {
    let mut body = BytesMut::new();
    while let Some(chunk) = answer.chunk().await.ok()? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body.freeze())
}

fn unreached(error: &reqwest::Error) -> Unreached {
    let mut deepest: &(dyn std::error::Error + 'static) = error;
    while let Some(cause) = deepest.source() {
        if let Some(flaw) = cause.downcast_ref::<SinkFlaw>() {
            return Unreached::Refused(flaw.clone());
        }
        deepest = cause;
    }
    if let Some(flaw) = tls::flaw(error) {
        return Unreached::Unsafe(flaw);
    }
    let told = deepest.to_string();
    if error.is_connect() {
        Unreached::Connect(told)
    } else if error.is_timeout() {
        Unreached::Timeout(told)
    } else {
        Unreached::Broken(told)
    }
}

fn is_json(media_type: &str) -> bool {
    let plain = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    plain == "application/json" || plain.ends_with("+json")
}

/// The rest of a URL below an origin, when that is where it is.
fn below<'a>(url: &'a str, origin: &str) -> Option<&'a str> {
    let rest = url.strip_prefix(origin.trim_end_matches('/'))?;
    match rest.chars().next() {
        None => Some("/"),
        Some('/' | '?') => Some(rest),
        Some(_) => None,
    }
}

fn host_of(origin: &str) -> Option<&str> {
    origin.split_once("://").map(|(_, rest)| rest.trim_end_matches('/'))
}

#[cfg(test)]
mod tests;
