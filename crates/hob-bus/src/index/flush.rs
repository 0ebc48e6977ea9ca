//! Puts the durable tail into the store's index, sorted, with the sequence up to which the index is complete.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_store::{IndexCommit, IndexError};

use super::Index;
use super::memory::Tail;
use super::note::Note;
use crate::Error;
use crate::model::limits::DEDUPLICATION_WINDOW;

/// The family of entities: tag, zero byte and href of each, with its state.
pub(super) const ENTITIES: &str = "entities";
/// The family of conditions: what they are known by, and whether they are active.
const CONDITIONS: &str = "conditions";
const ACTIVE: &[u8] = b"1";
const INACTIVE: &[u8] = b"0";
/// The families of ids, one for each day: `ids-20454`.
const IDS: &str = "ids-";
const DAY_MICROS: i64 = 86_400_000_000;
/// How long a flush that failed waits before it tries again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The families of ids, newest first.
pub(super) fn id_families(engine: &hob_store::Index) -> Vec<String> {
    let mut families = engine.families();
    families.retain(|family| family.starts_with(IDS));
    families.reverse();
    families
}

impl Index {
    /// Flushes all that is durable, in the background. `positions` says where the topics stand at the newest event
    /// that has settled. Does nothing while another flush is under way.
    pub(crate) fn flush(self: &Arc<Self>, positions: impl FnOnce() -> Note) {
        let Some(sealed) = self.memory().seal() else { return };
        let (index, note) = (Arc::clone(self), positions());
        tokio::spawn(async move { index.write(&sealed, note).await });
    }

    /// Like [`Index::flush`], and waits for it; also for one that is under way.
    pub(crate) async fn flush_now(&self, positions: impl FnOnce() -> Note) {
        loop {
            let flushed = self.flushed.notified();
            let sealed = {
                let mut memory = self.memory();
                if memory.sealed.is_none() { Some(memory.seal()) } else { None }
            };
            match sealed {
                None => flushed.await,
                Some(None) => return,
                Some(Some(sealed)) => return self.write(&sealed, positions()).await,
            }
        }
    }

    /// Tries until it succeeds; meanwhile publishing goes on until both tails are full.
    async fn write(&self, sealed: &Arc<Tail>, note: Note) {
        let note = Bytes::from(note.encode(sealed.upto));
        let mut is_failing = false;
        loop {
            let (engine, tail, note) = (Arc::clone(&self.engine), Arc::clone(sealed), note.clone());
            let disk = self.disk.read().await;
            let written = tokio::task::spawn_blocking(move || commit(&engine, &tail, note)).await;
            drop(disk);
            if let Ok(Err(IndexError::Damaged { .. })) = &written {
                self.damaged.notify_one();
            }
            match written {
                Ok(Ok(())) => break,
                Ok(Err(error)) if !is_failing => {
                    tracing::error!(%error, "failed to flush the index; trying on")
                }
                Ok(Err(_)) => {}
                // The runtime is closing: the log knows everything.
                Err(_) => return,
            }
            is_failing = true;
            tokio::time::sleep(RETRY_AFTER).await;
        }
        self.memory().flushed();
        self.flushed.notify_waiters();
    }

    /// The conditions that are active, by what they are known by.
    pub(crate) async fn active_conditions(&self) -> Result<Vec<Vec<u8>>, Error> {
        let engine = Arc::clone(&self.engine);
        let read = tokio::task::spawn_blocking(move || engine.scan(CONDITIONS, b"", b"", usize::MAX)).await;
        let flushed = read.map_err(|_| Error::Closed)??;
        let mut all: BTreeMap<Vec<u8>, bool> =
            flushed.into_iter().map(|(key, value)| (key, value == ACTIVE)).collect();
        let memory = self.memory();
        let oldest_first = memory.sealed.as_deref().into_iter().chain([&memory.fresh]);
        oldest_first.for_each(|tail| {
            all.extend(tail.conditions.iter().map(|(key, is_active)| (key.clone(), *is_active)))
        });
        Ok(all.into_iter().filter(|(_, is_active)| *is_active).map(|(key, _)| key).collect())
    }

    /// What the newest flush noted.
    pub(crate) fn note(&self) -> Option<Note> {
        Note::decode(&self.engine.note())
    }

    /// Forgets what is on disk.
    pub(crate) fn clear(&self) -> Result<(), IndexError> {
        self.engine.clear()
    }
}

pub(super) fn commit(engine: &hob_store::Index, tail: &Tail, note: Bytes) -> Result<(), IndexError> {
    let mut ids: Vec<([u8; 16], [u8; 8])> =
        tail.ids.iter().map(|(id, seq)| (id.0, seq.to_le_bytes())).collect();
    ids.sort_unstable();
    let mut names: Vec<(&[u8], std::ops::Range<usize>)> = Vec::with_capacity(tail.entities.len());
    let mut states = Vec::new();
    for (name, state) in tail.entities.values() {
        let start = states.len();
        state.encode(&mut states);
        names.push((name, start..states.len()));
    }
    names.sort_unstable_by_key(|(name, _)| *name);
    let day = tail.recorded.map_or(0, |recorded| recorded.as_micros().div_euclid(DAY_MICROS));
    let days = (DEDUPLICATION_WINDOW.as_micros() as i64) / DAY_MICROS;
    let is_over = |family: &String| family[IDS.len()..].parse::<i64>().is_ok_and(|of| of < day - days);
    let drops = id_families(engine).into_iter().filter(is_over).collect();
    let family = format!("{IDS}{day:06}");
    let mut ids = ids.iter().map(|(id, sequence)| (id.as_slice(), sequence.as_slice()));
    let mut entities = names.into_iter().map(|(name, at)| (name, &states[at]));
    let flag = |is_active: &bool| if *is_active { ACTIVE } else { INACTIVE };
    let mut conditions = tail.conditions.iter().map(|(key, is_active)| (key.as_slice(), flag(is_active)));
    engine.commit(IndexCommit {
        puts: vec![(&family, &mut ids), (ENTITIES, &mut entities), (CONDITIONS, &mut conditions)],
        drops,
        note,
    })
}
