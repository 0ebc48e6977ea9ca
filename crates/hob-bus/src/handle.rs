//! The handle that everybody else calls: cheap to clone, safe to use from many tasks.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::Stream;
use hob_core::{Clock, Name, Scope, Timestamp, TopicName};
use hob_store::Store;
use hob_wire::{
    Ack, Batch, Condition, Draft, Event, Notice, Published, SubscriptionSpec, SubscriptionState, Topic,
    TopicKind,
};
use tokio::sync::watch;

use crate::{Error, EventPage, Filter, Publisher, Pull, Put, SubscriptionKey, TailItem};

/// The bus. Clones share one.
#[derive(Clone)]
pub struct Bus {
    _inner: Arc<()>,
}

/// A live stream of events; see [`Bus::tail`].
pub struct Tail {
    _inner: Arc<()>,
}

impl Tail {
    /// The next item; waits for one. An error ends the stream for good ([`Error::CursorExpired`] among them).
    /// Safe to cancel: nothing is lost or repeated.
    pub async fn next(&mut self) -> Result<TailItem, Error> {
        unimplemented!()
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<TailItem, Error>> + Send + 'static {
        futures_util::stream::empty()
    }
}

impl Bus {
    /// Opens the bus over a store: reads topics, subscriptions and cursors, and scans the log to count entities'
    /// events and know newest ids. Must be called within a tokio runtime, on which it runs its own tasks.
    pub async fn open(_store: &Store, _clock: Clock) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Writes moved cursors, and refuses what comes later. Handles may be dropped without it: then up to 200 ms of
    /// acknowledgements are handed out again.
    pub async fn close(&self) {
        unimplemented!()
    }

    /// The scope of Hob's own events that belong to no scope, such as a full disk or a tick of the wall clock.
    pub fn platform_scope() -> Scope {
        unimplemented!()
    }

    /// Declares a topic, or changes its kind. Safe to repeat. Fails with [`Error::TopicOwned`] when another
    /// service owns it, [`Error::TopicReserved`] for `hob.*`.
    pub async fn put_topic(
        &self,
        _scope: &Scope,
        _owner: &Name,
        _name: &TopicName,
        _kind: TopicKind,
    ) -> Result<Put<Topic>, Error> {
        unimplemented!()
    }

    /// The topics of a scope by name, Hob's own included.
    pub fn topics(&self, _scope: &Scope) -> Vec<Topic> {
        unimplemented!()
    }

    /// A topic of a scope; [`Error::TopicUnknown`] when it is not declared.
    pub fn topic(&self, _scope: &Scope, _name: &TopicName) -> Result<Topic, Error> {
        unimplemented!()
    }

    /// Publishes events, all or none, and returns once they are durable. An event whose id the service has used
    /// among the scope's newest ones is not appended again. Safe to cancel: the events are then published or not.
    pub async fn publish(&self, _publisher: &Publisher, _drafts: Vec<Draft>) -> Result<Published, Error> {
        unimplemented!()
    }

    /// Publishes on one of Hob's own topics (`hob.*`), with the limits of these. `t` defaults to the wall clock.
    pub async fn publish_as_hob(
        &self,
        _scope: &Scope,
        _topic: &TopicName,
        _notices: Vec<Notice>,
    ) -> Result<Published, Error> {
        unimplemented!()
    }

    /// Publishes a condition on `hob.conditions` if it became active or inactive since the last report of the same
    /// subject and name, and says whether it did. A condition never reported counts as inactive. Scope `None` is
    /// the platform's.
    pub async fn report_condition(
        &self,
        _scope: Option<&Scope>,
        _condition: Condition,
    ) -> Result<bool, Error> {
        unimplemented!()
    }

    /// Events after a sequence (0: from the oldest), oldest first. Looks through a bounded part of the log.
    pub async fn events(&self, _filter: &Filter, _after: u64, _limit: usize) -> Result<EventPage, Error> {
        unimplemented!()
    }

    /// One event of a scope, or of the platform's scope; else [`Error::EventUnknown`].
    pub async fn event(&self, _scope: &Scope, _sequence: u64) -> Result<Event, Error> {
        unimplemented!()
    }

    /// A live stream of the events after a sequence (0: from the oldest; [`Bus::head`]: only new ones).
    pub fn tail(&self, _filter: Filter, _after: u64) -> Tail {
        unimplemented!()
    }

    /// The newest durable sequence; 0 when there is no event.
    pub fn head(&self) -> u64 {
        unimplemented!()
    }

    /// Names the topics that are scopes' clocks; other scopes are on the wall clock.
    pub fn set_clocks(&self, _clocks: BTreeMap<Scope, TopicName>) {
        unimplemented!()
    }

    /// The topic that is the scope's clock; none when that is the wall clock.
    pub fn clock_topic(&self, _scope: &Scope) -> Option<TopicName> {
        unimplemented!()
    }

    /// The scope's clock now: the wall clock, or the latest time that its clock topic told (the Unix epoch when it
    /// told none yet).
    pub fn clock(&self, _scope: &Scope) -> Timestamp {
        unimplemented!()
    }

    /// Follows the scope's clock: moves with each record of the clock topic, or with each tick of the wall clock.
    pub fn clock_watch(&self, _scope: &Scope) -> watch::Receiver<Timestamp> {
        unimplemented!()
    }

    /// Ticks each second, until the bus is closed: moves the watches of scopes on the wall clock, and publishes the
    /// tick on `hob.clock` in the platform's scope while any tail or subscription names that topic.
    pub async fn tick_wall_clock(&self) {
        unimplemented!()
    }

    /// Makes a subscription, or changes what it asks for; its cursor stays where it is. Safe to repeat. A topic that
    /// is not declared (yet) is taken; the subscription then says so in its `stall_reason`.
    pub async fn put_subscription(
        &self,
        _key: &SubscriptionKey,
        _spec: SubscriptionSpec,
    ) -> Result<Put<SubscriptionState>, Error> {
        unimplemented!()
    }

    /// The subscriptions of a scope by service and name.
    pub async fn subscriptions(&self, _scope: &Scope) -> Result<Vec<SubscriptionState>, Error> {
        unimplemented!()
    }

    /// A subscription, or [`Error::SubscriptionUnknown`].
    pub async fn subscription(&self, _key: &SubscriptionKey) -> Result<SubscriptionState, Error> {
        unimplemented!()
    }

    /// Deletes a subscription with its cursor; ends its pulls and streams. [`Error::SubscriptionUnknown`] when there is none.
    pub async fn delete_subscription(&self, _key: &SubscriptionKey) -> Result<(), Error> {
        unimplemented!()
    }

    /// Hands out events under a lease: at most one lease of a subscription is alive at a time, others wait for it.
    /// `None` when there was nothing within [`Pull::wait`]. What is not acknowledged when the lease ends is handed
    /// out again, in the order of the log for each entity.
    pub async fn lease(&self, _key: &SubscriptionKey, _pull: Pull) -> Result<Option<Batch>, Error> {
        unimplemented!()
    }

    /// Takes an acknowledgement, whole or not at all. A reader of [`Bus::stream`] acknowledges with the lease
    /// `stream` and `upto`.
    pub async fn ack(&self, _key: &SubscriptionKey, _ack: Ack) -> Result<(), Error> {
        unimplemented!()
    }

    /// A live stream of what the subscription asks for, after a sequence, or after its cursor. Does not move the
    /// cursor.
    pub async fn stream(&self, _key: &SubscriptionKey, _after: Option<u64>) -> Result<Tail, Error> {
        unimplemented!()
    }
}
