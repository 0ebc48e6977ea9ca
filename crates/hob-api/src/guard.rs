//! What every request passes: it gets an id, its caller is known and allowed, its answer gets an ETag.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use hob_core::{Digest, Id, Secret, code, nearest};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use tokio::time::Instant;

use crate::auth::{Caller, Who};
use crate::error::ApiError;
use crate::extract::RequestId;
use crate::state::Api;

/// The header that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Letters of a request id that is carried on.
const REQUEST_ID_MAX: usize = 128;
/// Answers larger than this get no ETag.
const TAGGED_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The parameters that name a scope.
const SCOPE: [&str; 2] = ["environment", "tenant"];
/// Letters of an unknown parameter that are told.
const PARAM_SHOWN_MAX: usize = 60;

/// What guards one endpoint.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) api: Api,
    pub(crate) who: Who,
    pub(crate) streams: bool,
    /// The query parameters that it takes.
    pub(crate) params: Arc<[&'static str]>,
}

/// Gives the request its id, and the answer too; problems name it in their body.
pub(crate) async fn name_request(mut request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = next.run(request).await;
    named(response, &id).await
}

/// The id that a request brings along when it is a sane one, or a new one.
pub(crate) fn request_id(headers: &HeaderMap) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    let sane = given.filter(|id| {
        !id.is_empty() && id.len() <= REQUEST_ID_MAX && id.bytes().all(|b| b.is_ascii_graphic())
    });
    sane.map_or_else(|| Id::short() + &Id::short(), str::to_owned)
}

/// The answer with the id of its request.
pub(crate) async fn named(mut response: Response, id: &str) -> Response {
    if response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == hob_wire::Problem::MEDIA_TYPE) {
        response = name_problem(response, id).await;
    }
    if let Ok(value) = HeaderValue::from_str(id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

async fn name_problem(response: Response, id: &str) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) = axum::body::to_bytes(body, TAGGED_BYTES_MAX).await else {
        return parts.status.into_response();
    };
    let named = serde_json::from_slice(&bytes).ok().and_then(|mut problem: hob_wire::Problem| {
        problem.request_id = Some(id.to_owned());
        serde_json::to_vec(&problem).ok()
    });
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, named.map_or_else(|| Body::from(bytes), Body::from))
}

/// Lets the right callers in.
pub(crate) async fn guard(State(door): State<Door>, mut request: Request, next: Next) -> Response {
    let started = begun();
    if door.who != Who::Public {
        match caller(&door.api, door.who, request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(caller);
            }
            Err(error) => return error.into_response(),
        }
        if let Err(error) = check_params(&door.params, request.uri()) {
            return error.into_response();
        }
    }
    let tagged = request.method() == Method::GET && !door.streams;
    let wanted = request.headers().get(header::IF_NONE_MATCH).cloned();
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let response = next.run(request).await;
    tell(&method, &uri, &response, started);
    let tagged = tagged && response.status() == StatusCode::OK && !is_live(&response);
    if tagged { tag(response, wanted).await } else { response }
}

/// Refuses a parameter that nobody would heed: who filters by a word that is spelt wrong must not get everything.
fn check_params(known: &[&'static str], uri: &Uri) -> Result<(), ApiError> {
    let pairs = uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    let mut names = pairs.map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name));
    // A scope may be named everywhere, also where there is one of a thing for all of them.
    let is_known = |name: &str| known.contains(&name) || SCOPE.contains(&name);
    let Some(unknown) = names.find(|name| !is_known(name)) else { return Ok(()) };
    let shown: String = unknown.chars().take(PARAM_SHOWN_MAX).collect();
    let detail = format!("{shown:?} is no query parameter of {}", uri.path());
    let all = || known.iter().chain(SCOPE.iter().filter(|name| !known.contains(name))).copied();
    let hint = match nearest(&shown, all()) {
        Some(nearest) => format!("did you mean {nearest}?"),
        None => format!("it takes {}", all().collect::<Vec<_>>().join(", ")),
    };
    Err(ApiError::new(code::BAD_REQUEST, detail).hint(hint))
}

/// When a request began to be answered, when that will be told.
pub(crate) fn begun() -> Option<Instant> {
    tracing::enabled!(tracing::Level::DEBUG).then(Instant::now)
}

/// Tells of an answer in Hob's own log.
pub(crate) fn tell(method: &Method, uri: &Uri, response: &Response, begun: Option<Instant>) {
    let Some(begun) = begun else { return };
    let (path, status) = (uri.path(), response.status().as_u16());
    tracing::debug!(%method, path, status, took = ?begun.elapsed(), "answered");
}

/// Whether the answer may go on for ever: then there is no whole of it to make a tag of.
fn is_live(response: &Response) -> bool {
    let media_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    media_type.is_some_and(|t| t.starts_with("text/event-stream") || t.starts_with("application/x-ndjson"))
}

/// Who calls, when that may pass a door that is for `who`.
pub(crate) fn caller(api: &Api, who: Who, headers: &HeaderMap) -> Result<Caller, ApiError> {
    let way_out = "send `Authorization: Bearer <token>`; people find theirs with `hob open`";
    let token =
        token(headers).ok_or_else(|| ApiError::new(code::NO_TOKEN, "this needs a token").hint(way_out))?;
    let caller = api.tokens.caller(&token);
    let caller =
        caller.ok_or_else(|| ApiError::new(code::NO_TOKEN, "Hob does not know this token").hint(way_out))?;
    if who.takes(&caller) {
        return Ok(caller);
    }
    let detail = format!("{} may not do this: it is for {}", caller.name, who.told());
    Err(ApiError::new(code::NOT_ALLOWED, detail))
}

/// The token of the `Authorization` header, or for websockets, which browsers open without headers of their own, of a
/// second subprotocol `bearer.<token>`.
fn token(headers: &HeaderMap) -> Option<Secret> {
    if let Some(value) = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()) {
        let (scheme, token) = value.split_once(' ')?;
        return scheme.eq_ignore_ascii_case("bearer").then(|| Secret::new(token.trim()));
    }
    let protocols = headers.get(header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    protocols.split(',').find_map(|protocol| protocol.trim().strip_prefix("bearer.")).map(Secret::new)
}

/// A strong ETag made of the answer's bytes, and 304 for a caller that has them already (RFC 9110, 8.8 and 13.1.2).
async fn tag(response: Response, wanted: Option<HeaderValue>) -> Response {
    let (mut parts, body) = response.into_parts();
    let Ok(bytes) =
        axum::body::to_bytes(body, TAGGED_BYTES_MAX.max(hob_core::limits::PACKAGE_BYTES_MAX)).await
    else {
        return ApiError::new(code::INTERNAL, "an answer broke off").into_response();
    };
    if bytes.len() > TAGGED_BYTES_MAX {
        return Response::from_parts(parts, Body::from(bytes));
    }
    let etag = format!("\"{}\"", &Digest::of(&bytes).hex()[..32]);
    let known = wanted.as_ref().and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|tag| tag.trim() == "*" || tag.trim().trim_start_matches("W/") == etag)
    });
    if let Ok(value) = HeaderValue::from_str(&etag) {
        parts.headers.insert(header::ETAG, value);
    }
    parts.headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if known {
        parts.status = StatusCode::NOT_MODIFIED;
        return Response::from_parts(parts, Body::empty());
    }
    Response::from_parts(parts, Body::from(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(query: &str, hint: Option<&str>) {
        let uri = format!("/v1/events{query}").parse().unwrap();
        let checked = check_params(&["topic", "type", "limit"], &uri);
        assert_eq!(
            checked.map_err(|error| error.0.hint.unwrap_or_default()).err().as_deref(),
            hint,
            "{query}"
        );
    }

    #[test]
    fn a_parameter_that_nobody_heeds_is_refused() {
        check("", None);
        check("?topic=orders&limit=3&&tenant=uk", None);
        check("?topic", None);
        check("?topics=orders", Some("did you mean topic?"));
        check("?limit=1&tennant=uk", Some("did you mean tenant?"));
        check("?foo=1", Some("it takes topic, type, limit, environment, tenant"));
    }
}
