//! The whole application as a service, with a shorter way for what comes most often: publishing on one topic.
//!
//! The general way through router, layers and extractors costs as much as publishing an event itself. The shorter one
//! takes the same steps (id, caller, scope, publishing, answer), by the same functions; whatever is unusual about a
//! request, such as a query or a body of unknown length, sends it the general way.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Either};
use hob_core::{code, limits};
use http::{HeaderMap, Method, Uri, header};
use tower::Service;

use crate::auth::Who;
use crate::error::ApiError;
use crate::extract::{InScope, ScopeParams};
use crate::guard;
use crate::resource::events;
use crate::state::Api;

/// The whole application: API, pages, console. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub(crate) api: Api,
    pub(crate) router: Router,
}

impl Service<Request> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = Either<BoxFuture<'static, Result<Response, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        match is_short(&request) {
            true => Either::Left(publish(self.api.clone(), request).map(Ok).boxed()),
            false => Either::Right(self.router.call(request)),
        }
    }
}

/// Whether a request publishes on a topic and has nothing unusual about it.
fn is_short(request: &Request) -> bool {
    request.method() == Method::POST && topic(request.uri()).is_some() && has_length(request.headers())
}

/// The topic of a path that needs no decoding.
fn topic(uri: &Uri) -> Option<&str> {
    let topic = uri.path().strip_prefix("/v1/topics/")?.strip_suffix("/events")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (uri.query().is_none() && !topic.is_empty() && topic.bytes().all(is_plain)).then_some(topic)
}

/// Whether the body's length is told, and within the limit.
fn has_length(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length = length.and_then(|text| text.parse::<usize>().ok());
    length.is_some_and(|length| length <= limits::REQUEST_BODY_BYTES_MAX)
}

async fn publish(api: Api, request: Request) -> Response {
    let started = tokio::time::Instant::now();
    let (parts, body) = request.into_parts();
    let id = guard::request_id(&parts.headers);
    let response = match answer(&api, &parts, body, &id).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    guard::tell(&parts.method, &parts.uri, &response, started);
    guard::named(response, &id).await
}

async fn answer(
    api: &Api,
    parts: &http::request::Parts,
    body: axum::body::Body,
    id: &str,
) -> Result<Response, ApiError> {
    let caller = guard::caller(api, Who::Service, &parts.headers)?;
    let InScope(scope) = InScope::of(api, ScopeParams::default(), &caller)?;
    let topic = topic(&parts.uri).unwrap_or_default();
    let body = async {
        let read = axum::body::to_bytes(body, limits::REQUEST_BODY_BYTES_MAX).await;
        read.map_err(|error| ApiError::new(code::BAD_REQUEST, format!("failed to read the body: {error}")))
    };
    events::publish_on(api, scope, caller, id.to_owned(), topic, &parts.headers, body).await
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn check(request: http::request::Builder, is: bool) {
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(is_short(&request), is, "{request:?}");
    }

    #[test]
    fn only_plain_publishes_take_the_short_way() {
        let post = |path: &str| Request::post(path).header("content-length", "2");
        check(post("/v1/topics/orders/events"), true);
        check(post("/v1/topics/rider.pings-2_x/events"), true);
        check(post("/v1/topics/orders/events?tenant=uk"), false);
        check(post("/v1/topics/or%64ers/events"), false);
        check(post("/v1/topics/a/b/events"), false);
        check(post("/v1/topics//events"), false);
        check(post("/v1/topics/orders"), false);
        check(post("/v1/events"), false);
        check(Request::get("/v1/topics/orders/events").header("content-length", "2"), false);
        check(Request::post("/v1/topics/orders/events"), false);
        let too_long = limits::REQUEST_BODY_BYTES_MAX + 1;
        check(Request::post("/v1/topics/orders/events").header("content-length", too_long), false);
    }
}
