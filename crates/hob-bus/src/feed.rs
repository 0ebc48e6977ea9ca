//! Events as text for all who follow: those who ask for the same share one feed, in which each event is written once.
//!
//! A feed keeps the newest sheets: each holds what came between two places of the log, ready to be sent. Whoever comes
//! first makes the next one, the others take it as it is. A reader far behind makes its own. Pullers who keep up read
//! sheets too: theirs also know each event as a lease must.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::Bytes;
use futures_util::{Stream, stream};
use tokio::sync::Notify;

use crate::Error;
use crate::course::{Ask, Course, Turn};
use crate::handle::Inner;
use crate::read::decode;
use crate::step::Fresh;
use crate::subscription::{Damage, seen_of};
use crate::tail::{LOOK_BYTES_MAX, LOOK_RECORDS_MAX};
use crate::text::{EVENT_BYTES, Framing, Writer};

/// Bytes of text that a feed keeps.
const FEED_BYTES_MAX: usize = 256 << 10;
/// Bytes of text after which a sheet ends: it must fit among those that a feed keeps.
const SHEET_BYTES_MAX: usize = 160 << 10;

/// What readers who ask for the same have in common.
pub(crate) struct Feed {
    ask: Ask,
    framing: Framing,
    bell: Arc<Notify>,
    sheets: Mutex<Sheets>,
    /// One maker of the next sheet at a time.
    making: tokio::sync::Mutex<()>,
}

/// The newest sheets, each beginning where the one before ends.
#[derive(Default)]
struct Sheets {
    all: VecDeque<Arc<Sheet>>,
    bytes: usize,
}

/// What came after one place, up to another.
pub(crate) struct Sheet {
    after: u64,
    pub(crate) upto: u64,
    text: Bytes,
    /// The sequence of each event, and where its text begins.
    events: Vec<(u64, u32)>,
    /// The same events, for pullers alone.
    pub(crate) fresh: Arc<[Fresh]>,
    /// What could not be read.
    pub(crate) damage: Damage,
}

/// A part of a sheet.
pub(crate) struct Cut {
    pub(crate) text: Bytes,
    pub(crate) own: Range<usize>,
    pub(crate) upto: u64,
}

/// All feeds that somebody follows.
#[derive(Default)]
pub(crate) struct Feeds(Mutex<Vec<Weak<Feed>>>);

/// A live stream of events as text; see [`crate::Bus::follow`].
pub struct Follow {
    feed: Arc<Feed>,
    course: Course,
}

/// An item of a [`Follow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Events in their frames, one after the other.
    Events(Bytes),
    /// Nothing is missing up to here; like [`crate::TailItem::Heartbeat`].
    Heartbeat {
        /// The newest durable sequence.
        head: u64,
    },
}

impl Feeds {
    pub(crate) fn get(&self, ask: Ask, framing: Framing, bus: &Inner) -> Arc<Feed> {
        let mut feeds = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        feeds.retain(|feed| feed.strong_count() > 0);
        let same = |feed: &Arc<Feed>| feed.framing == framing && feed.ask == ask;
        if let Some(feed) = feeds.iter().filter_map(Weak::upgrade).find(same) {
            return feed;
        }
        let bell = ask.bell(&bus.positions);
        let feed =
            Feed { ask, framing, bell, sheets: Mutex::default(), making: tokio::sync::Mutex::default() };
        let feed = Arc::new(feed);
        feeds.push(Arc::downgrade(&feed));
        feed
    }
}

impl Feed {
    fn sheets(&self) -> MutexGuard<'_, Sheets> {
        self.sheets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sheet on which a reader at this place goes on.
    pub(crate) async fn sheet(&self, bus: &Inner, at: u64, head: u64) -> Result<Arc<Sheet>, Error> {
        if let Some(sheet) = self.sheets().after(at) {
            return Ok(sheet);
        }
        if self.sheets().is_behind(at) {
            return self.make(bus, at, head).await;
        }
        let _making = self.making.lock().await;
        if let Some(sheet) = self.sheets().after(at) {
            return Ok(sheet);
        }
        let sheet = self.make(bus, at, head).await?;
        self.sheets().push(Arc::clone(&sheet));
        Ok(sheet)
    }

    async fn make(&self, bus: &Inner, at: u64, head: u64) -> Result<Arc<Sheet>, Error> {
        let reader = bus.reader();
        let tags = self.ask.tags(&reader);
        let found = reader.look(&tags, at, head, LOOK_RECORDS_MAX, LOOK_BYTES_MAX).await?;
        let mut writer = Writer::new(&bus.positions);
        let mut text = Vec::with_capacity(found.records.len() * EVENT_BYTES);
        let mut events = Vec::with_capacity(found.records.len());
        let mut fresh = Vec::new();
        let mut damage = Damage::of(&found.lost);
        let mut upto = found.upto;
        for stored in &found.records {
            if text.len() >= SHEET_BYTES_MAX && found.lost.is_empty() {
                upto = stored.seq - 1;
                break;
            }
            let Some(row) = decode(stored) else {
                damage.add(stored.seq);
                continue;
            };
            let Some(place) = writer.place(&stored.tag) else { continue };
            if self.ask.wants(&Ask::view(stored, &row, place), stored) {
                events.push((stored.seq, text.len() as u32));
                if self.framing == Framing::LIST {
                    fresh.push(Fresh { seen: seen_of(stored, &row), id: row.id.to_owned() });
                }
                writer.frame(&mut text, self.framing, stored, &row);
            }
        }
        text.shrink_to_fit();
        Ok(Arc::new(Sheet { after: at, upto, text: text.into(), events, fresh: fresh.into(), damage }))
    }
}

impl Sheets {
    /// The sheet that goes on after a place.
    fn after(&self, at: u64) -> Option<Arc<Sheet>> {
        let nth = self.all.partition_point(|sheet| sheet.upto <= at);
        self.all.get(nth).filter(|sheet| sheet.after <= at).cloned()
    }

    /// Whether what comes after a place was on sheets that are gone.
    fn is_behind(&self, at: u64) -> bool {
        self.all.front().is_some_and(|first| at < first.after)
    }

    fn push(&mut self, sheet: Arc<Sheet>) {
        if self.all.back().is_some_and(|last| last.upto != sheet.after) {
            *self = Self::default();
        }
        self.bytes += sheet.size();
        self.all.push_back(sheet);
        while self.bytes > FEED_BYTES_MAX
            && let Some(oldest) = self.all.pop_front()
        {
            self.bytes -= oldest.size();
        }
    }
}

impl Sheet {
    fn size(&self) -> usize {
        size_of::<Self>() + self.text.len() + size_of_val(&*self.events) + size_of_val(&*self.fresh)
    }

    /// The text of the events after a place, and how many they are.
    fn since(&self, at: u64) -> (Bytes, usize) {
        let nth = self.events.partition_point(|(sequence, _)| *sequence <= at);
        let from = self.events.get(nth).map_or(self.text.len(), |(_, from)| *from as usize);
        (self.text.slice(from..), self.events.len() - nth)
    }

    /// So many events after a place, at most.
    pub(crate) fn cut(&self, at: u64, max: usize) -> Cut {
        let first = self.events.partition_point(|(sequence, _)| *sequence <= at);
        let end = self.events.len().min(first + max);
        let begins = |nth: usize| self.events.get(nth).map_or(self.text.len(), |(_, from)| *from as usize);
        // Up to the one that is left out first.
        let upto = self.events.get(end).map_or(self.upto, |(sequence, _)| sequence - 1);
        Cut { text: self.text.slice(begins(first)..begins(end)), own: first..end, upto }
    }
}

impl Follow {
    pub(crate) fn new(bus: Arc<Inner>, ask: Ask, after: u64, framing: Framing) -> Self {
        let feed = bus.feeds.get(ask, framing, &bus);
        let course = Course::new(bus, &feed.ask, after, Arc::clone(&feed.bell)).gathering();
        Self { feed, course }
    }

    /// The same as one of a subscription's streams.
    pub(crate) fn with(self, change: impl FnOnce(Course) -> Course) -> Self {
        Self { course: change(self.course), ..self }
    }

    /// The next piece; waits for one. An error ends the stream for good ([`Error::CursorExpired`] among them). Asking
    /// for a piece says that the one before was sent. Safe to cancel: nothing is lost or repeated.
    pub async fn next(&mut self) -> Result<Piece, Error> {
        self.course.sent();
        loop {
            let head = match self.course.turn(&self.feed.ask).await? {
                Turn::Heartbeat => return Ok(Piece::Heartbeat { head: self.course.at }),
                Turn::Look(head) => head,
            };
            let bus = &self.course.bus;
            let sheet = self.feed.sheet(bus, self.course.at, head).await?;
            // Afterwards, so that nothing can go between the check and the look.
            self.course.check_kept(&self.feed.ask.tags(&bus.reader()))?;
            self.course.met(&sheet.damage).await;
            let (text, events) = sheet.since(self.course.at);
            self.course.came_to(sheet.upto, head);
            if events > 0 {
                self.course.gave(events, sheet.upto >= head);
                return Ok(Piece::Events(text));
            }
        }
    }

    /// The same as a stream, which ends after an error.
    pub fn into_stream(self) -> impl Stream<Item = Result<Piece, Error>> + Send + 'static {
        stream::unfold(Some(self), async |follow| {
            let mut follow = follow?;
            let piece = follow.next().await;
            let rest = if piece.is_ok() { Some(follow) } else { None };
            Some((piece, rest))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet(after: u64, upto: u64, bytes: usize) -> Arc<Sheet> {
        let events = vec![(after + 1, 0), (upto, bytes as u32 / 2)];
        let (text, fresh) = (vec![b'x'; bytes].into(), Arc::default());
        Arc::new(Sheet { after, upto, text, events, fresh, damage: Damage::default() })
    }

    #[test]
    fn readers_find_the_sheet_that_goes_on_where_they_are() {
        let mut sheets = Sheets::default();
        assert!(sheets.after(3).is_none() && !sheets.is_behind(3));
        [sheet(10, 20, 100), sheet(20, 25, 100)].into_iter().for_each(|sheet| sheets.push(sheet));
        let found = |sheets: &Sheets, at| sheets.after(at).map(|sheet| sheet.after);
        assert_eq!([9, 10, 19, 20, 24, 25].map(|at| found(&sheets, at)), {
            [None, Some(10), Some(10), Some(20), Some(20), None]
        });
        assert!(sheets.is_behind(9) && !sheets.is_behind(10));
        let half = sheets.after(15).unwrap().since(15);
        assert_eq!((half.0.len(), half.1), (50, 1));
        assert_eq!(sheets.after(10).unwrap().since(10).0.len(), 100);
        assert_eq!(sheets.after(10).unwrap().since(20), (Bytes::new(), 0));
        let cut = |at, max| {
            let Cut { text, own, upto } = sheets.after(at).unwrap().cut(at, max);
            (text.len(), own, upto)
        };
        assert_eq!([cut(10, 1), cut(10, 2), cut(15, 9)], [(50, 0..1, 19), (100, 0..2, 20), (50, 1..2, 20)]);
        // One that does not go on begins anew.
        sheets.push(sheet(30, 40, 100));
        assert_eq!((found(&sheets, 20), found(&sheets, 30)), (None, Some(30)));
    }

    #[test]
    fn a_feed_keeps_so_many_bytes() {
        let mut sheets = Sheets::default();
        for nth in 0..100 {
            sheets.push(sheet(nth * 10, nth * 10 + 10, FEED_BYTES_MAX / 10));
            assert!(sheets.bytes <= FEED_BYTES_MAX);
        }
        assert!(sheets.after(985).is_some() && sheets.is_behind(800));
        let kept: usize = sheets.all.iter().map(|sheet| sheet.size()).sum();
        assert_eq!(sheets.bytes, kept);
        sheets.push(sheet(1_000, 1_010, 2 * FEED_BYTES_MAX));
        assert_eq!((sheets.bytes, sheets.all.len()), (0, 0));
    }
}
