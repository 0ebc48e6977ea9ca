//! The stored form of what is known about parts: one key for each sealed range, one for each topic that lost events.
//!
//! ```text
//! parts/events/<first sequence, 20 digits>   a range with its parts: visible, or not, as a whole
//! expired/<tag>                              up to where a topic's events are gone
//! scrub/events                               where the scrubber goes on
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{Gap, Tag, TagRows};
use serde::{Deserialize, Serialize};

/// Where the keys of ranges begin, and the folder of their parts.
pub(crate) const RANGES: &str = "parts/events/";
/// Where the keys of marks begin.
pub(crate) const MARKS: &str = "expired/";
/// Where the scrubber's place is.
pub(crate) const SCRUB: &str = "scrub/events";

/// A sealed range of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeRow {
    pub(crate) version: u8,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// One for each lane that has rows here.
    pub(crate) parts: Vec<Arc<PartRow>>,
    /// Sequences that were damaged already when the range was sealed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) gaps: Vec<(u64, u64)>,
}

/// A part of a range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PartRow {
    /// The blob.
    pub(crate) name: String,
    /// Bytes of the blob.
    pub(crate) size: u64,
    pub(crate) rows: u64,
    /// Bytes of the rows as they were published.
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// When Hob took the newest of them, microseconds since 1970.
    pub(crate) recorded: i64,
    /// Earliest and latest time that they tell.
    pub(crate) times: (i64, i64),
    /// How long its topics were to be kept when it was written, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) age: Option<u64>,
    /// What it has of each topic.
    pub(crate) tags: BTreeMap<String, TagCount>,
    /// Damaged frames: first and last sequence, rows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) damaged: Vec<(u64, u64, u64)>,
}

/// What a part has of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TagCount {
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) first: u64,
    pub(crate) last: u64,
    /// The latest time that one of them tells.
    pub(crate) latest: i64,
}

impl From<&TagRows> for TagCount {
    fn from(rows: &TagRows) -> Self {
        let TagRows { rows: count, bytes, first_seq, last_seq, max_time, .. } = *rows;
        Self { rows: count, bytes, first: first_seq, last: last_seq, latest: max_time }
    }
}

impl PartRow {
    /// When Hob took its newest event.
    pub(crate) fn recorded(&self) -> Timestamp {
        Timestamp::from_micros(self.recorded)
    }

    /// Whether it may hold events of one of these tags after `after`, told within these times.
    pub(crate) fn has_any<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> bool {
        tags.into_iter().any(|tag| self.tags.contains_key(tag.as_str()))
    }
}

impl RangeRow {
    pub(crate) fn key(&self) -> String {
        format!("{RANGES}{:020}", self.first)
    }

    /// The parts and the damage of before, with one part replaced or, when there is nothing in its place, left out.
    pub(crate) fn with(&self, name: &str, replacement: Option<PartRow>) -> Self {
        let others = self.parts.iter().filter(|part| part.name != name).cloned();
        let parts = others.chain(replacement.map(Arc::new)).collect();
        Self { parts, ..self.clone() }
    }

    pub(crate) fn gaps(&self) -> impl Iterator<Item = Gap> {
        let damaged =
            self.parts.iter().flat_map(|part| part.damaged.iter().map(|(first, last, _)| (*first, *last)));
        self.gaps.iter().copied().chain(damaged).map(|(first, last)| Gap { first, last })
    }
}

/// Up to where a topic's events are gone, by retention.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MarkRow {
    pub(crate) version: u8,
    pub(crate) upto: u64,
    /// How many events that were.
    pub(crate) events: u64,
    pub(crate) bytes: u64,
}

/// Where the scrubber goes on: with the first part behind this one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ScrubRow {
    pub(crate) version: u8,
    pub(crate) after: (u64, String),
}
