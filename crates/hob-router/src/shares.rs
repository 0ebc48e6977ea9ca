//! Which release takes a request while two share a pool's requests: by headers, or by a hash of the client's address, so
//! or of a cookie's value, so that a client stays where it was. What no share claims goes to releases that no share names.

use std::net::IpAddr;
use std::sync::Arc;

use hob_wire::Share;
use http::HeaderMap;
use http::header::{COOKIE, HeaderName, HeaderValue};

use crate::instance::Instance;

/// A hundred per cent.
const ALL: u64 = 10_000;

/// A pool's shares, compiled. Empty when all instances take all requests.
#[derive(Default)]
pub(crate) struct Shares {
    shares: Vec<Compiled>,
    rest: Vec<Arc<Instance>>,
    seed: u64,
}

struct Compiled {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Clients whose hash is within take part; all when there are headers alone.
    buckets: std::ops::Range<u64>,
    /// The cookie whose value is hashed in place of the client's address.
    cookie: Option<String>,
    is_only: bool,
    instances: Vec<Arc<Instance>>,
}

impl Shares {
    /// Compiles shares for a pool's instances. `name` makes different pools divide their clients differently.
    pub(crate) fn compile(name: &str, shares: &[Share], instances: &[Arc<Instance>]) -> Self {
        if shares.is_empty() {
            return Self::default();
        }
        let of = |release: u64| instances.iter().filter(|i| i.release == release).map(Arc::clone).collect();
        let mut from = 0;
        let compile = |share: &Share| {
            let pairs = share.headers.iter();
            let headers: Option<Vec<_>> = pairs
                .map(|(name, value)| Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?)))
                .collect();
            // Headers that cannot be sent match nobody.
            let can_match = headers.is_some() && !(share.headers.is_empty() && share.weight.is_none());
            let weight = share.weight.map_or(ALL, |weight| u64::from(weight) * 100);
            let buckets = match (can_match, share.headers.is_empty()) {
                (false, _) => 0..0,
                // Among those who carry the headers, from the first on.
                (true, false) => 0..weight,
                (true, true) => {
                    let range = from..(from + weight).min(ALL);
                    from = range.end;
                    range
                }
            };
            let (is_only, instances) = (share.only, of(share.release));
            let (headers, cookie) = (headers.unwrap_or_default(), share.cookie.clone());
            Compiled { headers, buckets, cookie, is_only, instances }
        };
        let is_named =
            |instance: &&Arc<Instance>| shares.iter().any(|share| share.release == instance.release);
        Self {
            shares: shares.iter().map(compile).collect(),
            rest: instances.iter().filter(|instance| !is_named(instance)).map(Arc::clone).collect(),
            seed: mix(name.as_bytes(), 0),
        }
    }

    /// Whether all instances take all requests.
    pub(crate) fn is_empty(&self) -> bool {
        self.shares.is_empty()
    }

    /// Where a request goes, best first: its share, the rest, and at last those that take more than their share.
    pub(crate) fn groups(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
    ) -> impl Iterator<Item = &[Arc<Instance>]> {
        let by_address = bucket(client, self.seed);
        let is_in = |share: &&Compiled| {
            let value = share.cookie.as_deref().and_then(|name| cookie(headers, name));
            let bucket = value.map_or(by_address, |value| mix(value, self.seed) % ALL);
            share.buckets.contains(&bucket)
                && share.headers.iter().all(|(name, value)| headers.get(name) == Some(value))
        };
        let own = self.shares.iter().find(is_in).map(|share| share.instances.as_slice());
        let others =
            self.shares.iter().filter(|share| !share.is_only).map(|share| share.instances.as_slice());
        own.into_iter().chain([self.rest.as_slice()]).chain(others)
    }
}

/// The client's place between 0 and [`ALL`], the same in every router.
fn bucket(client: IpAddr, seed: u64) -> u64 {
    let hash = match client {
        IpAddr::V4(address) => mix(&address.octets(), seed),
        IpAddr::V6(address) => mix(&address.octets()[..8], seed),
    };
    hash % ALL
}

/// A cookie's value, when the request carries one that is not empty (RFC 6265, 4.2.1).
fn cookie<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h [u8]> {
    let pairs = headers.get_all(COOKIE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let named = |pair: &'h [u8]| pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=");
    pairs.filter_map(named).find(|value| !value.is_empty())
}

/// FNV-1a, and the last mixing steps of MurmurHash3, without which neighbouring addresses would stay neighbours.
fn mix(bytes: &[u8], seed: u64) -> u64 {
    let fold = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let mut hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325 ^ seed, fold);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use hob_wire::{Pool, Target};

    use super::*;

    fn instances() -> Vec<Arc<Instance>> {
        let pool = Pool::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), Vec::new());
        let make = |release| {
            let target = Target { instance: format!("i{release}"), release, ..Target::default() };
            Arc::new(Instance::new(&pool, &target, "127.0.0.1:1".parse().unwrap()))
        };
        vec![make(1), make(2)]
    }

    fn goes_to(shares: &Shares, client: &str, headers: &HeaderMap) -> Vec<u64> {
        let client = client.parse().unwrap();
        shares.groups(client, headers).filter_map(|group| group.first().map(|i| i.release)).collect()
    }

    fn addresses() -> impl Iterator<Item = String> {
        (0..10_000).map(|n| format!("10.0.{}.{}", n / 250, n % 250))
    }

    #[test]
    fn a_weight_takes_its_part_of_the_clients_and_grows_without_moving_them() {
        let share = |weight| Share { release: 2, weight: Some(weight), ..Share::default() };
        let compile = |weight| Shares::compile("orders", &[share(weight)], &instances());
        let (ten, thirty) = (compile(10), compile(30));
        let none = HeaderMap::new();
        let mut counts = (0, 0);
        for address in addresses() {
            let is_in = |shares| goes_to(shares, &address, &none)[0] == 2;
            counts.0 += u32::from(is_in(&ten));
            counts.1 += u32::from(is_in(&thirty));
            assert!(!is_in(&ten) || is_in(&thirty), "{address} moved back");
        }
        assert!((900..1100).contains(&counts.0) && (2800..3200).contains(&counts.1), "{counts:?}");
    }

    #[test]
    fn a_cookie_keeps_a_client_wherever_it_comes_from() {
        let share =
            Share { release: 2, weight: Some(30), cookie: Some("sid".to_owned()), ..Share::default() };
        let shares = Shares::compile("orders", &[share], &instances());
        let carrying = |text: &str| HeaderMap::from_iter([(COOKIE, HeaderValue::from_str(text).unwrap())]);
        let mut count = 0;
        for number in 0..1000 {
            let headers = carrying(&format!("a=1; sid={number};x=2"));
            let there = goes_to(&shares, "10.0.0.1", &headers)[0];
            assert_eq!(there, goes_to(&shares, "10.9.9.9", &headers)[0], "{number} moved with its address");
            count += u32::from(there == 2);
        }
        assert!((250..350).contains(&count), "{count}");
        for other in ["sid=", "xsid=7", "sidx=7", "other=7"] {
            let by_address = goes_to(&shares, "10.0.0.1", &HeaderMap::new());
            assert_eq!(goes_to(&shares, "10.0.0.1", &carrying(other)), by_address, "{other}");
        }
    }

    #[test]
    fn headers_choose_and_what_takes_only_its_share_gets_nothing_else() {
        let canary = std::collections::BTreeMap::from([("x-canary".to_owned(), "yes".to_owned())]);
        let share = |only| Share { release: 2, headers: canary.clone(), only, ..Share::default() };
        let mut carried = HeaderMap::new();
        let shares = Shares::compile("orders", &[share(true)], &instances());
        assert_eq!(goes_to(&shares, "10.0.0.1", &carried), [1]);
        carried.insert("x-canary", HeaderValue::from_static("yes"));
        assert_eq!(goes_to(&shares, "10.0.0.1", &carried), [2, 1]);
        let shares = Shares::compile("orders", &[share(false)], &instances()[1..]);
        assert_eq!(goes_to(&shares, "10.0.0.1", &HeaderMap::new()), [2], "better than nobody");
    }
}
