//! What a flush notes: up to where the index is complete, and where the topics stood there.

use hob_store::varint;

use crate::positions::Snapshot;

/// The form of the note.
const VERSION: u8 = 1;

/// What opening needs beside the families.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// Everything up to here is in the index, and nothing beyond.
    pub(crate) watermark: u64,
    pub(crate) positions: Snapshot,
}

impl Note {
    /// The note of a flush; its watermark is told when it is written.
    pub(crate) fn of(positions: Snapshot) -> Self {
        Self { watermark: 0, positions }
    }

    pub(super) fn encode(&self, watermark: u64) -> Vec<u8> {
        let mut out = vec![VERSION];
        varint::write(&mut out, watermark);
        self.positions.encode(&mut out);
        out
    }

    /// `None` when the bytes are none, as of an index that was begun anew.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (version, mut rest) = bytes.split_first()?;
        if *version != VERSION {
            return None;
        }
        let watermark = varint::take(&mut rest)?;
        Some(Self { watermark, positions: Snapshot::decode(rest)? })
    }
}
