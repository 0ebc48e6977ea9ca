//! Where each topic stands in the log: how many events it had, its newest, and the head that everybody may read to.
//!
//! Counts move before the head does, so whoever sees a head finds every topic that has an event up to it.

use std::collections::{BTreeSet, HashMap};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use hob_core::{Scope, Timestamp, TopicName};
use hob_store::Tag;
use tokio::sync::watch;

use crate::Error;
use crate::model::platform_scope;

/// Every so many events of a topic its sequence is noted, so that events after a cursor can be counted without
/// reading them.
const MARK_EVERY: u64 = 256;

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
    /// Sequences of its events number 1, 257, 513 and so on.
    marks: Vec<u64>,
}

/// Places by tag, and the head.
#[derive(Debug)]
pub(crate) struct Positions {
    places: RwLock<HashMap<Tag, Place>>,
    head: watch::Sender<u64>,
}

impl Positions {
    pub(crate) fn new() -> Self {
        Self { places: RwLock::default(), head: watch::Sender::new(0) }
    }

    /// Takes in durable events, in order of their sequences. A tag that is no topic's is left out.
    pub(crate) fn add<'a>(&self, events: impl IntoIterator<Item = (&'a Tag, u64, Timestamp)>) {
        let mut places = self.places.write().unwrap_or_else(PoisonError::into_inner);
        for (tag, sequence, time) in events {
            if !places.contains_key(tag) {
                let Some((scope, topic)) = parse_tag(tag) else { continue };
                let (events, last, latest, marks) = (0, 0, Timestamp::from_micros(i64::MIN), Vec::new());
                places.insert(tag.clone(), Place { scope, topic, events, last, latest, marks });
            }
            let Some(place) = places.get_mut(tag) else { continue };
            if place.events.is_multiple_of(MARK_EVERY) {
                place.marks.push(sequence);
            }
            place.events += 1;
            place.last = sequence;
            place.latest = time.max(place.latest);
        }
    }

    /// Lets everybody read up to `head`.
    pub(crate) fn move_head(&self, head: u64) {
        self.head.send_if_modified(|known| {
            let is_newer = head > *known;
            *known = head.max(*known);
            is_newer
        });
    }

    pub(crate) fn head(&self) -> u64 {
        *self.head.borrow()
    }

    pub(crate) fn watch_head(&self) -> watch::Receiver<u64> {
        self.head.subscribe()
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
    fn after(&self, sequence: u64) -> u64 {
        if self.last <= sequence {
            return 0;
        }
        // The marked events up to the sequence, and at least those between the marks before the last of them.
        let marks = self.marks.partition_point(|mark| *mark <= sequence) as u64;
        self.events - marks.saturating_sub(1) * MARK_EVERY - u64::from(marks > 0)
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
    fn tags_are_read_back() {
        let (scope, topic) = parse_tag(&Tag::new("qa/uk/rider.pings").unwrap()).unwrap();
        assert_eq!((scope.to_string(), topic.as_str()), ("qa/uk".to_owned(), "rider.pings"));
        assert!(parse_tag(&Tag::new("orders").unwrap()).is_none());
    }
}
