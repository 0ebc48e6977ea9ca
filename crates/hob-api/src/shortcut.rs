//! The whole application as a service, with a shorter way for what comes most often: publishing on one topic.
//!
//! The general way through router, layers and extractors costs as much as publishing an event itself. The shorter one
//! takes the same steps (id, caller, scope, publishing, answer), by the same functions; whatever is unusual about a
//! request, such as a query or a body of unknown length, sends it the general way.

use std::convert::Infallible;
use std::task::{Context, Poll};

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::{BoxError, Router};
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hob_core::{code, limits};
use http::{Method, Uri};
use http_body_util::{BodyExt as _, Collected};
use hyper::body::Body;
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

impl App {
    /// Answers a request as it came from its connection.
    pub(crate) async fn answer<B>(mut self, request: http::Request<B>) -> Response
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        if is_short(&request) {
            return publish(&self.api, request).await;
        }
        match self.router.call(request.map(axum::body::Body::new)).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

impl Service<Request> for App {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.router, context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        self.clone().answer(request).map(Ok).boxed()
    }
}

/// Whether a request publishes on a topic and has nothing unusual about it.
fn is_short<B: Body>(request: &http::Request<B>) -> bool {
    request.method() == Method::POST && topic(request.uri()).is_some() && has_length(request.body())
}

/// The topic of a path that needs no decoding.
fn topic(uri: &Uri) -> Option<&str> {
    let topic = uri.path().strip_prefix("/v1/topics/")?.strip_suffix("/events")?;
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    (uri.query().is_none() && !topic.is_empty() && topic.bytes().all(is_plain)).then_some(topic)
}

/// Whether the body's length is told, and within the limit.
fn has_length(body: &impl Body) -> bool {
    body.size_hint().exact().is_some_and(|length| length <= limits::REQUEST_BODY_BYTES_MAX as u64)
}

async fn publish<B>(api: &Api, request: http::Request<B>) -> Response
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let started = guard::begun();
    let (parts, body) = request.into_parts();
    let id = guard::request_id(&parts.headers);
    let response = match answer(api, &parts, body, &id).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    guard::tell(&parts.method, &parts.uri, &response, started);
    guard::named(response, &id).await
}

async fn answer<B>(api: &Api, parts: &http::request::Parts, body: B, id: &str) -> Result<Response, ApiError>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    let caller = guard::caller(api, Who::Service, &parts.headers)?;
    let InScope(scope) = InScope::of(api, ScopeParams::default(), &caller)?;
    let topic = topic(&parts.uri).unwrap_or_default();
    let body = async {
        let read = body.collect().await.map(Collected::to_bytes);
        read.map_err(|error| {
            let error: BoxError = error.into();
            ApiError::new(code::BAD_REQUEST, format!("failed to read the body: {error}"))
        })
    };
    events::publish_on(api, scope, caller, id.to_owned(), topic, &parts.headers, body).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(request: http::request::Builder, length: usize, is: bool) {
        let request = request.body(axum::body::Body::from(vec![b' '; length])).unwrap();
        assert_eq!(is_short(&request), is, "{request:?}");
    }

    #[test]
    fn only_plain_publishes_take_the_short_way() {
        let post = |path: &str| http::Request::post(path);
        check(post("/v1/topics/orders/events"), 2, true);
        check(post("/v1/topics/rider.pings-2_x/events"), 2, true);
        check(post("/v1/topics/orders/events?tenant=uk"), 2, false);
        check(post("/v1/topics/or%64ers/events"), 2, false);
        check(post("/v1/topics/a/b/events"), 2, false);
        check(post("/v1/topics//events"), 2, false);
        check(post("/v1/topics/orders"), 2, false);
        check(post("/v1/events"), 2, false);
        check(http::Request::get("/v1/topics/orders/events"), 2, false);
        check(post("/v1/topics/orders/events"), limits::REQUEST_BODY_BYTES_MAX + 1, false);
        let untold = axum::body::Body::from_stream(futures_util::stream::empty::<Result<Bytes, BoxError>>());
        assert!(!is_short(&post("/v1/topics/orders/events").body(untold).unwrap()));
    }
}
