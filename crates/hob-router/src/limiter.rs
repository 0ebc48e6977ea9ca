//! How many requests one client may make on a route: the generic cell rate algorithm (ITU-T I.371), which keeps one time
//! for each client: when it would have used up what it was given. The table of clients is bounded.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use hob_wire::RouteLimit;
use tokio::time::Instant;

use crate::instance::lock;

/// Clients that one limiter remembers. When there are more, those who used least are forgotten.
const CLIENTS_MAX: usize = 65_536;
/// Parts of the table, each with a lock of its own.
const PARTS: usize = 16;

/// A route's limit, and who has used how much of it.
pub(crate) struct Limiter {
    limit: RouteLimit,
    /// Nanoseconds that one request costs.
    cost: u64,
    /// Nanoseconds that may be used in advance.
    tolerance: u64,
    origin: Instant,
    parts: [Mutex<HashMap<IpAddr, u64>>; PARTS],
}

/// A client has used up what it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct UsedUp {
    /// How long until one more request is allowed.
    pub(crate) wait: Duration,
    /// How many may come at once.
    pub(crate) burst: u32,
    /// In how long all of them come back.
    pub(crate) window: Duration,
}

impl Limiter {
    pub(crate) fn new(limit: RouteLimit) -> Self {
        let per_second = limit.per_second.max(1e-6);
        let cost = (1e9 / per_second) as u64;
        let tolerance = cost.saturating_mul(u64::from(limit.burst.max(1)) - 1);
        Self { limit, cost: cost.max(1), tolerance, origin: Instant::now(), parts: Default::default() }
    }

    /// Whether a route still has this limit.
    pub(crate) fn is(&self, limit: RouteLimit) -> bool {
        self.limit == limit
    }

    /// Takes one request of a client.
    pub(crate) fn take(&self, client: IpAddr, now: Instant) -> Result<(), UsedUp> {
        let now = u64::try_from(now.saturating_duration_since(self.origin).as_nanos()).unwrap_or(u64::MAX);
        let client = network(client);
        let mut part = lock(&self.parts[part_of(client)]);
        let used_until = part.get(&client).copied().unwrap_or(0).max(now);
        if used_until - now > self.tolerance {
            return Err(UsedUp {
                wait: Duration::from_nanos(used_until - now - self.tolerance),
                burst: self.limit.burst.max(1),
                window: Duration::from_nanos(self.tolerance.saturating_add(self.cost)),
            });
        }
        if part.len() >= CLIENTS_MAX / PARTS && !part.contains_key(&client) {
            make_room(&mut part, now);
        }
        part.insert(client, used_until.saturating_add(self.cost));
        Ok(())
    }
}

/// Forgets who has nothing used any more, and if all have, the half that used least.
fn make_room(part: &mut HashMap<IpAddr, u64>, now: u64) {
    part.retain(|_, until| *until > now);
    if part.len() >= CLIENTS_MAX / PARTS {
        let mut times: Vec<u64> = part.values().copied().collect();
        let middle = times.len() / 2;
        let middle = *times.select_nth_unstable(middle).1;
        part.retain(|_, until| *until > middle);
    }
}

/// Who counts as one client: an address of IPv4, a /64 of IPv6, which one household has.
pub(crate) fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) & (u128::MAX << 64)).into()),
    }
}

fn part_of(client: IpAddr) -> usize {
    let bits = match client {
        IpAddr::V4(address) => u64::from(u32::from(address)),
        IpAddr::V6(address) => (u128::from(address) >> 64) as u64,
    };
    (bits.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 60) as usize % PARTS
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: RouteLimit = RouteLimit { per_second: 10.0, burst: 5 };

    #[test]
    fn a_burst_then_the_rate_and_each_client_its_own() {
        let limiter = Limiter::new(LIMIT);
        let (start, one) = (Instant::now(), "10.0.0.1".parse().unwrap());
        let taken = |client, at| (0..20).take_while(|_| limiter.take(client, at).is_ok()).count();
        assert_eq!(taken(one, start), 5);
        let refused = limiter.take(one, start).unwrap_err();
        assert!(refused.wait <= Duration::from_millis(100), "{refused:?}");
        assert_eq!((refused.burst, refused.window), (5, Duration::from_millis(500)));
        assert_eq!(taken("10.0.0.2".parse().unwrap(), start), 5);
        assert_eq!(taken(one, start + Duration::from_millis(101)), 1);
        assert_eq!(taken(one, start + Duration::from_secs(9)), 5);
        assert_eq!(taken("2001:db8::1".parse().unwrap(), start), 5);
        assert_eq!(taken("2001:db8::ffff".parse().unwrap(), start), 0, "of the same network");
    }

    #[test]
    fn the_table_is_bounded_and_keeps_whom_it_refuses() {
        let limiter = Limiter::new(LIMIT);
        let (start, greedy) = (Instant::now(), "192.0.2.1".parse().unwrap());
        (0..5).for_each(|_| limiter.take(greedy, start).unwrap());
        for number in 0..200_000_u32 {
            limiter.take(IpAddr::V4((0x0a00_0000 + number).into()), start).unwrap();
        }
        let clients: usize = limiter.parts.iter().map(|part| lock(part).len()).sum();
        assert!(clients <= CLIENTS_MAX, "{clients}");
        assert!(limiter.take(greedy, start).is_err());
    }
}
