//! The instances behind the router, and the promise by which the core may stop one of them.
//!
//! The core stops an instance once the router's report names a generation without it and no request of its in flight.
//! Both must be true of the same moment, without a lock on the way of every request. A request first raises the count
//! of the instance that it chose from a table, then looks whether that table is still the newest, and chooses anew when
//! it is not. [`Fleet::install`] makes a table the newest first; a report reads the counts only afterwards. All four
//! steps are sequentially consistent, so of "the request sees the new table" and "the report sees the request's count"
//! at least one holds. A count may thus be seen too high for a moment, never too low.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use hob_core::Clock;
use hob_wire::{Ejection, InstanceTraffic, Network, Pool as PoolSpec, RoutingSnapshot, Target};
use http::HeaderMap;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::instance::{Instance, lock};
use crate::limiter::Limiter;
use crate::lobby::Lobby;
use crate::shares::Shares;
use crate::shield::Guard;
use crate::standing::Look;
use crate::table::{Pool, Routes, Table, Way};
use crate::{balance, random};

/// All instances that the router knows, and the table by which it chooses.
pub(crate) struct Fleet {
    table: ArcSwap<Table>,
    /// The newest table's epoch. Written after the table, so that whoever reads it finds that table or a newer one.
    newest: AtomicU64,
    known: Mutex<Known>,
    /// The newest epoch, for requests that wait.
    changes: watch::Sender<u64>,
    /// Something happened that the core should hear of at once.
    pub(crate) urgent: Notify,
    clock: Clock,
    /// Who may say whom a request comes from.
    trusted: ArcSwap<Vec<Network>>,
}

#[derive(Default)]
struct Known {
    instances: Vec<Arc<Instance>>,
    lobbies: Vec<Arc<Lobby>>,
    guards: Vec<Arc<Guard>>,
    /// By host and path of their route.
    limiters: BTreeMap<(Option<String>, String), Arc<Limiter>>,
}

/// What of a request decides where it goes.
pub(crate) struct Ask<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) client: IpAddr,
}

/// What the newest table has for a request.
pub(crate) enum Claim {
    /// No route covers it.
    NoRoute,
    /// There is a route, and no instance that was not tried yet. Holds the epoch of the table that said so.
    NoInstance(Arc<Way>, u64),
    /// Somebody ordered that it waits, or gets a page.
    Guarded(Arc<Guard>, Arc<Way>),
    /// An instance, with the request counted as in flight at it.
    Ticket(Ticket),
}

/// A request's place at an instance; it counts as in flight until this is dropped.
pub(crate) struct Ticket {
    pub(crate) instance: Arc<Instance>,
    pub(crate) way: Arc<Way>,
    fleet: Arc<Fleet>,
}

impl Fleet {
    pub(crate) fn new(clock: Clock) -> Self {
        let table = Table { epoch: 0, generation: 0, routes: Routes::compile([]), guards: Vec::new() };
        Self {
            table: ArcSwap::from_pointee(table),
            newest: AtomicU64::new(0),
            known: Mutex::default(),
            changes: watch::Sender::new(0),
            urgent: Notify::new(),
            clock,
            trusted: ArcSwap::default(),
        }
    }

    /// Routes by this snapshot if there was none yet.
    pub(crate) fn install_first(&self, snapshot: &RoutingSnapshot) {
        if self.newest.load(Ordering::SeqCst) == 0 {
            self.install(snapshot);
        }
    }

    /// Routes every request from now on by this snapshot.
    pub(crate) fn install(&self, snapshot: &RoutingSnapshot) {
        if **self.trusted.load() != snapshot.trusted_proxies {
            self.trusted.store(Arc::new(snapshot.trusted_proxies.clone()));
        }
        let mut known = lock(&self.known);
        let pools: std::collections::HashMap<&str, Arc<Pool>> = snapshot
            .pools
            .iter()
            .map(|(name, pool)| (name.as_str(), known.pool(name, pool, &self.clock)))
            .collect();
        let limiters = known.limiters(snapshot);
        let routes = snapshot.routes.iter().filter_map(|route| {
            let pool = pools.get(route.pool.as_str());
            if pool.is_none() {
                tracing::warn!(
                    path = route.path,
                    pool = route.pool,
                    "a route leads to a pool that is not there"
                );
            }
            Some((route, Arc::new(way(route, Arc::clone(pool?), &limiters))))
        });
        let epoch = self.newest.load(Ordering::SeqCst) + 1;
        let guards: Vec<Arc<Guard>> = snapshot.shields.iter().map(|shield| known.guard(shield)).collect();
        let generation = snapshot.generation;
        let table = Table { epoch, generation, routes: Routes::compile(routes), guards: guards.clone() };
        self.table.store(Arc::new(table));
        self.newest.store(epoch, Ordering::SeqCst);

        let is_there = |instance: &Arc<Instance>| {
            pools.values().any(|pool| pool.instances.iter().any(|i| Arc::ptr_eq(i, instance)))
        };
        known.instances.iter().filter(|instance| !is_there(instance)).for_each(|instance| instance.leave());
        for lifted in std::mem::replace(&mut known.guards, guards.clone()) {
            if !guards.iter().any(|guard| Arc::ptr_eq(guard, &lifted)) {
                lifted.lift();
            }
        }
        known.limiters = limiters;
        self.changes.send_replace(epoch);
        self.urgent.notify_one();
    }

    /// Chooses an instance for a request and counts it there. Instances in `tried` are not chosen again.
    pub(crate) fn claim(self: &Arc<Self>, ask: &Ask<'_>, tried: &[Arc<Instance>]) -> Claim {
        loop {
            let table = self.table.load();
            let Some(way) = table.routes.find(ask.host, ask.path) else { return Claim::NoRoute };
            let pool = &way.pool;
            if let Some(guard) = table.guards.iter().find(|guard| guard.covers(&pool.lobby, ask.path)) {
                return Claim::Guarded(Arc::clone(guard), Arc::clone(way));
            }
            let Some(instance) = pool.choose(ask, tried) else {
                return Claim::NoInstance(Arc::clone(way), table.epoch);
            };
            instance.in_flight.fetch_add(1, Ordering::SeqCst);
            let ticket =
                Ticket { instance: Arc::clone(instance), way: Arc::clone(way), fleet: Arc::clone(self) };
            // The table may be a step ahead of `newest`, never behind when it is still the newest.
            if self.newest.load(Ordering::SeqCst) <= table.epoch {
                return Claim::Ticket(ticket);
            }
        }
    }

    /// Whether an address may say whom a request comes from.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        let trusted = self.trusted.load();
        !trusted.is_empty() && trusted.iter().any(|network| network.contains(address))
    }

    /// For waiting until a table newer than some epoch is there.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// The generation by which every new request is routed, and what each instance did since the last call. Instances
    /// that left the table and have no request in flight any more are told one last time, then forgotten.
    pub(crate) fn take_traffic(&self) -> (u64, Vec<InstanceTraffic>) {
        let mut known = lock(&self.known);
        // Under the lock, no table is installed meanwhile: the counts read below belong to this generation or a later.
        let generation = self.table.load().generation;
        let mut traffic = Vec::with_capacity(known.instances.len());
        known.instances.retain(|instance| {
            let of_instance = instance.take_traffic();
            let is_over = instance.gone.is_cancelled() && of_instance.in_flight == 0;
            traffic.push(of_instance);
            !is_over
        });
        traffic.extend(known.lobbies.iter().filter_map(|lobby| lobby.take_traffic()));
        // A lobby is held by its table and by the requests that wait in it.
        known.lobbies.retain(|lobby| Arc::strong_count(lobby) > 1);
        (generation, traffic)
    }

    /// How many requests wait, by pool.
    pub(crate) fn held(&self) -> BTreeMap<String, u64> {
        let known = lock(&self.known);
        let counts =
            known.lobbies.iter().map(|lobby| (lobby.pool.clone(), lobby.held.load(Ordering::Relaxed)));
        counts.filter(|(_, held)| *held > 0).collect()
    }

    /// The instances that get nothing for a while, because they failed.
    pub(crate) fn ejected(&self) -> Vec<Ejection> {
        let (now, time) = (Instant::now(), self.clock.now());
        let known = lock(&self.known);
        let present = known.instances.iter().filter(|instance| !instance.gone.is_cancelled());
        let ejection = |instance: &Arc<Instance>| {
            let left = instance.standing.ejected_for(now)?;
            let reason = "it failed five times in a row".to_owned();
            Some(Ejection { instance: instance.id.clone(), reason, until: time.plus(left) })
        };
        present.filter_map(ejection).collect()
    }

    /// Notes how an instance did with a request.
    pub(crate) fn note(&self, instance: &Instance, has_failed: bool) {
        if !has_failed {
            instance.standing.succeed();
        } else if instance.standing.fail(Instant::now()) {
            tracing::warn!(
                instance = instance.id,
                "an instance failed five times in a row; it gets no requests for a while"
            );
            self.urgent.notify_one();
        }
    }

    /// Lets go of connections that idled too long.
    pub(crate) fn drop_old_links(&self, idle_max: Duration) {
        let instances = lock(&self.known).instances.clone();
        let now = Instant::now();
        instances.iter().for_each(|instance| instance.drop_old_links(now, idle_max));
    }
}

impl Known {
    /// The pool that a snapshot describes, made of the instances that are known already and new ones.
    fn pool(&mut self, name: &str, spec: &PoolSpec, clock: &Clock) -> Arc<Pool> {
        let lobby = self.lobbies.iter().find(|lobby| lobby.is(name, spec)).map(Arc::clone);
        let lobby = lobby.unwrap_or_else(|| {
            let lobby = Arc::new(Lobby::new(name, spec));
            self.lobbies.push(Arc::clone(&lobby));
            lobby
        });
        lobby.remember(spec);
        let instances: Vec<_> =
            spec.targets.iter().filter_map(|target| self.instance(spec, target, clock)).collect();
        let shares = Shares::compile(name, &spec.shares, &instances);
        Arc::new(Pool { lobby, instances, shares })
    }

    fn guard(&self, shield: &hob_wire::Shield) -> Arc<Guard> {
        let known = self.guards.iter().find(|guard| guard.is(shield));
        known.map_or_else(|| Guard::new(shield), Arc::clone)
    }

    /// The limiters of a snapshot's routes; those that are known remember who used how much.
    fn limiters(&self, snapshot: &RoutingSnapshot) -> BTreeMap<(Option<String>, String), Arc<Limiter>> {
        let limited = snapshot.routes.iter().filter_map(|route| Some((route, route.limit?)));
        let limiter = |(route, limit): (&hob_wire::Route, _)| {
            let key = (route.host.clone(), route.path.clone());
            let known = self.limiters.get(&key).filter(|limiter| limiter.is(limit));
            let limiter = known.map_or_else(|| Arc::new(Limiter::new(limit)), Arc::clone);
            (key, limiter)
        };
        limited.map(limiter).collect()
    }

    fn instance(&mut self, pool: &PoolSpec, target: &Target, clock: &Clock) -> Option<Arc<Instance>> {
        let Ok(address) = target.address.parse::<SocketAddr>() else {
            tracing::error!(
                instance = target.instance,
                address = target.address,
                "an instance's address is none"
            );
            return None;
        };
        let mut present = self.instances.iter().filter(|instance| !instance.gone.is_cancelled());
        if let Some(instance) = present.find(|instance| instance.is(pool, target, address)) {
            return Some(Arc::clone(instance));
        }
        let instance = Arc::new(Instance::new(pool, target, address));
        if let Some(slow) = target.slow_start {
            let (now, time) = (Instant::now(), Duration::from_millis(slow.for_ms));
            let passed = clock.now().since(slow.since);
            if passed < time {
                instance.standing.start_slowly(now.checked_sub(passed).unwrap_or(now), time);
            }
        }
        self.instances.push(Arc::clone(&instance));
        Some(instance)
    }
}

/// What a route says of the requests that it covers.
fn way(
    route: &hob_wire::Route,
    pool: Arc<Pool>,
    limiters: &BTreeMap<(Option<String>, String), Arc<Limiter>>,
) -> Way {
    let limiter = route.limit.and_then(|_| limiters.get(&(route.host.clone(), route.path.clone())));
    let timeout = route.timeout_ms.map(Duration::from_millis);
    Way { pool, retry: route.retry, timeout, limiter: limiter.map(Arc::clone) }
}

impl Pool {
    fn choose(&self, ask: &Ask<'_>, tried: &[Arc<Instance>]) -> Option<&Arc<Instance>> {
        if self.shares.is_empty() {
            return among(&self.instances, tried);
        }
        self.shares.groups(ask.client, ask.headers).find_map(|group| among(group, tried))
    }
}

/// The less busy of two that take requests; when none does, of those that refused a moment ago or failed.
fn among<'a>(instances: &'a [Arc<Instance>], tried: &[Arc<Instance>]) -> Option<&'a Arc<Instance>> {
    let is_new = |at: usize| !tried.iter().any(|tried| Arc::ptr_eq(tried, &instances[at]));
    let load = |at: usize| instances[at].in_flight.load(Ordering::Relaxed);
    let count = instances.len();
    let random = random::bits();
    let is_wanted = |at: usize| {
        is_new(at) && (instances[at].standing.is_usual() || is_wanted(instances, &instances[at], true))
    };
    balance::choose(count, is_wanted, load, random)
        .or_else(|| balance::choose(count, |at| is_new(at) && is_wanted_at_all(instances, at), load, random))
        .or_else(|| balance::choose(count, is_new, load, random))
        .map(|at| &instances[at])
}

fn is_wanted_at_all(instances: &[Arc<Instance>], at: usize) -> bool {
    is_wanted(instances, &instances[at], false)
}

/// Whether an instance that is not like the others takes a request; one that starts slowly takes its part of them.
fn is_wanted(instances: &[Arc<Instance>], instance: &Instance, has_parts: bool) -> bool {
    let now = Instant::now();
    match instance.standing.look(now) {
        Look::Usual => true,
        Look::Skipped => false,
        // When more than half failed, the fault is likely elsewhere, and the rest could not carry the load.
        Look::Ejected => {
            instances.iter().filter(|other| other.standing.look(now) == Look::Ejected).count() * 2
                > instances.len()
        }
        Look::Warming(part) => !has_parts || random::part() < part,
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let before = self.instance.in_flight.fetch_sub(1, Ordering::SeqCst);
        if before == 1 && self.instance.gone.is_cancelled() {
            self.fleet.urgent.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
