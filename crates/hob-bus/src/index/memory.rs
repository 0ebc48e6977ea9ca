//! The part of the index that is in memory: pure, no reading, no waiting.
//!
//! Events stand first among those in flight; once durable they are in the fresh tail; a flush seals that tail and
//! begins another; when the sealed one is on disk, the counts of its entities stay hot for a while.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{Stored, Tag};

use super::keys::{EntityHash, EntityName, IdKey, KeyMap};
use super::{EntityState, Fetched, Keys, Known, Outcome, Verdict};
use crate::conditions;
use crate::model::hob_topics;
use crate::read::decode;
use crate::rows::EventRow;

/// When a tail is flushed, and how many entities stay hot.
#[derive(Clone, Copy, Debug)]
pub struct IndexLimits {
    /// Ids of a tail.
    pub ids: usize,
    /// Entities of a tail; twice as many stay hot.
    pub entities: usize,
    /// Events of a tail, which bounds what opening reads again.
    pub events: u64,
}

/// Ids of a tail. This and the next are seven eighths of a power of two, which is what a table of that size holds: one
/// more would double its memory.
const IDS_MAX: usize = 57_344;
/// Entities of a tail: two tails and what is hot take 6 MB with hrefs of 60 bytes, however many entities there are.
const ENTITIES_MAX: usize = 14_336;
/// Events of a tail.
const EVENTS_MAX: u64 = 131_072;

impl Default for IndexLimits {
    fn default() -> Self {
        Self { ids: IDS_MAX, entities: ENTITIES_MAX, events: EVENTS_MAX }
    }
}

/// What publishing asks about an event.
#[derive(Debug)]
pub(crate) struct Asked {
    /// None when Hob made the id: nobody else can have used it.
    pub(crate) id: Option<IdKey>,
    pub(crate) entity: Option<EntityName>,
}

/// What an event leaves behind.
#[derive(Debug)]
pub(crate) struct Remembered {
    recorded: Timestamp,
    id: Option<IdKey>,
    /// With the state that the event gives it, but for the sequence.
    entity: Option<(EntityName, EntityState)>,
    /// A condition that it told, and whether that is active.
    condition: Option<(Vec<u8>, bool)>,
}

/// What the row of an event tells those who remember it; the rest is known when it is appended.
#[derive(Debug)]
pub(crate) struct Told {
    recorded: Timestamp,
    is_deleted: bool,
    entitytag: Option<Box<str>>,
    condition: Option<(Vec<u8>, bool)>,
}

impl Told {
    pub(crate) fn of(tag: &Tag, row: &EventRow<'_>) -> Self {
        let scope_and_topic =
            tag.as_str().rsplit_once('/').filter(|(_, topic)| *topic == hob_topics::CONDITIONS);
        Self {
            recorded: row.recorded,
            is_deleted: EntityState::is_deleted_by(row),
            entitytag: row.entitytag.map(Into::into),
            condition: scope_and_topic.and_then(|(scope, _)| conditions::change_of(scope, row)),
        }
    }

    /// What the event leaves behind, with the count that its entity has now.
    pub(crate) fn remembered(self, entityseq: Option<u64>, asked: Asked) -> Remembered {
        let Self { recorded, is_deleted, entitytag, condition } = self;
        let state = |entityseq| EntityState { sequence: 0, entityseq, is_deleted, entitytag };
        let entity = asked.entity.zip(entityseq).map(|(name, entityseq)| (name, state(entityseq)));
        Remembered { recorded, id: asked.id, entity, condition }
    }
}

impl Remembered {
    /// What the event of a row leaves behind.
    pub(crate) fn of(tag: &Tag, row: &EventRow<'_>, asked: Asked) -> Self {
        Told::of(tag, row).remembered(row.entityseq, asked)
    }
}

impl Remembered {
    /// What a record of the log left behind; ids are known again of events that were recorded since.
    pub(crate) fn again(stored: &Stored, ids_since: Timestamp, keys: &Keys) -> Option<Self> {
        let row = decode(stored)?;
        let (scope, _) = stored.tag.as_str().rsplit_once('/')?;
        let asked = Asked {
            id: (row.recorded >= ids_since).then(|| keys.id(scope, &row.id_space(), row.id)),
            entity: row.subject.map(|subject| keys.entity(&stored.tag, subject)),
        };
        Some(Self::of(&stored.tag, &row, asked))
    }
}

/// Events that are durable and not yet on disk in the index.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pub(super) ids: KeyMap<IdKey, u64>,
    pub(super) entities: KeyMap<EntityHash, (Box<[u8]>, EntityState)>,
    pub(super) conditions: BTreeMap<Vec<u8>, bool>,
    events: u64,
    /// The newest sequence in it.
    pub(super) upto: u64,
    /// The latest time at which one of its events was recorded.
    pub(super) recorded: Option<Timestamp>,
}

/// Events of one append on their way to the disk.
#[derive(Debug)]
struct Flight {
    first: u64,
    events: Vec<Remembered>,
    outcome: Outcome,
}

#[derive(Debug)]
pub(super) struct Memory {
    limits: IndexLimits,
    flights: VecDeque<Flight>,
    flying_ids: KeyMap<IdKey, u64>,
    /// Counts of entities with the sequences of their newest events.
    flying: KeyMap<EntityHash, (u64, u64)>,
    pub(super) fresh: Tail,
    pub(super) sealed: Option<Arc<Tail>>,
    hot: [KeyMap<EntityHash, u64>; 2],
    /// Flushes that have ended.
    pub(super) flushes: u64,
}

impl Memory {
    pub(super) fn new(limits: IndexLimits) -> Self {
        Self {
            limits,
            flights: VecDeque::new(),
            flying_ids: KeyMap::default(),
            flying: KeyMap::default(),
            fresh: Tail::default(),
            sealed: None,
            hot: Default::default(),
            flushes: 0,
        }
    }

    pub(super) fn limits(&self) -> IndexLimits {
        self.limits
    }

    pub(super) fn plan(&self, events: &[Asked], fetched: &Fetched) -> Option<Vec<Verdict>> {
        let is_current = fetched.flushes == self.flushes;
        let mut ids: KeyMap<IdKey, usize> = KeyMap::default();
        let mut counts: KeyMap<EntityHash, u64> =
            KeyMap::with_capacity_and_hasher(events.len(), Default::default());
        let mut verdicts = Vec::with_capacity(events.len());
        let mut new = 0;
        for Asked { id, entity } in events {
            if let Some(id) = id {
                if let Some(nth) = ids.get(id) {
                    verdicts.push(Verdict::Repeats(*nth));
                    continue;
                }
                let known = match self.known(id) {
                    Some(known) => Some(known),
                    None => fetched.ids.get(id).filter(|_| is_current)?.map(Known::Durable),
                };
                if let Some(known) = known {
                    verdicts.push(Verdict::Known(known));
                    continue;
                }
                ids.insert(*id, new);
            }
            new += 1;
            let Some(EntityName { hash, .. }) = entity else {
                verdicts.push(Verdict::New(None));
                continue;
            };
            let fetched = || fetched.counts.get(hash).filter(|_| is_current).copied();
            let count = match counts.entry(*hash) {
                Entry::Occupied(count) => count.into_mut(),
                Entry::Vacant(place) => {
                    place.insert(self.unflushed(hash).or_else(fetched).or_else(|| self.hot(hash))?)
                }
            };
            *count += 1;
            verdicts.push(Verdict::New(Some(*count)));
        }
        Some(verdicts)
    }

    /// The tails, newest first.
    pub(super) fn tails(&self) -> impl Iterator<Item = &Tail> {
        std::iter::once(&self.fresh).chain(self.sealed.as_deref())
    }

    /// Whether memory knows an id.
    pub(super) fn known(&self, id: &IdKey) -> Option<Known> {
        if let Some(sequence) = self.flying_ids.get(id) {
            let nth = self.flights.partition_point(|flight| flight.first <= *sequence).checked_sub(1)?;
            return Some(Known::InFlight(*sequence, self.flights.get(nth)?.outcome.clone()));
        }
        self.tails().find_map(|tail| tail.ids.get(id)).copied().map(Known::Durable)
    }

    /// The count of an entity with events that are not flushed.
    pub(super) fn unflushed(&self, hash: &EntityHash) -> Option<u64> {
        if let Some((count, _)) = self.flying.get(hash) {
            return Some(*count);
        }
        self.tails().find_map(|tail| tail.entities.get(hash)).map(|(_, state)| state.entityseq)
    }

    /// The count of an entity that was flushed or read lately.
    pub(super) fn hot(&self, hash: &EntityHash) -> Option<u64> {
        self.hot.iter().find_map(|hot| hot.get(hash)).copied()
    }

    pub(super) fn remember(&mut self, first: u64, events: Vec<Remembered>, outcome: Outcome) {
        for (event, sequence) in events.iter().zip(first..) {
            if let Some(id) = event.id {
                self.flying_ids.insert(id, sequence);
            }
            if let Some((EntityName { hash, .. }, state)) = &event.entity {
                self.flying.insert(*hash, (state.entityseq, sequence));
            }
        }
        self.flights.push_back(Flight { first, events, outcome });
    }

    /// Appends end in the order in which they began. The numbers of one that failed are forgotten with it; whatever
    /// was planned behind it in the meantime has skipped them.
    pub(super) fn settle(&mut self, is_durable: bool) -> bool {
        let Some(flight) = self.flights.pop_front() else { return false };
        for (event, sequence) in flight.events.into_iter().zip(flight.first..) {
            if let Some(id) = event.id
                && self.flying_ids.get(&id) == Some(&sequence)
            {
                self.flying_ids.remove(&id);
            }
            if let Some((EntityName { hash, .. }, _)) = &event.entity
                && self.flying.get(hash).is_some_and(|(_, newest)| *newest == sequence)
            {
                self.flying.remove(hash);
            }
            if is_durable {
                self.fresh.add(sequence, event);
            }
        }
        self.wants_flush()
    }

    pub(super) fn recall(&mut self, sequence: u64, event: Remembered) -> bool {
        self.fresh.add(sequence, event);
        self.wants_flush()
    }

    fn wants_flush(&self) -> bool {
        self.sealed.is_none() && self.is_fresh_full()
    }

    pub(super) fn is_fresh_full(&self) -> bool {
        let IndexLimits { ids, entities, events } = self.limits;
        self.fresh.ids.len() >= ids || self.fresh.entities.len() >= entities || self.fresh.events >= events
    }

    /// Whether both tails are full, so that publishing must wait for a flush.
    pub(super) fn is_full(&self) -> bool {
        self.sealed.is_some() && self.is_fresh_full()
    }

    /// Begins a flush of all that is durable; `None` when there is nothing, or one is under way.
    pub(super) fn seal(&mut self) -> Option<Arc<Tail>> {
        if self.sealed.is_some() || self.fresh.events == 0 {
            return None;
        }
        let sealed = Arc::new(std::mem::take(&mut self.fresh));
        self.sealed = Some(Arc::clone(&sealed));
        Some(sealed)
    }

    /// The sealed tail is on disk.
    pub(super) fn flushed(&mut self) {
        let Some(sealed) = self.sealed.take() else { return };
        self.flushes += 1;
        self.heat(sealed.entities.iter().map(|(hash, (_, state))| (*hash, state.entityseq)));
    }

    /// Keeps counts that are on disk in memory too, until newer ones take their room.
    pub(super) fn heat(&mut self, counts: impl Iterator<Item = (EntityHash, u64)>) {
        for (hash, count) in counts {
            if self.hot[0].len() >= self.limits.entities {
                self.hot.swap(0, 1);
                self.hot[0].clear();
            }
            self.hot[0].insert(hash, count);
        }
    }
}

impl Tail {
    fn add(&mut self, sequence: u64, event: Remembered) {
        if let Some(id) = event.id {
            self.ids.insert(id, sequence);
        }
        if let Some((EntityName { hash, name }, state)) = event.entity {
            let state = EntityState { sequence, ..state };
            match self.entities.get_mut(&hash) {
                Some((_, known)) => *known = state,
                None => {
                    self.entities.insert(hash, (name, state));
                }
            }
        }
        if let Some((key, is_active)) = event.condition {
            self.conditions.insert(key, is_active);
        }
        self.events += 1;
        self.upto = sequence;
        self.recorded = self.recorded.max(Some(event.recorded));
    }
}
