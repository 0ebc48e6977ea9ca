//! Reads durable records: from memory when they are recent, else from the segments' bytes, checked again.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use crate::log::{Batch, Gap, ReadError, ReadLimits, Stored, Tag};
use crate::segmented::block;
use crate::segmented::index::{Index, Plan, Stretch};
use crate::segmented::scan::{self, Piece, missing_of};

/// What one read asks for.
pub(super) struct Request {
    /// First sequence.
    pub(super) from: u64,
    /// Wanted tags; `None` for all.
    pub(super) tags: Option<BTreeSet<Tag>>,
    pub(super) limits: ReadLimits,
}

impl Request {
    fn tag_bits(&self) -> u64 {
        match &self.tags {
            Some(tags) => tags.iter().fold(0, |bits, tag| bits | block::tag_bit(tag)),
            None => u64::MAX,
        }
    }
}

/// Reads what is in memory; hands back the request when it needs the disk.
pub(super) fn read_memory(index: &Index, request: Request) -> Result<Result<Batch, DiskRead>, ReadError> {
    let mut collector = Collector::new(request);
    let wanted_bits = collector.request.tag_bits();
    let from = collector.request.from;
    let plan = index.plan(from, wanted_bits, |stored| collector.offer(stored))?;
    match plan {
        Plan::Nothing { head } => Ok(Ok(Batch { next: from, head, ..Batch::default() })),
        Plan::Memory { head, mut records } => {
            records.retain(|stored| collector.is_wanted(stored));
            let next = collector.stopped_at.unwrap_or(head + 1);
            Ok(Ok(Batch { records, gaps: Vec::new(), next, head }))
        }
        Plan::Disk { head, stretches, distrusted } => {
            Ok(Err(DiskRead { collector, head, stretches, distrusted }))
        }
    }
}

/// A read that needs the disk: blocks the thread that runs it.
pub(super) struct DiskRead {
    collector: Collector,
    head: u64,
    stretches: Vec<Stretch>,
    distrusted: Vec<Gap>,
}

impl DiskRead {
    pub(super) fn run(mut self, index: &Index, salt: u32) -> Result<Batch, ReadError> {
        let from = self.collector.request.from;
        let mut batch = Batch { next: from, head: self.head, ..Batch::default() };
        let mut file = OpenSegment::default();
        for stretch in &self.stretches {
            batch.next = stretch.whole.last + 1;
            if !stretch.is_wanted {
                continue;
            }
            let bytes = file.read(stretch).map_err(|source| self.read_error(index, stretch, source))?;
            let mut records = decode(&bytes, stretch.whole, salt);
            records.retain(|stored| !is_in(&self.distrusted, stored.seq));
            let missing = missing_of(stretch.whole, records.iter().map(|stored| stored.seq));
            for stored in records {
                if stored.seq >= from && self.collector.offer(&stored) && self.collector.is_wanted(&stored) {
                    batch.records.push(stored);
                }
            }
            if let Some(stopped_at) = self.collector.stopped_at {
                batch.next = stopped_at;
            }
            for gap in missing {
                report(index, &stretch.path, gap);
                let seen = Gap { first: gap.first.max(from), last: gap.last.min(batch.next - 1) };
                if seen.first <= seen.last {
                    scan::insert_gap(&mut batch.gaps, seen);
                }
            }
            if self.collector.stopped_at.is_some() {
                break;
            }
        }
        Ok(batch)
    }

    fn read_error(&self, index: &Index, stretch: &Stretch, source: io::Error) -> ReadError {
        let from = self.collector.request.from;
        let oldest = index.read().oldest();
        if source.kind() == io::ErrorKind::NotFound && from < oldest {
            return ReadError::Trimmed { from, oldest };
        }
        ReadError::Io { path: stretch.path.to_path_buf(), source: Arc::new(source) }
    }
}

/// Counts records against a read's limits.
struct Collector {
    request: Request,
    records: usize,
    bytes: usize,
    /// The first record that did not fit.
    stopped_at: Option<u64>,
}

impl Collector {
    fn new(request: Request) -> Self {
        Self { request, records: 0, bytes: 0, stopped_at: None }
    }

    fn is_wanted(&self, stored: &Stored) -> bool {
        self.request.tags.as_ref().is_none_or(|tags| tags.contains(&stored.tag))
    }

    /// Whether the read goes on past this record; the first wanted one always fits.
    fn offer(&mut self, stored: &Stored) -> bool {
        if self.stopped_at.is_some() {
            return false;
        }
        if !self.is_wanted(stored) {
            return true;
        }
        let limits = self.request.limits;
        let is_over =
            self.records >= limits.records_max || self.bytes + stored.payload.len() > limits.bytes_max;
        if is_over && self.records > 0 {
            self.stopped_at = Some(stored.seq);
            return false;
        }
        self.records += 1;
        self.bytes += stored.payload.len();
        true
    }
}

/// The segment that was read last, kept open while a read goes through it.
#[derive(Default)]
struct OpenSegment(Option<(Arc<Path>, File)>);

impl OpenSegment {
    /// Reads a stretch, or as much of it as the file still has.
    fn read(&mut self, stretch: &Stretch) -> io::Result<Bytes> {
        let file = match self.0.take() {
            Some((path, file)) if path == stretch.path => file,
            _ => File::open(&stretch.path)?,
        };
        let mut bytes = vec![0; (stretch.end - stretch.offset) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], stretch.offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        self.0 = Some((Arc::clone(&stretch.path), file));
        Ok(bytes.into())
    }
}

/// The sound records of a stretch's bytes, in order.
fn decode(bytes: &Bytes, whole: Gap, salt: u32) -> Vec<Stored> {
    let scan = scan::scan(bytes, 0, whole.first, None, salt);
    let mut records = Vec::new();
    for piece in &scan.pieces {
        match piece {
            Piece::Block { offset, header } => block::decode(bytes, *offset, header, &mut records),
            Piece::Damage { offset, end, missing: Some(gap) } => {
                records.extend(scan::salvage(bytes, *offset, *end, *gap, salt));
            }
            Piece::Damage { missing: None, .. } | Piece::Distrusted { .. } => {}
        }
    }
    if scan.next_seq <= whole.last {
        let rest = Gap { first: scan.next_seq, last: whole.last };
        records.extend(scan::salvage(bytes, scan.end, bytes.len(), rest, salt));
    }
    records
}

fn is_in(gaps: &[Gap], seq: u64) -> bool {
    gaps.iter().any(|gap| (gap.first..=gap.last).contains(&seq))
}

fn report(index: &Index, path: &Path, gap: Gap) {
    if index.quarantine(gap) {
        let (first, last) = (gap.first, gap.last);
        tracing::error!(path = %path.display(), first, last, "records {first} to {last} are damaged and quarantined");
    }
}
