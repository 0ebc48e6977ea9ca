//! How a subscription's endpoint is doing, shared between the task that pushes and those who ask.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{BreakerState, DeliveryError, DeliverySpec};

use super::pieces::Size;
use crate::breaker::{Allowance, Breaker, Input, step};

/// How an endpoint is doing.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    breaker: Breaker,
    size: Size,
    steps: Vec<Duration>,
    last_error: Option<DeliveryError>,
}

/// The same for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) breaker: BreakerState,
    /// When the next probe is due.
    pub(crate) next_probe: Option<Timestamp>,
    /// The last failure of the endpoint's, be it counted for an event or not.
    pub(crate) last_error: Option<DeliveryError>,
}

impl Health {
    /// An endpoint of which nothing is known yet.
    pub(super) fn new(delivery: &DeliverySpec) -> Self {
        let steps = delivery.backoff_ms.iter().copied().map(Duration::from_millis).collect();
        Self(Mutex::new(Inner { steps, ..Inner::default() }))
    }

    /// The same for people.
    pub(crate) fn shown(&self) -> Shown {
        let inner = self.lock();
        let Inner { breaker, last_error, .. } = &*inner;
        Shown { breaker: breaker.shown(), next_probe: breaker.next_probe(), last_error: last_error.clone() }
    }

    pub(super) fn allowance(&self, now: Timestamp) -> Allowance {
        self.lock().breaker.allowance(now)
    }

    /// The round in which a request is sent now.
    pub(super) fn round(&self) -> u32 {
        self.lock().breaker.round()
    }

    pub(super) fn probe(&self, now: Timestamp) {
        self.lock().hear(Input::Probed, now);
    }

    pub(super) fn well(&self, now: Timestamp) {
        self.lock().hear(Input::Well, now);
    }

    pub(super) fn failed(&self, round: u32, retry_after: Option<Duration>, luck: u64, now: Timestamp) {
        self.lock().hear(Input::Failed { round, retry_after, luck }, now);
    }

    pub(super) fn note(&self, error: DeliveryError) {
        self.lock().last_error = Some(error);
    }

    pub(super) fn size_max(&self, asked: usize) -> usize {
        self.lock().size.max(asked)
    }

    pub(super) fn too_large(&self, events: usize) {
        self.lock().size.too_large(events);
    }

    pub(super) fn taken(&self, events: usize) {
        self.lock().size.taken(events);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn hear(&mut self, input: Input, now: Timestamp) {
        self.breaker = step(self.breaker, input, &self.steps, now);
    }
}
