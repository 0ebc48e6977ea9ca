//! Whether a request means the same to everyone on its way. hyper refuses what it cannot frame; here is refused what it
//! lets through although two readers might differ over it.

use hob_core::code;
use hob_wire::Problem;
use http::header::{self, HeaderValue};
use http::uri::Uri;
use http::{Method, StatusCode, request};

use crate::Limits;
use crate::headers::Present;

/// The host that a request is for.
#[derive(Clone, Debug)]
pub(crate) struct Host {
    /// The Host header, as it was sent.
    pub(crate) value: HeaderValue,
    name_length: usize,
    lower: Option<String>,
}

impl Host {
    /// The host's name without port, in lower case.
    pub(crate) fn name(&self) -> &str {
        // A checked host is ASCII.
        let sent = || std::str::from_utf8(&self.value.as_bytes()[..self.name_length]).unwrap_or_default();
        self.lower.as_deref().unwrap_or_else(sent)
    }
}

/// Checks a request's head; returns its host, or why it is refused.
pub(crate) fn check(head: &request::Parts, limits: &Limits, present: Present) -> Result<Host, Box<Problem>> {
    check_target(&head.method, &head.uri, limits)?;
    if present.has(Present::TRANSFER_ENCODING) {
        check_framing(head)?;
    }
    if present.has(Present::CONTENT_LENGTH) {
        check_length(head, limits)?;
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let (Some(value), None) = (hosts.next(), hosts.next()) else {
        return Err(bad("a request needs one Host header; name the host once"));
    };
    let host = read_host(value).ok_or_else(|| bad("the Host header names no host"))?;
    let is_other = |authority: &http::uri::Authority| {
        !authority.as_str().as_bytes().eq_ignore_ascii_case(value.as_bytes())
    };
    if head.uri.authority().is_some_and(is_other) {
        return Err(bad("the request's target and its Host header name different hosts"));
    }
    Ok(host)
}

fn check_target(method: &Method, uri: &Uri, limits: &Limits) -> Result<(), Box<Problem>> {
    if method == Method::CONNECT {
        return Err(Box::new(Problem::new(code::BAD_METHOD, "the router opens no tunnels")));
    }
    let target_bytes = uri.path_and_query().map_or(0, |target| target.as_str().len());
    if target_bytes > limits.target_bytes_max {
        let most = limits.target_bytes_max;
        let mut problem = bad(format!("the request's target has {target_bytes} bytes; {most} are read"));
        problem.status = StatusCode::URI_TOO_LONG.as_u16();
        return Err(problem);
    }
    let is_scheme_known = uri.scheme_str().is_none_or(|scheme| scheme == "http" || scheme == "https");
    let is_path = uri.path().starts_with('/') || (uri.path() == "*" && method == Method::OPTIONS);
    if !is_scheme_known || !is_path {
        return Err(bad("the request's target is no path"));
    }
    if uri.path().split('/').any(is_dot_segment) {
        return Err(bad(
            "the path has a segment `.` or `..`; a service that resolves it would serve what is not routed",
        ));
    }
    Ok(())
}

/// Whether a segment means here or above (RFC 3986, 5.2.4), also when its dots are percent-encoded.
fn is_dot_segment(segment: &str) -> bool {
    // Nearly every segment is done here.
    let may_be = segment.starts_with(['.', '%']) && segment.len() <= "%2e%2e".len();
    may_be && matches!(segment.to_ascii_lowercase().replace("%2e", ".").as_str(), "." | "..")
}

/// hyper frames a body by its last transfer coding and drops Content-Length beside it. A coding before `chunked` would
/// be lost on the way.
fn check_framing(head: &request::Parts) -> Result<(), Box<Problem>> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        (Some(coding), None) if coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err(bad("the only transfer coding that is read is chunked, once")),
    }
}

/// A body whose announced length is more than is passed on is refused before any of it is read.
fn check_length(head: &request::Parts, limits: &Limits) -> Result<(), Box<Problem>> {
    let Some(length) = head.headers.get(header::CONTENT_LENGTH) else { return Ok(()) };
    let length: Option<u64> = length.to_str().ok().and_then(|length| length.parse().ok());
    if length.is_some_and(|length| length > limits.body_bytes_max) {
        return Err(too_large(limits));
    }
    Ok(())
}

/// What is said of a body that is larger than is passed on.
pub(crate) fn too_large(limits: &Limits) -> Box<Problem> {
    let detail = format!("the request's body has more than {} bytes", limits.body_bytes_max);
    Box::new(Problem::new(code::BODY_TOO_LARGE, detail))
}

fn read_host(value: &HeaderValue) -> Option<Host> {
    let text = value.as_bytes();
    let name_length = match text.first()? {
        b'[' => text.iter().position(|byte| *byte == b']')? + 1,
        _ => text.iter().position(|byte| *byte == b':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(name_length);
    let is_port = match port {
        [] => true,
        [b':', digits @ ..] => digits.len() <= 5 && digits.iter().all(u8::is_ascii_digit),
        _ => false,
    };
    let is_letter = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_name = match name {
        [b'[', inner @ .., b']'] => {
            inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'))
        }
        _ => name.iter().all(is_letter),
    };
    if name.is_empty() || !is_name || !is_port {
        return None;
    }
    let has_upper = name.iter().any(u8::is_ascii_uppercase);
    let lower = has_upper.then(|| String::from_utf8_lossy(name).to_ascii_lowercase());
    Some(Host { value: value.clone(), name_length, lower })
}

fn bad(detail: impl Into<String>) -> Box<Problem> {
    Box::new(Problem::new(code::BAD_REQUEST, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(text: &'static str) -> Option<String> {
        read_host(&HeaderValue::from_static(text)).map(|host| host.name().to_owned())
    }

    #[test]
    fn hosts_are_read_strictly() {
        let check =
            |text: &'static str, name: Option<&str>| assert_eq!(host_of(text).as_deref(), name, "{text}");
        check("shop.example", Some("shop.example"));
        check("Shop.Example:8080", Some("shop.example"));
        check("with_underscore", Some("with_underscore"));
        check("127.0.0.1:1", Some("127.0.0.1"));
        check("[::1]:8080", Some("[::1]"));
        for bad in
            ["", ":80", "a:b", "a:123456", "user@shop", "a/b", "a b", "a,b", "[::1", "[x]", "a\"b", "a:1:2"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn heads_are_refused_with_a_reason() {
        let check_head = |method: &str, target: &str, headers: &[(&str, &str)], status: Option<u16>| {
            let mut request = http::Request::builder().method(method).uri(target);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            let verdict = check(&head, &Limits::default(), Present::of(&head.headers))
                .err()
                .map(|problem| problem.status);
            assert_eq!(verdict, status, "{method} {target} {headers:?}");
        };
        let host = ("host", "shop.example");
        check_head("GET", "/", &[host], None);
        check_head("GET", "/", &[], Some(400));
        check_head("GET", "/", &[host, host], Some(400));
        check_head("GET", "http://shop.example/", &[host], None);
        check_head("GET", "http://other.example/", &[host], Some(400));
        check_head("GET", "http://user@shop.example/", &[host], Some(400));
        check_head("GET", "ftp://shop.example/", &[host], Some(400));
        check_head("OPTIONS", "*", &[host], None);
        check_head("GET", "*", &[host], Some(400));
        check_head("CONNECT", "shop.example:80", &[host], Some(405));
        check_head("POST", "/", &[host, ("transfer-encoding", "Chunked")], None);
        check_head("POST", "/", &[host, ("transfer-encoding", "gzip, chunked")], Some(400));
        let twice = ("transfer-encoding", "chunked");
        check_head("POST", "/", &[host, twice, twice], Some(400));
        check_head("GET", &format!("/{}", "x".repeat(9000)), &[host], Some(414));
        check_head("POST", "/", &[host, ("content-length", "1073741825")], Some(413));
    }
}
