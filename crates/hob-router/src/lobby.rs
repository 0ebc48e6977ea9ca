//! What a pool keeps across snapshots: how many requests wait for an instance, those that no instance took, and how
//! many may still be sent again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use hob_core::{Name, Scope};
use hob_wire::{InstanceTraffic, Pool};

use crate::instance::{Tally, lock};

/// What one request adds to the budget of repeats, in tenths of a repeat: one in five may be sent again for long.
const BUDGET_PER_REQUEST: i64 = 2;
/// What one repeat takes.
const BUDGET_PER_REPEAT: i64 = 10;
/// The most that is saved up: 500 requests that are in flight at one instance when it dies can all be sent again.
const BUDGET_MAX: i64 = 5000;

/// The part of a pool that outlives snapshots.
pub(crate) struct Lobby {
    pub(crate) pool: String,
    pub(crate) service: Name,
    pub(crate) scope: Scope,
    /// Requests that wait for an instance.
    pub(crate) held: AtomicU64,
    budget: AtomicI64,
    /// The instance to whose account waiting goes: the last that the pool had, with its release.
    last: Mutex<Option<(String, u64)>>,
    tally: Mutex<Tally>,
}

impl Lobby {
    pub(crate) fn new(name: &str, pool: &Pool) -> Self {
        Self {
            pool: name.to_owned(),
            service: pool.service.clone(),
            scope: pool.scope.clone(),
            held: AtomicU64::new(0),
            budget: AtomicI64::new(BUDGET_MAX),
            last: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Whether a snapshot means this very pool.
    pub(crate) fn is(&self, name: &str, pool: &Pool) -> bool {
        self.pool == name && self.service == pool.service && self.scope == pool.scope
    }

    /// Remembers the newest instance, to whose account waiting goes.
    pub(crate) fn remember(&self, pool: &Pool) {
        if let Some(target) = pool.targets.iter().max_by_key(|target| target.release) {
            *lock(&self.last) = Some((target.instance.clone(), target.release));
        }
    }

    /// A request came.
    pub(crate) fn earn(&self) {
        if self.budget.load(Ordering::Relaxed) < BUDGET_MAX {
            self.budget.fetch_add(BUDGET_PER_REQUEST, Ordering::Relaxed);
        }
    }

    /// Whether a request may be sent again. When every instance dies under every request, repeating all of them would
    /// only multiply the load.
    pub(crate) fn spend(&self) -> bool {
        let is_enough = self.budget.fetch_sub(BUDGET_PER_REPEAT, Ordering::Relaxed) >= BUDGET_PER_REPEAT;
        if !is_enough {
            self.budget.fetch_add(BUDGET_PER_REPEAT, Ordering::Relaxed);
        }
        is_enough
    }

    /// Counts a request that ended without an instance.
    pub(crate) fn count(&self, is_error: bool, latency: Duration) {
        lock(&self.tally).count(is_error, latency);
    }

    /// What to report in the name of the last instance, and begins to count anew. A pool that never had an instance
    /// has none to report it under, and waits until it has one.
    pub(crate) fn take_traffic(&self) -> Option<InstanceTraffic> {
        let (instance, release) = lock(&self.last).clone()?;
        let (requests, errors, latency) = lock(&self.tally).take();
        let held = self.held.load(Ordering::Relaxed);
        (held + requests > 0).then(|| InstanceTraffic {
            instance,
            service: self.service.clone(),
            scope: self.scope.clone(),
            release,
            requests,
            errors,
            in_flight: 0,
            held,
            latency,
            retried: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_bounded_by_requests() {
        let pool = Pool::new("orders".parse().unwrap(), "qa/uk".parse().unwrap(), Vec::new());
        let lobby = Lobby::new("orders", &pool);
        assert_eq!((0..10_000).filter(|_| lobby.spend()).count(), 500);
        (0..100).for_each(|_| lobby.earn());
        assert_eq!((0..100).filter(|_| lobby.spend()).count(), 20);
        assert!(lobby.take_traffic().is_none(), "it never had an instance");
    }
}
