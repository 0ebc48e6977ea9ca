//! Looks through the whole of a part for damage, and finds what is sound when its index is lost.

use std::collections::BTreeMap;

use roaring::RoaringBitmap;

use super::frame::{self, Header};
use super::{Frame, HEADER_BYTES, PART_FRAMES_MAX, PartIndex, TagRows, check_header, decode_frame, index};

/// What is damaged in a part.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartCheck {
    /// Frames whose rows cannot be read, by their numbers in the index.
    pub frames: Vec<u32>,
    /// Other pieces that are not as they were written: no row is lost with them.
    pub pieces: Vec<&'static str>,
}

impl PartCheck {
    /// Whether every byte is as it was written.
    pub fn is_sound(&self) -> bool {
        self.frames.is_empty() && self.pieces.is_empty()
    }
}

/// Checks every checksum of a part and reads every row. A part whose index is lost names the frames that
/// [`salvage_part`] found no more.
pub fn check_part(bytes: &[u8]) -> PartCheck {
    let mut check = PartCheck::default();
    if check_header(bytes).is_err() {
        check.pieces.push("header");
    }
    let Ok(index) = PartIndex::decode(bytes, bytes.len() as u64) else {
        check.pieces.push("index");
        return check;
    };
    for (number, frame) in index.frames().iter().enumerate() {
        let range = frame.range();
        let bytes = bytes.get(range.start as usize..range.end as usize).unwrap_or_default();
        if decode_frame(bytes, frame).is_err() {
            check.frames.push(number as u32);
        }
    }
    let filter = index.filter_range();
    let filter = bytes.get(filter.start as usize..filter.end as usize).unwrap_or_default();
    if index.filter(filter).is_err() {
        check.pieces.push("filter");
    }
    if check.is_sound() && !index::is_whole(bytes) {
        check.pieces.push("whole");
    }
    check
}

/// An index of what is sound in a part whose own index is lost: its frames are looked for one by one. It has no
/// filter.
pub fn salvage_part(bytes: &[u8]) -> PartIndex {
    let mut found = PartIndex { frames: Vec::new(), tags: BTreeMap::new(), filter: None };
    let mut at = HEADER_BYTES.min(bytes.len());
    let mut last_seq = 0;
    while let Some((offset, header)) = next_frame(bytes, at) {
        at = offset + header.size;
        if found.frames.len() >= PART_FRAMES_MAX || header.first_seq <= last_seq {
            continue;
        }
        if let Some(rows) = frame::rows(&bytes[offset..at], &header) {
            last_seq = header.last_seq;
            take_in(&mut found, offset, &header, &rows);
        }
    }
    found
}

fn next_frame(bytes: &[u8], from: usize) -> Option<(usize, Header)> {
    let last = bytes.len().checked_sub(frame::HEADER_BYTES)?;
    (from..=last).find_map(|offset| Some((offset, Header::check(&bytes[offset..])?)))
}

fn take_in(found: &mut PartIndex, offset: usize, header: &Header, rows: &[crate::Stored]) {
    let number = found.frames.len() as u32;
    let times = || rows.iter().map(|row| row.time);
    found.frames.push(Frame {
        offset: offset as u64,
        size: header.size as u32,
        rows: header.rows as u32,
        first_seq: header.first_seq,
        last_seq: header.last_seq,
        min_time: times().min().unwrap_or(0),
        max_time: times().max().unwrap_or(0),
    });
    for row in rows {
        let (seq, time) = (row.seq, row.time);
        let none =
            TagRows { rows: 0, bytes: 0, first_seq: seq, last_seq: seq, min_time: time, max_time: time };
        let (counted, frames) =
            found.tags.entry(row.tag.clone()).or_insert_with(|| (none, RoaringBitmap::new()));
        counted.rows += 1;
        counted.bytes += row.payload.len() as u64;
        counted.last_seq = seq;
        counted.min_time = counted.min_time.min(time);
        counted.max_time = counted.max_time.max(time);
        frames.insert(number);
    }
}
