//! What the push loop uses: events to push, and how each push went.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Batch, DeliveryError};

use super::acks::luck;
use super::{In, Subscription};
use crate::error::Error;
use crate::handle::Inner;
use crate::model::Pull;
use crate::step::{Input, Verdict};

/// Events under a lease.
pub(crate) struct Taken {
    /// The lease and its events.
    pub(crate) batch: Batch,
    /// How often each of them was handed out, this time included.
    pub(crate) attempts: Vec<u32>,
}

/// How the delivery of one event went.
pub(crate) enum Outcome {
    /// It is done.
    Done {
        /// Its sequence.
        sequence: u64,
    },
    /// It failed: it is tried again after `retry_after`, else after the back-off's pause, or becomes a dead letter.
    Failed {
        /// Its sequence.
        sequence: u64,
        /// How.
        error: DeliveryError,
        /// When to try again, when the endpoint said so.
        retry_after: Option<Duration>,
    },
    /// It was not tried, and no attempt is counted.
    Returned {
        /// Its sequence.
        sequence: u64,
    },
}

impl Subscription {
    /// Leases events to push; waits for the first as long as `pull` says. None when there was none.
    pub(crate) async fn take(&self, inner: &Inner, pull: Pull) -> Result<Option<Taken>, Error> {
        Ok(self.wait_for(inner, pull, In::Values).await?.map(|handed| handed.taken(&inner.reader())))
    }

    /// Tells how the pushes of a lease went. Events that are not named stay leased. Fails with
    /// [`Error::LeaseNotHeld`] when the lease has run out: its events are handed out again.
    pub(crate) async fn settle(
        &self,
        lease: &str,
        outcomes: Vec<Outcome>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let failed = |outcome: &Outcome| match outcome {
            Outcome::Failed { error, .. } => Some(error.clone()),
            Outcome::Done { .. } | Outcome::Returned { .. } => None,
        };
        let error = outcomes.iter().rev().find_map(failed);
        let outcomes = outcomes.into_iter().map(|outcome| match outcome {
            Outcome::Done { sequence } => (sequence, Verdict::Done),
            Outcome::Failed { sequence, error, retry_after } => {
                (sequence, Verdict::Failed { delay: retry_after, error })
            }
            Outcome::Returned { sequence } => (sequence, Verdict::Returned),
        });
        let input = Input::Settle { lease: lease.to_owned(), outcomes: outcomes.collect(), luck: luck() };
        let mut body = self.body.lock().await;
        self.check_alive()?;
        self.told(&mut body, input, lease.to_owned(), now)?;
        body.last_error = error.or(body.last_error.take());
        Ok(())
    }
}
