//! What others ask of subscriptions: part of [`Bus`].

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use hob_core::{Scope, Timestamp};
use hob_wire::{Ack, Batch, SubscriptionSpec, SubscriptionState};

use crate::course::Ask;
use crate::feed::Follow;
use crate::lag::describe;
use crate::model::limits::LEASES_MAX;
use crate::subscription::{Progress, Streaming, Subscription};
use crate::tail::Tail;
use crate::text::Framing;
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
        inner.pushes.show(&subscription.key, &mut state, now);
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

    /// The same as the JSON of a [`Batch`], in pieces, written straight from the log's rows. Acknowledgements of earlier
    /// leases go before it, one after the other; the first that is refused ends the call.
    pub async fn lease_text(
        &self,
        key: &SubscriptionKey,
        acks: Vec<Ack>,
        pull: Pull,
    ) -> Result<Option<Vec<Bytes>>, Error> {
        self.inner.check_open()?;
        let subscription = self.inner.subscriptions.get(key)?;
        if acks.len() > LEASES_MAX {
            let problem =
                format!("it acknowledges {} leases; there are never more than {LEASES_MAX}", acks.len());
            return Err(Error::BadAck { name: key.name.clone(), problem });
        }
        // Before anything counts, so that a wish which is refused has changed nothing.
        subscription.check_pull(pull)?;
        for ack in acks {
            subscription.ack(ack, self.inner.positions.head(), self.inner.clocks.wall.now()).await?;
        }
        let mut closed = self.inner.closed.subscribe();
        tokio::select! {
            leased = subscription.lease_text(&self.inner, pull) => leased,
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

    /// A live stream of what the subscription asks for, after a sequence, or after its cursor. What was given out
    /// before [`Tail::next`] is called counts as sent; see [`Progress`] for what that does to the cursor. Fails at once
    /// when it would begin ahead of the log, or where the log no longer keeps what comes next.
    pub async fn stream(
        &self,
        key: &SubscriptionKey,
        after: Option<u64>,
        progress: Progress,
    ) -> Result<Tail, Error> {
        let Beginning { ask, after, forgone, streaming } = self.begin(key, after, progress).await?;
        let tail = Tail::asking(Arc::clone(&self.inner), ask, after);
        Ok(tail.with(|course| course.of(streaming, forgone)))
    }

    /// The same as text; see [`Bus::follow`].
    pub async fn stream_text(
        &self,
        key: &SubscriptionKey,
        after: Option<u64>,
        progress: Progress,
        framing: Framing,
    ) -> Result<Follow, Error> {
        let Beginning { ask, after, forgone, streaming } = self.begin(key, after, progress).await?;
        let follow = Follow::new(Arc::clone(&self.inner), ask, after, framing);
        Ok(follow.with(|course| course.of(streaming, forgone)))
    }

    async fn begin(
        &self,
        key: &SubscriptionKey,
        after: Option<u64>,
        progress: Progress,
    ) -> Result<Beginning, Error> {
        self.inner.check_open()?;
        let subscription = self.inner.subscriptions.get(key)?;
        let mut body = subscription.body.lock().await;
        subscription.streamed(&mut body, self.inner.clocks.wall.now());
        let (reader, head) = (self.inner.reader(), self.inner.positions.head());
        if let Some(at) = after.filter(|after| *after > head) {
            return Err(Error::SeekAhead { name: key.name.clone(), at: at.to_string(), head });
        }
        let mut forgone = body.row.forgone.clone();
        match after {
            // Who begins with what there is misses nothing.
            Some(0) => forgone = reader.forgone(&body.tags),
            _ => body.check_kept(after.unwrap_or(body.state.done()), &reader)?,
        }
        let after = after.unwrap_or(body.state.done());
        let types = body.row.types.clone();
        let filter = Filter { types, ..Filter::topics(key.scope.clone(), body.row.topics.clone()) };
        let ask = Ask::new(filter, body.filters.clone());
        drop(body);
        let streaming = Streaming::new(subscription, progress);
        Ok(Beginning { ask, after, forgone, streaming })
    }
}

/// What a stream of a subscription begins with.
struct Beginning {
    ask: Ask,
    after: u64,
    forgone: BTreeMap<String, u64>,
    streaming: Streaming,
}
