//! Finds the blocks in the bytes of a segment and says where they are damaged: pure, used to recover and to read.
//!
//! Blocks follow each other without holes, their sequences too, and each names the checksum of the one before it.
//! What breaks one of these is damage; the blocks after it are found again by searching for the next sound one.
//! Bytes after the last sound block are the tail: the caller knows whether it is torn or damaged.

use bytes::Bytes;

use crate::log::{Gap, Stored};
use crate::segmented::block::{self, ALIGN_BYTES, HEADER_BYTES, Header};

/// A stretch of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    /// A sound block.
    Block { offset: usize, header: Header },
    /// Bytes that are not the block that belongs here, and the sequences that are missing for it.
    Damage { offset: usize, end: usize, missing: Option<Gap> },
    /// Sound blocks of which one is stale, as the checksum chain is broken between them: none can be served.
    Distrusted { offset: usize, end: usize, missing: Gap },
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Scan {
    pub(super) pieces: Vec<Piece>,
    /// End of the last sound block: the tail begins here.
    pub(super) end: usize,
    /// The sequence that comes next.
    pub(super) next_seq: u64,
    /// Checksum of the last block, if it is certain.
    pub(super) last_crc: Option<u32>,
}

/// Scans `bytes` from `start`, where the block with sequence `next_seq` belongs and follows one with checksum
/// `last_crc`, when that is known.
pub(super) fn scan(bytes: &[u8], start: usize, next_seq: u64, last_crc: Option<u32>, salt: u32) -> Scan {
    let mut scan = Scan { pieces: Vec::new(), end: start, next_seq, last_crc };
    while let Some((offset, header)) = next_block(bytes, scan.end, salt) {
        scan.accept(offset, header);
    }
    scan
}

/// The first sound block at or after `from`.
fn next_block(bytes: &[u8], from: usize, salt: u32) -> Option<(usize, Header)> {
    let last = bytes.len().checked_sub(HEADER_BYTES)?;
    let places = (from..=last).step_by(ALIGN_BYTES);
    places.into_iter().find_map(|offset| Some((offset, Header::check(&bytes[offset..], salt)?)))
}

impl Scan {
    fn accept(&mut self, offset: usize, header: Header) {
        let end = offset + header.block_bytes();
        if header.first_seq < self.next_seq {
            // A block from before: what should be here is lost, which the next block's sequence will show.
            self.pieces.push(Piece::Damage { offset: self.end, end, missing: None });
            self.end = end;
            self.last_crc = None;
            return;
        }
        let is_lost = header.first_seq > self.next_seq;
        if is_lost || offset > self.end {
            let missing = is_lost.then(|| Gap { first: self.next_seq, last: header.first_seq - 1 });
            self.pieces.push(Piece::Damage { offset: self.end, end: offset, missing });
            self.last_crc = None;
        }
        if self.last_crc.is_some_and(|crc| crc != header.prev_crc) {
            self.distrust(offset, &header);
        } else {
            self.pieces.push(Piece::Block { offset, header });
        }
        self.end = end;
        self.next_seq = header.last_seq() + 1;
        self.last_crc = Some(header.crc);
    }

    /// Both sides of a broken chain are set aside, since nothing says which of them is the stale one.
    fn distrust(&mut self, offset: usize, header: &Header) {
        let end = offset + header.block_bytes();
        let before = match self.pieces.last() {
            Some(Piece::Block { offset, header }) => Some((*offset, header.first_seq)),
            Some(Piece::Distrusted { offset, missing, .. }) => Some((*offset, missing.first)),
            Some(Piece::Damage { .. }) | None => None,
        };
        if before.is_some() {
            self.pieces.pop();
        }
        let (offset, first) = before.unwrap_or((offset, header.first_seq));
        let missing = Gap { first, last: header.last_seq() };
        self.pieces.push(Piece::Distrusted { offset, end, missing });
    }
}

/// Reads the records that are still sound in damaged bytes, those of `missing` only, in order and each once.
pub(super) fn salvage(bytes: &Bytes, offset: usize, end: usize, missing: Gap, salt: u32) -> Vec<Stored> {
    let region = bytes.slice(..end.min(bytes.len()));
    let mut found = Vec::new();
    for place in (offset..region.len()).step_by(ALIGN_BYTES) {
        block::salvage(&region, place, salt, &mut found);
    }
    found.retain(|stored| (missing.first..=missing.last).contains(&stored.seq));
    found.sort_by_key(|stored| stored.seq);
    found.dedup_by_key(|stored| stored.seq);
    found
}

/// The ranges of `whole` that are in none of the given sequences, which are in order.
pub(super) fn missing_of(whole: Gap, present: impl IntoIterator<Item = u64>) -> Vec<Gap> {
    let mut gaps = Vec::new();
    let mut next = whole.first;
    for seq in present {
        if seq > next {
            gaps.push(Gap { first: next, last: seq - 1 });
        }
        next = next.max(seq + 1);
    }
    if next <= whole.last {
        gaps.push(Gap { first: next, last: whole.last });
    }
    gaps
}

/// Adds a range to a sorted list, joined with those it touches.
pub(super) fn insert_gap(gaps: &mut Vec<Gap>, gap: Gap) {
    let at = gaps.partition_point(|other| other.last.saturating_add(1) < gap.first);
    let touching = gaps[at..].iter().take_while(|other| other.first <= gap.last.saturating_add(1)).count();
    let joined = gaps[at..at + touching]
        .iter()
        .fold(gap, |a, b| Gap { first: a.first.min(b.first), last: a.last.max(b.last) });
    gaps.splice(at..at + touching, [joined]);
}
