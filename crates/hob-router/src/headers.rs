//! What changes in a message's head on its way: what concerned one connection stays behind, what the next should know
//! of the client is added.

use std::net::{IpAddr, SocketAddr};

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Version};

const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP: HeaderValue = HeaderValue::from_static("http");
const HTTPS: HeaderValue = HeaderValue::from_static("https");

/// Headers that concern one connection (RFC 9110, 7.6.1), and `expect`, which hyper answers.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::PROXY_AUTHORIZATION,
    header::PROXY_AUTHENTICATE,
    header::EXPECT,
];

/// Headers that `Connection` may not have removed: without them the request would mean something else.
const KEPT: [HeaderName; 5] =
    [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::AUTHORIZATION, header::COOKIE];

/// A client as instances are told of it.
pub(crate) struct Origin {
    pub(crate) address: SocketAddr,
    ip: HeaderValue,
    forwarded_for: String,
    is_secure: bool,
}

impl Origin {
    pub(crate) fn new(address: SocketAddr, is_secure: bool) -> Self {
        let ip = address.ip().to_canonical();
        let text = ip.to_string();
        let forwarded_for = match ip {
            IpAddr::V4(_) => format!("for={text};host=\""),
            IpAddr::V6(_) => format!("for=\"[{text}]\";host=\""),
        };
        let ip = HeaderValue::from_str(&text).expect("an address is ASCII");
        Self { address, ip, forwarded_for, is_secure }
    }
}

/// Removes what concerned the last connection only.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        strip_named(headers);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
}

fn strip_named(headers: &mut HeaderMap) {
    let is_usual =
        |token: &str| ["keep-alive", "close", "upgrade", "te"].iter().any(|t| token.eq_ignore_ascii_case(t));
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|token| std::str::from_utf8(token).ok().map(str::trim))
        .filter(|token| !token.is_empty() && !is_usual(token))
        .filter_map(|token| HeaderName::from_bytes(token.as_bytes()).ok())
        .filter(|name| !KEPT.contains(name))
        .collect();
    for name in named {
        headers.remove(name);
    }
}

/// Tells the instance who asked, for what host. `host` is the request's Host header.
pub(crate) fn add_forwarded(headers: &mut HeaderMap, origin: &Origin, host: &HeaderValue) {
    let chain = match headers.get(&X_FORWARDED_FOR) {
        None => origin.ip.clone(),
        Some(_) => {
            joined(headers, &X_FORWARDED_FOR, origin.ip.as_bytes()).unwrap_or_else(|| origin.ip.clone())
        }
    };
    headers.insert(X_FORWARDED_FOR, chain);
    headers.insert(X_FORWARDED_PROTO, if origin.is_secure { HTTPS } else { HTTP });
    headers.insert(X_FORWARDED_HOST, host.clone());
    let mut element = Vec::with_capacity(origin.forwarded_for.len() + host.len() + 12);
    element.extend_from_slice(origin.forwarded_for.as_bytes());
    // A host that was checked holds neither quote nor backslash.
    element.extend_from_slice(host.as_bytes());
    element.extend_from_slice(if origin.is_secure { b"\";proto=https" } else { b"\";proto=http" });
    let chain = match headers.get(header::FORWARDED) {
        None => HeaderValue::from_maybe_shared(bytes::Bytes::from(element)).ok(),
        Some(_) => joined(headers, &header::FORWARDED, &element),
    };
    if let Some(chain) = chain {
        headers.insert(header::FORWARDED, chain);
    }
}

/// All values of a header and one more, in one list.
fn joined(headers: &HeaderMap, name: &HeaderName, last: &[u8]) -> Option<HeaderValue> {
    let mut list = Vec::new();
    for value in headers.get_all(name) {
        list.extend_from_slice(value.as_bytes());
        list.extend_from_slice(b", ");
    }
    list.extend_from_slice(last);
    HeaderValue::from_maybe_shared(bytes::Bytes::from(list)).ok()
}

/// Whether the client asks to go on as a websocket. Other upgrades (`h2c`) are not passed on: what follows them would
/// go around the routes.
pub(crate) fn wants_websocket<B>(request: &Request<B>) -> bool {
    let headers = request.headers();
    // Nearly every request is done here.
    let Some(protocol) = headers.get(header::UPGRADE) else { return false };
    if request.version() != Version::HTTP_11 || request.method() != Method::GET {
        return false;
    }
    let is_upgrade = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case("upgrade"));
    is_upgrade && protocol.as_bytes().eq_ignore_ascii_case(b"websocket")
}

/// Makes a head of HTTP/2 one that HTTP/1.1 knows: the host is a header, and cookies are one (RFC 9113, 8.2.3, 8.3.1).
pub(crate) fn from_h2<B>(request: &mut Request<B>) {
    let authority =
        request.uri().authority().and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    let headers = request.headers_mut();
    if let Some(host) = authority.filter(|_| !headers.contains_key(header::HOST)) {
        headers.insert(header::HOST, host);
    }
    if headers.get_all(header::COOKIE).iter().nth(1).is_some() {
        let cookies: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(cookie) = HeaderValue::from_bytes(&cookies.join(&b"; "[..])) {
            headers.insert(header::COOKIE, cookie);
        }
    }
}

/// Marks a head as asking for, or agreeing to, a websocket.
pub(crate) fn mark_websocket(headers: &mut HeaderMap) {
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn what_concerns_one_connection_stays_behind() {
        let mut given = headers(&[
            ("connection", "close, X-Private"),
            ("connection", "Host, cookie,x-more"),
            ("x-private", "1"),
            ("x-more", "1"),
            ("x-kept", "1"),
            ("host", "a"),
            ("cookie", "b"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-connection", "keep-alive"),
        ]);
        strip_hop_by_hop(&mut given);
        assert_eq!(given, headers(&[("x-kept", "1"), ("host", "a"), ("cookie", "b")]));
    }

    #[test]
    fn the_client_is_named_at_the_end_of_each_list() {
        let host = HeaderValue::from_static("shop.example:8080");
        let origin = Origin::new("10.0.0.7:4000".parse().unwrap(), false);
        let mut fresh = HeaderMap::new();
        add_forwarded(&mut fresh, &origin, &host);
        assert_eq!(fresh["x-forwarded-for"], "10.0.0.7");
        assert_eq!(fresh["x-forwarded-proto"], "http");
        assert_eq!(fresh["x-forwarded-host"], "shop.example:8080");
        assert_eq!(fresh["forwarded"], "for=10.0.0.7;host=\"shop.example:8080\";proto=http");

        let mut carried = headers(&[
            ("x-forwarded-for", "1.2.3.4"),
            ("x-forwarded-for", "5.6.7.8"),
            ("forwarded", "for=1.2.3.4"),
            ("x-forwarded-host", "forged"),
        ]);
        let origin = Origin::new("[2001:db8::1]:4000".parse().unwrap(), false);
        add_forwarded(&mut carried, &origin, &host);
        assert_eq!(carried["x-forwarded-for"], "1.2.3.4, 5.6.7.8, 2001:db8::1");
        assert_eq!(
            carried["forwarded"],
            "for=1.2.3.4, for=\"[2001:db8::1]\";host=\"shop.example:8080\";proto=http"
        );
        assert_eq!(carried["x-forwarded-host"], "shop.example:8080");
        assert_eq!(carried.get_all("x-forwarded-for").iter().count(), 1);
    }

    #[test]
    fn only_websockets_are_upgrades() {
        let check = |connection: &'static str, upgrade: &'static str, is_websocket: bool| {
            let mut request = http::Request::new(());
            *request.headers_mut() = headers(&[("connection", connection), ("upgrade", upgrade)]);
            assert_eq!(wants_websocket(&request), is_websocket, "{connection} {upgrade}");
        };
        check("Upgrade", "websocket", true);
        check("keep-alive, Upgrade", "WebSocket", true);
        check("keep-alive", "websocket", false);
        check("Upgrade, HTTP2-Settings", "h2c", false);
        check("Upgrade", "websocket, h2c", false);
    }
}
