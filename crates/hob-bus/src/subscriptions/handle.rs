//! What others ask of subscriptions: part of [`Bus`].

use hob_core::Scope;
use hob_wire::{Ack, Batch, SubscriptionSpec, SubscriptionState};

use crate::lag::describe;
use crate::tail::Tail;
use crate::{Bus, Error, Filter, Pull, Put, SubscriptionKey};

impl Bus {
    /// Makes a subscription, or changes what it asks for; its cursor stays where it is. Safe to repeat. A topic that
    /// is not declared (yet) is taken; the subscription then says so in its `stall_reason`.
    pub async fn put_subscription(
        &self,
        key: &SubscriptionKey,
        spec: SubscriptionSpec,
    ) -> Result<Put<SubscriptionState>, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let now = inner.clocks.wall.now();
        let put = inner.subscriptions.put(key, spec, &inner.reader(), &inner.topics, now).await?;
        let value = describe(&put.value, &inner.reader(), &inner.topics, now).await?;
        Ok(Put { value, created: put.created })
    }

    /// The subscriptions of a scope by service and name.
    pub async fn subscriptions(&self, scope: &Scope) -> Result<Vec<SubscriptionState>, Error> {
        let mut states = Vec::new();
        for subscription in self.inner.subscriptions.all() {
            if subscription.key.scope == *scope {
                let now = self.inner.clocks.wall.now();
                states.push(describe(&subscription, &self.inner.reader(), &self.inner.topics, now).await?);
            }
        }
        Ok(states)
    }

    /// A subscription, or [`Error::SubscriptionUnknown`].
    pub async fn subscription(&self, key: &SubscriptionKey) -> Result<SubscriptionState, Error> {
        let subscription = self.inner.subscriptions.get(key)?;
        let now = self.inner.clocks.wall.now();
        describe(&subscription, &self.inner.reader(), &self.inner.topics, now).await
    }

    /// Deletes a subscription with its cursor; ends its pulls and streams. [`Error::SubscriptionUnknown`] when there
    /// is none.
    pub async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<(), Error> {
        self.inner.check_open()?;
        self.inner.subscriptions.delete(key).await
    }

    /// Hands out events under a lease: at most one lease of a subscription is alive at
    /// `None` when there was nothing within [`Pull::wait`]. What is not acknowledged when the lease ends is handed
    /// out again, in the order of the log for each entity.
    pub async fn lease(&self, key: &SubscriptionKey, pull: Pull) -> Result<Option<Batch>, Error> {
        self.inner.check_open()?;
        let subscription = self.inner.subscriptions.get(key)?;
        let mut closed = self.inner.closed.subscribe();
        let reader = self.inner.reader();
        tokio::select! {
            leased = subscription.lease(&reader, &self.inner.clocks.wall, pull) => leased,
            _ = closed.wait_for(|is_closed| *is_closed) => Err(Error::Closed),
        }
    }

    /// Takes an acknowledgement, whole or not at all. A reader of [`Bus::stream`] acknowledges with the lease
    /// `stream` and `upto`.
    pub async fn ack(&self, key: &SubscriptionKey, ack: Ack) -> Result<(), Error> {
        self.inner.check_open()?;
        let subscription = self.inner.subscriptions.get(key)?;
        subscription.ack(ack, self.inner.positions.head(), self.inner.clocks.wall.now()).await
    }

    /// A live stream of what the subscription asks for, after a sequence, or after its cursor. Does not move the
    /// cursor.
    pub async fn stream(&self, key: &SubscriptionKey, after: Option<u64>) -> Result<Tail, Error> {
        let subscription = self.inner.subscriptions.get(key)?;
        let body = subscription.body.lock().await;
        let types = body.row.types.clone();
        let filter = Filter { types, ..Filter::topics(key.scope.clone(), body.row.topics.clone()) };
        let after = after.unwrap_or(body.state.done());
        drop(body);
        Ok(self.tail(filter, after).of(subscription))
    }
}
