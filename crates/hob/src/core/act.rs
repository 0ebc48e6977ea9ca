//! Actions are done as any client would: a request to the link, through the router, once.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use hob_sdk::{Client, Request};
use hob_watch::{Act, Acted};
use hob_wire::{Action, Problem};
use http::Method;

use super::fetch::split;

/// How long one call may take.
const CALL_MAX: Duration = Duration::from_secs(10);
/// Letters of an answer that are kept.
const ANSWER_LETTERS_MAX: usize = 200;

/// Sends actions to the router, whatever their origin, with the origin's host.
pub(super) struct ActThroughRouter {
    client: Client,
    router_url: String,
    call_max: Duration,
}

impl ActThroughRouter {
    /// Actions through the router at `router_url`.
    pub(super) fn new(router_url: &str) -> Result<Self, hob_sdk::ClientError> {
        let client = Client::for_api(router_url, None)?;
        Ok(Self { client, router_url: router_url.to_owned(), call_max: CALL_MAX })
    }

    async fn call(&self, action: &Action) -> Acted {
        let failed = |error: String| Acted { status: 0, error: Some(error) };
        let Some((host, path)) = split(&action.href) else {
            return failed(format!("{} is no absolute href", action.href));
        };
        let method = if action.method == "PUT" { Method::PUT } else { Method::POST };
        // The id travels as the request's too: whatever the service publishes because of it says so.
        let request = Request::new(method, format!("{}{path}", self.router_url))
            .header("host", host)
            .header("accept", "application/hal+json, application/json")
            .header("idempotency-key", &action.id)
            .header("x-request-id", &action.id)
            .timeout(self.call_max)
            .json(&action.with);
        match self.client.send(request).await {
            // Without this, a service that is away would seem to have refused.
            Ok(answer) if answer.status.as_u16() == 404 && answer.is_gateways_own() => {
                failed(format!("no route leads to {}", action.href))
            }
            Ok(answer) => {
                let status = answer.status.as_u16();
                let error = (!answer.status.is_success()).then(|| told(&answer.body));
                Acted { status, error: error.filter(|error| !error.is_empty()) }
            }
            Err(error) => failed(hob_api::chain(&error)),
        }
    }
}

impl Act for ActThroughRouter {
    fn act<'a>(&'a self, action: &'a Action) -> Pin<Box<dyn Future<Output = Acted> + Send + 'a>> {
        Box::pin(self.call(action))
    }
}

/// What an answer says: a problem's words, else the beginning of its text.
fn told(body: &[u8]) -> String {
    let text = match serde_json::from_slice::<Problem>(body) {
        Ok(problem) if !problem.detail.is_empty() => problem.detail,
        Ok(problem) => problem.title,
        Err(_) => String::from_utf8_lossy(body).into_owned(),
    };
    text.chars().filter(|c| !c.is_control()).take(ANSWER_LETTERS_MAX).collect()
}

#[cfg(test)]
mod tests;
