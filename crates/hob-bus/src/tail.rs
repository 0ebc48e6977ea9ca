//! A live stream of events: everything after a place, in order, without loss or repeat, and a heartbeat.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::{Stream, stream};
use hob_wire::Event;

use crate::course::{Ask, Course, Turn};
use crate::filter::Filters;
use crate::handle::Inner;
use crate::read::{decode, event_of};
use crate::subscription::Damage;
use crate::{Error, Filter, TailItem};

/// Events that one look into the log may bring into memory.
pub(crate) const LOOK_RECORDS_MAX: usize = 500;
/// The same in bytes.
pub(crate) const LOOK_BYTES_MAX: usize = 512 << 10;

/// A live stream of events; see [`crate::Bus::tail`].
pub struct Tail {
    ask: Ask,
    course: Course,
    buffer: VecDeque<Event>,
}

impl Tail {
    pub(crate) fn new(bus: Arc<Inner>, filter: Filter, after: u64) -> Self {
        Self::asking(bus, Ask::new(filter, Filters::default()), after)
    }

    pub(crate) fn asking(bus: Arc<Inner>, ask: Ask, after: u64) -> Self {
        let bell = ask.bell(&bus.positions);
        let course = Course::new(bus, &ask, after, bell);
        Self { ask, course, buffer: VecDeque::new() }
    }

    /// The same as one of a subscription's streams.
    pub(crate) fn with(self, change: impl FnOnce(Course) -> Course) -> Self {
        Self { course: change(self.course), ..self }
    }

    /// The next item; waits for one. An error ends the stream for good ([`Error::CursorExpired`] among them).
    /// Safe to cancel: nothing is lost or repeated.
    pub async fn next(&mut self) -> Result<TailItem, Error> {
        loop {
            if let Some(event) = self.buffer.pop_front() {
                return Ok(TailItem::Event(Box::new(event)));
            }
            self.course.sent();
            match self.course.turn(&self.ask).await? {
                Turn::Heartbeat => return Ok(TailItem::Heartbeat { head: self.course.at }),
                Turn::Look(head) => self.look(head).await?,
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

    async fn look(&mut self, head: u64) -> Result<(), Error> {
        let reader = self.course.bus.reader();
        let tags = self.ask.tags(&reader);
        let found = reader.look(&tags, self.course.at, head, LOOK_RECORDS_MAX, LOOK_BYTES_MAX).await?;
        // Afterwards, so that nothing can go between the check and the look.
        self.course.check_kept(&tags)?;
        let mut damage = Damage::of(&found.lost);
        let mut events = Vec::new();
        for stored in &found.records {
            let Some(row) = decode(stored) else {
                damage.add(stored.seq);
                continue;
            };
            let Some((scope, topic)) = reader.positions.place(&stored.tag) else { continue };
            if self.ask.wants(&Ask::view(stored, &row, (&scope, &topic)), stored) {
                events.push(event_of(scope, topic, stored, &row));
            }
        }
        self.course.met(&damage).await;
        self.buffer.extend(events);
        self.course.came_to(found.upto, head);
        self.course.gave(self.buffer.len(), found.upto >= head);
        Ok(())
    }
}
