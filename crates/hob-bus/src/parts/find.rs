//! Finds events in parts and log, in order, in either direction, within a bounded effort.

use std::collections::BTreeSet;

use hob_store::{Gap, READ_SCAN_BYTES_MAX, ReadError, ReadLimits, Stored, Tag};

use super::fetch::Fault;
use super::keys::of_row;
use super::rows::{PartRow, RangeRow};
use super::strand::Strand;
use super::{EventLog, View};
use crate::rows::EventRow;

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
        self.tags.is_none_or(|tags| tags.contains(&stored.tag)) && self.has_keys(stored)
    }

    /// Whether a record has all keys: who looks for few events is not told of the many beside them.
    fn has_keys(&self, stored: &Stored) -> bool {
        if self.keys.is_empty() {
            return true;
        }
        // What cannot be understood is the caller's to tell of.
        let Some(row) = EventRow::decode(&stored.payload) else { return true };
        self.keys.iter().all(|wanted| of_row(&row).any(|key| key == *wanted))
    }

    /// How much one read of the log may bring: when few of its records are meant, as much as may be looked through.
    fn log_limits(&self, limits: ReadLimits) -> ReadLimits {
        if self.keys.is_empty() { limits } else { BACK_LIMITS }
    }
}

/// Events that are damaged: somewhere between these sequences, and of those looked for no more than so many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) gap: Gap,
    pub(crate) events_max: u64,
}

impl From<Gap> for Lost {
    fn from(gap: Gap) -> Self {
        Self { gap, events_max: gap.last + 1 - gap.first }
    }
}

impl Lost {
    /// So many rows of a part.
    pub(super) fn of(part: &PartRow, gap: Gap, rows: u64, tags: Option<&BTreeSet<Tag>>) -> Self {
        let of_tags = |tags: &BTreeSet<Tag>| {
            tags.iter().filter_map(|tag| part.tags.get(tag.as_str())).map(|count| count.rows).sum()
        };
        let wanted = tags.map_or(u64::MAX, of_tags);
        Self { gap, events_max: rows.min(wanted).min(Self::from(gap).events_max) }
    }
}

/// What was found.
pub(crate) struct Sought {
    pub(crate) records: Vec<Stored>,
    /// What could not be read. Each stretch is told once: by the look that comes to its other end.
    pub(crate) lost: Vec<Lost>,
    /// The place to look on from.
    pub(crate) next: u64,
    pub(crate) head: u64,
}

/// What was found so far, and what it cost.
struct Look {
    limits: ReadLimits,
    records: Vec<Stored>,
    lost: Vec<Lost>,
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
    /// Looks for events: rising from `place` on, or falling before it. What retention removed is not there;
    /// see [`EventLog::marks`].
    pub(crate) async fn find(
        &self,
        query: &Query<'_>,
        order: Order,
        place: u64,
        limits: ReadLimits,
    ) -> Result<Sought, ReadError> {
        let mut failed = ReadError::Closed;
        for _ in 0..RETRIES_MAX {
            let view = self.view();
            let head = self.log.head();
            let mut look = Look { limits, records: Vec::new(), lost: Vec::new(), bytes: 0, scanned: 0 };
            let found = match order {
                Order::Rising => self.rising(&view, query, place.max(1), &mut look).await,
                Order::Falling => self.falling(&view, query, place.min(head + 1), &mut look).await,
            };
            match found {
                Ok(next) => {
                    let Look { records, lost, .. } = look;
                    let place = if order == Order::Rising { place } else { place.min(head + 1) };
                    return Ok(Sought { records, lost: passed(lost, order, place, next), next, head });
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
            Some(tags) => self.log.read_tagged(at, tags.clone(), query.log_limits(look.limits)).await?,
            None => self.log.read(at, query.log_limits(look.limits)).await?,
        };
        for stored in batch.records {
            if !query.has_keys(&stored) {
                continue;
            }
            if !look.takes(&stored) {
                return Ok(stored.seq);
            }
            look.push(stored);
        }
        look.lost.extend(batch.gaps.into_iter().map(Lost::from));
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
                let gaps = batch.gaps.into_iter().filter(|gap| gap.first < end);
                look.lost.extend(gaps.map(Lost::from));
                if batch.next <= at {
                    break;
                }
                at = batch.next;
            }
            for stored in found.into_iter().rev() {
                look.scanned += stored.payload.len();
                if !query.has_keys(&stored) {
                    continue;
                }
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
            let missing = part.rows.saturating_sub(index.rows());
            if missing > 0 {
                let gap = Gap { first: part.first, last: part.last };
                look.lost.push(Lost::of(part, gap, missing, query.tags));
            }
            strands.push(Strand::new(part, index, query, order, place));
        }
        look.lost
            .extend(range.gaps.iter().map(|(first, last)| Lost::from(Gap { first: *first, last: *last })));
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
                look.scanned += strand.fetch(self, query.tags, &mut look.lost).await?;
                continue;
            };
            if !order.holds(place, stored.seq)
                || stored.seq <= view.mark(&stored.tag)
                || !query.is_wanted(&stored)
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

/// What of the damage lies between where a look began and where it goes on, each stretch once: the look on which goes on
/// within a stretch comes to it again.
fn passed(mut lost: Vec<Lost>, order: Order, place: u64, next: u64) -> Vec<Lost> {
    lost.retain_mut(|Lost { gap, events_max }| {
        let is_passed = match order {
            Order::Rising => (place..next).contains(&gap.last),
            Order::Falling => (next..place).contains(&gap.first),
        };
        match order {
            Order::Rising => gap.first = gap.first.max(place),
            Order::Falling => gap.last = gap.last.min(place.saturating_sub(1)),
        }
        *events_max = (*events_max).min(gap.last.saturating_add(1).saturating_sub(gap.first));
        is_passed
    });
    lost.sort_by_key(|lost| (lost.gap, lost.events_max));
    lost.dedup();
    lost
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stretch_is_told_by_the_look_that_passes_its_end() {
        let lost = |first, last| Lost::from(Gap { first, last });
        let all = || vec![lost(5, 9), lost(20, 29), lost(20, 29), lost(40, 49)];
        let (rising, falling) = (Order::Rising, Order::Falling);
        for (order, place, next, told) in [
            (rising, 1, 100, vec![lost(5, 9), lost(20, 29), lost(40, 49)]),
            (rising, 1, 25, vec![lost(5, 9)]),
            (rising, 25, 45, vec![lost(25, 29)]),
            (rising, 45, 50, vec![lost(45, 49)]),
            (rising, 50, 100, vec![]),
            (falling, 100, 1, vec![lost(5, 9), lost(20, 29), lost(40, 49)]),
            (falling, 100, 25, vec![lost(40, 49)]),
            (falling, 25, 7, vec![lost(20, 24)]),
            (falling, 7, 1, vec![lost(5, 6)]),
        ] {
            assert_eq!(passed(all(), order, place, next), told, "{order:?} from {place} to {next}");
        }
    }
}
