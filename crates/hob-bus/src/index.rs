//! What publishing must remember: the newest ids, and how many events each entity had.
//!
//! It is kept in memory and rebuilt from the log when the bus opens. Nothing else depends on how it is kept, so that
//! an index on disk may take its place. Ids are known while they are among the newest
//! [`limits::DEDUPLICATION_EVENTS`](crate::limits) events; an entity takes about 35 bytes of memory.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use hob_core::Digest;
use hob_store::{AppendError, Tag};
use tokio::sync::watch;

/// How an append ended; `None` while it is on its way.
pub(crate) type Outcome = watch::Receiver<Option<Result<(), AppendError>>>;

/// Half a SHA-256 over scope, service and id: no two ids are taken for one, not even on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct IdKey([u8; 16]);

impl IdKey {
    /// The scope is written `environment/tenant`.
    pub(crate) fn new(scope: &str, service: &str, id: &str) -> Self {
        let text = format!("{scope}\0{service}\0{id}");
        let mut key = [0; 16];
        key.copy_from_slice(&Digest::of(text.as_bytes()).as_bytes()[..16]);
        Self(key)
    }
}

/// An entity on a topic. Two that share a key share a count, which then rises faster and still never repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntityKey(u64);

impl EntityKey {
    pub(crate) fn new(tag: &Tag, subject: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (tag.as_str(), subject).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The key as a number, for ordering deliveries by entity.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// Where an id is in the log.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// On disk, at this sequence.
    Durable(u64),
    /// On its way there.
    InFlight(u64, Outcome),
}

impl Known {
    pub(crate) fn sequence(&self) -> u64 {
        match self {
            Self::Durable(sequence) | Self::InFlight(sequence, _) => *sequence,
        }
    }
}

/// What to do with one event of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Append it, with this count of its entity when it has one.
    New(Option<u64>),
    /// It is known from an earlier batch.
    Known(Known),
    /// It repeats the n-th new event of this batch.
    Repeats(usize),
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    known: HashMap<IdKey, Known>,
    /// The same ids with their sequences, oldest first.
    order: VecDeque<(IdKey, u64)>,
    ids_max: usize,
    entities: HashMap<EntityKey, u64>,
}

impl Index {
    pub(crate) fn new(ids_max: usize) -> Self {
        Self { known: HashMap::new(), order: VecDeque::new(), ids_max, entities: HashMap::new() }
    }

    /// Decides about a batch, without remembering it.
    pub(crate) fn plan(&self, events: &[(IdKey, Option<EntityKey>)]) -> Vec<Verdict> {
        let mut ids: HashMap<IdKey, usize> = HashMap::new();
        let mut counts: HashMap<EntityKey, u64> = HashMap::new();
        let verdict = |(id, entity): &(IdKey, Option<EntityKey>)| {
            if let Some(known) = self.known.get(id) {
                return Verdict::Known(known.clone());
            }
            if let Some(nth) = ids.get(id) {
                return Verdict::Repeats(*nth);
            }
            ids.insert(*id, ids.len());
            Verdict::New(entity.map(|entity| {
                let count = counts.entry(entity).or_insert_with(|| self.count(entity));
                *count += 1;
                *count
            }))
        };
        events.iter().map(verdict).collect()
    }

    /// Remembers an event that was appended, or read back from the log.
    pub(crate) fn remember(&mut self, id: IdKey, known: Known) {
        self.order.push_back((id, known.sequence()));
        self.known.insert(id, known);
        while self.order.len() > self.ids_max {
            let Some((id, sequence)) = self.order.pop_front() else { break };
            self.forget(id, sequence);
        }
    }

    /// Remembers that an entity had its n-th event. A later append may fail, so that a number is never used; none is
    /// ever used twice.
    pub(crate) fn counted(&mut self, entity: EntityKey, entityseq: u64) {
        let count = self.entities.entry(entity).or_default();
        *count = entityseq.max(*count);
    }

    /// Takes note that an append is durable, or that it never will be.
    pub(crate) fn settle(&mut self, ids: &[IdKey], first: u64, is_durable: bool) {
        for (id, sequence) in ids.iter().zip(first..) {
            if !is_durable {
                self.forget(*id, sequence);
            } else if let Some(known) = self.known.get_mut(id)
                && known.sequence() == sequence
            {
                *known = Known::Durable(sequence);
            }
        }
    }

    fn forget(&mut self, id: IdKey, sequence: u64) {
        if self.known.get(&id).is_some_and(|known| known.sequence() == sequence) {
            self.known.remove(&id);
        }
    }

    fn count(&self, entity: EntityKey) -> u64 {
        self.entities.get(&entity).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> IdKey {
        IdKey::new("qa/uk", "orders", text)
    }

    fn entity(text: &str) -> EntityKey {
        EntityKey::new(&Tag::new("qa/uk/orders").unwrap(), text)
    }

    #[test]
    fn a_batch_counts_its_entities_and_knows_its_own_repeats() {
        let mut index = Index::new(10);
        index.counted(entity("a"), 4);
        let batch = [("1", "a"), ("2", "b"), ("1", "a"), ("3", "a")].map(|(i, e)| (id(i), Some(entity(e))));
        let verdicts: Vec<String> = index
            .plan(&batch)
            .iter()
            .map(|verdict| match verdict {
                Verdict::New(count) => format!("new {}", count.unwrap()),
                Verdict::Known(known) => format!("known {}", known.sequence()),
                Verdict::Repeats(nth) => format!("repeats {nth}"),
            })
            .collect();
        assert_eq!(verdicts, ["new 5", "new 1", "repeats 0", "new 6"]);
    }

    #[test]
    fn ids_are_known_within_the_window_only() {
        let mut index = Index::new(2);
        for (sequence, text) in ["1", "2", "3"].into_iter().enumerate() {
            index.remember(id(text), Known::Durable(sequence as u64 + 1));
        }
        let verdicts = index.plan(&[(id("1"), None), (id("3"), None)]);
        assert!(matches!(verdicts[0], Verdict::New(None)));
        assert!(matches!(&verdicts[1], Verdict::Known(Known::Durable(3))));
    }

    #[test]
    fn what_was_not_written_is_not_known() {
        let mut index = Index::new(10);
        let (_sender, outcome) = watch::channel(None);
        index.remember(id("1"), Known::InFlight(7, outcome.clone()));
        assert!(matches!(&index.plan(&[(id("1"), None)])[0], Verdict::Known(Known::InFlight(7, _))));
        index.settle(&[id("1")], 7, false);
        assert!(matches!(index.plan(&[(id("1"), None)])[0], Verdict::New(None)));
        index.remember(id("1"), Known::InFlight(7, outcome));
        index.settle(&[id("1")], 7, true);
        assert!(matches!(&index.plan(&[(id("1"), None)])[0], Verdict::Known(Known::Durable(7))));
    }
}
