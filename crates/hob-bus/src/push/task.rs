//! The task of one pushing subscription: takes events as the endpoint's health allows and keeps several requests in
//! flight. It has its own, so that a slow endpoint slows no other.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hob_core::Timestamp;
use hob_wire::PushFormat;
use tokio::sync::watch;
use tokio::time::Instant;

use super::flight::{Landing, Pusher};
use super::message::Parcel;
use super::source::Taken;
use crate::Error;
use crate::breaker::Allowance;

/// Longest sleep before the wall clock is looked at again, while the breaker is open.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// Pause after the log could not be read.
const READ_PAUSE: Duration = Duration::from_secs(1);
/// How long requests in flight have to end when the task is told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(3);

/// Events that wait for company.
struct Waiting {
    parcels: Vec<Parcel>,
    until: Instant,
}

enum Woken {
    Taken(Result<Taken, Error>),
    Landed(Landing),
    Full,
    Again,
    Stopped,
}

/// Pushes until told to stop, until the subscription is deleted, or until its endpoint is gone.
pub(super) async fn run(pusher: Arc<Pusher>, mut stop: watch::Receiver<bool>) {
    let mut flying = FuturesUnordered::new();
    let mut waiting: Option<Waiting> = None;
    loop {
        let allowance = pusher.health.allowance(pusher.wall.now());
        if allowance != Allowance::Free
            && let Some(Waiting { parcels, .. }) = waiting.take()
        {
            flying.push(launch(give_back(Arc::clone(&pusher), parcels)));
        }
        let want = pusher.want(allowance, flying.len(), &waiting);
        let woken = tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => Woken::Stopped,
            Some(landing) = flying.next(), if !flying.is_empty() => Woken::Landed(landing),
            () = full(&waiting), if waiting.is_some() => Woken::Full,
            taken = pusher.source.take(want, pusher.lease()), if want > 0 => Woken::Taken(taken),
            () = look_again(allowance, pusher.wall.now()), if matches!(allowance, Allowance::Until(_)) => Woken::Again,
        };
        match woken {
            Woken::Stopped => break,
            Woken::Again | Woken::Landed(Landing::Done) => {}
            Woken::Full => {
                let parcels = waiting.take().map(|waiting| waiting.parcels).unwrap_or_default();
                flying.push(launch(fly(Arc::clone(&pusher), parcels)));
            }
            Woken::Taken(Ok(taken)) => {
                if allowance == Allowance::Probe {
                    pusher.health.probe(pusher.wall.now());
                }
                if let Some(parcels) = pusher.gather(taken, &mut waiting) {
                    flying.push(launch(fly(Arc::clone(&pusher), parcels)));
                }
            }
            Woken::Landed(Landing::Gone(told)) => {
                if let Err(error) = pusher.source.gone(&told.detail).await {
                    tracing::error!(%error, "failed to note that an endpoint is gone");
                }
                break;
            }
            Woken::Taken(Err(error)) | Woken::Landed(Landing::Failed(error)) => {
                if pusher.is_over(&error) {
                    break;
                }
                tokio::time::sleep(READ_PAUSE).await;
            }
        }
    }
    if let Some(Waiting { parcels, .. }) = waiting.take() {
        flying.push(launch(give_back(Arc::clone(&pusher), parcels)));
    }
    let _ = tokio::time::timeout(DRAIN_MAX, flying.collect::<Vec<_>>()).await;
}

type Flying = std::pin::Pin<Box<dyn Future<Output = Landing> + Send>>;

fn launch(flight: impl Future<Output = Landing> + Send + 'static) -> Flying {
    Box::pin(flight)
}

async fn fly(pusher: Arc<Pusher>, parcels: Vec<Parcel>) -> Landing {
    let max = pusher.request_max();
    pusher.fly(parcels, max).await
}

async fn give_back(pusher: Arc<Pusher>, parcels: Vec<Parcel>) -> Landing {
    pusher.give_back(parcels).await.map_or_else(Landing::Failed, |()| Landing::Done)
}

async fn full(waiting: &Option<Waiting>) {
    if let Some(waiting) = waiting {
        tokio::time::sleep_until(waiting.until).await;
    }
}

async fn look_again(allowance: Allowance, now: Timestamp) {
    let Allowance::Until(until) = allowance else { return };
    tokio::time::sleep(until.since(now).clamp(Duration::from_millis(1), LOOK_AGAIN)).await;
}

impl Pusher {
    /// Events of one request, at most.
    fn request_max(&self) -> usize {
        match self.target.delivery.format {
            PushFormat::Batch => self.health.size_max(self.target.delivery.max as usize),
            PushFormat::Structured | PushFormat::Binary => 1,
        }
    }

    /// How many events to take now.
    fn want(&self, allowance: Allowance, flying: usize, waiting: &Option<Waiting>) -> usize {
        let waits = waiting.as_ref().map_or(0, |waiting| waiting.parcels.len());
        match allowance {
            Allowance::Until(_) | Allowance::Probing => 0,
            Allowance::Probe => 1,
            Allowance::Free if flying >= self.target.delivery.concurrency as usize => 0,
            Allowance::Free => self.request_max().saturating_sub(waits),
        }
    }

    fn lease(&self) -> Duration {
        self.lease_for() + Duration::from_millis(self.target.delivery.deadline_ms)
    }

    /// What can be sent now; the rest waits for more until its deadline.
    fn gather(&self, taken: Taken, waiting: &mut Option<Waiting>) -> Option<Vec<Parcel>> {
        let format = self.target.delivery.format;
        let Taken { lease, events } = taken;
        let recorded = events.first().map(|(event, _)| event.recordedtime);
        let parcel = |(event, attempt)| Parcel::new(event, attempt, &lease, format);
        let fresh: Vec<Parcel> = events.into_iter().map(parcel).collect();
        let deadline = Duration::from_millis(self.target.delivery.deadline_ms);
        let is_full = |count: usize| count >= self.request_max();
        let Waiting { mut parcels, until } = match waiting.take() {
            Some(waiting) => waiting,
            None => {
                // The oldest waits since it was taken by the bus, not since the pusher came to it.
                let waited = recorded.map_or(deadline, |recorded| self.wall.now().since(recorded));
                Waiting { parcels: Vec::new(), until: Instant::now() + deadline.saturating_sub(waited) }
            }
        };
        parcels.extend(fresh);
        if is_full(parcels.len())
            || until <= Instant::now()
            || self.health.allowance(self.wall.now()) != Allowance::Free
        {
            return Some(parcels);
        }
        *waiting = Some(Waiting { parcels, until });
        None
    }

    /// Whether the subscription or the bus has come to its end; else the error is told in the log.
    fn is_over(&self, error: &Error) -> bool {
        if matches!(error, Error::Closed | Error::SubscriptionUnknown { .. }) {
            return true;
        }
        let subscription = &self.source.subscription.key;
        tracing::error!(%subscription, %error, "failed to push events; they are tried again");
        false
    }
}
