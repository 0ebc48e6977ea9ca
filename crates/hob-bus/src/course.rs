//! Where a live reader of the log stands, and when it is to look on: at once when there is more, else when one of its
//! topics has something new. A reader of whom nothing is wanted sleeps, whatever other topics do.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hob_core::Timestamp;
use hob_store::{Stored, Tag};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::filter::{Filters, View};
use crate::handle::Inner;
use crate::model::{hob_topics, limits::HEARTBEAT_EVERY};
use crate::positions::{Positions, tags_for};
use crate::read::{Reader, is_meant};
use crate::rows::EventRow;
use crate::subscription::{Damage, Streaming};
use crate::{Error, Filter};

/// While events come more often than this, a stream brings what came within each such span together: one write for
/// many events. An event after a pause goes out at once. Readers of the same wake at the same moment, so that what the
/// first has read serves them all.
const GATHER_EVERY: Duration = Duration::from_millis(5);

/// Which events a live reader wants.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ask {
    pub(crate) filter: Filter,
    pub(crate) filters: Filters,
    /// The tags of its topics; none when it wants those of every topic that the scope has or will have.
    tags: Option<BTreeSet<Tag>>,
}

impl Ask {
    pub(crate) fn new(filter: Filter, filters: Filters) -> Self {
        let is_named = !filter.topics.is_empty();
        let tags = is_named.then(|| tags_for(&filter.scope, &filter.topics));
        Self { filter, filters, tags }
    }

    /// The tags that it means now.
    pub(crate) fn tags(&self, reader: &Reader<'_>) -> Cow<'_, BTreeSet<Tag>> {
        match &self.tags {
            Some(tags) => Cow::Borrowed(tags),
            None => Cow::Owned(reader.tags(&self.filter)),
        }
    }

    /// A bell that rings when something came that may be wanted.
    pub(crate) fn bell(&self, positions: &Positions) -> Arc<Notify> {
        let bell = Arc::default();
        match &self.tags {
            Some(tags) => positions.bells.listen(tags, &bell),
            None => positions.bells.listen_to_all(&bell),
        }
        bell
    }

    /// Whether a record of one of its tags is wanted.
    pub(crate) fn wants(&self, view: &View<'_>, stored: &Stored) -> bool {
        is_meant(&self.filter, view.topic, stored, view.row) && self.filters.matches(view)
    }

    /// How filters see a record.
    pub(crate) fn view<'a>(
        stored: &'a Stored,
        row: &'a EventRow<'a>,
        (scope, topic): (&'a hob_core::Scope, &'a hob_core::TopicName),
    ) -> View<'a> {
        View { row, scope, topic, sequence: stored.seq, time: Timestamp::from_micros(stored.time) }
    }
}

/// The way of one reader through the log.
pub(crate) struct Course {
    pub(crate) bus: Arc<Inner>,
    /// Everything up to here was looked at, and what the filter means was given out, or waits to be.
    pub(crate) at: u64,
    /// What the topics had lost by retention when the reader began: nothing that it could have missed.
    forgone: BTreeMap<String, u64>,
    bell: Arc<Notify>,
    closed: watch::Receiver<bool>,
    heartbeat_due: Instant,
    /// When the head was last reached.
    kept_up: Option<Instant>,
    gathers: bool,
    /// Until then it gathers.
    gathering: Option<Instant>,
    pub(crate) streaming: Option<Streaming>,
    _clock: Option<Wanted>,
}

/// What a reader is to do next.
pub(crate) enum Turn {
    /// Look up to this head.
    Look(u64),
    /// Tell that nothing is missing up to where it stands.
    Heartbeat,
}

impl Course {
    pub(crate) fn new(bus: Arc<Inner>, ask: &Ask, after: u64, bell: Arc<Notify>) -> Self {
        let wants_clock = ask.filter.topics.iter().any(|topic| topic.as_str() == hob_topics::CLOCK);
        let reader = bus.reader();
        let forgone = if after == 0 { reader.forgone(&ask.tags(&reader)) } else { BTreeMap::new() };
        Self {
            at: reader.start(after),
            forgone,
            bell,
            closed: bus.closed.subscribe(),
            heartbeat_due: Instant::now(),
            kept_up: None,
            gathers: false,
            gathering: None,
            streaming: None,
            _clock: wants_clock.then(|| Wanted::new(&bus.clock_wanted)),
            bus,
        }
    }

    /// The same, which gathers while much comes.
    pub(crate) fn gathering(self) -> Self {
        Self { gathers: true, ..self }
    }

    /// The same for a subscription's stream, which ends with the subscription.
    pub(crate) fn of(self, streaming: Streaming, forgone: BTreeMap<String, u64>) -> Self {
        Self { streaming: Some(streaming), forgone, ..self }
    }

    /// What to do next; waits for it. Safe to cancel.
    pub(crate) async fn turn(&mut self, ask: &Ask) -> Result<Turn, Error> {
        let bell = Arc::clone(&self.bell);
        loop {
            if *self.closed.borrow() {
                return Err(Error::Closed);
            }
            if let Some(streaming) = &self.streaming {
                streaming.check_alive()?;
            }
            if let Some(until) = self.gathering.take() {
                // What comes meanwhile goes along.
                tokio::time::sleep_until(until).await;
            }
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            let head = self.head(ask);
            if self.is_heartbeat_due() {
                self.heartbeat_due = Instant::now() + HEARTBEAT_EVERY;
                return Ok(Turn::Heartbeat);
            }
            if self.at < head {
                return Ok(Turn::Look(head));
            }
            self.kept_up = Some(Instant::now());
            if self.heartbeat_due <= Instant::now() {
                continue;
            }
            tokio::select! {
                () = rung => {}
                _ = self.closed.changed() => {}
                () = tokio::time::sleep_until(self.heartbeat_due) => {}
            }
        }
    }

    /// Fails when something between where it stands and what it found is no longer kept: to be asked after each look.
    pub(crate) fn check_kept(&self, tags: &BTreeSet<Tag>) -> Result<(), Error> {
        self.bus.reader().check_kept_but(self.at, tags, &self.forgone)
    }

    /// Takes note that everything up to here was looked at.
    pub(crate) fn came_to(&mut self, upto: u64, head: u64) {
        self.at = upto;
        if self.at >= head {
            self.kept_up = Some(Instant::now());
        }
    }

    /// Takes note that events are given out now, and whether they are all there are.
    pub(crate) fn gave(&mut self, events: usize, are_all: bool) {
        if let Some(streaming) = &mut self.streaming {
            streaming.gave(events as u64);
        }
        if self.gathers && are_all {
            self.gathering = Some(self.bus.next_moment(GATHER_EVERY));
        }
    }

    /// Tells of what cannot be read on its way.
    pub(crate) async fn met(&self, damage: &Damage) {
        if let Some(streaming) = self.streaming.as_ref().filter(|_| damage.is_after(self.at)) {
            streaming.met(damage).await;
        }
    }

    /// Takes note that what was given out has been sent.
    pub(crate) fn sent(&mut self) {
        if let Some(streaming) = &mut self.streaming {
            streaming.sent(self.at);
        }
    }

    /// The newest durable sequence. Where nothing was meant there is nothing to look at.
    fn head(&mut self, ask: &Ask) -> u64 {
        let positions = &self.bus.positions;
        let head = positions.head();
        if let Some(tags) = ask.tags.as_ref().filter(|_| self.at < head)
            && positions.newest(tags) <= self.at
        {
            self.at = head;
        }
        head
    }

    /// Whether a heartbeat is due and true: all that was there a moment ago is given out.
    fn is_heartbeat_due(&self) -> bool {
        let now = Instant::now();
        let is_true = self.kept_up.is_some_and(|kept_up| now < kept_up + HEARTBEAT_EVERY);
        now >= self.heartbeat_due && is_true
    }
}

/// Counts a reader of the wall clock's ticks for as long as it lives.
pub(crate) struct Wanted(Arc<AtomicUsize>);

impl Wanted {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for Wanted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
