//! What others call: append samples, read series.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Scope, Timestamp};
use hob_store::{Log, ReadLimits, Tag, seek};
use hob_wire::Series;

use crate::error::Error;
use crate::model::{POINTS_MAX, Query, SCAN_ROWS_MAX, Sample};
use crate::rows;
use crate::step::RollUp;

const TAG: &str = "samples";

/// The series of this platform. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    log: Arc<dyn Log>,
    tag: Tag,
}

impl Metrics {
    /// Series in the signals log.
    pub fn new(signals: Arc<dyn Log>) -> Self {
        Self { log: signals, tag: Tag::new(TAG).expect("a short word is a tag") }
    }

    /// Appends samples and waits until they are on disk.
    pub async fn append(&self, samples: Vec<Sample>) -> Result<(), Error> {
        if samples.is_empty() {
            return Ok(());
        }
        let records = rows::rows(samples).into_iter().map(|row| hob_store::Record {
            tag: self.tag.clone(),
            time: row.time.as_micros(),
            payload: rows::encode(&row).into(),
        });
        self.log.append(records.collect()).await?.durable.await?;
        Ok(())
    }

    /// Reads series by step. Refuses what would be too much instead of cutting it.
    pub async fn query(&self, query: &Query) -> Result<Vec<Series>, Error> {
        let range = query.to.since(query.from).as_micros();
        let points = u64::try_from(range / query.step.as_micros().max(1)).unwrap_or(u64::MAX);
        if points > POINTS_MAX {
            return Err(Error::Points { points });
        }
        let mut roll_up = RollUp::new(query);
        self.scan(query.from, query.to, |row| roll_up.take(row)).await?;
        Ok(roll_up.finish())
    }

    /// Names of the metrics that had samples of `scope` since `from`, with their services.
    pub async fn names(
        &self,
        scope: &Scope,
        from: Timestamp,
    ) -> Result<BTreeMap<String, BTreeSet<String>>, Error> {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let take = |row: rows::Row| {
            if row.scope == *scope {
                for sample in row.samples {
                    names.entry(sample.name).or_default().insert(row.service.to_string());
                }
            }
            Ok(())
        };
        self.scan(from, Timestamp::from_micros(i64::MAX), take).await?;
        Ok(names)
    }

    async fn scan(
        &self,
        from: Timestamp,
        to: Timestamp,
        mut take: impl FnMut(rows::Row) -> Result<(), Error>,
    ) -> Result<(), Error> {
        /// Rows of different senders may arrive out of order by this much.
        const JITTER: Duration = Duration::from_secs(60);
        let tags = BTreeSet::from([self.tag.clone()]);
        let mut at = seek(self.log.as_ref(), from.minus(JITTER).as_micros()).await?;
        let stop = to.plus(JITTER).as_micros();
        let mut seen = 0;
        loop {
            let batch = self.log.read_tagged(at, tags.clone(), ReadLimits::default()).await?;
            seen += batch.records.len() as u64;
            if seen > SCAN_ROWS_MAX {
                return Err(Error::Rows);
            }
            let past = batch.records.last().is_some_and(|record| record.time > stop);
            for record in batch.records {
                if let Some(row) = rows::decode(&record.payload) {
                    take(row)?;
                }
            }
            if past || batch.next > batch.head || batch.next <= at {
                return Ok(());
            }
            at = batch.next;
        }
    }
}
