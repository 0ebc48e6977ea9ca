//! A block: what one group commit writes, and the unit that a checksum guards.
//!
//! ```text
//! magic u32 | length u32 | crc32c of body u32 | codec u8 | flags u8 | count u16 | first_seq u64 | base_time i64
//! | prev_block_crc u32 | crc32c of header u32 | body, padded with zeros to 8 bytes
//! body   = varint count of tags { varint length, text } , then `count` records
//! record = varint tag | zigzag varint time - base_time | varint length | payload | crc32c u32
//! ```
//!
//! Integers are little-endian. The header's checksum covers that of the body and so the whole block: it is what the
//! next block names. A record's covers its sequence, time, tag and payload, so that the sound records of a damaged
//! block can still be told from the others. All begin with the log's own salt: bytes that a publisher chose can
//! never pass for a block.

use bytes::Bytes;

use crate::log::{RECORD_BYTES_MAX, Record, Stored, TAG_BYTES_MAX, Tag};
use crate::varint::{self, Cursor, VARINT_BYTES_MAX};

/// Bytes of a block before its body.
pub(super) const HEADER_BYTES: usize = 40;
/// Blocks begin at multiples of this.
pub(super) const ALIGN_BYTES: usize = 8;
/// A block is closed once its body has this many bytes. Small enough for one message of a broker.
const BODY_BYTES_TARGET: usize = 256 << 10;
/// Most bytes that a record adds to its payload.
const RECORD_OVERHEAD_BYTES_MAX: usize = 3 * VARINT_BYTES_MAX + 4 + VARINT_BYTES_MAX + TAG_BYTES_MAX;
/// Longest body: one that was just under the target, and a largest record.
const BODY_BYTES_MAX: usize = BODY_BYTES_TARGET + RECORD_BYTES_MAX + RECORD_OVERHEAD_BYTES_MAX;
/// Most records of a block.
const BLOCK_RECORDS_MAX: usize = u16::MAX as usize;

const MAGIC: u32 = u32::from_le_bytes(*b"HOBk");
/// The body is as it is; other numbers are kept for compressed ones.
const CODEC_RAW: u8 = 0;

/// What a block says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) length: usize,
    body_crc: u32,
    /// The checksum that the next block names.
    pub(super) crc: u32,
    pub(super) count: u16,
    pub(super) first_seq: u64,
    pub(super) base_time: i64,
    pub(super) prev_crc: u32,
}

impl Header {
    /// Bytes from the block's beginning to the next block's.
    pub(super) fn block_bytes(&self) -> usize {
        (HEADER_BYTES + self.length).next_multiple_of(ALIGN_BYTES)
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count).saturating_sub(1))
    }

    /// Reads the header at the front of `bytes` if it is sound, whatever follows it.
    fn parse(bytes: &[u8], salt: u32) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let u32_at = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let header = Self {
            length: u32_at(4) as usize,
            body_crc: u32_at(8),
            crc: u32_at(36),
            count: u16::from_le_bytes([bytes[14], bytes[15]]),
            first_seq: u64_at(16),
            base_time: u64_at(24) as i64,
            prev_crc: u32_at(32),
        };
        let is_formed = u32_at(0) == MAGIC
            && header.length <= BODY_BYTES_MAX
            && header.count > 0
            && header.first_seq > 0
            && header.first_seq.checked_add(u64::from(header.count)).is_some()
            && header.crc == crc32c::crc32c_append(salt, &bytes[..36]);
        is_formed.then_some(header)
    }

    /// Reads the header at the front of `bytes` if a whole and sound block is there.
    pub(super) fn check(bytes: &[u8], salt: u32) -> Option<Self> {
        let header = Self::parse(bytes, salt)?;
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + header.length)?;
        let is_whole = bytes.len() >= header.block_bytes() && bytes[12] == CODEC_RAW;
        (is_whole && crc32c::crc32c_append(salt, body) == header.body_crc).then_some(header)
    }
}

/// What one written block needs to be found again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    /// Where it begins in the buffer.
    pub(super) offset: usize,
    pub(super) first_seq: u64,
    pub(super) crc: u32,
    pub(super) tag_bits: u64,
}

/// Appends one block with as many of `records` as it may hold, at least one, and returns how many those were.
pub(super) fn encode(
    out: &mut Vec<u8>,
    records: &[&Record],
    first_seq: u64,
    prev_crc: u32,
    salt: u32,
) -> (usize, Written) {
    let count = fitting(records);
    let records = &records[..count];
    let offset = out.len();
    let base_time = records.first().map_or(0, |record| record.time);
    let tags = TagTable::of(records);
    out.resize(offset + HEADER_BYTES, 0);
    tags.write(out);
    for (record, seq) in records.iter().zip(first_seq..) {
        varint::write(out, tags.index(&record.tag));
        varint::write_signed(out, record.time.wrapping_sub(base_time));
        varint::write(out, record.payload.len() as u64);
        out.extend_from_slice(&record.payload);
        let crc = record_crc(seq, record.time, record.tag.as_str(), &record.payload, salt);
        out.extend_from_slice(&crc.to_le_bytes());
    }
    let length = out.len() - offset - HEADER_BYTES;
    let block = &mut out[offset..];
    block[0..4].copy_from_slice(&MAGIC.to_le_bytes());
    block[4..8].copy_from_slice(&(length as u32).to_le_bytes());
    block[12] = CODEC_RAW;
    block[14..16].copy_from_slice(&(count as u16).to_le_bytes());
    block[16..24].copy_from_slice(&first_seq.to_le_bytes());
    block[24..32].copy_from_slice(&base_time.to_le_bytes());
    block[32..36].copy_from_slice(&prev_crc.to_le_bytes());
    let body_crc = crc32c::crc32c_append(salt, &block[HEADER_BYTES..]);
    block[8..12].copy_from_slice(&body_crc.to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &block[..36]);
    block[36..40].copy_from_slice(&crc.to_le_bytes());
    out.resize(out.len().next_multiple_of(ALIGN_BYTES), 0);
    (count, Written { offset, first_seq, crc, tag_bits: tags.bits() })
}

/// How many of `records` one block holds.
fn fitting(records: &[&Record]) -> usize {
    let mut bytes = 0;
    let is_room = |record: &&&Record| {
        let is_room = bytes < BODY_BYTES_TARGET;
        bytes += record.payload.len() + RECORD_OVERHEAD_BYTES_MAX;
        is_room
    };
    records.iter().take(BLOCK_RECORDS_MAX).take_while(is_room).count()
}

/// Reads the records of a sound block that [`Header::check`] found at `offset`.
pub(super) fn decode(bytes: &Bytes, offset: usize, header: &Header, out: &mut Vec<Stored>) {
    read_records(bytes, offset, header, |stored, _| out.push(stored));
}

/// Reads the records of a damaged block at `offset` whose own checksums hold.
pub(super) fn salvage(bytes: &Bytes, offset: usize, salt: u32, out: &mut Vec<Stored>) {
    let Some(header) = bytes.get(offset..).and_then(|bytes| Header::parse(bytes, salt)) else { return };
    read_records(bytes, offset, &header, |stored, crc| {
        if record_crc(stored.seq, stored.time, stored.tag.as_str(), &stored.payload, salt) == crc {
            out.push(stored);
        }
    });
}

/// The tags of a sound block at `offset`, as [`tag_bit`]s.
pub(super) fn tag_bits(bytes: &[u8], offset: usize) -> u64 {
    TagTable::read(&mut Cursor::new(bytes, offset + HEADER_BYTES)).map_or(u64::MAX, |tags| tags.bits())
}

/// Calls `visit` with each record and its checksum, as far as their form can be followed.
fn read_records(
    bytes: &Bytes,
    offset: usize,
    header: &Header,
    mut visit: impl FnMut(Stored, u32),
) -> Option<()> {
    let end = offset.checked_add(HEADER_BYTES + header.length)?.min(bytes.len());
    let mut cursor = Cursor::new(&bytes[..end], offset + HEADER_BYTES);
    let tags = TagTable::read(&mut cursor)?;
    for seq in header.first_seq..=header.last_seq() {
        let tag = usize::try_from(cursor.varint()?).ok()?;
        let time = header.base_time.wrapping_add(cursor.signed()?);
        let length = cursor.length().filter(|length| *length <= RECORD_BYTES_MAX)?;
        let start = cursor.position();
        cursor.take(length)?;
        let payload = bytes.slice(start..start + length);
        let crc = cursor.u32()?;
        if let Some(tag) = tags.get(tag) {
            visit(Stored { seq, tag: tag.clone(), time, payload }, crc);
        }
    }
    Some(())
}

fn record_crc(seq: u64, time: i64, tag: &str, payload: &[u8], salt: u32) -> u32 {
    let mut fixed = [0; 16];
    fixed[..8].copy_from_slice(&seq.to_le_bytes());
    fixed[8..].copy_from_slice(&time.to_le_bytes());
    let crc = crc32c::crc32c_append(salt, &fixed);
    crc32c::crc32c_append(crc32c::crc32c_append(crc, tag.as_bytes()), payload)
}

/// A set of tags as 64 bits: a tag whose bit is clear is not in it.
pub(super) fn tag_bit(tag: &Tag) -> u64 {
    1 << (crc32c::crc32c(tag.as_str().as_bytes()) % 64)
}

/// The tags of one block, each once.
struct TagTable(Vec<Tag>);

impl TagTable {
    fn of(records: &[&Record]) -> Self {
        let mut tags: Vec<Tag> = Vec::new();
        for record in records {
            // Neighbours mostly share their tag.
            if tags.last() != Some(&record.tag) {
                tags.push(record.tag.clone());
            }
        }
        tags.sort_unstable();
        tags.dedup();
        Self(tags)
    }

    fn index(&self, tag: &Tag) -> u64 {
        if self.0.len() == 1 {
            return 0;
        }
        self.0.binary_search(tag).expect("the table was made of these records' tags") as u64
    }

    fn get(&self, index: usize) -> Option<&Tag> {
        self.0.get(index)
    }

    fn bits(&self) -> u64 {
        self.0.iter().fold(0, |bits, tag| bits | tag_bit(tag))
    }

    fn write(&self, out: &mut Vec<u8>) {
        varint::write(out, self.0.len() as u64);
        for tag in &self.0 {
            varint::write(out, tag.as_str().len() as u64);
            out.extend_from_slice(tag.as_str().as_bytes());
        }
    }

    fn read(cursor: &mut Cursor<'_>) -> Option<Self> {
        let count = cursor.length().filter(|count| *count <= BLOCK_RECORDS_MAX)?;
        let mut tags = Vec::with_capacity(count.min(64));
        for _ in 0..count {
            let length = cursor.length()?;
            tags.push(Tag::new(std::str::from_utf8(cursor.take(length)?).ok()?).ok()?);
        }
        Some(Self(tags))
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::segmented::fuzz_decode_block;

    fn record() -> impl Strategy<Value = Record> {
        ("[a-z/.]{1,20}", any::<i64>(), vec(any::<u8>(), 0..200)).prop_map(|(tag, time, payload)| Record {
            tag: Tag::new(&tag).unwrap(),
            time,
            payload: payload.into(),
        })
    }

    fn block(records: &[Record], salt: u32) -> Vec<u8> {
        let mut out = Vec::new();
        let (count, _) = encode(&mut out, &records.iter().collect::<Vec<_>>(), 7, 5, salt);
        assert_eq!(count, records.len());
        out
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(records in vec(record(), 1..50), salt: u32) {
            let bytes = Bytes::from(block(&records, salt));
            let header = Header::check(&bytes, salt).unwrap();
            prop_assert_eq!((header.first_seq, header.prev_crc, header.block_bytes()), (7, 5, bytes.len()));
            prop_assert_eq!(Header::check(&bytes, salt ^ 1), None);
            let mut stored = Vec::new();
            decode(&bytes, 0, &header, &mut stored);
            let decoded: Vec<_> =
                stored.into_iter().map(|s| Record { tag: s.tag, time: s.time, payload: s.payload }).collect();
            prop_assert_eq!(decoded, records);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..400)) {
            fuzz_decode_block(&bytes);
        }

        #[test]
        fn damaged_blocks_never_panic_nor_lie(
            records in vec(record(), 1..20),
            flips in vec((any::<prop::sample::Index>(), 0_u8..8), 1..4),
        ) {
            let mut bytes = block(&records, 0);
            for (at, bit) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            fuzz_decode_block(&bytes);
            let mut stored = Vec::new();
            salvage(&Bytes::from(bytes), 0, 0, &mut stored);
            for found in stored {
                let record = &records[(found.seq - 7) as usize];
                prop_assert_eq!((&found.tag, found.time, &found.payload), (&record.tag, record.time, &record.payload));
            }
        }
    }

    #[test]
    fn the_stored_form_stays_as_it_is() {
        let record = |tag: &str, time, payload: &'static [u8]| Record {
            tag: Tag::new(tag).unwrap(),
            time,
            payload: Bytes::from_static(payload),
        };
        let mut out = Vec::new();
        let records =
            [record("orders", 1_700_000_000_000_000, b"{}"), record("a", 1_699_999_999_999_999, b"")];
        encode(&mut out, &records.iter().collect::<Vec<_>>(), 258, 0xdead_beef, 0x1234_5678);
        let hex: String = out.iter().map(|byte| format!("{byte:02x}")).collect();
        let header = "484f426b1a000000783258bb00000200020100000000000000401e18240a0600efbeadde1cb2a4d8";
        let body = "020161066f72646572730100027b7d0a362b870001009c455647";
        assert_eq!(hex, format!("{header}{body}{}", "00".repeat(6)));
    }

    #[test]
    fn a_block_ends_at_its_target_size_but_takes_one_largest_record() {
        let largest =
            Record { tag: Tag::new("t").unwrap(), time: 0, payload: Bytes::from(vec![0; RECORD_BYTES_MAX]) };
        let mut out = Vec::new();
        assert_eq!(encode(&mut out, &[&largest, &largest], 1, 0, 0).0, 1);
        assert!(Header::check(&out, 0).is_some());
    }
}
