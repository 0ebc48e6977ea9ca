//! The instances behind the router, and the promise by which the core may stop one of them.
//!
//! The core stops an instance once the router's report names a generation without it and no request of its in flight.
//! Both must be true of the same moment, without a lock on the way of every request. A request first raises the count
//! of the instance that it chose from a table, then looks whether that table is still the newest, and chooses anew when
//! it is not. [`Fleet::install`] makes a table the newest first; a report reads the counts only afterwards. All four
//! steps are sequentially consistent, so of "the request sees the new table" and "the report sees the request's count"
//! at least one holds. A count may thus be seen too high for a moment, never too low.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use hob_wire::{InstanceTraffic, Pool as PoolSpec, RoutingSnapshot, Target};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::instance::{Instance, lock};
use crate::lobby::Lobby;
use crate::table::{Pool, Routes, Table};
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
}

#[derive(Default)]
struct Known {
    instances: Vec<Arc<Instance>>,
    lobbies: Vec<Arc<Lobby>>,
}

/// What the newest table has for a request.
pub(crate) enum Claim {
    /// No route covers it.
    NoRoute,
    /// There is a route, and no instance that was not tried yet. Holds the epoch of the table that said so.
    NoInstance(Arc<Lobby>, u64),
    /// An instance, with the request counted as in flight at it.
    Ticket(Ticket),
}

/// A request's place at an instance; it counts as in flight until this is dropped.
pub(crate) struct Ticket {
    pub(crate) instance: Arc<Instance>,
    pub(crate) lobby: Arc<Lobby>,
    fleet: Arc<Fleet>,
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let table = Table { epoch: 0, generation: 0, routes: Routes::compile([]) };
        Self {
            table: ArcSwap::from_pointee(table),
            newest: AtomicU64::new(0),
            known: Mutex::default(),
            changes: watch::Sender::new(0),
            urgent: Notify::new(),
        }
    }

    /// Routes every request from now on by this snapshot.
    pub(crate) fn install(&self, snapshot: &RoutingSnapshot) {
        let mut known = lock(&self.known);
        let pools: std::collections::HashMap<&str, Arc<Pool>> =
            snapshot.pools.iter().map(|(name, pool)| (name.as_str(), known.pool(name, pool))).collect();
        let routes = snapshot.routes.iter().filter_map(|route| {
            let pool = pools.get(route.pool.as_str());
            if pool.is_none() {
                tracing::warn!(
                    path = route.path,
                    pool = route.pool,
                    "a route leads to a pool that is not there"
                );
            }
            Some((route, Arc::clone(pool?)))
        });
        let epoch = self.newest.load(Ordering::SeqCst) + 1;
        let table = Table { epoch, generation: snapshot.generation, routes: Routes::compile(routes) };
        self.table.store(Arc::new(table));
        self.newest.store(epoch, Ordering::SeqCst);

        let is_there = |instance: &Arc<Instance>| {
            pools.values().any(|pool| pool.instances.iter().any(|i| Arc::ptr_eq(i, instance)))
        };
        known.instances.iter().filter(|instance| !is_there(instance)).for_each(|instance| instance.leave());
        self.changes.send_replace(epoch);
        self.urgent.notify_one();
    }

    /// Chooses an instance for a request and counts it there. Instances in `tried` are not chosen again.
    pub(crate) fn claim(self: &Arc<Self>, host: &str, path: &str, tried: &[Arc<Instance>]) -> Claim {
        loop {
            let table = self.table.load();
            let Some(pool) = table.routes.find(host, path) else { return Claim::NoRoute };
            let Some(instance) = pool.choose(tried) else {
                return Claim::NoInstance(Arc::clone(&pool.lobby), table.epoch);
            };
            instance.in_flight.fetch_add(1, Ordering::SeqCst);
            let ticket = Ticket {
                instance: Arc::clone(instance),
                lobby: Arc::clone(&pool.lobby),
                fleet: Arc::clone(self),
            };
            // The table may be a step ahead of `newest`, never behind when it is still the newest.
            if self.newest.load(Ordering::SeqCst) <= table.epoch {
                return Claim::Ticket(ticket);
            }
        }
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

    /// Lets go of connections that idled too long.
    pub(crate) fn drop_old_links(&self, idle_max: Duration) {
        let instances = lock(&self.known).instances.clone();
        let now = Instant::now();
        instances.iter().for_each(|instance| instance.drop_old_links(now, idle_max));
    }
}

impl Known {
    /// The pool that a snapshot describes, made of the instances that are known already and new ones.
    fn pool(&mut self, name: &str, spec: &PoolSpec) -> Arc<Pool> {
        let lobby = self.lobbies.iter().find(|lobby| lobby.is(name, spec)).map(Arc::clone);
        let lobby = lobby.unwrap_or_else(|| {
            let lobby = Arc::new(Lobby::new(name, spec));
            self.lobbies.push(Arc::clone(&lobby));
            lobby
        });
        lobby.remember(spec);
        let instances = spec.targets.iter().filter_map(|target| self.instance(spec, target)).collect();
        Arc::new(Pool { lobby, instances })
    }

    fn instance(&mut self, pool: &PoolSpec, target: &Target) -> Option<Arc<Instance>> {
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
        self.instances.push(Arc::clone(&instance));
        Some(instance)
    }
}

impl Pool {
    /// The less busy of two that accept connections; when none does, of those that refused a moment ago.
    fn choose(&self, tried: &[Arc<Instance>]) -> Option<&Arc<Instance>> {
        let is_new = |at: usize| !tried.iter().any(|tried| Arc::ptr_eq(tried, &self.instances[at]));
        let load = |at: usize| self.instances[at].in_flight.load(Ordering::Relaxed);
        let count = self.instances.len();
        let random = random::bits();
        balance::choose(count, |at| is_new(at) && !self.instances[at].is_skipped(), load, random)
            .or_else(|| balance::choose(count, is_new, load, random))
            .map(|at| &self.instances[at])
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
