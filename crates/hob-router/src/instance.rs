//! One instance as the router sees it: its requests in flight, its idle connections, its counts since the last report.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_core::{Histogram, Name, Scope};
use hob_wire::{InstanceTraffic, Pool, Target};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::link::Link;
use crate::standing::Standing;

/// One instance, from the first snapshot that holds it until it left the snapshots and its last request has ended.
pub(crate) struct Instance {
    pub(crate) id: String,
    pub(crate) address: SocketAddr,
    pub(crate) service: Name,
    pub(crate) scope: Scope,
    pub(crate) release: u64,
    /// Requests that were given to it and have not ended. Only [`crate::fleet`] raises it.
    pub(crate) in_flight: AtomicU64,
    /// Set once it left the table: connections are no longer kept, endless answers come to an end.
    pub(crate) gone: CancellationToken,
    pub(crate) standing: Standing,
    /// Requests that were sent again elsewhere since the last report.
    pub(crate) retried: AtomicU64,
    idle: Mutex<Vec<Link>>,
    tally: Mutex<Tally>,
}

/// Requests that ended since the last report.
#[derive(Default)]
pub(crate) struct Tally {
    requests: u64,
    errors: u64,
    latency: Histogram,
}

impl Instance {
    pub(crate) fn new(pool: &Pool, target: &Target, address: SocketAddr) -> Self {
        Self {
            id: target.instance.clone(),
            address,
            service: pool.service.clone(),
            scope: pool.scope.clone(),
            release: target.release,
            in_flight: AtomicU64::new(0),
            gone: CancellationToken::new(),
            standing: Standing::default(),
            retried: AtomicU64::new(0),
            idle: Mutex::default(),
            tally: Mutex::default(),
        }
    }

    /// Whether a snapshot means this very instance.
    pub(crate) fn is(&self, pool: &Pool, target: &Target, address: SocketAddr) -> bool {
        self.id == target.instance
            && self.address == address
            && self.release == target.release
            && self.service == pool.service
            && self.scope == pool.scope
    }

    /// Whether it refused a connection a moment ago.
    #[cfg(test)]
    pub(crate) fn is_skipped(&self) -> bool {
        self.standing.look(Instant::now()) == crate::standing::Look::Skipped
    }

    /// Passes it over for a while, and lets go of connections that a dead process left.
    pub(crate) fn skip(&self, time: Duration) {
        self.standing.skip(Instant::now() + time);
        self.drop_links();
    }

    /// Takes the connection that was used last, when one is fresh enough.
    pub(crate) fn take_link(&self, now: Instant, idle_max: Duration) -> Option<Link> {
        let mut links = lock(&self.idle);
        // The newest is on top: when it is too old, all are.
        let is_fresh = links.last().is_some_and(|link| now.duration_since(link.idle_since) < idle_max);
        if is_fresh { links.pop() } else { None }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn keep_link(&self, mut link: Link, idle_max: usize) {
        link.idle_since = Instant::now();
        let mut links = lock(&self.idle);
        // Asked under the lock, so that none is kept after `leave` has dropped them all.
        if links.len() < idle_max && !self.gone.is_cancelled() {
            links.push(link);
        }
    }

    /// Lets go of connections that idled too long.
    pub(crate) fn drop_old_links(&self, now: Instant, idle_max: Duration) {
        let old: Vec<Link> = {
            let mut links = lock(&self.idle);
            let fresh_from = links.partition_point(|link| now.duration_since(link.idle_since) >= idle_max);
            links.drain(..fresh_from).collect()
        };
        drop(old);
    }

    /// Lets go of every idle connection.
    pub(crate) fn drop_links(&self) {
        let links = std::mem::take(&mut *lock(&self.idle));
        drop(links);
    }

    /// It left the table.
    pub(crate) fn leave(&self) {
        self.gone.cancel();
        self.drop_links();
    }

    /// Counts a request that ended.
    pub(crate) fn count(&self, is_error: bool, latency: Duration) {
        lock(&self.tally).count(is_error, latency);
    }

    /// What to report, and begins to count anew.
    pub(crate) fn take_traffic(&self) -> InstanceTraffic {
        let tally = std::mem::take(&mut *lock(&self.tally));
        InstanceTraffic {
            instance: self.id.clone(),
            service: self.service.clone(),
            scope: self.scope.clone(),
            release: self.release,
            requests: tally.requests,
            errors: tally.errors,
            in_flight: self.in_flight.load(Ordering::SeqCst),
            held: 0,
            latency: tally.latency,
            retried: self.retried.swap(0, Ordering::Relaxed),
        }
    }
}

impl Tally {
    pub(crate) fn count(&mut self, is_error: bool, latency: Duration) {
        self.requests += 1;
        self.errors += u64::from(is_error);
        self.latency.record(latency.as_secs_f64());
    }

    pub(crate) fn take(&mut self) -> (u64, u64, Histogram) {
        let taken = std::mem::take(self);
        (taken.requests, taken.errors, taken.latency)
    }
}

/// Locks; a thread that panicked while it held the lock left plain counts behind, which are still good.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
