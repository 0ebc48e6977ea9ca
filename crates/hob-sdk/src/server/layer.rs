//! What happens around every request: its id comes in and goes out, it is counted and timed, failures are logged.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::Response;
use hob_core::{Clock, Id};
use hob_wire::Problem;
use tokio::time::Instant;

use super::problem::Failure;
use crate::{RequestContext, Statsd};

#[derive(Clone)]
pub(super) struct Shared {
    pub(super) statsd: Statsd,
}

/// Runs a request in its context.
pub(super) async fn around(State(shared): State<Shared>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let request_id = text(request.headers(), "x-request-id").filter(|id| RequestContext::is_request_id(id));
    let context = RequestContext {
        request_id: request_id.unwrap_or_else(|| Id::generate(Clock::system().now())),
        traceparent: text(request.headers(), "traceparent"),
    };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    let is_probe = path == "/health/ready";
    let request_id = context.request_id.clone();
    let answered = context.clone().scope(next.run(request)).await;
    let mut response = name_the_request(answered, &request_id);
    if response.status().is_server_error() {
        let status = response.status().as_u16();
        context.scope(async move { tracing::error!(%method, path, status, "a request failed") }).await;
    }
    if !is_probe {
        shared.statsd.count("requests", 1);
        shared.statsd.count(&format!("responses.{}xx", response.status().as_u16() / 100), 1);
        shared.statsd.timing("request_time", begun.elapsed());
    }
    if let Ok(value) = HeaderValue::from_str(&request_id) {
        response.headers_mut().entry("x-request-id").or_insert(value);
    }
    response
}

fn text(headers: &HeaderMap, name: &str) -> Option<String> {
    headers.get(name)?.to_str().ok().map(str::to_owned)
}

/// Problems carry the id of the request, so that whoever sees one can find its log lines.
fn name_the_request(response: Response, request_id: &str) -> Response {
    let (parts, body) = response.into_parts();
    match parts.extensions.get::<Failure>() {
        Some(failure) => {
            let problem = Problem { request_id: Some(request_id.to_owned()), ..failure.problem().clone() };
            let mut named = Failure::from(problem).into_body_response();
            for (name, value) in &parts.headers {
                if name != header::CONTENT_LENGTH && name != header::CONTENT_TYPE {
                    named.headers_mut().insert(name.clone(), value.clone());
                }
            }
            named
        }
        None => Response::from_parts(parts, body),
    }
}
