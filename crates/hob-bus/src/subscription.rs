//! One subscription at work: it looks into the log, asks `step` what to do, and does it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as SyncMutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hob_core::{Id, Timestamp};
use hob_store::Tag;
use hob_wire::{Batch, Condition, DeliveryError, Event};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::error::Error;
use crate::feed::Feed;
use crate::filter::Filters;
use crate::handle::Inner;
use crate::model::limits::{LEASE_MAX, LEASE_MIN, PULL_EVENTS_MAX, PULL_WAIT_MAX};
use crate::model::{Pull, SubscriptionKey, hob_topics};
use crate::positions::{Positions, tags_for};
use crate::read::Reader;
use crate::rows::SubscriptionRow;
use crate::step::{Action, Input, State, Terms, step};
use handed::Handed;

mod acks;
mod damage;
mod gather;
mod handed;
mod look;
mod push;
mod run;
mod save;
mod snapshot;
mod streams;

pub(crate) use damage::Damage;
pub(crate) use look::{seen_anyhow, seen_of};
pub(crate) use push::Outcome;
pub use streams::Progress;
pub(crate) use streams::Streaming;

/// Longest sleep of a waiting puller before it looks at the wall clock again, while something is due.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// While events come more often than this, pulls bring what came within each such span together: two requests for many
/// events. A pull that asks not to wait, or gets as many events as it may have, is not held up.
const GATHER_EVERY: Duration = Duration::from_millis(16);
/// When nobody has pulled for so long, what pullers share is let go.
const RESTS_AFTER: Duration = Duration::from_secs(10);
/// A cursor that moved so far over events of others is written, so that these are not looked through again.
const PASSED_EVENTS: u64 = 10_000;

/// A subscription.
pub(crate) struct Subscription {
    pub(crate) key: SubscriptionKey,
    pub(crate) body: Mutex<Body>,
    /// Rings when one of its topics has something new, or something may be ready that was not.
    bell: Arc<Notify>,
    /// Its live streams, and those that ended since they were last looked at.
    places: SyncMutex<Vec<Arc<streams::Place>>>,
    /// Whether a stream has come further, or ended, since they were last looked at.
    is_streamed: AtomicBool,
    wants_clock: AtomicBool,
    is_gone: AtomicBool,
    /// One writer of its keys at a time.
    pub(crate) saving: Mutex<()>,
    unsaved: Arc<Unsaved>,
    is_unsaved: AtomicBool,
}

/// What one task at a time may touch.
pub(crate) struct Body {
    pub(crate) row: SubscriptionRow,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) filters: Filters,
    pub(crate) state: State,
    /// Text that is shared with others who pull the same.
    feed: Option<Arc<Feed>>,
    /// Until then whoever pulls again lets events gather.
    gathering: Option<Instant>,
    /// When somebody last pulled.
    pub(crate) pulled: Option<Timestamp>,
    pub(crate) last_error: Option<DeliveryError>,
    /// How far the cursor had come when it was last written.
    saved: u64,
    /// When Hob took the event of this sequence, the first that is pending.
    pub(crate) oldest: Option<(u64, Timestamp)>,
    /// What the dead letters are about, by sequence.
    pub(crate) letters: BTreeMap<u64, String>,
    /// The entities of a snapshot that are on their way, by the sequence of their last event.
    noops: HashMap<u64, Event>,
}

impl Body {
    /// Fails when events of its topics after `after` were removed since it began.
    pub(crate) fn check_kept(&self, after: u64, reader: &Reader<'_>) -> Result<(), Error> {
        reader.check_kept_but(after, &self.tags, &self.row.forgone)
    }
}

/// The subscriptions that have something to write, and what is to be told of them.
#[derive(Default)]
pub(crate) struct Unsaved {
    keys: SyncMutex<Vec<SubscriptionKey>>,
    news: SyncMutex<Vec<(SubscriptionKey, Condition)>>,
}

impl Unsaved {
    pub(crate) fn take(&self) -> Vec<SubscriptionKey> {
        std::mem::take(&mut *self.keys.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take_news(&self) -> Vec<(SubscriptionKey, Condition)> {
        std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, key: SubscriptionKey) {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).push(key);
    }

    fn tell(&self, key: &SubscriptionKey, condition: Condition) {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).push((key.clone(), condition));
    }
}

/// How events are wanted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum In {
    Values,
    Text,
}

enum Tried {
    Taken(Handed),
    /// Nothing is ready; something may be then.
    Wait(Option<Timestamp>),
    /// Nothing was ready, and there is more to look at.
    Again,
}

impl Subscription {
    pub(crate) fn new(
        key: SubscriptionKey,
        row: SubscriptionRow,
        filters: Filters,
        state: State,
        unsaved: &Arc<Unsaved>,
    ) -> Self {
        let tags = tags_for(&key.scope, &row.topics);
        let wants_clock = AtomicBool::new(wants_clock(&row));
        let saved = state.looked;
        let body = Body {
            row,
            tags,
            filters,
            state,
            feed: None,
            gathering: None,
            pulled: None,
            last_error: None,
            saved,
            oldest: None,
            letters: BTreeMap::new(),
            noops: HashMap::new(),
        };
        Self {
            key,
            body: Mutex::new(body),
            bell: Arc::default(),
            places: SyncMutex::default(),
            is_streamed: AtomicBool::new(false),
            wants_clock,
            is_gone: AtomicBool::new(false),
            saving: Mutex::default(),
            unsaved: Arc::clone(unsaved),
            is_unsaved: AtomicBool::new(false),
        }
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if !self.is_gone() {
            return Ok(());
        }
        Err(Error::SubscriptionUnknown { key: Box::new(self.key.clone()), nearest: None })
    }

    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone.load(Ordering::Acquire)
    }

    pub(crate) fn wants_clock(&self) -> bool {
        self.wants_clock.load(Ordering::Relaxed)
    }

    /// Hears of its topics from now on.
    pub(crate) async fn listen(&self, positions: &Positions) {
        positions.bells.listen(&self.body.lock().await.tags, &self.bell);
    }

    /// Whether something may wait for it: quick, and never wrong when it says no.
    pub(crate) async fn has_waiting(&self, positions: &Positions) -> bool {
        let body = self.body.lock().await;
        body.state.done() < body.state.looked || positions.newest(&body.tags) > body.state.looked
    }

    /// Marks it as deleted; its pullers and streams end.
    pub(crate) fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.bell.notify_waiters();
    }

    /// Asks for something else from now on.
    pub(crate) fn respecify(
        &self,
        body: &mut Body,
        row: SubscriptionRow,
        filters: Filters,
        positions: &Positions,
        now: Timestamp,
    ) {
        body.tags = tags_for(&self.key.scope, &row.topics);
        positions.bells.listen(&body.tags, &self.bell);
        self.wants_clock.store(wants_clock(&row), Ordering::Relaxed);
        let terms = Terms::from(&row.delivery);
        body.feed = None;
        (body.row, body.filters) = (row, filters);
        self.step(body, Input::Respecified(terms), now);
    }

    pub(crate) async fn lease(&self, inner: &Inner, pull: Pull) -> Result<Option<Batch>, Error> {
        self.check_pull(pull)?;
        self.let_gather(pull).await;
        Ok(self.take(inner, pull).await?.map(|taken| taken.batch))
    }

    /// The same as text, in pieces.
    pub(crate) async fn lease_text(&self, inner: &Inner, pull: Pull) -> Result<Option<Vec<Bytes>>, Error> {
        self.check_pull(pull)?;
        self.let_gather(pull).await;
        let handed = self.wait_for(inner, pull, In::Text).await?;
        Ok(handed.map(|handed| handed.text(&inner.reader())))
    }

    /// A puller who comes again at once, and who would wait, waits a moment: what comes meanwhile goes along.
    async fn let_gather(&self, pull: Pull) {
        let gathering = self.body.lock().await.gathering.take();
        if let Some(until) = gathering.filter(|_| !pull.wait.is_zero()) {
            tokio::time::sleep_until(until).await;
        }
    }

    async fn wait_for(&self, inner: &Inner, pull: Pull, form: In) -> Result<Option<Handed>, Error> {
        let deadline = Instant::now() + pull.wait;
        loop {
            self.check_alive()?;
            let mut rung = std::pin::pin!(self.bell.notified());
            rung.as_mut().enable();
            let until = match self.try_take(inner, pull, form).await? {
                Tried::Taken(taken) => return Ok(Some(taken)),
                Tried::Wait(until) => until,
                Tried::Again => {
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            // What is due this very moment must not make the loop spin.
            let pause = |until: Timestamp| {
                until.since(inner.clocks.wall.now()).clamp(Duration::from_millis(1), LOOK_AGAIN)
            };
            let wake = until.map_or(deadline, |until| deadline.min(now + pause(until)));
            tokio::select! {
                () = rung => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn try_take(&self, inner: &Inner, pull: Pull, form: In) -> Result<Tried, Error> {
        let reader = &inner.reader();
        let mut body = self.body.lock().await;
        let body = &mut *body;
        let now = inner.clocks.wall.now();
        body.pulled = Some(now);
        self.step(body, Input::Tick, now);
        if body.state.halt.is_some() {
            return Ok(Tried::Wait(body.state.due()));
        }
        body.check_kept(body.state.done(), reader)?;
        if form == In::Text
            && let Some(run) = self.take_run(body, inner, pull, now).await?
        {
            return Ok(Tried::Taken(run));
        }
        self.recall(body, reader, now).await?;
        self.read_snapshot(body, inner, now).await?;
        let looked = self.look(body, reader, pull.max, now).await?;
        let items = body.state.choose(pull.max, now);
        let gathered = gather::gather(body, reader, &items, looked.fresh).await?;
        let is_changed = self.give_up(body, &gathered, now);
        if gathered.events.is_empty() {
            if body.state.done() >= body.saved + PASSED_EVENTS {
                self.mark_unsaved();
            }
            let is_again = is_changed || looked.is_behind;
            return Ok(if is_again { Tried::Again } else { Tried::Wait(body.state.due()) });
        }
        // From here on nothing waits, so that a puller who goes away takes no lease with it.
        let (lease, expires) = (Id::generate(now), now.plus(pull.lease_for));
        let given = gathered.events;
        let named = given.iter().map(|given| (given.item, given.id.clone())).collect();
        let input = Input::Lease { lease: lease.clone(), items: named, expires };
        if self.step(body, input, now).iter().any(|action| matches!(action, Action::Refuse(_))) {
            return Ok(Tried::Again);
        }
        let attempts = given.iter().map(|given| body.state.attempts(given.item)).collect();
        body.gathering = (given.len() < pull.max).then(|| inner.next_moment(GATHER_EVERY));
        Ok(Tried::Taken(Handed { lease, expires, given, attempts, list: Bytes::new() }))
    }

    /// Events that are damaged, or no longer what it asks for, are passed over; says whether there were any.
    fn give_up(&self, body: &mut Body, gathered: &gather::Gathered, now: Timestamp) -> bool {
        if !gathered.lost.is_empty() {
            let mut damage = Damage::default();
            gathered.lost.iter().for_each(|item| damage.add(item.sequence));
            self.tell_damage(&damage);
            self.step(body, Input::Lost(gathered.lost.clone()), now);
        }
        if !gathered.unwanted.is_empty() {
            self.step(body, Input::Unwanted(gathered.unwanted.clone()), now);
        }
        !gathered.lost.is_empty() || !gathered.unwanted.is_empty()
    }

    pub(crate) fn check_pull(&self, pull: Pull) -> Result<(), Error> {
        let problem = if !(1..=PULL_EVENTS_MAX).contains(&pull.max) {
            format!("max is {}; ask for 1 to {PULL_EVENTS_MAX} events", pull.max)
        } else if pull.wait > PULL_WAIT_MAX {
            format!("wait is over the limit of {PULL_WAIT_MAX:?}; pull again instead")
        } else if !(LEASE_MIN..=LEASE_MAX).contains(&pull.lease_for) {
            format!("lease is {:?}; ask for {LEASE_MIN:?} to {LEASE_MAX:?}, and extend it", pull.lease_for)
        } else {
            return Ok(());
        };
        Err(Error::BadPull { name: self.key.name.clone(), problem })
    }

    pub(crate) fn step(&self, body: &mut Body, input: Input, now: Timestamp) -> Vec<Action> {
        let (state, actions) = step(std::mem::take(&mut body.state), input, now);
        body.state = state;
        for action in &actions {
            match action {
                Action::Freed => self.bell.notify_waiters(),
                Action::Save => self.mark_unsaved(),
                Action::Refuse(_) => {}
            }
        }
        actions
    }

    /// Has its cursor and dead letters written soon.
    fn mark_unsaved(&self) {
        if !self.is_unsaved.swap(true, Ordering::AcqRel) {
            self.unsaved.add(self.key.clone());
        }
    }
}

fn wants_clock(row: &SubscriptionRow) -> bool {
    row.topics.iter().any(|topic| topic.as_str() == hob_topics::CLOCK)
}
