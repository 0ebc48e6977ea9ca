//! The console: static files that the build embeds when they are there.

use axum::response::{Html, IntoResponse, Response};
use http::{HeaderValue, Method, Uri, header};
use rust_embed::Embed;

use crate::error::ApiError;

#[derive(Embed)]
#[folder = "../../console/dist"]
#[allow_missing = true]
struct Dist;

const INDEX: &str = "index.html";
/// The page may load its own files and talk to its own origin, and nothing else.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; \
                      frame-ancestors 'none'; base-uri 'none'";

/// Serves a file of the console; for any other path its page, which finds its own way. Paths of the API that lead
/// nowhere are problems.
pub(crate) async fn page(method: Method, uri: Uri) -> Response {
    let path = uri.path().trim_start_matches('/');
    let is_api = path.starts_with("v1/") || path.starts_with("api/");
    if is_api || !matches!(method, Method::GET | Method::HEAD) {
        return ApiError::not_found(format!("resource {}", uri.path()))
            .hint("see /openapi.json")
            .into_response();
    }
    if let Some(file) = Dist::get(path).filter(|_| !path.is_empty() && path != INDEX) {
        let is_named_by_content = path.starts_with("assets/");
        let cache = if is_named_by_content { "public, max-age=31536000, immutable" } else { "no-cache" };
        let headers = [(header::CONTENT_TYPE, media_type(path)), (header::CACHE_CONTROL, cache)];
        return (headers, file.data).into_response();
    }
    match Dist::get(INDEX) {
        Some(index) => {
            let mut response = Html(index.data).into_response();
            let headers = response.headers_mut();
            headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
            headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
            response
        }
        None => Html(
            "<!doctype html><title>Hob</title><h1>Hob runs, its console was not built</h1>\
             <p>Build it with <code>make console</code>, then build Hob again.</p>",
        )
        .into_response(),
    }
}

fn media_type(path: &str) -> &'static str {
    match path.rsplit('.').next().unwrap_or_default() {
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" => "application/json",
        "woff2" => "font/woff2",
        _ => "application/octet-stream",
    }
}
