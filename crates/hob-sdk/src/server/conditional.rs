//! Representations with ETags, and 304 for who has them already.

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use bytes::Bytes;
use hob_core::Digest;
use serde::Serialize;

/// Caches ask before they use it again, unless events tell them that they need not, and stand in for a while when there
/// is nobody to ask.
const CACHE_CONTROL: &str = "max-age=0, stale-if-error=300";
/// Hex digits of a digest that make an ETag: 64 bits tell the representations of one href apart.
const ETAG_DIGITS: usize = 16;

/// A body with its media type and ETag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Representation {
    /// The body.
    pub body: Bytes,
    /// Its strong ETag, in its quotes.
    pub etag: String,
    media_type: &'static str,
}

impl Representation {
    /// A resource with links, as `application/hal+json`.
    ///
    /// # Errors
    /// When the value cannot be written as JSON.
    pub fn hal<T: Serialize>(value: &T) -> Result<Self, serde_json::Error> {
        Ok(Self::new(serde_json::to_vec(value)?, "application/hal+json"))
    }

    /// Any body of a media type.
    pub fn new(body: impl Into<Bytes>, media_type: &'static str) -> Self {
        let body = body.into();
        let etag = etag(&body);
        Self { body, etag, media_type }
    }

    /// A body whose ETag is known from when it was made.
    pub fn stored(body: impl Into<Bytes>, etag: String, media_type: &'static str) -> Self {
        Self { body: body.into(), etag, media_type }
    }

    /// The answer to a request: 304 when its `If-None-Match` names this ETag.
    pub fn answer(self, request: &HeaderMap) -> Response {
        let is_known = request
            .get_all(header::IF_NONE_MATCH)
            .iter()
            .any(|value| value.to_str().is_ok_and(|list| matches_etag(list, &self.etag)));
        let mut response = Response::new(if is_known { Body::empty() } else { Body::from(self.body) });
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
        } else {
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(self.media_type));
        }
        if let Ok(value) = HeaderValue::from_str(&self.etag) {
            response.headers_mut().insert(header::ETAG, value);
        }
        response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static(CACHE_CONTROL));
        response
    }
}

/// Whether a list as in `If-None-Match` names `etag`, compared weakly as RFC 9110 13.1.2 says.
pub fn matches_etag(list: &str, etag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    list.trim() == "*" || list.split(',').any(|tag| opaque(tag) == opaque(etag))
}

fn etag(body: &[u8]) -> String {
    let digest = Digest::of(body).to_string();
    let hex = digest.rsplit(':').next().unwrap_or(&digest);
    format!("\"{}\"", &hex[..ETAG_DIGITS.min(hex.len())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_gets_304_without_a_body() {
        let page = Representation::hal(&serde_json::json!({ "a": 1 })).unwrap();
        assert_eq!(page.etag.len(), ETAG_DIGITS + 2);
        let mut headers = HeaderMap::new();
        assert_eq!(page.clone().answer(&headers).status(), StatusCode::OK);
        headers.insert(header::IF_NONE_MATCH, format!("\"x\", W/{}", page.etag).parse().unwrap());
        let answer = page.clone().answer(&headers);
        assert_eq!(answer.status(), StatusCode::NOT_MODIFIED);
        assert_eq!(answer.headers()[header::ETAG], page.etag.as_str());
        assert!(!answer.headers().contains_key(header::CONTENT_TYPE));
        assert!(matches_etag("*", &page.etag) && !matches_etag("\"x\"", &page.etag));
    }
}
