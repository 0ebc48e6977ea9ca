//! Sealing: a closed segment of the log becomes parts.
//!
//! The order is: blobs, then the key of the range, then the log is trimmed. A crash in between leaves blobs that no
//! key names, which are written again under the same names, or a sealed range that is still in the log, which is
//! trimmed when the bus opens. Topics that are kept alike share a lane, and each lane has a part of its own, so that
//! retention removes whole parts.

use std::collections::BTreeMap;

use hob_core::{Digest, Timestamp};
use hob_store::{Gap, PartIndex, PartWriter, ReadLimits, Stored, Tag, check_part};
use hob_wire::{TopicKind, TopicTerms};

use crate::Error;
use crate::parts::rows::{PartRow, RANGES, RangeRow, TagCount};
use crate::parts::{EventLog, keys};
use crate::rows::{EventRow, ROW_VERSION};

/// Payload bytes after which a range ends, whatever the segment has.
const RANGE_BYTES_MAX: u64 = 64 << 20;
/// Topics after which a range ends, so that its key stays small.
const RANGE_TAGS_MAX: usize = 4_000;
/// Lanes of one range; what would need more shares one.
const LANES_MAX: usize = 64;
/// Records of one read of the log.
const READ: ReadLimits = ReadLimits { records_max: 16_384, bytes_max: 4 << 20 };

/// Records after which others have their turn: the thread that seals answers publishers too.
const TURN_RECORDS: usize = 512;

/// How a topic's events are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keeping {
    pub(crate) age: Option<u64>,
    pub(crate) bytes: Option<u64>,
    pub(crate) is_compact: bool,
}

impl Keeping {
    pub(crate) fn of(terms: &TopicTerms) -> Self {
        let retention = terms.retention.unwrap_or_default();
        let is_compact = terms.kind == TopicKind::Compact;
        Self { age: retention.age_seconds, bytes: retention.bytes, is_compact }
    }

    /// The name of the lane: topics that are removed at the same time share one.
    fn lane(&self, tag: &Tag) -> String {
        match *self {
            Self { is_compact: true, age: Some(age), .. } => format!("compact{age}"),
            Self { is_compact: true, .. } => "compact".to_owned(),
            Self { bytes: Some(_), .. } => {
                let digest = Digest::of(tag.as_str().as_bytes());
                let digits: String =
                    digest.as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
                format!("topic-{digits}")
            }
            Self { age: Some(age), .. } => format!("age{age}"),
            Self { .. } => "keep".to_owned(),
        }
    }
}

/// A part on its way.
struct Lane {
    writer: PartWriter,
    recorded: i64,
    age: Option<u64>,
}

/// The parts of a range on their way.
#[derive(Default)]
struct Lanes {
    lanes: BTreeMap<String, Lane>,
    bytes: u64,
    tags: BTreeMap<Tag, String>,
    gaps: Vec<(u64, u64)>,
}

impl Lanes {
    fn push(&mut self, stored: &Stored, keeping: impl Fn(&Tag) -> Keeping) -> Result<(), Error> {
        if !self.tags.contains_key(&stored.tag) {
            let kept = keeping(&stored.tag);
            let mut name = kept.lane(&stored.tag);
            if self.lanes.len() >= LANES_MAX && !self.lanes.contains_key(&name) {
                "mixed".clone_into(&mut name);
            }
            let none = || Lane { writer: PartWriter::new(), recorded: i64::MIN, age: kept.age };
            self.lanes.entry(name.clone()).or_insert_with(none);
            self.tags.insert(stored.tag.clone(), name);
        }
        let lane = self.tags.get(&stored.tag).and_then(|name| self.lanes.get_mut(name));
        let lane = lane.expect("the lane was made when its tag was first seen");
        let row = EventRow::decode(&stored.payload);
        let recorded = row.as_ref().map_or(stored.time, |row| row.recorded.as_micros());
        lane.recorded = lane.recorded.max(recorded);
        let keys: Vec<u64> = row.iter().flat_map(keys::of_row).collect();
        lane.writer.push(stored, keys).map_err(|error| part_error("write a part", &error))?;
        self.bytes += stored.payload.len() as u64;
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.bytes >= RANGE_BYTES_MAX || self.tags.len() >= RANGE_TAGS_MAX
    }
}

impl EventLog {
    /// Seals the beginning of a closed range of the log, most often all of it. Says up to where.
    pub(crate) async fn seal(&self, range: Gap, keeping: impl Fn(&Tag) -> Keeping) -> Result<u64, Error> {
        let mut lanes = Lanes::default();
        let mut at = range.first;
        while at <= range.last && !lanes.is_full() {
            let batch = self.log.read(at, READ).await?;
            let upto = (batch.next - 1).min(range.last);
            let is_within = |gap: &&Gap| gap.first <= upto;
            lanes.gaps.extend(batch.gaps.iter().filter(is_within).map(|gap| (gap.first, gap.last.min(upto))));
            for (nth, stored) in batch.records.iter().filter(|stored| stored.seq <= upto).enumerate() {
                lanes.push(stored, &keeping)?;
                if nth % TURN_RECORDS == 0 {
                    tokio::task::yield_now().await;
                }
            }
            if batch.next <= at {
                return Err(part_error("seal the log", &format!("nothing can be read at {at}")));
            }
            at = upto + 1;
        }
        let last = at - 1;
        let mut row = RangeRow { version: ROW_VERSION, first: range.first, last, ..RangeRow::default() };
        row.gaps = lanes.gaps;
        for (lane, Lane { writer, recorded, age }) in lanes.lanes {
            let name = format!("{RANGES}{:020}-{last:020}.{lane}.0", range.first);
            let part = self.put_part(name, writer, recorded, age).await?;
            row.parts.push(part.into());
        }
        let _changing = self.changing.lock().await;
        self.put_range(row).await?;
        Ok(last)
    }

    /// Writes a part's blob, after having looked at its bytes once more.
    pub(crate) async fn put_part(
        &self,
        name: String,
        writer: PartWriter,
        recorded: i64,
        age: Option<u64>,
    ) -> Result<PartRow, Error> {
        let finishing = tokio::task::spawn_blocking(move || {
            let (rows, payload) = (writer.rows(), writer.payload_bytes());
            let (bytes, index) = writer.finish();
            let is_sound = check_part(&bytes).is_sound();
            (bytes, index, rows, payload, is_sound)
        });
        let (bytes, index, rows, payload, is_sound) = finishing.await.map_err(|_| Error::Closed)?;
        if !is_sound {
            return Err(part_error("write a part", &"its bytes are not sound; is the memory?"));
        }
        let size = bytes.len() as u64;
        self.blobs.put(&name, bytes).await?;
        Ok(describe(name, size, rows, payload, recorded, age, &index))
    }
}

fn describe(
    name: String,
    size: u64,
    rows: u64,
    bytes: u64,
    recorded: i64,
    age: Option<u64>,
    index: &PartIndex,
) -> PartRow {
    let frames = index.frames();
    let times = |frame: &hob_store::Frame| (frame.min_time, frame.max_time);
    let widest = |(a, b): (i64, i64), (c, d): (i64, i64)| (a.min(c), b.max(d));
    PartRow {
        name,
        size,
        rows,
        bytes,
        first: frames.first().map_or(0, |frame| frame.first_seq),
        last: frames.last().map_or(0, |frame| frame.last_seq),
        recorded,
        times: frames.iter().map(times).reduce(widest).unwrap_or((0, 0)),
        age,
        tags: index.tags().map(|(tag, rows)| (tag.as_str().to_owned(), TagCount::from(rows))).collect(),
        damaged: Vec::new(),
    }
}

pub(crate) fn part_error(what: &str, problem: &dyn std::fmt::Display) -> Error {
    Error::Row { what: what.to_owned(), problem: problem.to_string() }
}

/// When Hob took an event.
pub(crate) fn recorded(stored: &Stored) -> Timestamp {
    EventRow::decode(&stored.payload).map_or(Timestamp::from_micros(stored.time), |row| row.recorded)
}
