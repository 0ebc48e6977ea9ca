//! What others ask of subscriptions: part of [`Bus`].

use hob_core::{Scope, Timestamp};
use hob_wire::{Ack, Batch, SubscriptionSpec, SubscriptionState};

use crate::lag::describe;
use crate::subscription::Subscription;
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
        let had_secret = match inner.subscriptions.get(key) {
            Ok(known) => known.body.lock().await.row.secrets.is_some(),
            Err(_) => false,
        };
        let put = inner.subscriptions.put(key, spec, &inner.reader(), &inner.topics, now).await?;
        inner.pushes.changed();
        let mut value = self.describe(&put.value, now).await?;
        if !had_secret {
            let body = put.value.body.lock().await;
            value.secret = body.row.secrets.as_ref().map(|secrets| secrets.current.clone());
        }
        Ok(Put { value, created: put.created })
    }

    /// The subscriptions of a scope by service and name.
    pub async fn subscriptions(&self, scope: &Scope) -> Result<Vec<SubscriptionState>, Error> {
        let mut states = Vec::new();
        for subscription in self.inner.subscriptions.all() {
            if subscription.key.scope == *scope {
                let now = self.inner.clocks.wall.now();
                states.push(self.describe(&subscription, now).await?);
            }
        }
        Ok(states)
    }

    /// A subscription, or [`Error::SubscriptionUnknown`].
    pub async fn subscription(&self, key: &SubscriptionKey) -> Result<SubscriptionState, Error> {
        let subscription = self.inner.subscriptions.get(key)?;
        let now = self.inner.clocks.wall.now();
        self.describe(&subscription, now).await
    }

    pub(crate) async fn describe(
        &self,
        subscription: &Subscription,
        now: Timestamp,
    ) -> Result<SubscriptionState, Error> {
        let inner = &self.inner;
        let mut state = describe(subscription, &inner.reader(), &inner.topics, now).await?;
        inner.pushes.show(&subscription.key, &mut state);
        Ok(state)
    }

    /// Makes a new signing secret, and tells it once; the old one signs beside it for a day.
    pub async fn rotate_secret(&self, key: &SubscriptionKey) -> Result<SubscriptionState, Error> {
        self.inner.check_open()?;
        let now = self.inner.clocks.wall.now();
        let secret = self.inner.subscriptions.rotate_secret(key, now).await?;
        self.inner.pushes.changed();
        Ok(SubscriptionState { secret: Some(secret), ..self.subscription(key).await? })
    }

    /// Deletes a subscription with its cursor; ends its pulls and streams. [`Error::SubscriptionUnknown`] when there
    /// is none.
    pub async fn delete_subscription(&self, key: &SubscriptionKey) -> Result<(), Error> {
        self.inner.check_open()?;
        self.inner.subscriptions.delete(key).await?;
        self.inner.pushes.changed();
        Ok(())
    }

    /// Hands out events under a lease: several may be alive, and an entity is in one of them.
    /// `None` when there was nothing within [`Pull::wait`]. What is not acknowledged when the lease ends is handed
    /// out again, in the order of the log for each entity.
    pub async fn lease(&self, key: &SubscriptionKey, pull: Pull) -> Result<Option<Batch>, Error> {
        self.inner.check_open()?;
        let subscription = self.inner.subscriptions.get(key)?;
        let mut closed = self.inner.closed.subscribe();
        tokio::select! {
            leased = subscription.lease(&self.inner, pull) => leased,
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
        let filters = body.filters.clone();
        drop(body);
        Ok(self.tail(filter, after).of(subscription, filters))
    }
}
