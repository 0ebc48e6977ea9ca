//! Finds events in parts and log, in order, in either direction, within a bounded effort.

use std::collections::BTreeSet;

use hob_store::{Batch, Gap, READ_SCAN_BYTES_MAX, ReadError, ReadLimits, Stored, Tag};

use super::fetch::Fault;
use super::rows::RangeRow;
use super::strand::Strand;
use super::{EventLog, View};

/// How often a reader looks again when a part or segment was removed under its eyes.
const RETRIES_MAX: usize = 20;
/// A filter is read so many times quicker than its bytes of rows would be looked through.
const FILTER_GAIN: usize = 8;
/// Sequences of the first stretch of the log that is looked through backwards; the next are each four times as long.
const BACK_SEQUENCES: u64 = 2_000;
/// Records and bytes of one read of the log, backwards.
const BACK_LIMITS: ReadLimits = ReadLimits { records_max: 16_384, bytes_max: 4 << 20 };

/// In which order events are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Oldest first, from a sequence on.
    Rising,
    /// Newest first, before a sequence.
    Falling,
}

impl Order {
    /// A number that rises in this order.
    pub(super) fn rank(self, sequence: u64) -> u64 {
        match self {
            Self::Rising => sequence,
            Self::Falling => u64::MAX - sequence,
        }
    }

    fn holds(self, place: u64, sequence: u64) -> bool {
        match self {
            Self::Rising => sequence >= place,
            Self::Falling => sequence < place,
        }
    }
}

/// Which events are looked for. What it names narrows where is looked: the caller still tells which events are meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a> {
    /// Of these topics; of all for `None`.
    pub(crate) tags: Option<&'a BTreeSet<Tag>>,
    /// With all of these keys; see [`super::keys`].
    pub(crate) keys: &'a [u64],
    /// Told within these times, in microseconds since 1970, both included.
    pub(crate) times: (i64, i64),
}

impl Default for Query<'_> {
    fn default() -> Self {
        Self { tags: None, keys: &[], times: (i64::MIN, i64::MAX) }
    }
}

impl Query<'_> {
    pub(super) fn is_in_time(&self, (earliest, latest): (i64, i64)) -> bool {
        earliest <= self.times.1 && self.times.0 <= latest
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        self.tags.is_none_or(|tags| tags.contains(&stored.tag))
    }
}

/// What was found so far, and what it cost.
struct Look {
    limits: ReadLimits,
    records: Vec<Stored>,
    gaps: Vec<Gap>,
    bytes: usize,
    scanned: usize,
}

impl Look {
    fn takes(&self, stored: &Stored) -> bool {
        let is_over = self.records.len() >= self.limits.records_max
            || self.bytes + stored.payload.len() > self.limits.bytes_max;
        self.records.is_empty() || !is_over
    }

    fn push(&mut self, stored: Stored) {
        self.bytes += stored.payload.len();
        self.records.push(stored);
    }
}

impl EventLog {
    /// Looks for events: rising from `place` on, or falling before it. [`Batch::next`] is the place to look on from.
    /// What retention removed is not there; see [`EventLog::marks`].
    pub(crate) async fn find(
        &self,
        query: &Query<'_>,
        order: Order,
        place: u64,
        limits: ReadLimits,
    ) -> Result<Batch, ReadError> {
        let mut failed = ReadError::Closed;
        for _ in 0..RETRIES_MAX {
            let view = self.view();
            let head = self.log.head();
            let mut look = Look { limits, records: Vec::new(), gaps: Vec::new(), bytes: 0, scanned: 0 };
            let found = match order {
                Order::Rising => self.rising(&view, query, place.max(1), &mut look).await,
                Order::Falling => self.falling(&view, query, place.min(head + 1), &mut look).await,
            };
            match found {
                Ok(next) => {
                    let Look { records, gaps, .. } = look;
                    return Ok(Batch { records, gaps: within(gaps, place, next), next, head });
                }
                Err(Fault::Vanished) => {}
                Err(Fault::Read(error @ ReadError::Trimmed { .. })) => failed = error,
                Err(Fault::Read(error)) => return Err(error),
            }
        }
        Err(failed)
    }

    async fn rising(&self, view: &View, query: &Query<'_>, from: u64, look: &mut Look) -> Result<u64, Fault> {
        let mut at = from;
        let start = view.ranges.partition_point(|range| range.last < from);
        for range in &view.ranges[start..] {
            if let Some(stop) = self.range(view, range, query, Order::Rising, at, look).await? {
                return Ok(stop);
            }
            at = at.max(range.last + 1);
        }
        if !look.records.is_empty() {
            return Ok(at);
        }
        let at = at.max(self.floor(view)?);
        let batch = match query.tags {
            Some(tags) => self.log.read_tagged(at, tags.clone(), look.limits).await?,
            None => self.log.read(at, look.limits).await?,
        };
        look.records = batch.records;
        look.gaps.extend(batch.gaps);
        Ok(batch.next)
    }

    /// Where the log goes on behind the ranges of a view. What was sealed since the view was taken is in neither.
    fn floor(&self, view: &View) -> Result<u64, Fault> {
        let floor = self.log.oldest().max(view.sealed() + 1);
        if self.view().sealed() > view.sealed() { Err(Fault::Vanished) } else { Ok(floor) }
    }

    async fn falling(
        &self,
        view: &View,
        query: &Query<'_>,
        before: u64,
        look: &mut Look,
    ) -> Result<u64, Fault> {
        let mut at = before;
        let floor = self.floor(view)?;
        if at > floor {
            at = self.log_falling(query, at, floor, look).await?;
            if at > floor {
                return Ok(at);
            }
        }
        let end = view.ranges.partition_point(|range| range.first < at);
        for range in view.ranges[..end].iter().rev() {
            if let Some(stop) = self.range(view, range, query, Order::Falling, at, look).await? {
                return Ok(stop);
            }
            at = at.min(range.first);
        }
        Ok(1)
    }

    /// Looks through the log's own records backwards, stretch by stretch; each is read whole before it counts.
    async fn log_falling(
        &self,
        query: &Query<'_>,
        before: u64,
        floor: u64,
        look: &mut Look,
    ) -> Result<u64, Fault> {
        let (mut end, mut length) = (before, BACK_SEQUENCES);
        while end > floor {
            let start = end.saturating_sub(length).max(floor);
            let mut found: Vec<Stored> = Vec::new();
            let mut at = start;
            while at < end {
                let batch = match query.tags {
                    Some(tags) => self.log.read_tagged(at, tags.clone(), BACK_LIMITS).await?,
                    None => self.log.read(at, BACK_LIMITS).await?,
                };
                found.extend(batch.records.into_iter().filter(|stored| stored.seq < end));
                look.gaps.extend(batch.gaps.into_iter().filter(|gap| gap.first < end));
                if batch.next <= at {
                    break;
                }
                at = batch.next;
            }
            for stored in found.into_iter().rev() {
                look.scanned += stored.payload.len();
                if !look.takes(&stored) {
                    return Ok(stored.seq + 1);
                }
                look.push(stored);
            }
            (end, length) = (start, length * 4);
            if look.scanned >= READ_SCAN_BYTES_MAX || look.records.len() >= look.limits.records_max {
                return Ok(end);
            }
        }
        Ok(end)
    }

    /// Looks through one sealed range, its parts side by side. Says where to go on when it stopped within.
    async fn range(
        &self,
        view: &View,
        range: &RangeRow,
        query: &Query<'_>,
        order: Order,
        place: u64,
        look: &mut Look,
    ) -> Result<Option<u64>, Fault> {
        let mut strands = Vec::new();
        for part in &range.parts {
            let is_meant = query.is_in_time(part.times) && query.tags.is_none_or(|tags| part.has_any(tags));
            if !is_meant || !(order.holds(place, part.first) || order.holds(place, part.last)) {
                continue;
            }
            if !query.keys.is_empty() {
                let filter = self.filter(part).await?;
                look.scanned += filter.as_ref().map_or(0, |filter| filter.size() / FILTER_GAIN);
                if filter.is_some_and(|filter| query.keys.iter().any(|key| !filter.may_contain(*key))) {
                    continue;
                }
            }
            let index = self.index(part).await?;
            strands.push(Strand::new(part, index, query, order, place));
        }
        look.gaps.extend(range.gaps.iter().map(|(first, last)| Gap { first: *first, last: *last }));
        loop {
            let next = strands.iter_mut().filter(|strand| strand.next().is_some());
            let Some(strand) = next.min_by_key(|strand| strand.next()) else {
                let is_spent = look.scanned >= READ_SCAN_BYTES_MAX;
                return Ok(is_spent.then(|| match order {
                    Order::Rising => range.last + 1,
                    Order::Falling => range.first,
                }));
            };
            let Some(stored) = strand.pop() else {
                // Each strand is begun, so that the next look does not come here again for nothing.
                if look.scanned >= READ_SCAN_BYTES_MAX && strand.is_begun() {
                    return Ok(strand.place());
                }
                look.scanned += strand.fetch(self, &mut look.gaps).await?;
                continue;
            };
            if !order.holds(place, stored.seq)
                || !query.is_wanted(&stored)
                || stored.seq <= view.mark(&stored.tag)
            {
                continue;
            }
            if !look.takes(&stored) {
                return Ok(Some(match order {
                    Order::Rising => stored.seq,
                    Order::Falling => stored.seq + 1,
                }));
            }
            look.push(stored);
        }
    }
}

/// The gaps that lie between where a look began and where it goes on, each once.
fn within(gaps: Vec<Gap>, place: u64, next: u64) -> Vec<Gap> {
    let (first, last) = (place.min(next), place.max(next).saturating_sub(1));
    let clip = |gap: Gap| Gap { first: gap.first.max(first), last: gap.last.min(last) };
    let clipped: BTreeSet<Gap> = gaps.into_iter().map(clip).filter(|gap| gap.first <= gap.last).collect();
    clipped.into_iter().collect()
}
