//! Reads what memory does not know from the store's index.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_store::IndexError;

use super::flush::{ENTITIES, id_families};
use super::keys::{EntityHash, EntityName, IdKey, KeyMap};
use super::{Asked, EntityState, Index};
use crate::Error;

/// Longest that a publisher waits for a flush when both tails are full.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);

/// What was read for a batch: valid until a flush ends.
#[derive(Debug, Default)]
pub(crate) struct Fetched {
    pub(super) flushes: u64,
    pub(super) ids: KeyMap<IdKey, Option<u64>>,
    pub(super) counts: KeyMap<EntityHash, u64>,
}

impl Fetched {
    /// What was read for several batches, as one. When a flush came in between, none of it is valid any more.
    #[allow(
        dead_code,
        reason = "a writer that takes several batches in one turn joins what was read for them"
    )]
    pub(crate) fn join(all: impl IntoIterator<Item = Self>) -> Self {
        let mut all = all.into_iter();
        let mut joined = all.next().unwrap_or_default();
        for fetched in all {
            if fetched.flushes != joined.flushes {
                joined.flushes = u64::MAX;
            }
            joined.ids.extend(fetched.ids);
            joined.counts.extend(fetched.counts);
        }
        joined
    }
}

/// What memory does not know.
#[derive(Default)]
struct Missing {
    ids: Vec<IdKey>,
    entities: Vec<EntityName>,
}

impl Index {
    /// Reads what a batch needs and memory does not know. Waits for room first when flushes cannot keep up; fails
    /// when there is none within a named time.
    pub(crate) async fn prefetch(&self, events: &[Asked]) -> Result<Fetched, Error> {
        self.wait_for_room().await?;
        let (mut fetched, missing) = self.missing(events);
        if missing.ids.is_empty() && missing.entities.is_empty() {
            return Ok(fetched);
        }
        let missing = Arc::new(missing);
        let (ids, counts) = self.on_disk(move |engine| fetch(engine, &missing)).await?;
        let known = counts.iter().filter(|(_, count)| **count > 0);
        let mut memory = self.memory();
        if memory.flushes == fetched.flushes {
            memory.heat(known.map(|(hash, count)| (*hash, *count)));
        }
        drop(memory);
        fetched.ids = ids;
        fetched.counts.extend(counts);
        Ok(fetched)
    }

    /// Returns once a tail has room; fails when none has within a named time.
    pub(crate) async fn wait_for_room(&self) -> Result<(), Error> {
        if !self.memory().is_full() {
            return Ok(());
        }
        let waiting = async {
            loop {
                let flushed = self.flushed.notified();
                if !self.memory().is_full() {
                    return;
                }
                flushed.await;
            }
        };
        tokio::time::timeout(ROOM_WAIT_MAX, waiting).await.map_err(|_| Error::IndexBehind)
    }

    /// What is hot goes along, since it may have cooled down by the time of the plan.
    fn missing(&self, events: &[Asked]) -> (Fetched, Missing) {
        let memory = self.memory();
        let mut fetched = Fetched { flushes: memory.flushes, ..Fetched::default() };
        let mut missing = Missing::default();
        for Asked { id, entity } in events {
            missing.ids.extend(id.filter(|id| memory.known(id).is_none()));
            let Some(entity) = entity.as_ref().filter(|entity| memory.unflushed(&entity.hash).is_none())
            else {
                continue;
            };
            match memory.hot(&entity.hash) {
                Some(count) => fetched.counts.insert(entity.hash, count),
                None => {
                    missing.entities.push(entity.clone());
                    None
                }
            };
        }
        (fetched, missing)
    }

    /// The states of entities, as of the durable head.
    pub(crate) async fn states(&self, names: Vec<EntityName>) -> Result<Vec<Option<EntityState>>, Error> {
        let mut states = self.unflushed(&names);
        let missing: Vec<usize> = (0..states.len()).filter(|nth| states[*nth].is_none()).collect();
        if missing.is_empty() {
            return Ok(states);
        }
        let wanted: Arc<[Box<[u8]>]> = missing.iter().map(|nth| names[*nth].name.clone()).collect();
        let read = self.on_disk(move |engine| engine.get_many(ENTITIES, &wanted)).await?;
        for (nth, value) in missing.into_iter().zip(read) {
            states[nth] = value.as_deref().and_then(EntityState::decode);
        }
        Ok(states)
    }

    fn unflushed(&self, names: &[EntityName]) -> Vec<Option<EntityState>> {
        let memory = self.memory();
        let state = |entity: &EntityName| {
            let mut tails = memory.tails();
            tails.find_map(|tail| tail.entities.get(&entity.hash)).map(|(_, state)| state.clone())
        };
        names.iter().map(state).collect()
    }

    /// Entities whose names begin with `prefix`, in order of their names, after the name `after`: as of the durable
    /// head when they are read.
    pub(crate) async fn entities(
        &self,
        prefix: Vec<u8>,
        after: Vec<u8>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, EntityState)>, Error> {
        let mut found = self.unflushed_entities(&prefix, &after);
        let from: Arc<[u8]> = [after.as_slice(), b"\0"].concat().into();
        let read = self.on_disk(move |engine| engine.scan(ENTITIES, &prefix, &from, limit)).await?;
        // Beyond the last that was read more may be on disk: those in memory wait for the next page.
        if let Some((last, _)) = read.last().filter(|_| read.len() >= limit) {
            found.retain(|name, _| name <= last);
        }
        for (name, value) in read {
            if let Some(state) = EntityState::decode(&value) {
                found.entry(name).or_insert(state);
            }
        }
        Ok(found.into_iter().take(limit).collect())
    }

    fn unflushed_entities(&self, prefix: &[u8], after: &[u8]) -> BTreeMap<Vec<u8>, EntityState> {
        let memory = self.memory();
        let mut found = BTreeMap::new();
        for (name, state) in memory.tails().flat_map(|tail| tail.entities.values()) {
            if name.starts_with(prefix) && name.as_ref() > after {
                found.entry(name.to_vec()).or_insert_with(|| state.clone());
            }
        }
        found
    }
}

type Read = (KeyMap<IdKey, Option<u64>>, KeyMap<EntityHash, u64>);

fn fetch(engine: &hob_store::Index, missing: &Missing) -> Result<Read, IndexError> {
    let mut ids: KeyMap<IdKey, Option<u64>> = missing.ids.iter().map(|id| (*id, None)).collect();
    let mut wanted = missing.ids.clone();
    for family in id_families(engine) {
        let keys: Vec<[u8; 16]> = wanted.iter().map(|id| id.0).collect();
        for (id, value) in wanted.iter().zip(engine.get_many(&family, &keys)?) {
            let sequence =
                value.as_deref().and_then(|value| Some(u64::from_le_bytes(value.try_into().ok()?)));
            ids.insert(*id, sequence);
        }
        wanted.retain(|id| ids.get(id).is_some_and(Option::is_none));
    }
    let names: Vec<&[u8]> = missing.entities.iter().map(|entity| &*entity.name).collect();
    let values = engine.get_many(ENTITIES, &names)?;
    let count = |value: Option<Vec<u8>>| {
        value.as_deref().and_then(EntityState::decode).map_or(0, |state| state.entityseq)
    };
    let counts =
        missing.entities.iter().zip(values).map(|(entity, value)| (entity.hash, count(value))).collect();
    Ok((ids, counts))
}
