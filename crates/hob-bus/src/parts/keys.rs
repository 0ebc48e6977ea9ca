//! The keys by which events are looked for in parts: stable hashes of subject, request id and id.
//!
//! They are written into files, so they must never change. Two texts that share a key cost a needless look, no more.

use crate::rows::EventRow;

/// What a key is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Subject,
    Request,
    Id,
}

impl Kind {
    fn seed(self) -> u8 {
        match self {
            Self::Subject => b's',
            Self::Request => b'r',
            Self::Id => b'i',
        }
    }
}

/// The key of a text: 64-bit FNV-1a over its kind and its bytes.
pub(crate) fn key(kind: Kind, text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    text.bytes().fold(step(0xcbf2_9ce4_8422_2325, kind.seed()), step)
}

/// The keys of an event.
pub(crate) fn of_row(row: &EventRow<'_>) -> impl Iterator<Item = u64> {
    let subject = row.subject.map(|subject| key(Kind::Subject, subject));
    let request = row.request_id.map(|id| key(Kind::Request, id));
    [subject, request, Some(key(Kind::Id, row.id))].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_change() {
        assert_eq!(key(Kind::Subject, "http://t/orders/7"), 0xcf9a_a92f_be8d_33f8);
        assert_ne!(key(Kind::Subject, "a"), key(Kind::Request, "a"));
    }
}
