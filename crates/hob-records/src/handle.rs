//! What others call: append records, search them.

use std::collections::BTreeSet;
use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{Log, ReadLimits, Stored, Tag, seek};

use crate::error::Error;
use crate::model::{Found, NewRecord, PAGE_RECORDS_MAX, Query, SCAN_RECORDS_MAX};
use crate::rows;

/// Sequences of the signals log that a search reads at once.
const WINDOW: u64 = 4096;
const TAG: &str = "records";

/// The records of this platform. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    log: Arc<dyn Log>,
    tag: Tag,
}

impl Records {
    /// Records in the signals log.
    pub fn new(signals: Arc<dyn Log>) -> Self {
        Self { log: signals, tag: Tag::new(TAG).expect("a short word is a tag") }
    }

    /// Appends records that arrived at `now`, and waits until they are on disk.
    pub async fn append(&self, records: Vec<NewRecord>, now: Timestamp) -> Result<(), Error> {
        let count = records.len();
        if count == 0 {
            return Ok(());
        }
        let rows = records.into_iter().map(|record| hob_store::Record {
            tag: self.tag.clone(),
            time: now.as_micros(),
            payload: rows::encode(record).into(),
        });
        let appended =
            self.log.append(rows.collect()).await.map_err(|source| Error::Append { count, source })?;
        appended.durable.await.map_err(|source| Error::Append { count, source })
    }

    /// The newest position: what is appended later has a greater one.
    pub fn head(&self) -> u64 {
        self.log.head()
    }

    /// Waits until something stands after `position`.
    pub async fn wait(&self, position: u64) -> Result<u64, Error> {
        Ok(self.log.wait(position).await?)
    }

    /// Finds at most `limit` records, newest first, looking at no more than [`SCAN_RECORDS_MAX`]. A record's own time
    /// is never later than its arrival (but for clocks that disagree), so a search stops where arrivals are before
    /// [`Query::from`].
    pub async fn search(&self, query: &Query, limit: usize) -> Result<Found, Error> {
        let limit = limit.clamp(1, PAGE_RECORDS_MAX);
        let floor = match query.from {
            Some(from) => seek(self.log.as_ref(), from.as_micros()).await?,
            None => self.log.oldest(),
        };
        let floor = floor.max(query.after.map_or(0, |after| after + 1)).max(1);
        let mut found = Found::default();
        let mut high = query.before.unwrap_or(u64::MAX).min(self.log.head() + 1);
        while high > floor && found.records.len() < limit {
            if found.scanned >= SCAN_RECORDS_MAX {
                found.next = Some(high);
                return Ok(found);
            }
            let low = high.saturating_sub(WINDOW).max(floor);
            found.scanned += high - low;
            let window = self.window(low, high, &mut found.damaged).await?;
            high = low;
            for stored in window.into_iter().rev() {
                let Some(record) = rows::decode(stored.seq, &stored.payload) else { continue };
                if !query.takes(&record) {
                    continue;
                }
                found.records.push(record);
                if found.records.len() == limit {
                    high = stored.seq;
                    break;
                }
            }
        }
        found.next = (high > floor).then_some(high);
        Ok(found)
    }

    async fn window(&self, low: u64, high: u64, damaged: &mut u64) -> Result<Vec<Stored>, Error> {
        let tags = BTreeSet::from([self.tag.clone()]);
        let mut records = Vec::new();
        let mut at = low;
        while at < high {
            let batch = self.log.read_tagged(at, tags.clone(), ReadLimits::default()).await?;
            let gaps = batch.gaps.iter().filter(|gap| gap.first < high);
            *damaged += gaps.map(|gap| gap.last.min(high - 1) - gap.first + 1).sum::<u64>();
            records.extend(batch.records.into_iter().filter(|record| record.seq < high));
            if batch.next <= at {
                break;
            }
            at = batch.next;
        }
        Ok(records)
    }
}
