//! Which endpoints may be called: an address that a consumer names must not make Hob ask, with its own standing in the
//! network, what the consumer could not ask itself.
//!
//! Refused for good are link-local addresses, among them the metadata services of clouds, and those that name no one.
//! Loopback and private networks are allowed: one machine is Hob's first home, and consumers are the company's own
//! services. A name is looked at again once it is resolved, by whoever calls it, with [`check_address`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Bytes of an endpoint's URL.
pub(crate) const SINK_BYTES_MAX: usize = 2_048;

/// The metadata service of a cloud at an address that is not link-local.
const METADATA: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0x0ec2, 0, 0, 0, 0, 0, 0x0254)),
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
];

/// Why an endpoint may not be called.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SinkFlaw {
    /// It is no absolute http or https URL.
    #[error("the sink is no absolute http or https URL; write it like https://emails.example/hob")]
    NoUrl,
    /// It is over the limit.
    #[error("the sink has {bytes} bytes; the limit is {SINK_BYTES_MAX}")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// It holds a user name or a password.
    #[error("the sink holds a user name or a password; leave it out, and check the signature instead")]
    Credentials,
    /// It leads to an address that is not called.
    #[error(
        "the sink leads to {address}, which is link-local, a metadata service, or nobody's; it is never called"
    )]
    Address {
        /// The address.
        address: IpAddr,
    },
}

/// Checks an endpoint's URL as it is written.
pub fn check_sink(url: &str) -> Result<(), SinkFlaw> {
    if url.len() > SINK_BYTES_MAX {
        return Err(SinkFlaw::TooLong { bytes: url.len() });
    }
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://")).ok_or(SinkFlaw::NoUrl)?;
    let is_strange =
        |byte: u8| byte <= b' ' || byte >= 0x7f || matches!(byte, b'\\' | b'"' | b'<' | b'>' | b'#');
    if rest.bytes().any(is_strange) {
        return Err(SinkFlaw::NoUrl);
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(SinkFlaw::Credentials);
    }
    let host = host_of(authority).ok_or(SinkFlaw::NoUrl)?;
    match address_of(host) {
        Some(address) => check_address(address),
        None if is_name(host) => Ok(()),
        None => Err(SinkFlaw::NoUrl),
    }
}

/// Checks an address that an endpoint's name has led to.
pub fn check_address(address: IpAddr) -> Result<(), SinkFlaw> {
    let plain = match address {
        IpAddr::V4(address) => IpAddr::V4(address),
        // The same machines under other names: ::ffff:169.254.169.254, and 64:ff9b::/96 through a translator.
        IpAddr::V6(address) => embedded(address).map_or(IpAddr::V6(address), IpAddr::V4),
    };
    let is_refused = match plain {
        IpAddr::V4(address) => {
            address.is_link_local()
                || address.octets()[0] == 0
                || address.is_broadcast()
                || address.is_multicast()
        }
        IpAddr::V6(address) => {
            address.is_unspecified() || address.is_unicast_link_local() || address.is_multicast()
        }
    };
    if is_refused || METADATA.contains(&plain) { Err(SinkFlaw::Address { address }) } else { Ok(()) }
}

fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, high, low] = address.segments();
    let is_translated = [a, b, c, d, e, f] == [0x64, 0xff9b, 0, 0, 0, 0];
    let v4 = || Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    // `::` and `::1` are addresses of their own.
    let is_compatible = [a, b, c, d, e, f] == [0; 6] && high != 0;
    if is_translated || is_compatible { Some(v4()) } else { address.to_ipv4_mapped() }
}

/// Host of `host[:port]`; none when the port is none.
fn host_of(authority: &str) -> Option<&str> {
    let (host, port) = if let Some(rest) = authority.strip_prefix('[') {
        let (host, rest) = rest.split_once(']')?;
        (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
    } else {
        match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        }
    };
    let is_port = |port: &str| {
        port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok_and(|p| p > 0)
    };
    (!host.is_empty() && port.is_none_or(is_port)).then_some(host)
}

/// The address that a host is, in any of the ways in which libraries read one: `0x7f.1` and `2130706433` are addresses.
fn address_of(host: &str) -> Option<IpAddr> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some(address);
    }
    let parts: Vec<u64> =
        host.strip_suffix('.').unwrap_or(host).split('.').map(number).collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 || first.iter().any(|part| *part > 255) || *last >= 1 << (8 * (4 - first.len())) {
        return None;
    }
    let high = first.iter().zip([24, 16, 8]).map(|(part, shift)| part << shift).sum::<u64>();
    u32::try_from(high + last).ok().map(|address| IpAddr::V4(Ipv4Addr::from(address)))
}

fn number(part: &str) -> Option<u64> {
    let hex = part.strip_prefix("0x").or_else(|| part.strip_prefix("0X"));
    match hex {
        Some("") => Some(0),
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if part.len() > 1 && part.starts_with('0') => u64::from_str_radix(&part[1..], 8).ok(),
        None => part.parse().ok(),
    }
}

/// Whether a text can be the name of a host. One that ends in a number would be an address, and is none.
fn is_name(host: &str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    let last = host.strip_suffix('.').unwrap_or(host).rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.bytes().all(is_letter)
        && !last.is_empty()
        && number(last).is_none()
        && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_of_companies_are_allowed() {
        for url in [
            "https://emails.example/hob",
            "http://emails.example",
            "http://emails.example:8080/hob?key=7",
            "http://localhost:9000/",
            "http://127.0.0.1:9000/in",
            "http://[::1]:9000/in",
            "http://10.0.0.7/in",
            "http://192.168.1.7/in",
            "http://[fd12::7]/in",
            "http://orders_web.internal/",
        ] {
            assert_eq!(check_sink(url), Ok(()), "{url}");
        }
    }

    #[test]
    fn addresses_that_are_never_called_are_refused_however_they_are_written() {
        for host in [
            "169.254.169.254",
            "169.254.0.1",
            "2852039166",
            "0xa9fea9fe",
            "0xa9.0xfe.0xa9.0xfe",
            "0251.0376.0251.0376",
            "169.254.43518",
            "[::ffff:169.254.169.254]",
            "[::ffff:a9fe:a9fe]",
            "[::169.254.169.254]",
            "[64:ff9b::a9fe:a9fe]",
            "[fe80::1]",
            "[fd00:ec2::254]",
            "100.100.100.200",
            "0.0.0.0",
            "0",
            "[::]",
            "255.255.255.255",
            "224.0.0.1",
            "[ff02::1]",
        ] {
            let found = check_sink(&format!("http://{host}/latest"));
            assert!(matches!(found, Err(SinkFlaw::Address { .. })), "{host}: {found:?}");
        }
    }

    #[test]
    fn what_is_no_url_is_refused() {
        let long = format!("http://a.example/{}", "x".repeat(SINK_BYTES_MAX));
        for (url, flaw) in [
            ("", SinkFlaw::NoUrl),
            ("emails.example", SinkFlaw::NoUrl),
            ("/in", SinkFlaw::NoUrl),
            ("ftp://emails.example/", SinkFlaw::NoUrl),
            ("file:///etc/passwd", SinkFlaw::NoUrl),
            ("http://", SinkFlaw::NoUrl),
            ("http:///in", SinkFlaw::NoUrl),
            ("http://a b/", SinkFlaw::NoUrl),
            ("http://a.example\\@b.example/", SinkFlaw::NoUrl),
            ("http://a.example:0/", SinkFlaw::NoUrl),
            ("http://a.example:99999/", SinkFlaw::NoUrl),
            ("http://a.example:x/", SinkFlaw::NoUrl),
            ("http://[::1/", SinkFlaw::NoUrl),
            ("http://[fe80::1%eth0]/", SinkFlaw::NoUrl),
            ("http://1.2.3.4.5/", SinkFlaw::NoUrl),
            ("http://256.1.1.1/", SinkFlaw::NoUrl),
            ("http://a.example/#x", SinkFlaw::NoUrl),
            ("http://you:secret@a.example/", SinkFlaw::Credentials),
            ("http://127.0.0.1@169.254.169.254/", SinkFlaw::Credentials),
            (&long, SinkFlaw::TooLong { bytes: long.len() }),
        ] {
            assert_eq!(check_sink(url), Err(flaw), "{url}");
        }
    }

    #[test]
    fn resolved_addresses_are_checked_alike() {
        for (address, expect) in
            [("127.0.0.1", true), ("10.1.2.3", true), ("169.254.1.1", false), ("fe80::1", false)]
        {
            assert_eq!(check_address(address.parse().unwrap()).is_ok(), expect, "{address}");
        }
    }
}
