//! Finds events of which the sequences are known, those near each other together.

use std::collections::{BTreeSet, HashMap};

use hob_store::{ReadError, ReadLimits, Stored, Tag};

use super::EventLog;
use super::find::{Order, Query};

/// So many sequences more than there are events to find may be read over at once.
const NEAR: u64 = 256;
/// Payload bytes of one look.
const LOOK_BYTES_MAX: usize = 2 << 20;

impl EventLog {
    /// The records of these tags and sequences, as far as they can be read; how many bytes they may have is the
    /// caller's to see to.
    pub(crate) async fn many(
        &self,
        tags: &BTreeSet<Tag>,
        sequences: &BTreeSet<u64>,
    ) -> Result<HashMap<u64, Stored>, ReadError> {
        let query = Query { tags: Some(tags), ..Query::default() };
        let mut found = HashMap::with_capacity(sequences.len());
        let mut from = sequences.first().copied();
        while let Some(first) = from {
            // Events that lie far apart are not worth what lies between them.
            let near =
                sequences.range(first..).zip(first..).take_while(|(sequence, nth)| **sequence <= nth + NEAR);
            let records_max = near.last().map_or(1, |(last, _)| (last + 1 - first) as usize);
            let limits = ReadLimits { records_max, bytes_max: LOOK_BYTES_MAX };
            let sought = self.find(&query, Order::Rising, first, limits).await?;
            // What came back empty-handed did not find the record, whether it says so or not.
            let next = sought.next.max(first + 1);
            let meant = sought.records.into_iter().filter(|stored| sequences.contains(&stored.seq));
            found.extend(meant.map(|stored| (stored.seq, stored)));
            from = sequences.range(next..).next().copied();
        }
        Ok(found)
    }
}
