//! Working through a subscription with leases: each event is handed out until its handler is done with it.

use std::future::Future;
use std::time::Duration;

use hob_wire::{Ack, Batch, Event, Nack, SubscriptionSpec};
use http::StatusCode;

use crate::client::{Client, Error, Request};

/// Events taken at once, unless the consumer says otherwise.
const BATCH_DEFAULT: usize = 100;
/// How long Hob holds a pull open while there is nothing.
const WAIT: Duration = Duration::from_secs(20);
/// How long a batch is ours, unless the consumer says otherwise.
const LEASE_DEFAULT: Duration = Duration::from_secs(30);
/// Time that an answer may take beyond the wait.
const ANSWER_GRACE: Duration = Duration::from_secs(5);
/// Pause after a pull that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Letters of a handler's reason that are sent on.
const REASON_LENGTH_MAX: usize = 500;

/// What a handler did with an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// It is done.
    Done,
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
}

impl Consumer {
    /// Makes the subscription be there as `spec` says, and a consumer of it.
    ///
    /// # Errors
    /// When Hob refuses the subscription or does not answer.
    pub async fn new(client: &Client, name: &str, spec: &SubscriptionSpec) -> Result<Self, Error> {
        super::put(client, name, spec).await?;
        Ok(Self { client: client.clone(), name: name.to_owned(), batch: BATCH_DEFAULT, lease: LEASE_DEFAULT })
    }

    /// The same consumer with other limits: events in a batch, and how long they are ours before they are handed out again.
    #[must_use]
    pub fn limits(mut self, batch: usize, lease: Duration) -> Self {
        self.batch = batch;
        self.lease = lease;
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

    /// Hands every event to `handler`, one after the other, until `stop` is ready. Failures of calls are logged and passed.
    pub async fn run<H, F>(&self, mut handler: H, stop: impl Future<Output = ()>)
    where
        H: FnMut(Event) -> F,
        F: Future<Output = Handled>,
    {
        let mut stop = std::pin::pin!(stop);
        loop {
            let pulled = tokio::select! {
                () = &mut stop => return,
                pulled = self.pull() => pulled,
            };
            let outcome = match pulled {
                Ok(None) => continue,
                Ok(Some(batch)) => self.work(batch, &mut handler).await,
                Err(error) => Err(error),
            };
            if let Err(error) = outcome {
                tracing::warn!(
                    subscription = self.name,
                    error = &error as &dyn std::error::Error,
                    "events cannot be taken"
                );
                tokio::select! {
                    () = &mut stop => return,
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    async fn work<H, F>(&self, batch: Batch, handler: &mut H) -> Result<(), Error>
    where
        H: FnMut(Event) -> F,
        F: Future<Output = Handled>,
    {
        let mut ack = Ack { lease: batch.lease, ..Ack::default() };
        for event in batch.events {
            let id = event.id.clone();
            match handler(event).await {
                Handled::Done => ack.ack.push(id),
                Handled::Later { delay, reason } => {
                    let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
                    let reason = Some(reason.chars().take(REASON_LENGTH_MAX).collect());
                    ack.nack.push(Nack { id, delay_ms: Some(delay_ms), reason });
                }
            }
        }
        self.acknowledge(&ack).await
    }
}
