//! Entities are fetched as any client would: by href, through the router.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hob_core::limits::OBSERVATION_BODY_BYTES_MAX;
use hob_sdk::{Client, Request};
use hob_watch::{Fetch, Fetched};

/// How long one fetch may take.
const FETCH_MAX: Duration = Duration::from_secs(5);

/// Sends every href to the router, whatever its origin, with the origin's host.
pub(super) struct ThroughRouter {
    client: Client,
    router_url: String,
}

impl ThroughRouter {
    /// A fetcher through the router at `router_url`.
    pub(super) fn new(router_url: &str) -> Result<Self, hob_sdk::ClientError> {
        Ok(Self { client: Client::for_api(router_url, None)?, router_url: router_url.to_owned() })
    }
}

impl Fetch for ThroughRouter {
    fn fetch<'a>(
        &'a self,
        href: &'a str,
        etag: Option<&'a str>,
    ) -> Pin<Box<dyn Future<Output = Fetched> + Send + 'a>> {
        Box::pin(async move {
            let Some((host, path)) = split(href) else {
                return Fetched::failed(format!("{href} is no absolute href"));
            };
            let mut request = Request::get(format!("{}{path}", self.router_url))
                .header("host", host)
                .header("accept", "application/hal+json, application/json")
                .timeout(FETCH_MAX);
            if let Some(etag) = etag {
                request = request.header("if-none-match", etag);
            }
            match self.client.send(request).await {
                // Without this, a service that is away would look as if its entities were gone.
                Ok(answer) if answer.status.as_u16() == 404 && answer.is_gateways_own() => {
                    Fetched::failed(format!("no route leads to {href}"))
                }
                Ok(answer) => {
                    let etag = answer.etag().map(str::to_owned);
                    let fits = answer.body.len() <= OBSERVATION_BODY_BYTES_MAX;
                    let body = (answer.status.is_success() && fits).then(|| answer.body.to_vec());
                    let error = (!fits).then(|| format!("the body has {} bytes", answer.body.len()));
                    Fetched { status: answer.status.as_u16(), etag, body, error }
                }
                Err(error) => Fetched::failed(hob_api::chain(&error)),
            }
        })
    }
}

/// Host and path of an absolute href.
pub(super) fn split(href: &str) -> Option<(&str, &str)> {
    let rest = href.strip_prefix("http://").or_else(|| href.strip_prefix("https://"))?;
    let path = rest.find('/').unwrap_or(rest.len());
    let (host, path) = rest.split_at(path);
    (!host.is_empty()).then_some((host, if path.is_empty() { "/" } else { path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrefs_are_split_at_their_path() {
        assert_eq!(split("http://a.test/orders/7?x"), Some(("a.test", "/orders/7?x")));
        assert_eq!(split("https://a.test:81"), Some(("a.test:81", "/")));
        assert_eq!(split("/orders/7"), None);
        assert_eq!(split("http:///x"), None);
    }
}
