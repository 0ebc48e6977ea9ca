//! The newest records of a log in memory, bounded by their bytes.

use std::collections::VecDeque;

use crate::log::Stored;

/// What a record takes in memory beside its payload and tag, in bytes.
const RECORD_COST_BYTES: usize = 64;

/// The newest records, without holes between them.
#[derive(Debug, Default)]
pub(super) struct Tail {
    records: VecDeque<Stored>,
    bytes: usize,
    bytes_max: usize,
}

impl Tail {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, ..Self::default() }
    }

    /// Adds the record that follows the newest one.
    pub(super) fn push(&mut self, stored: Stored) {
        self.bytes += cost(&stored);
        self.records.push_back(stored);
        while self.bytes > self.bytes_max {
            let Some(oldest) = self.records.pop_front() else { break };
            self.bytes -= cost(&oldest);
        }
    }

    /// The records from `from` on, if all of them are here.
    pub(super) fn since(&self, from: u64) -> Option<impl Iterator<Item = &Stored>> {
        let first = self.records.front()?.seq;
        let skipped = usize::try_from(from.checked_sub(first)?).ok()?;
        (skipped < self.records.len()).then(|| self.records.range(skipped..))
    }
}

fn cost(stored: &Stored) -> usize {
    stored.payload.len() + stored.tag.as_str().len() + RECORD_COST_BYTES
}
