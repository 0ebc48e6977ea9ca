//! What routers were told and what they acknowledged: whether a route has arrived everywhere, and whether an instance
//! may still be asked something.

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_core::limits::REPORT_LEASE;
use hob_core::{Name, Timestamp};
use hob_wire::{Pool, Route, RoutingSnapshot};

/// The snapshots given out, as far as acknowledgements refer to them, and the newest report of each router.
pub(crate) struct Routers {
    started: Timestamp,
    first: u64,
    snapshot: Arc<RoutingSnapshot>,
    /// The generation in which a pool or its routes last changed.
    pool_since: BTreeMap<String, u64>,
    /// The generation from which on an instance is in no pool.
    absent_since: BTreeMap<String, u64>,
    seen: BTreeMap<Name, Seen>,
}

struct Seen {
    at: Timestamp,
    generation: u64,
    in_flight: BTreeMap<String, u64>,
}

impl Routers {
    /// `first` is a generation above all that were ever given out.
    pub(crate) fn new(first: u64, now: Timestamp) -> Self {
        Self {
            started: now,
            first,
            snapshot: Arc::new(RoutingSnapshot { generation: first, ..RoutingSnapshot::default() }),
            pool_since: BTreeMap::new(),
            absent_since: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<RoutingSnapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Takes in what a router says.
    pub(crate) fn report(
        &mut self,
        router: Name,
        generation: u64,
        in_flight: BTreeMap<String, u64>,
        now: Timestamp,
    ) {
        self.seen.insert(router, Seen { at: now, generation, in_flight });
    }

    /// Makes a new generation when routes or pools differ from the present ones, and says whether they did.
    pub(crate) fn publish(&mut self, routes: Vec<Route>, pools: BTreeMap<String, Pool>) -> bool {
        let old = Arc::clone(&self.snapshot);
        if old.routes == routes && old.pools == pools {
            return false;
        }
        let generation = old.generation + 1;
        let of_pool = |routes: &[Route], name: &str| -> Vec<Route> {
            routes.iter().filter(|route| route.pool == name).cloned().collect()
        };
        for name in old.pools.keys().chain(pools.keys()) {
            let is_same = old.pools.get(name) == pools.get(name)
                && of_pool(&old.routes, name) == of_pool(&routes, name);
            if !is_same {
                self.pool_since.insert(name.clone(), generation);
            }
        }
        for id in instances(&old.pools) {
            self.absent_since.entry(id.to_owned()).or_insert(generation);
        }
        for id in instances(&pools) {
            self.absent_since.remove(id);
        }
        self.snapshot = Arc::new(RoutingSnapshot { generation, routes, pools, shields: Vec::new() });
        true
    }

    /// Whether every live router routes by the newest form of a pool. Without a router there is none to wait for.
    pub(crate) fn has_acknowledged(&self, pool: &str, now: Timestamp) -> bool {
        self.pool_since.get(pool).is_none_or(|since| self.is_taken_in(*since, now))
    }

    /// Whether no live router sends an instance requests, and none has one of its requests in flight. After a start
    /// routers get a lease's time to come back before they count as gone.
    pub(crate) fn is_clear(&self, instance: &str, now: Timestamp) -> bool {
        let is_routed = instances(&self.snapshot.pools).any(|id| id == instance);
        if is_routed || (self.seen.is_empty() && now < self.started.plus(REPORT_LEASE)) {
            return false;
        }
        let since = self.absent_since.get(instance).copied().unwrap_or(self.first);
        let is_idle = self.live(now).all(|(_, seen)| !seen.in_flight.contains_key(instance));
        is_idle && self.is_taken_in(since, now)
    }

    /// Routers that reported within their lease.
    pub(crate) fn live_names(&self, now: Timestamp) -> Vec<Name> {
        self.live(now).map(|(name, _)| name.clone()).collect()
    }

    /// Forgets what is known of instances that are gone, and routers that were silent for long.
    pub(crate) fn forget(&mut self, is_known: impl Fn(&str) -> bool, now: Timestamp) {
        self.absent_since.retain(|id, _| is_known(id));
        self.seen.retain(|_, seen| now.since(seen.at) < 10 * REPORT_LEASE);
    }

    fn is_taken_in(&self, generation: u64, now: Timestamp) -> bool {
        self.live(now).all(|(_, seen)| seen.generation >= generation)
    }

    fn live(&self, now: Timestamp) -> impl Iterator<Item = (&Name, &Seen)> {
        self.seen.iter().filter(move |(_, seen)| now.since(seen.at) < REPORT_LEASE)
    }
}

fn instances(pools: &BTreeMap<String, Pool>) -> impl Iterator<Item = &str> {
    pools.values().flat_map(|pool| &pool.targets).map(|target| target.instance.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_wire::Target;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    fn pools(instances: &[&str]) -> BTreeMap<String, Pool> {
        let target = |id: &&str| Target {
            instance: (*id).to_owned(),
            address: "127.0.0.1:1".into(),
            release: 1,
            slow_start: None,
        };
        let targets = instances.iter().map(target).collect();
        let pool = Pool::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), targets);
        BTreeMap::from([("orders.qa.uk".to_owned(), pool)])
    }

    #[test]
    fn an_instance_is_clear_once_every_live_router_let_it_go_and_its_requests_ended() {
        let mut routers = Routers::new(1 << 32, at(0));
        let (a, b): (Name, Name) = ("router-a".parse().unwrap(), "router-b".parse().unwrap());
        routers.publish(Vec::new(), pools(&["one", "two"]));
        let with_both = routers.snapshot().generation;
        routers.report(a.clone(), with_both, BTreeMap::new(), at(20));
        routers.report(b.clone(), with_both, BTreeMap::new(), at(20));
        assert!(routers.has_acknowledged("orders.qa.uk", at(20)));
        assert!(!routers.is_clear("one", at(20)), "it is routed");

        assert!(routers.publish(Vec::new(), pools(&["two"])));
        let without = routers.snapshot().generation;
        assert!(!routers.has_acknowledged("orders.qa.uk", at(20)));
        assert!(!routers.is_clear("one", at(20)), "nobody acknowledged");
        routers.report(a, without, BTreeMap::from([("one".to_owned(), 1)]), at(21));
        routers.report(b.clone(), with_both, BTreeMap::new(), at(21));
        assert!(!routers.is_clear("one", at(21)), "one has not acknowledged, the other has a request");
        routers.report(b, without, BTreeMap::new(), at(22));
        assert!(routers.has_acknowledged("orders.qa.uk", at(22)));
        assert!(!routers.is_clear("one", at(22)), "a request is in flight");
        assert!(routers.is_clear("one", at(31)), "the lease of the router that held it has run out");
    }

    #[test]
    fn the_same_again_is_no_new_generation() {
        let mut routers = Routers::new(7, at(0));
        assert!(routers.publish(Vec::new(), pools(&["one"])));
        assert!(!routers.publish(Vec::new(), pools(&["one"])));
        assert_eq!(routers.snapshot().generation, 8);
    }

    #[test]
    fn after_a_start_routers_get_time_to_come_back() {
        let routers = Routers::new(7, at(100));
        assert!(!routers.is_clear("one", at(105)));
        assert!(routers.is_clear("one", at(110)));
        assert!(routers.has_acknowledged("orders.qa.uk", at(100)));
    }
}
