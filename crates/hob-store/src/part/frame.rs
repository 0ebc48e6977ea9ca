//! A frame: the unit that is compressed, fetched and checked.
//!
//! ```text
//! magic u32 | bytes of body u32 | bytes of rows u32 | rows u32 | first seq u64 | last seq u64
//! | crc32c of the header before and the body u32 | body: the rows, compressed by zstd
//! rows = varint count of tags { varint length, text } , then for each row
//!        varint tag | varint seq - last | zigzag varint time - last | varint length | payload
//! ```
//!
//! The first row's sequence counts from the header's, its time from 0.

use std::collections::HashMap;

use bytes::Bytes;

use super::{FRAME_ROWS_MAX, Frame, PartError, damaged, u32_at, u64_at};
use crate::log::{RECORD_BYTES_MAX, Stored, TAG_BYTES_MAX, Tag};
use crate::varint::{self, Cursor, VARINT_BYTES_MAX};

pub(super) const MAGIC: u32 = u32::from_le_bytes(*b"HOBf");
pub(super) const HEADER_BYTES: usize = 36;
/// Compression level: four times as fast as the best that pays, for a few percent more bytes.
const LEVEL: i32 = 3;
/// Most bytes that a row adds to its payload and its tag.
const ROW_BYTES_MAX: usize = 4 * VARINT_BYTES_MAX;
/// Largest frame before compression: one that was just under the target, and a largest row.
const RAW_BYTES_MAX: usize = super::FRAME_BYTES
    + RECORD_BYTES_MAX
    + ROW_BYTES_MAX
    + FRAME_ROWS_MAX * (TAG_BYTES_MAX + VARINT_BYTES_MAX);

/// Gathers the rows of one frame.
#[derive(Debug, Default)]
pub(super) struct FrameBuilder {
    rows: Vec<u8>,
    pub(super) count: usize,
    tags: Vec<Tag>,
    numbers: HashMap<Tag, usize>,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
    last_time: i64,
    pub(super) min_time: i64,
    pub(super) max_time: i64,
}

impl FrameBuilder {
    pub(super) fn push(&mut self, row: &Stored) {
        if self.count == 0 {
            (self.first_seq, self.last_seq, self.last_time) = (row.seq, row.seq, 0);
            (self.min_time, self.max_time) = (row.time, row.time);
        }
        let next = self.tags.len();
        let tag = *self.numbers.entry(row.tag.clone()).or_insert(next);
        if tag == next {
            self.tags.push(row.tag.clone());
        }
        varint::write(&mut self.rows, tag as u64);
        varint::write(&mut self.rows, row.seq - self.last_seq);
        varint::write_signed(&mut self.rows, row.time.wrapping_sub(self.last_time));
        varint::write(&mut self.rows, row.payload.len() as u64);
        self.rows.extend_from_slice(&row.payload);
        self.count += 1;
        (self.last_seq, self.last_time) = (row.seq, row.time);
        (self.min_time, self.max_time) = (self.min_time.min(row.time), self.max_time.max(row.time));
    }

    pub(super) fn is_full(&self) -> bool {
        self.rows.len() >= super::FRAME_BYTES || self.count >= FRAME_ROWS_MAX
    }

    /// Appends the frame to `out` and begins the next one. Says where it is.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>) -> Frame {
        let mut raw = Vec::with_capacity(self.rows.len() + 64);
        varint::write(&mut raw, self.tags.len() as u64);
        for tag in &self.tags {
            varint::write(&mut raw, tag.as_str().len() as u64);
            raw.extend_from_slice(tag.as_str().as_bytes());
        }
        raw.append(&mut self.rows);
        let body = zstd::bulk::compress(&raw, LEVEL).expect("memory is all that compressing needs");
        let start = out.len();
        for word in [MAGIC, body.len() as u32, raw.len() as u32, self.count as u32] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.first_seq.to_le_bytes());
        out.extend_from_slice(&self.last_seq.to_le_bytes());
        let crc = crc32c::crc32c_append(crc32c::crc32c(&out[start..]), &body);
        out.extend_from_slice(&crc.to_le_bytes());
        out.extend_from_slice(&body);
        let frame = Frame {
            offset: start as u64,
            size: (out.len() - start) as u32,
            rows: self.count as u32,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            min_time: self.min_time,
            max_time: self.max_time,
        };
        *self = Self::default();
        frame
    }
}

/// What a frame's header says, when the frame at the front of `bytes` is sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) size: usize,
    raw: usize,
    pub(super) rows: usize,
    pub(super) first_seq: u64,
    pub(super) last_seq: u64,
}

impl Header {
    pub(super) fn check(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let header_of = Self {
            size: HEADER_BYTES + u32_at(header, 4) as usize,
            raw: u32_at(header, 8) as usize,
            rows: u32_at(header, 12) as usize,
            first_seq: u64_at(header, 16),
            last_seq: u64_at(header, 24),
        };
        let is_formed = u32_at(header, 0) == MAGIC
            && header_of.raw <= RAW_BYTES_MAX
            && (1..=FRAME_ROWS_MAX).contains(&header_of.rows)
            && header_of.first_seq <= header_of.last_seq;
        if !is_formed {
            return None;
        }
        let body = bytes.get(HEADER_BYTES..header_of.size)?;
        let crc = crc32c::crc32c_append(crc32c::crc32c(&header[..32]), body);
        (crc == u32_at(header, 32)).then_some(header_of)
    }
}

/// The rows of the frame whose bytes these are, as the index told of it.
pub fn decode_frame(bytes: &[u8], frame: &Frame) -> Result<Vec<Stored>, PartError> {
    let header = Header::check(bytes).ok_or(damaged("frame"))?;
    let is_it = bytes.len() == header.size
        && header.rows == frame.rows as usize
        && (header.first_seq, header.last_seq) == (frame.first_seq, frame.last_seq);
    if !is_it {
        return Err(damaged("frame"));
    }
    rows(bytes, &header).ok_or(damaged("frame"))
}

/// The rows of a frame whose header was found sound.
pub(super) fn rows(bytes: &[u8], header: &Header) -> Option<Vec<Stored>> {
    let body = bytes.get(HEADER_BYTES..header.size)?;
    let raw = Bytes::from(zstd::bulk::decompress(body, header.raw).ok()?);
    if raw.len() != header.raw {
        return None;
    }
    let mut cursor = Cursor::new(&raw, 0);
    let count = cursor.length().filter(|count| *count <= FRAME_ROWS_MAX)?;
    let mut tags = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let length = cursor.length()?;
        tags.push(Tag::new(std::str::from_utf8(cursor.take(length)?).ok()?).ok()?);
    }
    let mut rows = Vec::with_capacity(header.rows);
    let (mut seq, mut time) = (header.first_seq, 0_i64);
    for nth in 0..header.rows {
        let tag = tags.get(usize::try_from(cursor.varint()?).ok()?)?.clone();
        let step = cursor.varint()?;
        seq = seq.checked_add(step).filter(|_| (nth == 0) == (step == 0))?;
        time = time.wrapping_add(cursor.signed()?);
        let length = cursor.length().filter(|length| *length <= RECORD_BYTES_MAX)?;
        let start = cursor.position();
        cursor.take(length)?;
        rows.push(Stored { seq, tag, time, payload: raw.slice(start..start + length) });
    }
    (cursor.position() == raw.len() && seq == header.last_seq).then_some(rows)
}

/// Reads arbitrary bytes as the rows of a frame, past the checksums that would refuse them.
pub(super) fn fuzz_decode(bytes: &[u8]) {
    if let Ok(body) = zstd::bulk::compress(bytes, 1) {
        let mut frame = vec![0; HEADER_BYTES];
        frame.extend(body);
        let header =
            Header { size: frame.len(), raw: bytes.len(), rows: 3, first_seq: 1, last_seq: u64::MAX };
        let _ = rows(&frame, &header);
    }
}
