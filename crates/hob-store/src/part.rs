//! Parts: immutable files of rows, the sealed form of what a log held.
//!
//! ```text
//! header   magic "HOBPART\n" | version u32 | crc32c of these u32
//! frames   one after the other, about 64 KiB of rows each; see `frame`
//! filter   membership of keys that the caller gave with the rows; see `filter`
//! index    where each frame is, what each tag has and in which frames; see `index`
//! trailer  lengths and checksums of filter and index, checksum of all before it, magic, checksum of the trailer
//! ```
//!
//! Everything here is pure: bytes in, bytes out. Every byte of a part is under a checksum, so that no flipped bit goes
//! unnoticed. A frame tells its own rows and tags, so that what is sound can be read also when the index is lost. What
//! a tag or a key means is the caller's. A reader fetches the end of the file first ([`PartIndex::tail_range`]), then
//! the frames that it needs. Start at [`PartWriter`] and [`PartIndex`].

mod check;
mod filter;
mod frame;
mod index;
mod write;

#[cfg(test)]
mod tests;

pub use check::{PartCheck, check_part, salvage_part};
pub use filter::KeyFilter;
pub use frame::decode_frame;
pub use index::{Frame, PartIndex, TagRows};
pub use write::PartWriter;

/// A frame is closed once its rows have this many bytes.
pub const FRAME_BYTES: usize = 64 << 10;
/// Most rows of one frame.
const FRAME_ROWS_MAX: usize = 8_192;
/// Most frames of one part.
pub const PART_FRAMES_MAX: usize = 1 << 16;
/// Most tags of one part.
pub const PART_TAGS_MAX: usize = 16_384;

const MAGIC: &[u8; 8] = b"HOBPART\n";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 16;
const TRAILER_BYTES: usize = 48;

/// Why bytes are no part, or rows cannot be put into one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PartError {
    /// It was written by another version.
    #[error("read a part of version {found}: this Hob reads version {VERSION}")]
    OtherVersion {
        /// The version found.
        found: u32,
    },
    /// The bytes are not as they were written.
    #[error("read a part: its {what} is damaged")]
    Damaged {
        /// Which piece of it.
        what: &'static str,
    },
    /// A row does not follow the one before it.
    #[error("write sequence {seq} into a part after {last}: sequences must rise")]
    Order {
        /// The row's sequence.
        seq: u64,
        /// The one before.
        last: u64,
    },
    /// A part cannot hold more.
    #[error("write a part: {what} are over the limit of {limit}; begin the next part")]
    TooLarge {
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        limit: usize,
    },
}

fn damaged(what: &'static str) -> PartError {
    PartError::Damaged { what }
}

fn header() -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&header[..12]);
    header[12..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Checks a part's first bytes.
fn check_header(bytes: &[u8]) -> Result<(), PartError> {
    let header = bytes.first_chunk::<HEADER_BYTES>().ok_or(damaged("header"))?;
    if header[..8] != *MAGIC || crc32c::crc32c(&header[..12]) != u32_at(header, 12) {
        return Err(damaged("header"));
    }
    match u32_at(header, 8) {
        VERSION => Ok(()),
        found => Err(PartError::OtherVersion { found }),
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes[at..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

/// Feeds arbitrary bytes to everything that decodes them; must return whatever they are.
#[doc(hidden)]
pub fn fuzz_decode_part(bytes: &[u8]) {
    let size = bytes.len() as u64;
    if let Ok(index) = PartIndex::decode(bytes, size) {
        for frame in index.frames() {
            let range = frame.range();
            let (start, end) = (range.start as usize, (range.end as usize).min(bytes.len()));
            let _ = bytes.get(start..end).map(|bytes| decode_frame(bytes, frame));
        }
        let filter = index.filter_range();
        if let Some(bytes) = bytes.get(filter.start as usize..filter.end as usize)
            && let Ok(filter) = index.filter(bytes)
        {
            filter.may_contain(1);
        }
    }
    let _ = check_part(bytes);
    let _ = salvage_part(bytes);
    index::fuzz_decode(bytes);
    frame::fuzz_decode(bytes);
}
