//! Working through a subscription with leases: each event is handed out until its handler is done with it.

use std::future::Future;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hob_wire::{Ack, Batch, Event, SubscriptionSpec};
use http::StatusCode;
use tokio::time::Instant;

use super::work::{Telling, Work};
use crate::client::{Client, Error, Request};
use crate::pause::{self, Pauses};

/// Events taken at once, unless the consumer says otherwise.
const BATCH_DEFAULT: usize = 100;
/// Batches in hand at the same time, unless the consumer says otherwise.
const LEASES_DEFAULT: usize = 2;
/// Events handled at the same time, unless the consumer says otherwise.
const HANDLERS_DEFAULT: usize = 16;
/// How long Hob holds a pull open while there is nothing.
const WAIT: Duration = Duration::from_secs(20);
/// How long a batch is ours, unless the consumer says otherwise.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// Time that an answer may take beyond the wait.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Pauses after pulls that failed.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(250), longest: Duration::from_secs(10) };
/// How long a stopping consumer goes on with what it has in hand.
const DRAIN_MAX: Duration = Duration::from_secs(10);
/// How long nothing may be due: a bound for the sleep of an idle consumer.
const IDLE: Duration = Duration::from_secs(60);

/// What a handler did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done.
    Done,
    /// It could not be done: hand it out again when the subscription's own back-off says.
    Failed {
        /// Why, for whoever looks at the subscription.
        reason: String,
    },
    /// It could not be done now: hand it out again.
    Later {
        /// Not before so long.
        delay: Duration,
        /// Why, for whoever looks at the subscription.
        reason: String,
    },
}

/// Pulls a subscription's events in batches and acknowledges them.
#[derive(Clone, Debug)]
pub struct Consumer {
    client: Client,
    name: String,
    batch: usize,
    lease: Duration,
    leases: usize,
    handlers: usize,
}

impl Consumer {
    /// Makes the subscription be there as `spec` says, and a consumer of it.
    ///
    /// # Errors
    /// When Hob refuses the subscription or does not answer.
    pub async fn new(client: &Client, name: &str, spec: &SubscriptionSpec) -> Result<Self, Error> {
        super::put(client, name, spec).await?;
        Ok(Self {
            client: client.clone(),
            name: name.to_owned(),
            batch: BATCH_DEFAULT,
            lease: LEASE_DEFAULT,
            leases: LEASES_DEFAULT,
            handlers: HANDLERS_DEFAULT,
        })
    }

    /// The same consumer with other limits: events in a batch, and how long they are ours before they are handed out
    /// again. While a handler works, the lease is extended.
    #[must_use]
    pub fn limits(mut self, batch: usize, lease: Duration) -> Self {
        self.batch = batch;
        self.lease = lease;
        self
    }

    /// The same consumer with other parallelism: batches in hand at the same time, and events handled at the same time.
    #[must_use]
    pub fn parallel(mut self, leases: usize, handlers: usize) -> Self {
        self.leases = leases.max(1);
        self.handlers = handlers.max(1);
        self
    }

    /// The next batch; `None` when there was nothing for a while.
    ///
    /// # Errors
    /// When Hob does not answer, or another holds the lease.
    pub async fn pull(&self) -> Result<Option<Batch>, Error> {
        let lease = hob_core::format_duration(self.lease);
        let (name, batch, wait) = (&self.name, self.batch, hob_core::format_duration(WAIT));
        let target = format!("/v1/subscriptions/{name}/events?max={batch}&wait={wait}&lease={lease}");
        let answer = self.client.send(Request::get(target).timeout(WAIT + ANSWER_GRACE)).await?;
        if answer.status == StatusCode::NO_CONTENT { Ok(None) } else { answer.json().map(Some) }
    }

    /// Acknowledges a batch, or parts of it.
    ///
    /// # Errors
    /// When the lease has run out, or Hob does not answer: the events are then handed out again.
    pub async fn acknowledge(&self, ack: &Ack) -> Result<(), Error> {
        let request = Request::post(format!("/v1/subscriptions/{}/acks", self.name)).json(ack).repeatable();
        self.client.send(request).await?.success().map(drop)
    }

    /// Hands every event to `handler` until `stop` is ready: those of one entity one after the other, those of several
    /// side by side on this task. Each is acknowledged soon after its handler is done. When it stops, what is in hand is
    /// finished first, for ten seconds at most. Failures of calls are logged and passed.
    pub async fn run<H, F>(&self, handler: H, stop: impl Future<Output = ()>)
    where
        H: FnMut(Event) -> F,
        F: Future<Output = Handled>,
    {
        self.work(handler, stop).await;
    }

    async fn work<H, F>(&self, mut handler: H, stop: impl Future<Output = ()>)
    where
        H: FnMut(Event) -> F,
        F: Future<Output = Handled>,
    {
        let started = Instant::now();
        let mut work = Work::new(self.lease);
        let (mut handling, mut telling) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut pulling = None;
        let (mut failures, mut pull_at) = (0, started);
        let mut stop = std::pin::pin!(stop);
        let mut drain_until: Option<Instant> = None;
        loop {
            while handling.len() < self.handlers
                && let Some((place, event)) = work.next(started.elapsed())
            {
                let handled = handler(event);
                handling.push(async move { (place, handled.await) });
            }
            for (number, ack) in work.tell(started.elapsed()) {
                telling.push(self.tell(number, ack, started));
            }
            let is_over = drain_until
                .is_some_and(|until| (handling.is_empty() && work.is_done()) || Instant::now() >= until);
            if is_over {
                return;
            }
            let may_pull = drain_until.is_none() && work.leases() < self.leases;
            if pulling.is_none() && may_pull && Instant::now() >= pull_at {
                let asked = started.elapsed();
                pulling = Some(Box::pin(async move { (asked, self.pull().await) }));
            }
            let mut wake = started + work.due().unwrap_or(started.elapsed() + IDLE);
            if pulling.is_none() && may_pull {
                wake = wake.min(pull_at);
            }
            tokio::select! {
                () = &mut stop, if drain_until.is_none() => {
                    pulling = None;
                    drain_until = Some(Instant::now() + DRAIN_MAX);
                }
                Some((place, handled)) = handling.next() => work.handled(place, handled, started.elapsed()),
                Some((number, told, begun)) = telling.next() => {
                    work.told(number, told, begun, started.elapsed());
                }
                (asked, pulled) = async { pulling.as_mut().expect("checked").await }, if pulling.is_some() => {
                    pulling = None;
                    failures = if pulled.is_ok() { 0 } else { failures + 1 };
                    pull_at = Instant::now() + self.pause(failures, pulled.as_ref().err());
                    if let Ok(Some(batch)) = pulled {
                        work.take(batch, asked);
                    }
                }
                () = tokio::time::sleep_until(wake.min(drain_until.unwrap_or(wake))) => {}
            }
        }
    }

    /// The pause before the next pull.
    fn pause(&self, failures: u32, error: Option<&Error>) -> Duration {
        let Some(error) = error else { return Duration::ZERO };
        tracing::warn!(
            subscription = self.name,
            error = error as &dyn std::error::Error,
            attempt = failures,
            "events cannot be taken"
        );
        PAUSES.after(failures, pause::random()).max(error.retry_after().unwrap_or_default().min(IDLE))
    }

    async fn tell(&self, number: u64, ack: Ack, started: Instant) -> (u64, Telling, Duration) {
        let begun = started.elapsed();
        let telling = match self.acknowledge(&ack).await {
            Ok(()) => Telling::Told,
            Err(error) => {
                tracing::warn!(
                    subscription = self.name,
                    error = &error as &dyn std::error::Error,
                    "events cannot be acknowledged"
                );
                if error.may_pass() { Telling::Failed } else { Telling::Lost }
            }
        };
        (number, telling, begun)
    }
}
