//! What handlers take from a request: bodies, scopes, pages; each wrong one is a problem that says what to mend.

use axum::extract::{FromRequest, FromRequestParts, Query, Request};
use axum::response::{IntoResponse, Response};
use hob_core::{Name, Scope, code, limits};
use hob_wire::{Hal, Page};
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::auth::Caller;
use crate::error::ApiError;
use crate::state::Api;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Api> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_none_or(|value| {
            // curl sends forms unless told otherwise; the body tells what it is.
            value.to_str().is_ok_and(|v| v.contains("json") || v.contains("x-www-form-urlencoded"))
        });
        if !is_json {
            return Err(ApiError::new(code::MEDIA_TYPE, "the body is not application/json"));
        }
        let bytes = Bytes::from_request(request, api).await?.0;
        let mut reader = serde_json::Deserializer::from_slice(&bytes);
        match T::deserialize(&mut reader).and_then(|value| reader.end().map(|()| value)) {
            Ok(value) => Ok(Self(value)),
            Err(error) => {
                Err(ApiError::new(code::BAD_REQUEST, format!("failed to read the JSON body: {error}")))
            }
        }
    }
}

/// A body of bytes within the endpoint's limit.
pub(crate) struct Bytes(pub(crate) bytes::Bytes);

impl FromRequest<Api> for Bytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, api: &Api) -> Result<Self, ApiError> {
        match bytes::Bytes::from_request(request, api).await {
            Ok(bytes) => Ok(Self(bytes)),
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(ApiError::new(code::TOO_LARGE, "the body is larger than this resource takes"))
            }
            Err(rejection) => Err(ApiError::new(code::BAD_REQUEST, rejection.body_text())),
        }
    }
}

/// What stands in the path.
pub(crate) struct Path<T>(pub(crate) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match axum::extract::Path::from_request_parts(parts, state).await {
            Ok(axum::extract::Path(value)) => Ok(Self(value)),
            Err(error) => {
                let told = error.body_text();
                let flaw = told.strip_prefix("Invalid URL: ").unwrap_or(&told);
                Err(ApiError::new(code::BAD_REQUEST, format!("failed to read the path: {flaw}")))
            }
        }
    }
}

/// Query parameters.
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Api> for Params<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        match Query::from_request_parts(parts, api).await {
            Ok(Query(value)) => Ok(Self(value)),
            Err(error) => Err(ApiError::new(code::BAD_REQUEST, error.body_text())),
        }
    }
}

/// The caller, as the guard knew it.
impl FromRequestParts<Api> for Caller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        let caller = parts.extensions.get::<Self>().cloned();
        caller.ok_or_else(|| ApiError::new(code::NO_TOKEN, "this needs a token"))
    }
}

/// The request's id, made or carried on by the guard.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) String);

impl FromRequestParts<Api> for RequestId {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &Api) -> Result<Self, ApiError> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_else(|| Self(String::new())))
    }
}

/// The scope that a request names.
#[derive(Default, Deserialize)]
pub(crate) struct ScopeParams {
    environment: Option<Name>,
    tenant: Option<Name>,
}

/// The scope that a request is about: the token's, else the one that it names, else the platform's first.
pub(crate) struct InScope(pub(crate) Scope);

impl FromRequestParts<Api> for InScope {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, ApiError> {
        let Params(params) = Params::<ScopeParams>::from_request_parts(parts, api).await?;
        let caller = Caller::from_request_parts(parts, api).await?;
        Self::of(api, params, &caller)
    }
}

impl InScope {
    /// The scope for a caller that names this one.
    pub(crate) fn of(api: &Api, params: ScopeParams, caller: &Caller) -> Result<Self, ApiError> {
        if let Some((_, own)) = &caller.instance {
            let same = params.environment.is_none_or(|e| e == own.environment)
                && params.tenant.is_none_or(|t| t == own.tenant);
            return match same {
                true => Ok(Self(own.clone())),
                false => {
                    Err(ApiError::new(code::NOT_ALLOWED, format!("this token belongs to the scope {own}")))
                }
            };
        }
        let (_, declared) = api.deploy.declarations().ok_or_else(|| {
            ApiError::new(code::NOT_FOUND, "nothing is declared yet")
                .hint("apply a platform first: hob apply")
        })?;
        let platform = &declared.platform;
        let first = platform.default_scope();
        let scope = Scope {
            environment: params.environment.unwrap_or(first.environment),
            tenant: params.tenant.unwrap_or(first.tenant),
        };
        if !platform.has(&scope) {
            let known: Vec<String> = platform.scopes().iter().map(ToString::to_string).collect();
            return Err(
                ApiError::not_found(format!("scope {scope}")).hint(format!("there is {}", known.join(", ")))
            );
        }
        Ok(Self(scope))
    }
}

/// Which part of a list is wanted.
#[derive(Deserialize)]
pub(crate) struct PageParams {
    limit: Option<usize>,
    cursor: Option<String>,
}

impl PageParams {
    /// Items on the page.
    pub(crate) fn limit(&self) -> Result<usize, ApiError> {
        match self.limit.unwrap_or(limits::PAGE_ITEMS_DEFAULT) {
            limit if (1..=limits::PAGE_ITEMS_MAX).contains(&limit) => Ok(limit),
            _ => Err(ApiError::new(
                code::BAD_REQUEST,
                format!("limit must be from 1 to {}", limits::PAGE_ITEMS_MAX),
            )),
        }
    }

    /// Where to go on, when that is a text.
    pub(crate) fn cursor_text(&self) -> Option<&str> {
        self.cursor.as_deref()
    }

    /// Where to go on.
    pub(crate) fn cursor(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = &self.cursor else { return Ok(None) };
        let number = text.parse().map_err(|_| {
            ApiError::new(code::BAD_REQUEST, "the cursor is not one that this list gave")
                .hint("follow the link `next`")
        })?;
        Ok(Some(number))
    }
}

/// One page of items that are all at hand; the cursor is the number of items passed.
pub(crate) fn page_of<T: Serialize>(
    items: Vec<Hal<T>>,
    params: &PageParams,
    uri: &http::Uri,
) -> Result<Response, ApiError> {
    let start = usize::try_from(params.cursor()?.unwrap_or(0)).unwrap_or(usize::MAX);
    let limit = params.limit()?;
    let next = start.saturating_add(limit);
    let more = items.len() > next;
    let items = items.into_iter().skip(start).take(limit).collect();
    Ok(page(items, more.then(|| next.to_string()), uri))
}

/// A page with its links, in the body and in the header.
pub(crate) fn page<T: Serialize>(items: Vec<Hal<T>>, next: Option<String>, uri: &http::Uri) -> Response {
    let address = uri.path_and_query().map_or("/", |p| p.as_str());
    let mut links = Hal::new((), address).links;
    let next = next.map(|cursor| next_href(&cursor, uri));
    if let Some(href) = next.clone() {
        links.insert("next".to_owned(), hob_wire::Link { href });
    }
    with_next(json(StatusCode::OK, &Page { items, links }), next)
}

/// A page of lines, each an item; the link to the next page is in the header alone.
pub(crate) fn page_of_lines(lines: Vec<u8>, next: Option<String>, uri: &http::Uri) -> Response {
    let answer = ([(header::CONTENT_TYPE, "application/x-ndjson")], lines).into_response();
    with_next(answer, next.map(|cursor| next_href(&cursor, uri)))
}

fn next_href(cursor: &str, uri: &http::Uri) -> String {
    let kept =
        uri.query().unwrap_or_default().split('&').filter(|p| !p.is_empty() && !p.starts_with("cursor="));
    let query: Vec<&str> = kept.collect();
    let mark = if query.is_empty() { "" } else { "&" };
    format!("{}?{}{mark}cursor={cursor}", uri.path(), query.join("&"))
}

fn with_next(mut answer: Response, href: Option<String>) -> Response {
    let value = href.and_then(|href| HeaderValue::from_str(&format!("<{href}>; rel=\"next\"")).ok());
    if let Some(value) = value {
        answer.headers_mut().insert(header::LINK, value);
    }
    answer
}

/// A resource as an answer.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    match serde_json::to_vec(value) {
        Ok(body) => {
            let media_type = HeaderValue::from_static(Hal::<()>::MEDIA_TYPE);
            (status, [(header::CONTENT_TYPE, media_type)], body).into_response()
        }
        Err(error) => {
            ApiError::new(code::INTERNAL, format!("failed to write an answer: {error}")).into_response()
        }
    }
}
