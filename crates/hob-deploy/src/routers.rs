//! What routers were told and what they acknowledged: whether a route has arrived everywhere, and whether an instance
//! may still be asked something.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use hob_core::limits::REPORT_LEASE;
use hob_core::{Name, Timestamp};
use hob_wire::{
    Ejection, Limited, Network, Pool, Route, RouteSummary, RouterReport, RouterSummary, RoutingSnapshot,
    Shield, ShieldState,
};

use crate::shields;

/// For how long refused requests are shown.
const LIMITED_TIME: Duration = Duration::from_secs(60);

/// The snapshots given out, as far as acknowledgements refer to them, and the newest report of each router.
pub(crate) struct Routers {
    started: Timestamp,
    first: u64,
    snapshot: Arc<RoutingSnapshot>,
    /// The generation in which a pool or its routes last changed.
    pool_since: BTreeMap<String, u64>,
    /// The generation from which on an instance is in no pool.
    absent_since: BTreeMap<String, u64>,
    /// The generation in which a shield last changed.
    shield_since: BTreeMap<String, u64>,
    seen: BTreeMap<Name, Seen>,
    /// By pool: when a router last had a request for it.
    requested: BTreeMap<String, Timestamp>,
}

struct Seen {
    at: Timestamp,
    report: RouterReport,
    /// What it refused, when it told so.
    limited: VecDeque<(Timestamp, Limited)>,
    records_dropped: u64,
}

/// The requests of one pool, over all live routers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) in_flight: u64,
    pub(crate) held: u64,
    /// When a router last had one.
    pub(crate) requested: Option<Timestamp>,
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
            shield_since: BTreeMap::new(),
            seen: BTreeMap::new(),
            requested: BTreeMap::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Arc<RoutingSnapshot> {
        Arc::clone(&self.snapshot)
    }

    /// Takes in what a router says.
    pub(crate) fn report(&mut self, router: Name, report: RouterReport, now: Timestamp) {
        for traffic in &report.instances {
            if traffic.requests + traffic.in_flight + traffic.held > 0 {
                self.requested.insert(pool_of(&traffic.service, &traffic.scope), now);
            }
        }
        for pool in report.held.iter().filter(|(_, held)| **held > 0).map(|(pool, _)| pool) {
            self.requested.insert(pool.clone(), now);
        }
        let known = self.seen.remove(&router);
        let (mut limited, dropped) =
            known.map_or_else(Default::default, |seen| (seen.limited, seen.records_dropped));
        limited.extend(report.limited.iter().cloned().map(|refused| (now, refused)));
        limited.retain(|(at, _)| now.since(*at) < LIMITED_TIME);
        let records_dropped = dropped + report.records_dropped;
        self.seen.insert(router, Seen { at: now, report, limited, records_dropped });
    }

    /// Makes a new generation when routes, pools or shields differ from the present ones, and says whether they did.
    pub(crate) fn publish(
        &mut self,
        routes: Vec<Route>,
        pools: BTreeMap<String, Pool>,
        shields: Vec<Shield>,
        trusted_proxies: &[Network],
    ) -> bool {
        let old = Arc::clone(&self.snapshot);
        let is_same = old.routes == routes && old.pools == pools && old.shields == shields;
        if is_same && old.trusted_proxies == trusted_proxies {
            return false;
        }
        let generation = old.generation + 1;
        let find = |list: &[Shield], id: &str| list.iter().find(|shield| shield.id == id).cloned();
        for shield in old.shields.iter().chain(&shields) {
            if find(&old.shields, &shield.id) != find(&shields, &shield.id) {
                self.shield_since.insert(shield.id.clone(), generation);
            }
        }
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
        self.snapshot = Arc::new(RoutingSnapshot {
            generation,
            routes,
            pools,
            trusted_proxies: trusted_proxies.to_vec(),
            shields,
        });
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
        let is_idle = self.live(now).all(|(_, seen)| !seen.has_in_flight(instance));
        is_idle && self.is_taken_in(since, now)
    }

    /// Routers as others see them.
    pub(crate) fn summaries(&self, now: Timestamp) -> Vec<RouterSummary> {
        let summary = |(name, seen): (&Name, &Seen)| RouterSummary {
            name: name.clone(),
            live: now.since(seen.at) < REPORT_LEASE,
            reported: seen.at,
            generation: seen.report.generation,
            current: seen.report.generation >= self.snapshot.generation,
            connections: seen.report.connections,
            in_flight: seen.report.instances.iter().map(|traffic| traffic.in_flight).sum(),
            held: seen.report.held.clone(),
            ejected: seen.ejected(now).cloned().collect(),
            limited: seen.limited(now),
            records_dropped: seen.records_dropped,
        };
        self.seen.iter().map(summary).collect()
    }

    /// Routes with what all live routers say of their pools.
    pub(crate) fn routes(&self, now: Timestamp) -> Vec<RouteSummary> {
        let routes = self.snapshot.routes.iter();
        routes.filter_map(|route| self.route(route, self.snapshot.pools.get(&route.pool)?, now)).collect()
    }

    fn route(&self, route: &Route, pool: &Pool, now: Timestamp) -> Option<RouteSummary> {
        let load = self.load(&route.pool, now);
        let is_target =
            |ejection: &&Ejection| pool.targets.iter().any(|target| target.instance == ejection.instance);
        let mut ejected: Vec<Ejection> =
            self.live(now).flat_map(|(_, seen)| seen.ejected(now)).filter(is_target).cloned().collect();
        ejected.sort_by(|a, b| (&a.instance, b.until).cmp(&(&b.instance, a.until)));
        ejected.dedup_by(|a, b| a.instance == b.instance);
        let refused = self.live(now).flat_map(|(_, seen)| seen.limited(now));
        let of_pool = refused.filter(|limited| limited.pool.as_ref() == Some(&route.pool));
        let shields = self.snapshot.shields.iter();
        let shields = shields.filter(|shield| shields::covers_route(shield, pool, &route.path));
        Some(RouteSummary {
            route: route.clone(),
            service: pool.service.clone(),
            environment: pool.scope.environment.clone(),
            tenant: pool.scope.tenant.clone(),
            targets: pool.targets.clone(),
            shares: pool.shares.clone(),
            in_flight: load.in_flight,
            held: load.held,
            ejected,
            limited: summed(of_pool),
            shields: shields.map(|shield| shield.id.clone()).collect(),
        })
    }

    /// A shield that is in force or was lifted, and which live routers do not know that yet. What is not published,
    /// because routes are not given out while nodes come back after a start, comes with the next generation.
    pub(crate) fn shield(&self, shield: &Shield, is_in_force: bool, now: Timestamp) -> ShieldState {
        let published = self.snapshot.shields.iter().find(|known| known.id == shield.id);
        let is_published = if is_in_force { published == Some(shield) } else { published.is_none() };
        let since = self.shield_since.get(&shield.id).copied().unwrap_or(self.first);
        let generation = if is_published { since } else { self.snapshot.generation + 1 };
        let pools = self.snapshot.pools.iter().filter(|(_, pool)| shields::covers(shield, pool));
        ShieldState {
            shield: shield.clone(),
            generation,
            waiting: self.waiting(generation, now),
            held: pools.map(|(name, _)| self.load(name, now).held).sum(),
        }
    }

    /// Live routers that have not taken a generation in.
    pub(crate) fn waiting(&self, generation: u64, now: Timestamp) -> Vec<Name> {
        let late = self.live(now).filter(|(_, seen)| seen.report.generation < generation);
        late.map(|(name, _)| name.clone()).collect()
    }

    /// What the live routers say of a pool's requests.
    pub(crate) fn load(&self, pool: &str, now: Timestamp) -> Load {
        let mut load = Load { requested: self.requested.get(pool).copied(), ..Load::default() };
        for (_, seen) in self.live(now) {
            load.held += seen.report.held.get(pool).copied().unwrap_or(0);
            let traffic = seen.report.instances.iter();
            let of_pool = traffic.filter(|traffic| pool_of(&traffic.service, &traffic.scope) == pool);
            load.in_flight += of_pool.map(|traffic| traffic.in_flight).sum::<u64>();
        }
        load
    }

    /// Forgets what is known of instances that are gone, and routers that were silent for long.
    pub(crate) fn forget(&mut self, is_known: impl Fn(&str) -> bool, now: Timestamp) {
        self.absent_since.retain(|id, _| is_known(id));
        self.seen.retain(|_, seen| now.since(seen.at) < 10 * REPORT_LEASE);
        let pools = &self.snapshot.pools;
        self.requested.retain(|pool, _| pools.contains_key(pool));
        let shields = &self.snapshot.shields;
        self.shield_since.retain(|id, _| shields.iter().any(|shield| shield.id == *id));
    }

    fn is_taken_in(&self, generation: u64, now: Timestamp) -> bool {
        self.live(now).all(|(_, seen)| seen.report.generation >= generation)
    }

    fn live(&self, now: Timestamp) -> impl Iterator<Item = (&Name, &Seen)> {
        self.seen.iter().filter(move |(_, seen)| now.since(seen.at) < REPORT_LEASE)
    }
}

impl Seen {
    fn has_in_flight(&self, instance: &str) -> bool {
        self.report.instances.iter().any(|traffic| traffic.instance == instance && traffic.in_flight > 0)
    }

    fn ejected(&self, now: Timestamp) -> impl Iterator<Item = &Ejection> {
        self.report.ejected.iter().filter(move |ejection| ejection.until > now)
    }

    fn limited(&self, now: Timestamp) -> Vec<Limited> {
        let recent = self.limited.iter().filter(|(at, _)| now.since(*at) < LIMITED_TIME);
        summed(recent.map(|(_, limited)| limited.clone()))
    }
}

/// Refusals by pool and reason.
fn summed(limited: impl Iterator<Item = Limited>) -> Vec<Limited> {
    let mut sums: BTreeMap<(Option<String>, String), u64> = BTreeMap::new();
    for refused in limited {
        *sums.entry((refused.pool, refused.reason)).or_default() += refused.requests;
    }
    sums.into_iter().map(|((pool, reason), requests)| Limited { pool, reason, requests }).collect()
}

fn pool_of(service: &Name, scope: &hob_core::Scope) -> String {
    format!("{service}.{}.{}", scope.environment, scope.tenant)
}

fn instances(pools: &BTreeMap<String, Pool>) -> impl Iterator<Item = &str> {
    pools.values().flat_map(|pool| &pool.targets).map(|target| target.instance.as_str())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hob_wire::Target;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    pub(crate) fn said(generation: u64, in_flight: &[(&str, u64)]) -> RouterReport {
        let traffic = |(instance, in_flight): &(&str, u64)| hob_wire::InstanceTraffic {
            instance: (*instance).to_owned(),
            service: "orders".parse().unwrap(),
            scope: "qa/uk".parse().unwrap(),
            release: 1,
            requests: 0,
            errors: 0,
            in_flight: *in_flight,
            held: 0,
            latency: hob_core::Histogram::default(),
            retried: 0,
        };
        RouterReport {
            generation,
            from: at(0),
            to: at(0),
            instances: in_flight.iter().map(traffic).collect(),
            records_dropped: 0,
            ejected: Vec::new(),
            limited: Vec::new(),
            connections: 0,
            held: BTreeMap::new(),
        }
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
        routers.publish(Vec::new(), pools(&["one", "two"]), Vec::new(), &[]);
        let with_both = routers.snapshot().generation;
        routers.report(a.clone(), said(with_both, &[]), at(20));
        routers.report(b.clone(), said(with_both, &[]), at(20));
        assert!(routers.has_acknowledged("orders.qa.uk", at(20)));
        assert!(!routers.is_clear("one", at(20)), "it is routed");

        assert!(routers.publish(Vec::new(), pools(&["two"]), Vec::new(), &[]));
        let without = routers.snapshot().generation;
        assert!(!routers.has_acknowledged("orders.qa.uk", at(20)));
        assert!(!routers.is_clear("one", at(20)), "nobody acknowledged");
        routers.report(a, said(without, &[("one", 1)]), at(21));
        routers.report(b.clone(), said(with_both, &[]), at(21));
        assert!(!routers.is_clear("one", at(21)), "one has not acknowledged, the other has a request");
        routers.report(b, said(without, &[]), at(22));
        assert!(routers.has_acknowledged("orders.qa.uk", at(22)));
        assert!(!routers.is_clear("one", at(22)), "a request is in flight");
        assert!(routers.is_clear("one", at(31)), "the lease of the router that held it has run out");
    }

    #[test]
    fn the_same_again_is_no_new_generation() {
        let mut routers = Routers::new(7, at(0));
        assert!(routers.publish(Vec::new(), pools(&["one"]), Vec::new(), &[]));
        assert!(!routers.publish(Vec::new(), pools(&["one"]), Vec::new(), &[]));
        assert_eq!(routers.snapshot().generation, 8);
    }

    #[test]
    fn after_a_start_routers_get_time_to_come_back() {
        let routers = Routers::new(7, at(100));
        assert!(!routers.is_clear("one", at(105)));
        assert!(routers.is_clear("one", at(110)));
        assert!(routers.has_acknowledged("orders.qa.uk", at(100)));
    }

    #[test]
    fn a_shield_is_in_force_once_every_live_router_took_it_in_and_so_is_its_end() {
        let mut routers = Routers::new(7, at(0));
        let (a, b): (Name, Name) = ("router-a".parse().unwrap(), "router-b".parse().unwrap());
        let shield = Shield {
            id: "stop".into(),
            service: None,
            environment: None,
            tenant: None,
            path: None,
            kind: hob_wire::ShieldKind::Hold { max_ms: 1000 },
            since: at(0),
            by: "ann".into(),
        };
        routers.publish(Vec::new(), pools(&["one"]), Vec::new(), &[]);
        let before = routers.snapshot().generation;
        routers.report(a.clone(), said(before, &[]), at(1));
        routers.report(b.clone(), said(before, &[]), at(1));
        routers.publish(Vec::new(), pools(&["one"]), vec![shield.clone()], &[]);
        let state = routers.shield(&shield, true, at(1));
        assert_eq!((state.generation, state.waiting.len()), (before + 1, 2));
        assert!(routers.has_acknowledged("orders.qa.uk", at(1)), "no rollout waits for a shield");
        let held = RouterReport { held: [("orders.qa.uk".to_owned(), 3)].into(), ..said(before + 1, &[]) };
        routers.report(a.clone(), held, at(2));
        let state = routers.shield(&shield, true, at(2));
        assert_eq!((state.waiting, state.held), (vec![b.clone()], 3));
        assert_eq!(
            routers.shield(&shield, true, at(12)).waiting,
            [],
            "a router without a lease is not waited for"
        );

        routers.publish(Vec::new(), pools(&["one"]), Vec::new(), &[]);
        let after = routers.snapshot().generation;
        assert_eq!((after, routers.waiting(after, at(2))), (before + 2, vec![a, b]));
        assert_eq!(routers.shield(&shield, true, at(2)).generation, after + 1, "it is not published");
        assert_eq!(routers.shield(&shield, false, at(2)).generation, after, "nor is it in force");
    }

    #[test]
    fn what_is_refused_is_shown_for_a_minute_and_what_is_ejected_until_its_time() {
        let mut routers = Routers::new(7, at(0));
        let name: Name = "router".parse().unwrap();
        let route = Route { path: "/orders".into(), pool: "orders.qa.uk".into(), ..Route::default() };
        routers.publish(vec![route], pools(&["one"]), Vec::new(), &[]);
        let limited =
            |requests| Limited { pool: Some("orders.qa.uk".into()), reason: "rate".into(), requests };
        let ejection = Ejection { instance: "one".into(), reason: "5 failures".into(), until: at(30) };
        for (second, requests) in [(1, 2), (20, 3)] {
            let mut report = said(8, &[("one", 4)]);
            report.limited = vec![limited(requests)];
            report.ejected = vec![ejection.clone()];
            routers.report(name.clone(), report, at(second));
        }
        let route = routers.routes(at(21)).remove(0);
        assert_eq!((route.limited, route.in_flight), (vec![limited(5)], 4));
        assert_eq!(route.ejected, [ejection]);
        assert_eq!(routers.summaries(at(70))[0].limited, [limited(3)]);
        assert_eq!(routers.summaries(at(70))[0].ejected, []);
        assert_eq!(routers.load("orders.qa.uk", at(21)).requested, Some(at(20)));
    }
}
