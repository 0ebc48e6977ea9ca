//! Blocks: sorted entries with the part of a key that it shares with the one before left out, and a checksum.
//!
//! ```text
//! entry   shared varint | rest varint | value length varint | rest of the key | value
//! block   entries | crc32c of them, u32 little-endian
//! ```

use crate::varint::{self, Cursor};

/// Bytes of the checksum that ends each piece of a run's file.
pub(super) const CRC_BYTES: usize = 4;

/// Appends an entry to a block.
pub(super) fn push(out: &mut Vec<u8>, before: &[u8], key: &[u8], value: &[u8]) {
    let shared = before.iter().zip(key).take_while(|(a, b)| a == b).count();
    for length in [shared, key.len() - shared, value.len()] {
        varint::write(out, length as u64);
    }
    out.extend_from_slice(&key[shared..]);
    out.extend_from_slice(value);
}

/// Ends a piece with its checksum.
pub(super) fn seal(out: &mut Vec<u8>) {
    let crc = crc32c::crc32c(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// What a sealed piece holds; `None` when it is damaged.
pub(super) fn open(sealed: &[u8]) -> Option<&[u8]> {
    let (content, crc) = sealed.split_last_chunk::<CRC_BYTES>()?;
    (crc32c::crc32c(content) == u32::from_le_bytes(*crc)).then_some(content)
}

/// Reads entries in order.
pub(super) struct Entries<'a> {
    content: &'a [u8],
    cursor: Cursor<'a>,
    pub(super) key: Vec<u8>,
    pub(super) value: &'a [u8],
}

impl<'a> Entries<'a> {
    pub(super) fn new(content: &'a [u8]) -> Self {
        Self { content, cursor: Cursor::new(content, 0), key: Vec::new(), value: &[] }
    }

    /// Moves to the next entry; `Some(false)` at the end, `None` when the content makes no sense.
    pub(super) fn advance(&mut self) -> Option<bool> {
        if self.cursor.position() == self.content.len() {
            return Some(false);
        }
        let shared = usize::try_from(self.cursor.varint()?).ok()?;
        let rest = usize::try_from(self.cursor.varint()?).ok()?;
        let value = usize::try_from(self.cursor.varint()?).ok()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(self.cursor.take(rest)?);
        self.value = self.cursor.take(value)?;
        Some(true)
    }

    /// Moves to the first entry whose key is `key` or greater; `Some(false)` when there is none.
    pub(super) fn seek(&mut self, key: &[u8]) -> Option<bool> {
        while self.advance()? {
            if self.key.as_slice() >= key {
                return Some(true);
            }
        }
        Some(false)
    }
}
