//! Where a pushing task takes its events from, and where it tells how they fared.

use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Ack, Event};

use crate::Error;
use crate::handle::Inner;
use crate::model::Pull;
use crate::model::limits::{LEASE_MAX, LEASE_MIN, PULL_EVENTS_MAX, PULL_WAIT_MAX};
use crate::rows::PauseRow;
use crate::subscription::{Outcome, Subscription};

/// A subscription's events.
pub(super) struct Source {
    pub(super) bus: Arc<Inner>,
    pub(super) subscription: Arc<Subscription>,
}

/// Events under a lease, each with how often it was tried, this time included.
pub(super) struct Taken {
    pub(super) lease: Arc<str>,
    pub(super) events: Vec<(Event, u32)>,
}

impl Source {
    /// Waits until there are events. Safe to cancel: then none are taken.
    pub(super) async fn take(&self, max: usize, lease_for: Duration) -> Result<Taken, Error> {
        let lease_for = lease_for.clamp(LEASE_MIN, LEASE_MAX);
        let pull = Pull { max: max.clamp(1, PULL_EVENTS_MAX), wait: PULL_WAIT_MAX, lease_for };
        loop {
            let taken = self.subscription.take(&self.bus, pull).await?;
            if let Some(taken) = taken {
                let events = taken.batch.events.into_iter().zip(taken.attempts).collect();
                return Ok(Taken { lease: taken.batch.lease.into(), events });
            }
        }
    }

    /// Tells how events fared.
    pub(super) async fn settle(&self, lease: &str, outcomes: Vec<Outcome>) -> Result<(), Error> {
        self.subscription.settle(lease, outcomes, self.bus.clocks.wall.now()).await
    }

    /// Holds a lease for so long from now on.
    pub(super) async fn extend(&self, lease: &str, lease_for: Duration) -> Result<(), Error> {
        let extend_ms = Some(lease_for.min(LEASE_MAX).as_millis() as u64);
        let ack = Ack { lease: lease.to_owned(), extend_ms, ..Ack::default() };
        self.subscription.ack(ack, self.bus.positions.head(), self.bus.clocks.wall.now()).await
    }

    /// The endpoint wants nothing more: its subscription is paused until somebody resumes it.
    pub(super) async fn gone(&self, reason: &str) -> Result<(), Error> {
        let pause = PauseRow { until: None, gone: Some(reason.to_owned()) };
        let now = self.bus.clocks.wall.now();
        self.bus.subscriptions.halt(&self.subscription.key, Some(pause), now).await?;
        self.bus.pushes.changed();
        Ok(())
    }
}
