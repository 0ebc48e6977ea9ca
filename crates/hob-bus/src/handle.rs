//! The handle that everybody else calls: cheap to clone, safe to use from many tasks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use hob_core::{Clock, Name, Scope, Timestamp, TopicName};
use hob_store::{Log, Store};
use hob_wire::{Condition, Event, Notice, Topic, TopicTerms};
use tokio::sync::watch;

use crate::clocks::Clocks;
use crate::conditions::{self, Conditions};
use crate::course::Ask;
use crate::delayed::{self, Delayed};
use crate::feed::{Feeds, Follow};
use crate::filter::Filters;
use crate::healing;
use crate::idempotency::Idempotency;
use crate::index::{Index, IndexLimits};
use crate::model::limits::CURSOR_EVERY;
use crate::model::{hob_topics, platform_scope};
use crate::open::{Rebuilt, know_parts, rebuild};
use crate::parts::EventLog;
use crate::parts::keeper::{self, Keeper};
use crate::positions::Positions;
use crate::publish::Writer;
use crate::push::Pushes;
use crate::read::Reader;
use crate::subscriptions::Subscriptions;
use crate::tail::Tail;
use crate::text::Framing;
use crate::topics::Topics;
use crate::watchdog::{WATCH_EVERY, Watchdog};
use crate::{Error, EventPage, Filter, Put};

/// How often the wall clock ticks.
const TICK_EVERY: Duration = Duration::from_secs(1);

/// The bus. Clones share one.
#[derive(Clone)]
pub struct Bus {
    pub(crate) inner: Arc<Inner>,
}

/// What the clones share.
pub(crate) struct Inner {
    /// What the log and its sealed parts hold.
    pub(crate) events: Arc<EventLog>,
    pub(crate) keeper: tokio::sync::Mutex<Keeper>,
    pub(crate) positions: Arc<Positions>,
    /// Tails that want ticks of the wall clock.
    pub(crate) clock_wanted: Arc<AtomicUsize>,
    pub(crate) closed: watch::Sender<bool>,
    pub(crate) clocks: Arc<Clocks>,
    pub(crate) topics: Topics,
    pub(crate) writer: Writer,
    pub(crate) index: Arc<Index>,
    pub(crate) idempotency: Idempotency,
    pub(crate) subscriptions: Subscriptions,
    pub(crate) pushes: Pushes,
    pub(crate) feeds: Feeds,
    /// When it was opened: what streams wait for together is counted from here.
    pub(crate) begun: tokio::time::Instant,
    conditions: Conditions,
}

impl Bus {
    /// Opens the bus over a store: reads topics, subscriptions and cursors, and what came to the log since the
    /// index was flushed. Must be called within a tokio runtime, on which it runs its own tasks.
    pub async fn open(store: &Store, clock: Clock) -> Result<Self, Error> {
        Self::open_with(store, clock, IndexLimits::default()).await
    }

    /// Like [`Bus::open`], with other limits of the index, so that a test sees many flushes.
    #[doc(hidden)]
    pub async fn open_with(store: &Store, clock: Clock, limits: IndexLimits) -> Result<Self, Error> {
        let events = EventLog::open(store).await?;
        let log: Arc<dyn Log> = events.clone();
        let Rebuilt { index, positions, conditions } =
            rebuild(log.as_ref(), store.kv.as_ref(), &store.index, limits, clock.now()).await?;
        know_parts(&events, &positions);
        let idempotency = Idempotency::load(Arc::clone(&store.kv), Arc::clone(&index), clock.clone()).await?;
        let clocks = Arc::new(Clocks::new(clock, Arc::clone(&positions)));
        let topics = Topics::load(Arc::clone(&store.kv), Arc::clone(&positions)).await?;
        let subscriptions = Subscriptions::load(Arc::clone(&store.kv), &positions).await?;
        let delayed = Arc::new(Delayed::load(Arc::clone(&store.kv), Arc::clone(&log)).await?);
        let writer = Writer::start(
            Arc::clone(&log),
            Arc::clone(&index),
            Arc::clone(&positions),
            Arc::clone(&clocks),
            delayed,
        );
        let (clock_wanted, closed, keeper) = (Arc::default(), watch::Sender::new(false), Default::default());
        let inner = Inner {
            events,
            keeper,
            positions,
            clock_wanted,
            closed,
            clocks,
            topics,
            writer,
            index,
            idempotency,
            subscriptions,
            conditions,
            feeds: Feeds::default(),
            begun: tokio::time::Instant::now(),
            pushes: Pushes::default(),
        };
        let inner = Arc::new(inner);
        tokio::spawn(save_cursors(Arc::downgrade(&inner)));
        tokio::spawn(watch_subscriptions(Arc::downgrade(&inner)));
        let bus = Self { inner };
        bus.report_damage(&mut *bus.inner.keeper.lock().await).await;
        tokio::spawn(keeper::run(Arc::downgrade(&bus.inner)));
        tokio::spawn(delayed::run(Arc::downgrade(&bus.inner)));
        tokio::spawn(healing::run(Arc::downgrade(&bus.inner)));
        Ok(bus)
    }

    /// Writes moved cursors, ends streams, and refuses what comes later. Handles may be dropped without it: then up
    /// to 200 ms of acknowledgements are handed out again.
    pub async fn close(&self) {
        self.inner.closed.send_replace(true);
        self.inner.subscriptions.follow_streams(self.inner.clocks.wall.now()).await;
        if let Some((count, error)) =
            self.inner.subscriptions.save(&self.inner.reader(), self.inner.clocks.wall.now()).await
        {
            tracing::error!(%error, count, "failed to write cursors; what they acknowledge is handed out again");
        }
    }

    /// The scope of Hob's own events that belong to no scope, such as a full disk or a tick of the wall clock. Every
    /// scope reads them, by naming their topic.
    pub fn platform_scope() -> Scope {
        platform_scope()
    }

    /// Declares a topic, or changes its terms. Safe to repeat. Fails with [`Error::TopicOwned`] when another
    /// service owns it, [`Error::TopicReserved`] for `hob.*`.
    pub async fn put_topic(
        &self,
        scope: &Scope,
        owner: &Name,
        name: &TopicName,
        terms: TopicTerms,
    ) -> Result<Put<Topic>, Error> {
        self.inner.check_open()?;
        self.inner.topics.put(scope, owner, name, terms).await
    }

    /// Forgets a topic; its events stay for as long as they are kept. [`Error::TopicUnknown`] when there is none.
    pub async fn delete_topic(&self, scope: &Scope, name: &TopicName) -> Result<(), Error> {
        self.inner.check_open()?;
        self.inner.topics.delete(scope, name).await
    }

    /// The topics of a scope by name, Hob's own included.
    pub fn topics(&self, scope: &Scope) -> Vec<Topic> {
        let mut topics = self.inner.topics.list(scope);
        let delayed = &self.inner.writer.delayed;
        for topic in &mut topics {
            topic.delayed = delayed.count(scope, &topic.name);
            topic.delayed_lost = delayed.lost(scope, &topic.name);
        }
        topics
    }

    /// A topic of a scope; [`Error::TopicUnknown`] when it is not declared.
    pub fn topic(&self, scope: &Scope, name: &TopicName) -> Result<Topic, Error> {
        let held_back = &self.inner.writer.delayed;
        let (delayed, delayed_lost) = (held_back.count(scope, name), held_back.lost(scope, name));
        Ok(Topic { delayed, delayed_lost, ..self.inner.topics.get(scope, name)? })
    }

    /// Publishes a condition on `hob.conditions` if it became active or inactive since the last report of the same
    /// subject and name, and says whether it did. A condition never reported counts as inactive. Scope `None` is
    /// the platform's. The event's type is `active` or `inactive`, its data the condition.
    pub async fn report_condition(
        &self,
        scope: Option<&Scope>,
        mut condition: Condition,
    ) -> Result<bool, Error> {
        if let Some(scope) = scope {
            condition.environment.get_or_insert_with(|| scope.environment.clone());
            condition.tenant.get_or_insert_with(|| scope.tenant.clone());
        }
        let scope = scope.cloned().unwrap_or_else(platform_scope);
        let Some(change) = self.inner.conditions.change(&scope, &condition).await else { return Ok(false) };
        let topic = hob_topic(hob_topics::CONDITIONS);
        self.publish_as_hob(&scope, &topic, vec![conditions::notice(&condition)]).await?;
        change.done();
        Ok(true)
    }

    /// Events after a sequence (0: from the oldest), oldest first. Looks through a bounded part of the log.
    pub async fn events(&self, filter: &Filter, after: u64, limit: usize) -> Result<EventPage, Error> {
        self.inner.reader().page(filter, after, limit).await
    }

    /// Events before a sequence (`None`: from the newest), newest first. Looks through a bounded part of the log;
    /// [`EventPage::next`] is then where to ask on before.
    pub async fn events_back(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        self.inner.reader().page_back(filter, before, limit).await
    }

    /// One event of a scope, or of the platform's scope; else [`Error::EventUnknown`].
    pub async fn event(&self, scope: &Scope, sequence: u64) -> Result<Event, Error> {
        self.inner.reader().one(scope, sequence).await
    }

    /// A live stream of the events after a sequence (0: from the oldest; [`Bus::head`]: only new ones).
    pub fn tail(&self, filter: Filter, after: u64) -> Tail {
        Tail::new(Arc::clone(&self.inner), filter, after)
    }

    /// The same as text, which readers who ask for the same share. While events come quickly, those of a few
    /// milliseconds come together. Fails at once when the log no longer keeps what comes next.
    pub fn follow(&self, filter: Filter, after: u64, framing: Framing) -> Result<Follow, Error> {
        let ask = Ask::new(filter, Filters::default());
        let reader = self.inner.reader();
        if after > 0 {
            reader.check_kept_but(after, &ask.tags(&reader), &BTreeMap::new())?;
        }
        Ok(Follow::new(Arc::clone(&self.inner), ask, after, framing))
    }

    /// The newest durable sequence; 0 when there is no event.
    pub fn head(&self) -> u64 {
        self.inner.positions.head()
    }

    /// Names the topics that are scopes' clocks; other scopes are on the wall clock.
    pub fn set_clocks(&self, clocks: BTreeMap<Scope, TopicName>) {
        self.inner.clocks.set(clocks);
    }

    /// The topic that is the scope's clock; none when that is the wall clock.
    pub fn clock_topic(&self, scope: &Scope) -> Option<TopicName> {
        self.inner.clocks.topic(scope)
    }

    /// The scope's clock now: the wall clock, or the latest time that its clock topic told (the Unix epoch when it
    /// told none yet).
    pub fn clock(&self, scope: &Scope) -> Timestamp {
        self.inner.clocks.now(scope)
    }

    /// Follows the scope's clock: moves with each record of the clock topic, or with each tick of the wall clock.
    pub fn clock_watch(&self, scope: &Scope) -> watch::Receiver<Timestamp> {
        self.inner.clocks.watch(scope)
    }

    /// Ticks each second, until the bus is closed: moves the watches of scopes on the wall clock, and publishes the
    /// tick on `hob.clock` in the platform's scope while any tail or subscription names that topic.
    pub async fn tick_wall_clock(&self) {
        let mut every = tokio::time::interval(TICK_EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut closed = self.inner.closed.subscribe();
        let (scope, topic) = (platform_scope(), hob_topic(hob_topics::CLOCK));
        while !*closed.borrow_and_update() {
            tokio::select! {
                _ = every.tick() => {}
                _ = closed.changed() => continue,
            }
            self.inner.clocks.tick();
            if !self.inner.wants_ticks() {
                continue;
            }
            let t = Some(self.inner.clocks.wall.now());
            let kind = "tick".to_owned();
            let tick = Notice { t, ..Notice::new(kind) };
            if let Err(error) = self.publish_as_hob(&scope, &topic, vec![tick]).await {
                tracing::warn!(%error, "failed to publish a tick of the wall clock");
            }
        }
    }
}

impl Inner {
    pub(crate) fn reader(&self) -> Reader<'_> {
        Reader { log: &self.events, positions: &self.positions }
    }

    /// The next of the moments that come one such span after the other, the same for all who ask.
    pub(crate) fn next_moment(&self, span: Duration) -> tokio::time::Instant {
        let now = tokio::time::Instant::now();
        let past = (now - self.begun).as_nanos() % span.as_nanos().max(1);
        now + span.saturating_sub(Duration::from_nanos(past as u64))
    }

    pub(crate) fn check_open(&self) -> Result<(), Error> {
        if *self.closed.borrow() { Err(Error::Closed) } else { Ok(()) }
    }

    fn wants_ticks(&self) -> bool {
        let subscribed = || self.subscriptions.all().iter().any(|subscription| subscription.wants_clock());
        self.clock_wanted.load(Ordering::Relaxed) > 0 || subscribed()
    }
}

fn hob_topic(name: &str) -> TopicName {
    name.parse().expect("the names of Hob's topics are names")
}

/// Reports what is to be told of subscriptions.
async fn tell(inner: &Arc<Inner>) {
    for (key, condition) in inner.subscriptions.take_news() {
        let bus = Bus { inner: Arc::clone(inner) };
        if let Err(error) = bus.report_condition(Some(&key.scope), condition).await {
            tracing::warn!(%error, subscription = %key, "failed to report a condition of a subscription");
        }
    }
}

/// Looks after subscriptions until the last handle is gone.
async fn watch_subscriptions(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(WATCH_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut watchdog = Watchdog::default();
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if *inner.closed.borrow() {
            return;
        }
        watchdog.look(&inner).await;
    }
}

/// Writes moved cursors until the last handle is gone.
async fn save_cursors(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(CURSOR_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut is_failing = false;
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.subscriptions.follow_streams(inner.clocks.wall.now()).await;
        let failed = inner.subscriptions.save(&inner.reader(), inner.clocks.wall.now()).await;
        tell(&inner).await;
        if let Some((count, error)) = failed.as_ref().filter(|_| !is_failing) {
            tracing::error!(%error, count, "failed to write cursors; they are kept in memory and tried again");
        }
        is_failing = failed.is_some();
        if *inner.closed.borrow() {
            return;
        }
    }
}
