//! One batch on its way: sent as one request or several, one after the other, until the fate of each event is known.
//!
//! What is known is told at once, so that a crash in between repeats as little as may be. An event is never sent after
//! an earlier one of its entity has failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Clock, Timestamp, random_bytes};
use hob_wire::DeliverySpec;

use super::health::Health;
use super::message::{Parcel, Sender};
use super::pieces::{cut, halve, is_behind};
use super::port::{Delivery, Endpoint};
use super::reply::{FailedEvent, Reply, Told, read};
use super::source::Source;
use crate::Error;
use crate::breaker::Allowance;
use crate::signature::Secrets;
use crate::subscription::Outcome;

/// Time beyond a request's own limit for which its events stay leased.
const LEASE_MARGIN: Duration = Duration::from_secs(10);

/// Where and how a subscription's events are pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) url: String,
    pub(crate) delivery: DeliverySpec,
    pub(crate) secrets: Secrets,
}

/// What every flight of a subscription shares.
pub(crate) struct Pusher {
    pub(super) source: Source,
    pub(super) endpoint: Arc<dyn Endpoint>,
    pub(super) health: Arc<Health>,
    pub(super) wall: Clock,
    pub(super) target: Target,
}

/// How a flight ended.
#[derive(Debug)]
pub(super) enum Landing {
    /// The fate of every event is told.
    Done,
    /// The endpoint wants nothing more.
    Gone(Told),
    /// The bus does not take what is told.
    Failed(Error),
}

impl Pusher {
    /// How long a lease must last so that one request fits in.
    pub(super) fn lease_for(&self) -> Duration {
        Duration::from_millis(self.target.delivery.timeout_ms) + LEASE_MARGIN
    }

    /// Pushes events; the first request is sent whatever the breaker says.
    pub(super) async fn fly(&self, parcels: Vec<Parcel>, max: usize) -> Landing {
        let mut left = cut(parcels, max);
        left.reverse();
        match self.send_all(&mut left).await {
            Ok(None) => Landing::Done,
            Ok(Some(told)) => match self.give_back(left.drain(..).flatten()).await {
                Ok(()) => Landing::Gone(told),
                Err(error) => Landing::Failed(error),
            },
            Err(error) => Landing::Failed(error),
        }
    }

    /// Gives events back untried.
    pub(super) async fn give_back(&self, parcels: impl IntoIterator<Item = Parcel>) -> Result<(), Error> {
        let returned = |parcel: Parcel| {
            let outcome = Outcome::Returned { sequence: parcel.sequence };
            (parcel, outcome)
        };
        self.settle(parcels.into_iter().map(returned).collect()).await
    }

    /// Sends requests until none is left; ends early when the endpoint is gone, and says so.
    async fn send_all(&self, left: &mut Vec<Vec<Parcel>>) -> Result<Option<Told>, Error> {
        let mut failed: Vec<Parcel> = Vec::new();
        let mut is_first = true;
        while let Some(piece) = left.pop() {
            let order = self.target.delivery.order;
            let is_held_back = |parcel: &Parcel| failed.iter().any(|failed| is_behind(order, failed, parcel));
            let (behind, piece): (Vec<_>, Vec<_>) = piece.into_iter().partition(is_held_back);
            self.give_back(behind).await?;
            if piece.is_empty() {
                continue;
            }
            if !is_first {
                if self.health.allowance(self.wall.now()) != Allowance::Free {
                    self.give_back(piece.into_iter().chain(left.drain(..).flatten())).await?;
                    return Ok(None);
                }
                self.extend(piece.iter().chain(left.iter().flatten())).await?;
            }
            is_first = false;
            if let Some(told) = self.send_one(piece, left, &mut failed).await? {
                return Ok(Some(told));
            }
        }
        Ok(None)
    }

    async fn send_one(
        &self,
        piece: Vec<Parcel>,
        left: &mut Vec<Vec<Parcel>>,
        failed: &mut Vec<Parcel>,
    ) -> Result<Option<Told>, Error> {
        let round = self.health.round();
        let reply = self.post(&piece).await;
        let now = self.wall.now();
        match reply {
            Reply::Taken { failed: refused } => {
                self.health.well(now);
                if refused.is_empty() {
                    self.health.taken(piece.len());
                }
                let settled = piece.into_iter().map(|parcel| judge(parcel, &refused, now));
                let settled: Vec<(Parcel, Outcome)> = settled.collect();
                let is_failed = |outcome: &Outcome| matches!(outcome, Outcome::Failed { .. });
                failed
                    .extend(settled.iter().filter(|(_, outcome)| is_failed(outcome)).map(|(p, _)| p.clone()));
                self.settle(settled).await?;
            }
            Reply::Refused { error } if piece.len() > 1 => {
                self.health.well(now);
                if error.status == Some(413) {
                    self.health.too_large(piece.len());
                }
                let (first, second) = halve(piece);
                left.extend([second, first]);
            }
            Reply::Refused { error } => {
                self.health.well(now);
                self.fail(piece, &error, now, failed).await?;
            }
            Reply::Failing { error, counts, retry_after } => {
                self.health.failed(round, retry_after, u64::from_le_bytes(random_bytes()), now);
                self.health.note(error.at(now, None));
                if counts {
                    self.fail(piece, &error, now, failed).await?;
                } else {
                    failed.extend(piece.iter().cloned());
                    self.give_back(piece).await?;
                }
            }
            Reply::Gone { error } => {
                self.health.note(error.at(now, None));
                self.give_back(piece).await?;
                return Ok(Some(error));
            }
        }
        Ok(None)
    }

    async fn post(&self, piece: &[Parcel]) -> Reply {
        let key = &self.source.subscription.key;
        let Target { url, delivery, secrets } = &self.target;
        let sender = Sender { subscription: &key.name, format: delivery.format, secrets };
        let (headers, body) = sender.request(piece, self.wall.now());
        let timeout = Duration::from_millis(delivery.timeout_ms);
        let delivery = Delivery { scope: key.scope.clone(), url: url.clone(), headers, body, timeout };
        let answer = self.endpoint.post(delivery).await;
        read(answer, self.wall.now())
    }

    async fn fail(
        &self,
        piece: Vec<Parcel>,
        error: &Told,
        now: Timestamp,
        failed: &mut Vec<Parcel>,
    ) -> Result<(), Error> {
        failed.extend(piece.iter().cloned());
        let outcome = |parcel: Parcel| {
            let error = error.at(now, parcel.subject.as_deref());
            let outcome = Outcome::Failed { sequence: parcel.sequence, error, retry_after: None };
            (parcel, outcome)
        };
        self.settle(piece.into_iter().map(outcome).collect()).await
    }

    async fn settle(&self, settled: Vec<(Parcel, Outcome)>) -> Result<(), Error> {
        let mut by_lease: BTreeMap<Arc<str>, Vec<Outcome>> = BTreeMap::new();
        for (parcel, outcome) in settled {
            by_lease.entry(parcel.lease).or_default().push(outcome);
        }
        for (lease, outcomes) in by_lease {
            forgive(self.source.settle(&lease, outcomes).await)?;
        }
        Ok(())
    }

    async fn extend(&self, parcels: impl Iterator<Item = &Parcel>) -> Result<(), Error> {
        let leases: std::collections::BTreeSet<&Arc<str>> = parcels.map(|parcel| &parcel.lease).collect();
        for lease in leases {
            forgive(self.source.extend(lease, self.lease_for()).await)?;
        }
        Ok(())
    }
}

/// A lease that ran out is no failure: its events are handed out again.
fn forgive(told: Result<(), Error>) -> Result<(), Error> {
    match told {
        Err(Error::LeaseNotHeld { name, lease }) => {
            tracing::warn!(subscription = %name, lease, "a push took longer than its lease; its events are sent again");
            Ok(())
        }
        other => other,
    }
}

/// The fate of an event in a request that was taken, but for some.
fn judge(parcel: Parcel, failed: &[FailedEvent], now: Timestamp) -> (Parcel, Outcome) {
    let sequence = parcel.sequence;
    let is_it = |failed: &&FailedEvent| failed.id == parcel.id || failed.id.parse() == Ok(sequence);
    let outcome = match failed.iter().find(is_it) {
        None => Outcome::Done { sequence },
        Some(FailedEvent { retry_after, reason, .. }) => {
            let detail = reason.clone().unwrap_or_else(|| "the endpoint did not take this event".to_owned());
            let error = Told { status: Some(200), detail }.at(now, parcel.subject.as_deref());
            let retry_after = retry_after.map(|pause| pause.min(crate::breaker::RETRY_AFTER_MAX));
            Outcome::Failed { sequence, error, retry_after }
        }
    };
    (parcel, outcome)
}
