//! A live stream of events: everything after a place, in order, without loss or repeat, and a heartbeat.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, stream};
use hob_wire::Event;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::filter::Filters;
use crate::handle::Inner;
use crate::model::{hob_topics, limits::HEARTBEAT_EVERY};
use crate::read::Reader;
use crate::subscription::{Subscription, is_wanted};
use crate::{Error, Filter, TailItem};

/// Events that one look into the log may bring into memory.
const LOOK_RECORDS_MAX: usize = 500;
/// The same in bytes.
const LOOK_BYTES_MAX: usize = 512 << 10;

/// A live stream of events; see [`crate::Bus::tail`].
pub struct Tail {
    bus: Arc<Inner>,
    filter: Filter,
    /// Everything up to here was looked at, and what the filter means was given out or is in the buffer.
    at: u64,
    /// What the topics had lost by retention when the stream began: nothing that it could have missed.
    forgone: BTreeMap<String, u64>,
    buffer: VecDeque<Event>,
    head: watch::Receiver<u64>,
    closed: watch::Receiver<bool>,
    heartbeat_due: Instant,
    /// When the head was last reached.
    kept_up: Option<Instant>,
    subscription: Option<Streaming>,
    filters: Filters,
    _clock: Option<Wanted>,
}

impl Tail {
    pub(crate) fn new(bus: Arc<Inner>, filter: Filter, after: u64) -> Self {
        let wants_clock = filter.topics.iter().any(|topic| topic.as_str() == hob_topics::CLOCK);
        Self {
            at: reader(&bus).start(after),
            forgone: if after == 0 {
                reader(&bus).forgone(&reader(&bus).tags(&filter))
            } else {
                BTreeMap::new()
            },
            head: bus.positions.watch_head(),
            closed: bus.closed.subscribe(),
            heartbeat_due: Instant::now(),
            kept_up: None,
            subscription: None,
            filters: Filters::default(),
            _clock: wants_clock.then(|| Wanted::new(&bus.clock_wanted)),
            buffer: VecDeque::new(),
            filter,
            bus,
        }
    }

    /// The same stream, counted as one of the subscription's and ended with it.
    pub(crate) fn of(mut self, subscription: Arc<Subscription>, filters: Filters) -> Self {
        self.filters = filters;
        self.subscription = Some(Streaming::new(subscription));
        self
    }

    /// The next item; waits for one. An error ends the stream for good ([`Error::CursorExpired`] among them).
    /// Safe to cancel: nothing is lost or repeated.
    pub async fn next(&mut self) -> Result<TailItem, Error> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                return Ok(TailItem::Event(Box::new(event)));
            }
            if *self.closed.borrow() {
                return Err(Error::Closed);
            }
            if let Some(Streaming(subscription)) = &self.subscription {
                subscription.check_alive()?;
            }
            if let Some(heartbeat) = self.heartbeat() {
                return Ok(heartbeat);
            }
            let head = *self.head.borrow_and_update();
            if self.at < head {
                self.look(head).await?;
                continue;
            }
            self.kept_up = Some(Instant::now());
            if self.heartbeat_due <= Instant::now() {
                continue;
            }
            tokio::select! {
                changed = self.head.changed() => changed.map_err(|_| Error::Closed)?,
                _ = self.closed.changed() => {}
                () = tokio::time::sleep_until(self.heartbeat_due) => {}
            }
        }
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<TailItem, Error>> + Send + 'static {
        stream::unfold(Some(self), async |tail| {
            let mut tail = tail?;
            let item = tail.next().await;
            let rest = if item.is_ok() { Some(tail) } else { None };
            Some((item, rest))
        })
    }

    /// A heartbeat when one is due and true: all that was there a moment ago is given out.
    fn heartbeat(&mut self) -> Option<TailItem> {
        let now = Instant::now();
        let is_true = self.kept_up.is_some_and(|kept_up| now < kept_up + HEARTBEAT_EVERY);
        if now < self.heartbeat_due || !is_true {
            return None;
        }
        self.heartbeat_due = now + HEARTBEAT_EVERY;
        Some(TailItem::Heartbeat { head: self.at })
    }

    async fn look(&mut self, head: u64) -> Result<(), Error> {
        let reader = reader(&self.bus);
        let tags = reader.tags(&self.filter);
        let found = reader.look(&tags, self.at, head, LOOK_RECORDS_MAX, LOOK_BYTES_MAX).await?;
        // Afterwards, so that nothing can go between the check and the look.
        reader.check_kept_but(self.at, &tags, &self.forgone)?;
        let meant = found.records.iter().filter(|stored| is_wanted(&reader, &self.filters, stored));
        self.buffer.extend(meant.filter_map(|stored| reader.event(&self.filter, stored)));
        self.at = found.upto;
        if self.at >= head {
            self.kept_up = Some(Instant::now());
        }
        Ok(())
    }
}

fn reader(bus: &Inner) -> Reader<'_> {
    Reader { log: &bus.events, positions: &bus.positions }
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

/// Counts a stream of a subscription for as long as it lives.
struct Streaming(Arc<Subscription>);

impl Streaming {
    fn new(subscription: Arc<Subscription>) -> Self {
        subscription.streams.fetch_add(1, Ordering::Relaxed);
        Self(subscription)
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}
