//! What is known of an entity, and its stored form in the index.

use hob_store::varint;

use crate::rows::EventRow;

const DELETED: u8 = 1;
const TAGGED: u8 = 2;
/// The last label of the type of a notice that says that an entity is gone.
const DELETE: &str = "delete";

/// An entity as its newest event left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EntityState {
    /// The newest event's.
    pub(crate) sequence: u64,
    /// How many events it had.
    pub(crate) entityseq: u64,
    pub(crate) is_deleted: bool,
    pub(crate) entitytag: Option<Box<str>>,
}

impl EntityState {
    /// Whether an event says that its entity is gone.
    pub(super) fn is_deleted_by(row: &EventRow<'_>) -> bool {
        row.is_notice && row.kind == DELETE
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        varint::write(out, self.sequence);
        varint::write(out, self.entityseq);
        let flags =
            if self.is_deleted { DELETED } else { 0 } | if self.entitytag.is_some() { TAGGED } else { 0 };
        out.push(flags);
        out.extend_from_slice(self.entitytag.as_deref().unwrap_or_default().as_bytes());
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let (sequence, entityseq) = (varint::take(&mut rest)?, varint::take(&mut rest)?);
        let (flags, tag) = rest.split_first()?;
        let entitytag = if flags & TAGGED == 0 { None } else { Some(std::str::from_utf8(tag).ok()?.into()) };
        Some(Self { sequence, entityseq, is_deleted: flags & DELETED != 0, entitytag })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back() {
        for (is_deleted, entitytag) in [(false, None), (true, Some("\"v2\"".into()))] {
            let state = EntityState { sequence: 300, entityseq: 1, is_deleted, entitytag };
            let mut bytes = Vec::new();
            state.encode(&mut bytes);
            assert_eq!(EntityState::decode(&bytes), Some(state));
        }
        assert_eq!(EntityState::decode(b"\x80"), None);
    }
}
