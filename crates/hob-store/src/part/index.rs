//! The index of a part: where each frame is, what each tag has, and in which frames.
//!
//! ```text
//! index = zigzag base time
//!         varint count of frames { varint size, rows, first seq - last seq of the frame before, last seq - first seq,
//!           zigzag min time - base time, varint max time - min time }
//!         varint count of tags { varint length, text | varint rows, bytes, first seq, last seq - first seq,
//!           zigzag min time - base time, varint max time - min time | varint length, bitmap of frames }
//! trailer = filter length u64 | filter crc u32 | index length u32 | index crc u32 | crc of all before the trailer u32
//!           | reserved u64 | magic "HOBPART\n" | reserved u32 | crc of the trailer u32
//! ```
//!
//! Frames lie without holes behind the header, so their offsets need not be written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use roaring::RoaringBitmap;

use super::{
    FRAME_BYTES, HEADER_BYTES, KeyFilter, MAGIC, PART_FRAMES_MAX, PART_TAGS_MAX, PartError, TRAILER_BYTES,
    damaged, u32_at, u64_at,
};
use crate::log::Tag;
use crate::varint::{self, Cursor};

/// Where a frame is and what it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Where it begins in the part.
    pub offset: u64,
    /// Its bytes in the part.
    pub size: u32,
    /// How many rows it has.
    pub rows: u32,
    /// Its first row's sequence.
    pub first_seq: u64,
    /// Its last row's sequence.
    pub last_seq: u64,
    /// The earliest time of its rows.
    pub min_time: i64,
    /// The latest time of its rows.
    pub max_time: i64,
}

impl Frame {
    /// Its place in the part.
    pub fn range(&self) -> Range<u64> {
        self.offset..self.offset + u64::from(self.size)
    }
}

/// What a part holds of one tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TagRows {
    /// How many rows.
    pub rows: u64,
    /// Bytes of their payloads.
    pub bytes: u64,
    /// Sequence of the first.
    pub first_seq: u64,
    /// Sequence of the last.
    pub last_seq: u64,
    /// The earliest of their times.
    pub min_time: i64,
    /// The latest of their times.
    pub max_time: i64,
}

/// What is in a part and where.
#[derive(Debug, Clone, PartialEq)]
pub struct PartIndex {
    pub(super) frames: Vec<Frame>,
    pub(super) tags: BTreeMap<Tag, (TagRows, RoaringBitmap)>,
    pub(super) filter: Option<(Range<u64>, u32)>,
}

impl PartIndex {
    /// The end of a part of this size that most probably holds its whole index.
    pub fn tail_range(size: u64) -> Range<u64> {
        size.saturating_sub(FRAME_BYTES as u64)..size
    }

    /// Reads the index from a part's last bytes: as many as [`PartIndex::needs`] says, or more.
    pub fn decode(tail: &[u8], size: u64) -> Result<Self, PartError> {
        let trailer = Trailer::read(tail)?;
        let length = trailer.index_length as usize;
        let end = tail.len() - TRAILER_BYTES;
        let bytes = end.checked_sub(length).map(|start| &tail[start..end]).ok_or(damaged("index"))?;
        if crc32c::crc32c(bytes) != trailer.index_crc {
            return Err(damaged("index"));
        }
        let mut index = Self::read(&mut Cursor::new(bytes, 0)).ok_or(damaged("index"))?;
        let start = index.frames.last().map_or(HEADER_BYTES as u64, |frame| frame.range().end);
        let filter = start..start.checked_add(trailer.filter_length).ok_or(damaged("trailer"))?;
        if filter.end.checked_add((length + TRAILER_BYTES) as u64) != Some(size) {
            return Err(damaged("trailer"));
        }
        index.filter = Some((filter, trailer.filter_crc));
        Ok(index)
    }

    /// How many of a part's last bytes hold its index, from what its last bytes say.
    pub fn needs(tail: &[u8]) -> Result<u64, PartError> {
        Ok(u64::from(Trailer::read(tail)?.index_length) + TRAILER_BYTES as u64)
    }

    /// Its frames, in order.
    pub fn frames(&self) -> &[Frame] {
        &self.frames
    }

    /// How many rows its frames have.
    pub fn rows(&self) -> u64 {
        self.frames.iter().map(|frame| u64::from(frame.rows)).sum()
    }

    /// What it holds of each tag.
    pub fn tags(&self) -> impl Iterator<Item = (&Tag, &TagRows)> {
        self.tags.iter().map(|(tag, (rows, _))| (tag, rows))
    }

    /// The numbers of the frames that hold rows of these tags, rising; all of them for `None`.
    pub fn frames_of(&self, tags: Option<&BTreeSet<Tag>>) -> Vec<u32> {
        let Some(tags) = tags else { return (0..self.frames.len() as u32).collect() };
        let mut frames = RoaringBitmap::new();
        tags.iter().filter_map(|tag| self.tags.get(tag)).for_each(|(_, bitmap)| frames |= bitmap);
        frames.iter().filter(|frame| (*frame as usize) < self.frames.len()).collect()
    }

    /// The place of the filter; empty when it is lost.
    pub fn filter_range(&self) -> Range<u64> {
        self.filter.as_ref().map_or(0..0, |(range, _)| range.clone())
    }

    /// The filter whose bytes these are.
    pub fn filter(&self, bytes: &[u8]) -> Result<KeyFilter, PartError> {
        let (_, crc) = self.filter.as_ref().ok_or(damaged("filter"))?;
        if crc32c::crc32c(bytes) != *crc {
            return Err(damaged("filter"));
        }
        KeyFilter::decode(bytes)
    }

    /// About the bytes that it takes in memory.
    pub fn size(&self) -> usize {
        let bitmaps: usize = self.tags.values().map(|(_, bitmap)| bitmap.serialized_size() + 160).sum();
        bitmaps + self.frames.len() * size_of::<Frame>()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let base = self.frames.first().map_or(0, |frame| frame.min_time);
        varint::write_signed(&mut out, base);
        varint::write(&mut out, self.frames.len() as u64);
        let mut last = 0;
        for frame in &self.frames {
            varint::write(&mut out, u64::from(frame.size));
            varint::write(&mut out, u64::from(frame.rows));
            varint::write(&mut out, frame.first_seq - last);
            varint::write(&mut out, frame.last_seq - frame.first_seq);
            put_times(&mut out, base, (frame.min_time, frame.max_time));
            last = frame.last_seq;
        }
        varint::write(&mut out, self.tags.len() as u64);
        for (tag, (rows, bitmap)) in &self.tags {
            varint::write(&mut out, tag.as_str().len() as u64);
            out.extend_from_slice(tag.as_str().as_bytes());
            for number in [rows.rows, rows.bytes, rows.first_seq, rows.last_seq - rows.first_seq] {
                varint::write(&mut out, number);
            }
            put_times(&mut out, base, (rows.min_time, rows.max_time));
            varint::write(&mut out, bitmap.serialized_size() as u64);
            bitmap.serialize_into(&mut out).expect("memory takes every byte");
        }
        out
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let base = cursor.signed()?;
        let count = cursor.length().filter(|count| *count <= PART_FRAMES_MAX)?;
        let mut frames: Vec<Frame> = Vec::with_capacity(count.min(1_024));
        let (mut offset, mut last) = (HEADER_BYTES as u64, 0_u64);
        for _ in 0..count {
            let size = u32::try_from(cursor.varint()?).ok()?;
            let rows = u32::try_from(cursor.varint()?).ok()?;
            let first_seq = last.checked_add(cursor.varint()?)?;
            let last_seq = first_seq.checked_add(cursor.varint()?)?;
            let (min_time, max_time) = take_times(cursor, base)?;
            frames.push(Frame { offset, size, rows, first_seq, last_seq, min_time, max_time });
            (offset, last) = (offset.checked_add(u64::from(size))?, last_seq);
        }
        let mut tags = BTreeMap::new();
        for _ in 0..cursor.length().filter(|count| *count <= PART_TAGS_MAX)? {
            let length = cursor.length()?;
            let tag = Tag::new(std::str::from_utf8(cursor.take(length)?).ok()?).ok()?;
            let (rows, bytes, first_seq) = (cursor.varint()?, cursor.varint()?, cursor.varint()?);
            let last_seq = first_seq.checked_add(cursor.varint()?)?;
            let (min_time, max_time) = take_times(cursor, base)?;
            let length = cursor.length()?;
            let bitmap = RoaringBitmap::deserialize_from(cursor.take(length)?).ok()?;
            tags.insert(tag, (TagRows { rows, bytes, first_seq, last_seq, min_time, max_time }, bitmap));
        }
        Some(Self { frames, tags, filter: None })
    }
}

fn put_times(out: &mut Vec<u8>, base: i64, (min, max): (i64, i64)) {
    varint::write_signed(out, min.wrapping_sub(base));
    varint::write(out, max.wrapping_sub(min) as u64);
}

fn take_times(cursor: &mut Cursor<'_>, base: i64) -> Option<(i64, i64)> {
    let min = base.wrapping_add(cursor.signed()?);
    Some((min, min.wrapping_add(cursor.varint()? as i64)))
}

/// What a part's last bytes say.
struct Trailer {
    filter_length: u64,
    filter_crc: u32,
    index_length: u32,
    index_crc: u32,
}

impl Trailer {
    fn read(tail: &[u8]) -> Result<Self, PartError> {
        let trailer = tail.last_chunk::<TRAILER_BYTES>().ok_or(damaged("trailer"))?;
        let is_sound = trailer[32..40] == *MAGIC && crc32c::crc32c(&trailer[..44]) == u32_at(trailer, 44);
        if !is_sound {
            return Err(damaged("trailer"));
        }
        Ok(Self {
            filter_length: u64_at(trailer, 0),
            filter_crc: u32_at(trailer, 8),
            index_length: u32_at(trailer, 12),
            index_crc: u32_at(trailer, 16),
        })
    }
}

/// Appends filter, index and trailer to a part's header and frames.
pub(super) fn finish(out: &mut Vec<u8>, index: &PartIndex, filter: &KeyFilter) {
    let (filter, index) = (filter.encode(), index.encode());
    out.extend_from_slice(&filter);
    out.extend_from_slice(&index);
    let mut trailer = [0; TRAILER_BYTES];
    trailer[..8].copy_from_slice(&(filter.len() as u64).to_le_bytes());
    trailer[8..12].copy_from_slice(&crc32c::crc32c(&filter).to_le_bytes());
    trailer[12..16].copy_from_slice(&(index.len() as u32).to_le_bytes());
    trailer[16..20].copy_from_slice(&crc32c::crc32c(&index).to_le_bytes());
    trailer[20..24].copy_from_slice(&crc32c::crc32c(out).to_le_bytes());
    trailer[32..40].copy_from_slice(MAGIC);
    let crc = crc32c::crc32c(&trailer[..44]);
    trailer[44..].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&trailer);
}

/// Whether the checksum of everything before the trailer holds.
pub(super) fn is_whole(bytes: &[u8]) -> bool {
    let Some((body, trailer)) = bytes.split_last_chunk::<TRAILER_BYTES>() else { return false };
    crc32c::crc32c(body) == u32_at(trailer, 20)
}

/// Reads arbitrary bytes as an index, past the checksum that would refuse them.
pub(super) fn fuzz_decode(bytes: &[u8]) {
    if let Some(index) = PartIndex::read(&mut Cursor::new(bytes, 0)) {
        let _ = (index.size(), index.frames_of(Some(&index.tags.keys().cloned().collect())));
    }
}
