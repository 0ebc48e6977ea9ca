//! Where each topic stands in the log: how many events it had, its newest, and the head that everybody may read to.
//!
//! Counts move before the head does, so whoever sees a head finds every topic that has an event up to it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use hob_core::{Scope, Timestamp, TopicName};
use hob_store::{Tag, varint};

use crate::Error;
use crate::bells::Bells;
use crate::model::platform_scope;

/// Every so many events of a topic its sequence is noted, so that events after a cursor can be counted without
/// reading them.
const MARK_EVERY: u64 = 256;
/// Marks of one topic; when there are more, those go that stand close together for how far they are behind the head.
const MARKS_MAX: usize = 1_024;
/// Which part of its distance from the head two marks stand apart at least, so that a count is right to a few percent.
const MARK_DISTANCE_PARTS: u64 = 64;

/// A topic's place in the log.
#[derive(Debug)]
struct Place {
    scope: Scope,
    topic: TopicName,
    events: u64,
    /// Its newest sequence.
    last: u64,
    /// The latest time that one of its events told.
    latest: Timestamp,
    /// Some of its events: the how manieth it is, from 1, and its sequence.
    marks: Vec<(u64, u64)>,
}

/// Where every topic stands at one sequence: what [`Positions`] is made from again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Snapshot(Vec<(Tag, Standing)>);

/// Where one topic stands.
#[derive(Debug, PartialEq, Eq)]
struct Standing {
    events: u64,
    last: u64,
    latest: Timestamp,
    marks: Vec<(u64, u64)>,
}

/// Places by tag, and the head.
#[derive(Debug)]
pub(crate) struct Positions {
    places: RwLock<HashMap<Tag, Place>>,
    head: AtomicU64,
    pub(crate) bells: Bells,
}

impl Positions {
    pub(crate) fn new() -> Self {
        Self { places: RwLock::default(), head: AtomicU64::new(0), bells: Bells::default() }
    }

    /// Takes in durable events, in order of their sequences. A tag that is no topic's is left out.
    pub(crate) fn add<'a>(&self, events: impl IntoIterator<Item = (&'a Tag, u64, Timestamp)> + Clone) {
        self.bells.touch(events.clone().into_iter().map(|(tag, ..)| tag));
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        let mut events = events.into_iter().peekable();
        // Neighbours are mostly of one topic: its place is looked up once for all of them.
        while let Some((tag, ..)) = events.peek().copied() {
            if !places.contains_key(tag)
                && let Some((scope, topic)) = parse_tag(tag)
            {
                let (events, last, latest, marks) = (0, 0, Timestamp::from_micros(i64::MIN), Vec::new());
                places.insert(tag.clone(), Place { scope, topic, events, last, latest, marks });
            }
            let mut place = places.get_mut(tag);
            while let Some((_, sequence, time)) = events.next_if(|(next, ..)| *next == tag) {
                if let Some(place) = &mut place {
                    place.add(sequence, time);
                }
            }
        }
    }

    /// Lets everybody read up to `head`.
    pub(crate) fn move_head(&self, head: u64) {
        self.head.fetch_max(head, Ordering::SeqCst);
        self.bells.ring();
    }

    pub(crate) fn head(&self) -> u64 {
        self.head.load(Ordering::SeqCst)
    }

    /// The scope and topic that a tag stands for, once it has events.
    pub(crate) fn place(&self, tag: &Tag) -> Option<(Scope, TopicName)> {
        self.read().get(tag).map(|place| (place.scope.clone(), place.topic.clone()))
    }

    /// A topic's count of events and its newest sequence.
    pub(crate) fn count(&self, tag: &Tag) -> (u64, u64) {
        self.read().get(tag).map_or((0, 0), |place| (place.events, place.last))
    }

    /// The latest time that a topic's events told.
    pub(crate) fn latest(&self, tag: &Tag) -> Option<Timestamp> {
        self.read().get(tag).map(|place| place.latest)
    }

    /// The newest sequence on any of the topics; 0 when there is none.
    pub(crate) fn newest(&self, tags: &BTreeSet<Tag>) -> u64 {
        let places = self.read();
        tags.iter().filter_map(|tag| places.get(tag)).map(|place| place.last).max().unwrap_or(0)
    }

    /// The tags of a scope that have events.
    pub(crate) fn tags_of(&self, scope: &Scope) -> BTreeSet<Tag> {
        self.read().iter().filter(|(_, place)| place.scope == *scope).map(|(tag, _)| tag.clone()).collect()
    }

    /// How many events the topics had after `sequence`: up to 255 too many for each topic.
    pub(crate) fn events_after(&self, tags: &BTreeSet<Tag>, sequence: u64) -> u64 {
        let places = self.read();
        tags.iter().filter_map(|tag| places.get(tag)).map(|place| place.after(sequence)).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Tag, Place>> {
        self.places.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn add(&mut self, sequence: u64, time: Timestamp) {
        self.events += 1;
        if self.events % MARK_EVERY == 1 {
            self.mark(sequence);
        }
        self.last = sequence;
        self.latest = time.max(self.latest);
    }

    fn after(&self, sequence: u64) -> u64 {
        if self.last <= sequence {
            return 0;
        }
        // At least the events up to the newest mark that is not beyond the sequence.
        let marks = self.marks.partition_point(|(_, mark)| *mark <= sequence);
        let before = marks.checked_sub(1).and_then(|nth| self.marks.get(nth)).map_or(0, |(nth, _)| *nth);
        self.events - before
    }

    fn mark(&mut self, sequence: u64) {
        self.marks.push((self.events, sequence));
        if self.marks.len() > MARKS_MAX {
            let (events, mut newer) = (self.events, u64::MAX);
            let is_needed = |(nth, _): &&(u64, u64)| {
                let is_needed = newer == u64::MAX || newer - nth > (events - newer) / MARK_DISTANCE_PARTS;
                newer = if is_needed { *nth } else { newer };
                is_needed
            };
            self.marks = self.marks.iter().rev().filter(is_needed).copied().collect();
            self.marks.reverse();
        }
    }
}

impl Positions {
    /// Where every topic stands now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let standing = |place: &Place| Standing {
            events: place.events,
            last: place.last,
            latest: place.latest,
            marks: place.marks.clone(),
        };
        let mut all: Vec<_> = self.read().iter().map(|(tag, place)| (tag.clone(), standing(place))).collect();
        all.sort_by(|(a, _), (b, _)| a.cmp(b));
        Snapshot(all)
    }

    /// Topics as they stood in a snapshot; the head is yet to be moved.
    pub(crate) fn restore(snapshot: Snapshot) -> Self {
        let positions = Self::new();
        let mut places = positions.places.write().unwrap_or_else(PoisonError::into_inner);
        for (tag, Standing { events, last, latest, marks }) in snapshot.0 {
            if let Some((scope, topic)) = parse_tag(&tag) {
                places.insert(tag, Place { scope, topic, events, last, latest, marks });
            }
        }
        drop(places);
        positions
    }
}

impl Snapshot {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        for (tag, standing) in &self.0 {
            varint::write(out, tag.as_str().len() as u64);
            out.extend_from_slice(tag.as_str().as_bytes());
            out.extend_from_slice(&standing.latest.as_micros().to_le_bytes());
            for number in [standing.events, standing.last, standing.marks.len() as u64] {
                varint::write(out, number);
            }
            let mut before = (0, 0);
            for (nth, sequence) in &standing.marks {
                varint::write(out, nth - before.0);
                varint::write(out, sequence - before.1);
                before = (*nth, *sequence);
            }
        }
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut all = Vec::new();
        while !rest.is_empty() {
            let length = usize::try_from(varint::take(&mut rest)?).ok()?;
            let (tag, after) = rest.split_at_checked(length)?;
            let (latest, after) = after.split_first_chunk::<8>()?;
            rest = after;
            let tag = Tag::new(std::str::from_utf8(tag).ok()?).ok()?;
            let (events, last) = (varint::take(&mut rest)?, varint::take(&mut rest)?);
            let count = usize::try_from(varint::take(&mut rest)?).ok().filter(|count| *count <= MARKS_MAX)?;
            let mut marks = Vec::with_capacity(count);
            let mut before = (0_u64, 0_u64);
            for _ in 0..count {
                let (nth, sequence) = (varint::take(&mut rest)?, varint::take(&mut rest)?);
                before = (before.0.checked_add(nth)?, before.1.checked_add(sequence)?);
                marks.push(before);
            }
            let latest = Timestamp::from_micros(i64::from_le_bytes(*latest));
            all.push((tag, Standing { events, last, latest, marks }));
        }
        Some(Self(all))
    }
}

/// The tag of a topic: `<environment>/<tenant>/<topic>`. Fails when that is longer than a tag may be.
pub(crate) fn tag_of(scope: &Scope, topic: &TopicName) -> Result<Tag, Error> {
    Tag::new(&format!("{scope}/{topic}")).map_err(|_| Error::TopicRefused {
        topic: topic.clone(),
        scope: scope.clone(),
        problem: format!(
            "its name, environment and tenant have more than {} letters together; use shorter ones",
            hob_store::TAG_BYTES_MAX - 2
        ),
    })
}

/// The tags of topics as a reader in a scope sees them: Hob's own topics have events of no scope as well.
pub(crate) fn tags_for<'a>(scope: &Scope, topics: impl IntoIterator<Item = &'a TopicName>) -> BTreeSet<Tag> {
    let mut tags = BTreeSet::new();
    for topic in topics {
        // A topic whose tag would be too long cannot have events.
        tags.extend(tag_of(scope, topic));
        if topic.is_reserved() {
            tags.extend(tag_of(&platform_scope(), topic));
        }
    }
    tags
}

fn parse_tag(tag: &Tag) -> Option<(Scope, TopicName)> {
    let mut parts = tag.as_str().splitn(3, '/');
    let environment = parts.next()?.parse().ok()?;
    let tenant = parts.next()?.parse().ok()?;
    let topic = parts.next()?.parse().ok()?;
    Some((Scope { environment, tenant }, topic))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_after_a_sequence_are_counted_to_within_a_mark() {
        let positions = Positions::new();
        let tag = Tag::new("qa/uk/orders").unwrap();
        let other = Tag::new("qa/uk/riders").unwrap();
        let time = Timestamp::EPOCH;
        positions.add((1..=2_000).map(|n| (if n % 2 == 0 { &tag } else { &other }, n, time)));
        let tags = BTreeSet::from([tag]);
        for sequence in [0_u64, 1, 2, 511, 512, 513, 1_000, 1_999, 2_000, 5_000] {
            let exact = (2_000_u64.saturating_sub(sequence)).div_ceil(2);
            let counted = positions.events_after(&tags, sequence);
            assert!((exact..exact + MARK_EVERY).contains(&counted), "{sequence}: {counted} for {exact}");
        }
        assert_eq!(positions.events_after(&tags, 2_000), 0);
        assert_eq!(positions.newest(&tags), 2_000);
    }

    #[test]
    fn a_snapshot_comes_back_and_goes_on_alike() {
        let tags = ["qa/uk/orders", "qa/uk/riders", "qa/ie/orders"].map(|text| Tag::new(text).unwrap());
        let add = |positions: &Positions, range: std::ops::RangeInclusive<u64>| {
            let tag = |n: u64| &tags[(n % 7 % 3) as usize];
            positions.add(range.map(|n| (tag(n), n, Timestamp::from_micros(n as i64 % 1_000))));
        };
        let (whole, first) = (Positions::new(), Positions::new());
        add(&whole, 1..=9_000);
        add(&first, 1..=5_003);
        let mut bytes = Vec::new();
        first.snapshot().encode(&mut bytes);
        assert_eq!(Snapshot::decode(&bytes[..bytes.len() - 1]), None);
        let restored = Positions::restore(Snapshot::decode(&bytes).unwrap());
        add(&restored, 5_004..=9_000);
        assert_eq!(restored.snapshot(), whole.snapshot());
    }

    #[test]
    fn marks_stay_few_and_exact_near_the_head() {
        let positions = Positions::new();
        let tag = Tag::new("qa/uk/orders").unwrap();
        let events = 2_000_000;
        positions.add((1..=events).map(|n| (&tag, n, Timestamp::EPOCH)));
        let tags = BTreeSet::from([tag.clone()]);
        assert!(positions.read()[&tag].marks.len() <= MARKS_MAX);
        for back in [0, 1, 300, 50_000, 500_000, 1_500_000, events] {
            let counted = positions.events_after(&tags, events - back);
            assert!(counted >= back && counted <= back + (back / 10).max(MARK_EVERY), "{counted} for {back}");
        }
    }

    #[test]
    fn tags_are_read_back() {
        let (scope, topic) = parse_tag(&Tag::new("qa/uk/rider.pings").unwrap()).unwrap();
        assert_eq!((scope.to_string(), topic.as_str()), ("qa/uk".to_owned(), "rider.pings"));
        assert!(parse_tag(&Tag::new("orders").unwrap()).is_none());
    }
}
