//! What a pool keeps across snapshots: how many requests wait for an instance, those that no instance took, and how
//! many may still be sent again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use hob_core::{Name, Scope};
use hob_wire::{InstanceTraffic, Pool};

use crate::instance::{Tally, lock};

/// What one repeat takes from the budget of repeats. What a request adds, the route says in per cent of it.
const BUDGET_PER_REPEAT: i64 = 1000;
/// The most that is saved up: 500 requests that are in flight at one instance when it dies can all be sent again.
const BUDGET_MAX: i64 = 500 * BUDGET_PER_REPEAT;

/// The part of a pool that outlives snapshots.
pub(crate) struct Lobby {
    pub(crate) pool: String,
    pub(crate) service: Name,
    pub(crate) scope: Scope,
    /// Requests that wait for an instance.
    pub(crate) held: AtomicU64,
    budget: AtomicI64,
    /// Milliseconds that a request waits for an instance; 0 for as long as the router says.
    hold_ms: AtomicU64,
    /// Milliseconds over which websockets and event streams are closed.
    spread_ms: AtomicU64,
    /// The close code that websockets get.
    close_code: AtomicU16,
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
            hold_ms: AtomicU64::new(0),
            spread_ms: AtomicU64::new(pool.drain.spread_ms),
            close_code: AtomicU16::new(pool.drain.websocket_close),
            last: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Whether a snapshot means this very pool.
    pub(crate) fn is(&self, name: &str, pool: &Pool) -> bool {
        self.pool == name && self.service == pool.service && self.scope == pool.scope
    }

    /// Remembers the pool's terms, and the newest instance, to whose account waiting goes.
    pub(crate) fn remember(&self, pool: &Pool) {
        self.hold_ms.store(pool.idle_hold_ms.unwrap_or(0), Ordering::Relaxed);
        self.spread_ms.store(pool.drain.spread_ms, Ordering::Relaxed);
        self.close_code.store(pool.drain.websocket_close, Ordering::Relaxed);
        if let Some(target) = pool.targets.iter().max_by_key(|target| target.release) {
            *lock(&self.last) = Some((target.instance.clone(), target.release));
        }
    }

    /// A request came on a route that allows so many repeats for a hundred.
    pub(crate) fn earn(&self, percent: f64) {
        if self.budget.load(Ordering::Relaxed) < BUDGET_MAX {
            let earned = (percent.clamp(0.0, 100.0) / 100.0 * BUDGET_PER_REPEAT as f64) as i64;
            self.budget.fetch_add(earned, Ordering::Relaxed);
        }
    }

    /// How long a request waits for an instance, if the pool says so.
    pub(crate) fn hold(&self) -> Option<Duration> {
        Some(self.hold_ms.load(Ordering::Relaxed)).filter(|ms| *ms > 0).map(Duration::from_millis)
    }

    /// Over how long websockets and event streams are closed.
    pub(crate) fn spread(&self) -> Duration {
        Duration::from_millis(self.spread_ms.load(Ordering::Relaxed))
    }

    /// The close code that websockets get.
    pub(crate) fn close_code(&self) -> u16 {
        self.close_code.load(Ordering::Relaxed)
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
        (0..100).for_each(|_| lobby.earn(20.0));
        assert_eq!((0..100).filter(|_| lobby.spend()).count(), 20);
        assert!(lobby.take_traffic().is_none(), "it never had an instance");
    }
}
