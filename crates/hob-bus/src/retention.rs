//! Retention: what is too old, too much or superseded is removed, whole parts at a time.
//!
//! What is to go is decided by [`plan`], which is pure. A topic's mark is moved first, so that from then on readers
//! know; then the part goes from its range, then its blob. A crash in between is made good by the next pass, and what
//! lies on the disk without a range naming it is removed when the bus has opened.
//!
//! Topics of kind `compact` lose superseded events only: the newest of every entity stays for good. That moves no mark,
//! since nobody who reads on misses a state.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hob_core::{Digest, Timestamp};
use hob_store::{PartIndex, PartWriter, Stored, Tag, decode_frame};

use crate::Error;
use crate::parts::fetch::Change;
use crate::parts::rows::{PartRow, RANGES, RangeRow, TagCount};
use crate::parts::{EventLog, keys};
use crate::rows::EventRow;
use crate::seal::{Keeping, part_error};

/// Entities that one pass of compaction knows; older events of others are left for another pass.
const ENTITIES_MAX: usize = 1_000_000;

/// What is to go.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Up to where topics lose their events, and what that is, part by part.
    pub(crate) marks: Vec<(Tag, u64, TagCount)>,
    /// Parts of which nothing stays.
    pub(crate) removals: Vec<String>,
    /// Parts of which less than half stays.
    pub(crate) rewrites: Vec<String>,
}

/// Decides what is to go now.
pub(crate) fn plan(
    ranges: &[Arc<RangeRow>],
    mark: impl Fn(&Tag) -> u64,
    keeping: impl Fn(&Tag, &PartRow) -> Keeping,
    now: Timestamp,
) -> Plan {
    let mut plan = Plan::default();
    let mut gone: HashMap<Tag, u64> = HashMap::new();
    let mut held: HashSet<Tag> = HashSet::new();
    let newer = newer_bytes(ranges);
    for part in ranges.iter().flat_map(|range| &range.parts) {
        let mut expired = 0;
        for (text, count) in &part.tags {
            let Ok(tag) = Tag::new(text) else { continue };
            let known = *gone.entry(tag.clone()).or_insert_with(|| mark(&tag));
            if count.last <= known {
                expired += count.bytes;
                continue;
            }
            let kept = keeping(&tag, part);
            let is_old = kept.age.is_some_and(|age| now.since(part.recorded()) > Duration::from_secs(age));
            let beyond = newer.get(&(text.as_str(), count.last)).copied().unwrap_or(0);
            let is_beyond = kept.bytes.is_some_and(|bytes| beyond >= bytes);
            // Oldest first and without holes: what is older and still kept holds the newer back.
            if !held.contains(&tag) && !kept.is_compact && (is_old || is_beyond) {
                plan.marks.push((tag.clone(), count.last, *count));
                gone.insert(tag, count.last);
                expired += count.bytes;
            } else {
                held.insert(tag);
            }
        }
        if part
            .tags
            .iter()
            .all(|(text, count)| Tag::new(text).is_ok_and(|tag| gone.get(&tag) >= Some(&count.last)))
        {
            plan.removals.push(part.name.clone());
        } else if expired * 2 > part.bytes {
            plan.rewrites.push(part.name.clone());
        }
    }
    plan
}

/// How many bytes a topic has in parts newer than the one where it ends with a sequence.
fn newer_bytes(ranges: &[Arc<RangeRow>]) -> HashMap<(&str, u64), u64> {
    let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
    let mut newer = HashMap::new();
    for part in ranges.iter().rev().flat_map(|range| &range.parts) {
        for (text, count) in &part.tags {
            let sum = sums.entry(text).or_default();
            newer.insert((text.as_str(), count.last), *sum);
            *sum += count.bytes;
        }
    }
    newer
}

impl EventLog {
    /// Removes what its topics no longer keep. Says how many events went.
    pub(crate) async fn expire(
        &self,
        keeping: impl Fn(&Tag, &PartRow) -> Keeping,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let view = self.view();
        let plan = plan(&view.ranges, |tag| view.mark(tag), keeping, now);
        let mut events = 0;
        for (tag, upto, lost) in &plan.marks {
            self.mark(tag, *upto, lost).await?;
            events += lost.rows;
        }
        for name in &plan.removals {
            self.remove_part(name).await?;
        }
        for name in &plan.rewrites {
            let view = self.view();
            self.rewrite(name, |stored| stored.seq > view.mark(&stored.tag)).await?;
        }
        Ok(events)
    }

    /// Removes superseded events of compact topics; says how many. Newest part first, within a bounded memory.
    pub(crate) async fn compact(
        &self,
        keeping: impl Fn(&Tag, &PartRow) -> Keeping,
        now: Timestamp,
    ) -> Result<u64, Error> {
        let is_compact = |part: &PartRow| {
            let kept = |text: &String| Tag::new(text).is_ok_and(|tag| keeping(&tag, part).is_compact);
            part.tags.keys().all(kept)
        };
        let view = self.view();
        let parts = view.ranges.iter().rev().flat_map(|range| &range.parts);
        let mut newest: HashMap<[u8; 16], u64> = HashMap::new();
        let mut removed = 0;
        for part in parts.filter(|part| is_compact(part)) {
            let rows = self.rows_of(part).await?;
            for (entity, stored) in rows.iter().rev().filter_map(|stored| Some((entity(stored)?, stored))) {
                if newest.len() < ENTITIES_MAX || newest.contains_key(&entity) {
                    newest.entry(entity).or_insert(stored.seq);
                }
            }
            let is_superseded = |stored: &Stored| {
                entity(stored)
                    .and_then(|entity| newest.get(&entity))
                    .is_some_and(|newest| *newest > stored.seq)
            };
            let superseded = rows.iter().filter(|stored| is_superseded(stored)).count() as u64;
            let age = part.tags.keys().filter_map(|text| keeping(&Tag::new(text).ok()?, part).age).max();
            let is_young = age.is_some_and(|age| now.since(part.recorded()) <= Duration::from_secs(age));
            if is_young || superseded * 2 < part.rows.max(1) || !part.damaged.is_empty() {
                continue;
            }
            drop(rows);
            self.rewrite(&part.name, |stored| !is_superseded(stored)).await?;
            removed += superseded;
        }
        self.compacted.fetch_add(removed, Ordering::Relaxed);
        Ok(removed)
    }

    async fn remove_part(&self, name: &str) -> Result<(), Error> {
        self.change(name, |_| Change::Remove).await?;
        self.blobs.delete(name).await?;
        Ok(())
    }

    /// Writes a part anew with the rows that stay.
    async fn rewrite(&self, name: &str, stays: impl Fn(&Stored) -> bool) -> Result<(), Error> {
        let view = self.view();
        let parts = || view.ranges.iter().flat_map(|range| &range.parts);
        let Some(part) = parts().find(|part| part.name == name) else { return Ok(()) };
        let mut writer = PartWriter::new();
        let mut recorded = i64::MIN;
        for stored in self.rows_of(part).await?.iter().filter(|stored| stays(stored)) {
            let row = EventRow::decode(&stored.payload);
            recorded = recorded.max(row.as_ref().map_or(stored.time, |row| row.recorded.as_micros()));
            let keys: Vec<u64> = row.iter().flat_map(keys::of_row).collect();
            writer.push(stored, keys).map_err(|error| part_error("rewrite a part", &error))?;
        }
        if writer.rows() == 0 {
            return self.remove_part(name).await;
        }
        let (stem, generation) = name.rsplit_once('.').unwrap_or((name, "0"));
        let generation = generation.parse::<u64>().unwrap_or(0) + 1;
        let new = self.put_part(format!("{stem}.{generation}"), writer, recorded, part.age).await?;
        let new_name = new.name.clone();
        let mut damaged = false;
        let is_changed = self.change(name, |known| {
            damaged = known.damaged.len() > part.damaged.len();
            let new = PartRow { damaged: known.damaged.clone(), ..new };
            if damaged { Change::Keep } else { Change::Replace(Box::new(new)) }
        });
        let unwanted = if is_changed.await? { name } else { &new_name };
        self.blobs.delete(unwanted).await?;
        Ok(())
    }

    /// The sound rows of a whole part.
    async fn rows_of(&self, part: &PartRow) -> Result<Vec<Stored>, Error> {
        let bytes = self.blobs.get(&part.name).await?;
        let reading = tokio::task::spawn_blocking(move || {
            let index = PartIndex::decode(&bytes, bytes.len() as u64)
                .unwrap_or_else(|_| hob_store::salvage_part(&bytes));
            let rows = index.frames().iter().flat_map(|frame| {
                let range = frame.range().start as usize..frame.range().end as usize;
                decode_frame(bytes.get(range).unwrap_or_default(), frame).unwrap_or_default()
            });
            rows.collect()
        });
        reading.await.map_err(|_| Error::Closed)
    }

    /// Removes the blobs that no range names: what interrupted passes left behind.
    pub(crate) async fn remove_orphans(&self) -> Result<usize, Error> {
        let _changing = self.changing.lock().await;
        let view = self.view();
        let known: HashSet<&str> =
            view.ranges.iter().flat_map(|range| &range.parts).map(|part| part.name.as_str()).collect();
        let mut removed = 0;
        for blob in self.blobs.list(RANGES.trim_end_matches('/')).await? {
            if !known.contains(blob.name.as_str()) {
                self.blobs.delete(&blob.name).await?;
                removed += 1;
            }
        }
        Ok(removed)
    }
}

/// Half a SHA-256 over an event's topic and subject: no two entities are taken for one, not even on purpose.
fn entity(stored: &Stored) -> Option<[u8; 16]> {
    let row = EventRow::decode(&stored.payload)?;
    let text = format!("{}\0{}", stored.tag, row.subject?);
    Digest::of(text.as_bytes()).as_bytes().first_chunk().copied()
}
