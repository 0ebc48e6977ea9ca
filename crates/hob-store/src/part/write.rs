//! Writes a part, row by row.

use std::collections::BTreeMap;

use bytes::Bytes;
use roaring::RoaringBitmap;

use super::frame::FrameBuilder;
use super::{Frame, KeyFilter, PART_FRAMES_MAX, PART_TAGS_MAX, PartError, PartIndex, TagRows, header, index};
use crate::log::{Stored, Tag};

/// Gathers rows into a part.
#[derive(Debug)]
pub struct PartWriter {
    out: Vec<u8>,
    frame: FrameBuilder,
    frames: Vec<Frame>,
    tags: BTreeMap<Tag, (TagRows, RoaringBitmap)>,
    keys: Vec<u64>,
    rows: u64,
    payload_bytes: u64,
    last_seq: u64,
}

impl Default for PartWriter {
    fn default() -> Self {
        Self::new()
    }
}

impl PartWriter {
    /// An empty part.
    pub fn new() -> Self {
        Self {
            out: header().to_vec(),
            frame: FrameBuilder::default(),
            frames: Vec::new(),
            tags: BTreeMap::new(),
            keys: Vec::new(),
            rows: 0,
            payload_bytes: 0,
            last_seq: 0,
        }
    }

    /// Adds a row, and the keys by which it may be looked for. Sequences rise from row to row.
    pub fn push(&mut self, row: &Stored, keys: impl IntoIterator<Item = u64>) -> Result<(), PartError> {
        if row.seq <= self.last_seq {
            return Err(PartError::Order { seq: row.seq, last: self.last_seq });
        }
        if self.frames.len() >= PART_FRAMES_MAX - 1 {
            return Err(PartError::TooLarge { what: "frames", limit: PART_FRAMES_MAX });
        }
        if self.tags.len() >= PART_TAGS_MAX && !self.tags.contains_key(&row.tag) {
            return Err(PartError::TooLarge { what: "tags", limit: PART_TAGS_MAX });
        }
        let bytes = row.payload.len() as u64;
        self.frame.push(row);
        self.count(row, bytes);
        self.keys.extend(keys);
        (self.rows, self.payload_bytes, self.last_seq) = (self.rows + 1, self.payload_bytes + bytes, row.seq);
        if self.frame.is_full() {
            self.frames.push(self.frame.finish(&mut self.out));
        }
        Ok(())
    }

    fn count(&mut self, row: &Stored, bytes: u64) {
        let frame = self.frames.len() as u32;
        let Stored { seq, time, .. } = *row;
        let (rows, frames) = self.tags.entry(row.tag.clone()).or_insert_with(|| {
            let none =
                TagRows { rows: 0, bytes: 0, first_seq: seq, last_seq: seq, min_time: time, max_time: time };
            (none, RoaringBitmap::new())
        });
        frames.insert(frame);
        *rows = TagRows {
            rows: rows.rows + 1,
            bytes: rows.bytes + bytes,
            first_seq: rows.first_seq,
            last_seq: seq,
            min_time: rows.min_time.min(time),
            max_time: rows.max_time.max(time),
        };
    }

    /// How many rows it has.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the rows' payloads.
    pub fn payload_bytes(&self) -> u64 {
        self.payload_bytes
    }

    /// How many tags its rows have.
    pub fn tags(&self) -> usize {
        self.tags.len()
    }

    /// The part's bytes and its index.
    pub fn finish(mut self) -> (Bytes, PartIndex) {
        if self.frame.count > 0 {
            self.frames.push(self.frame.finish(&mut self.out));
        }
        self.keys.sort_unstable();
        self.keys.dedup();
        let filter = KeyFilter::of(&self.keys);
        let start = self.out.len() as u64;
        let mut index = PartIndex { frames: self.frames, tags: self.tags, filter: None };
        let encoded = filter.encode();
        index.filter = Some((start..start + encoded.len() as u64, crc32c::crc32c(&encoded)));
        index::finish(&mut self.out, &index, &filter);
        (self.out.into(), index)
    }
}
