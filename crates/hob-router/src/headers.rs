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

/// Which of the headers that the router looks for a head has. They are found in one pass: most are missing, and looking each up
/// by itself took a tenth of a request's time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Present(u16);

impl Present {
    pub(crate) const CONNECTION: u16 = 1;
    const HOP_BY_HOP: u16 = (1 << 9) - 1;
    pub(crate) const TRANSFER_ENCODING: u16 = 1 << 3;
    pub(crate) const UPGRADE: u16 = 1 << 4;
    pub(crate) const CONTENT_LENGTH: u16 = 1 << 9;
    pub(crate) const REQUEST_ID: u16 = 1 << 10;
    pub(crate) const TRACEPARENT: u16 = 1 << 11;
    pub(crate) const TRACESTATE: u16 = 1 << 12;
    pub(crate) const X_FORWARDED_FOR: u16 = 1 << 13;
    pub(crate) const FORWARDED: u16 = 1 << 14;

    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self(headers.keys().fold(0, |bits, name| bits | Self::bit(name.as_str())))
    }

    /// Whether the head had any of these. What was removed since still counts.
    pub(crate) fn has(self, bits: u16) -> bool {
        self.0 & bits != 0
    }

    /// The first nine in the order of [`HOP_BY_HOP`].
    fn bit(name: &str) -> u16 {
        match name {
            "connection" => Self::CONNECTION,
            "keep-alive" => 1 << 1,
            "proxy-connection" => 1 << 2,
            "transfer-encoding" => Self::TRANSFER_ENCODING,
            "upgrade" => Self::UPGRADE,
            "te" => 1 << 5,
            "proxy-authorization" => 1 << 6,
            "proxy-authenticate" => 1 << 7,
            "expect" => 1 << 8,
            "content-length" => Self::CONTENT_LENGTH,
            "x-request-id" => Self::REQUEST_ID,
            "traceparent" => Self::TRACEPARENT,
            "tracestate" => Self::TRACESTATE,
            "x-forwarded-for" => Self::X_FORWARDED_FOR,
            "forwarded" => Self::FORWARDED,
            _ => 0,
        }
    }
}

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
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap, present: Present) {
    if !present.has(Present::HOP_BY_HOP) {
        return;
    }
    if present.has(Present::CONNECTION) {
        strip_named(headers);
    }
    for (at, name) in HOP_BY_HOP.iter().enumerate() {
        if present.has(1 << at) {
            headers.remove(name);
        }
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

/// Whom a request comes from when a trusted proxy brought it: the last in its list that is no such proxy itself. What stands
/// before that one, anybody may have written.
pub(crate) fn client_of(headers: &HeaderMap, peer: IpAddr, is_trusted: impl Fn(IpAddr) -> bool) -> IpAddr {
    let lists: Vec<&[u8]> = headers.get_all(&X_FORWARDED_FOR).iter().map(HeaderValue::as_bytes).collect();
    let mut client = peer;
    for entry in lists.iter().rev().flat_map(|list| list.rsplit(|byte| *byte == b',')) {
        let address = std::str::from_utf8(entry).ok().and_then(|text| read_address(text.trim()));
        let Some(address) = address else { return client };
        client = address;
        if !is_trusted(address) {
            return client;
        }
    }
    client
}

/// An address, also with a port or in brackets, as some proxies write it.
fn read_address(text: &str) -> Option<IpAddr> {
    let plain = text.strip_prefix('[').and_then(|rest| rest.split(']').next()).unwrap_or(text);
    let address: Option<IpAddr> = plain.parse().ok();
    address.or_else(|| text.parse::<SocketAddr>().ok().map(|with_port| with_port.ip()))
}

/// Tells the instance who asked, for what host. `host` is the request's Host header. What a trusted proxy said of the scheme and
/// the host stays as it is.
pub(crate) fn add_forwarded(
    headers: &mut HeaderMap,
    origin: &Origin,
    host: &HeaderValue,
    present: Present,
    is_trusted: bool,
) {
    let chain = match present.has(Present::X_FORWARDED_FOR) {
        false => origin.ip.clone(),
        true => joined(headers, &X_FORWARDED_FOR, origin.ip.as_bytes()).unwrap_or_else(|| origin.ip.clone()),
    };
    headers.insert(X_FORWARDED_FOR, chain);
    let proto = if origin.is_secure { HTTPS } else { HTTP };
    if is_trusted {
        headers.entry(X_FORWARDED_PROTO).or_insert(proto);
        headers.entry(X_FORWARDED_HOST).or_insert_with(|| host.clone());
    } else {
        headers.insert(X_FORWARDED_PROTO, proto);
        headers.insert(X_FORWARDED_HOST, host.clone());
    }
    let mut element =
        Vec::with_capacity(origin.forwarded_for.len() + host.len() + if origin.is_secure { 13 } else { 12 });
    element.extend_from_slice(origin.forwarded_for.as_bytes());
    // A host that was checked holds neither quote nor backslash.
    element.extend_from_slice(host.as_bytes());
    element.extend_from_slice(if origin.is_secure { b"\";proto=https" } else { b"\";proto=http" });
    let chain = match present.has(Present::FORWARDED) {
        false => HeaderValue::from_maybe_shared(bytes::Bytes::from(element)).ok(),
        true => joined(headers, &header::FORWARDED, &element),
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
        let present = Present::of(&given);
        strip_hop_by_hop(&mut given, present);
        assert_eq!(given, headers(&[("x-kept", "1"), ("host", "a"), ("cookie", "b")]));
    }

    #[test]
    fn a_trusted_proxy_says_whom_a_request_comes_from() {
        let is_trusted = |address: IpAddr| address.to_string().starts_with("10.");
        let check = |lists: &[&'static str], client: &str| {
            let given: Vec<_> = lists.iter().map(|list| ("x-forwarded-for", *list)).collect();
            let found = client_of(&headers(&given), "10.0.0.1".parse().unwrap(), is_trusted);
            assert_eq!(found.to_string(), client, "{lists:?}");
        };
        check(&["9.9.9.9"], "9.9.9.9");
        check(&["6.6.6.6, 9.9.9.9, 10.0.0.2"], "9.9.9.9");
        check(&["6.6.6.6", "9.9.9.9:4711 ,10.0.0.2"], "9.9.9.9");
        check(&["[2001:db8::1]:443"], "2001:db8::1");
        check(&["10.0.0.3, 10.0.0.2"], "10.0.0.3");
        check(&["9.9.9.9, unknown"], "10.0.0.1");
        check(&[], "10.0.0.1");
        let mut given = headers(&[("x-forwarded-proto", "https"), ("x-forwarded-for", "9.9.9.9")]);
        let origin = Origin::new("10.0.0.1:4000".parse().unwrap(), false);
        let present = Present::of(&given);
        add_forwarded(&mut given, &origin, &HeaderValue::from_static("a"), present, true);
        assert_eq!(
            (&given["x-forwarded-proto"], &given["x-forwarded-for"], &given["x-forwarded-host"]),
            (
                &HeaderValue::from_static("https"),
                &HeaderValue::from_static("9.9.9.9, 10.0.0.1"),
                &HeaderValue::from_static("a")
            )
        );
    }

    #[test]
    fn the_client_is_named_at_the_end_of_each_list() {
        let host = HeaderValue::from_static("shop.example:8080");
        let origin = Origin::new("10.0.0.7:4000".parse().unwrap(), false);
        let mut fresh = HeaderMap::new();
        add_forwarded(&mut fresh, &origin, &host, Present::default(), false);
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
        let present = Present::of(&carried);
        add_forwarded(&mut carried, &origin, &host, present, false);
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
