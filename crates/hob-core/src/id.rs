//! Sortable unique ids: 48 bits of milliseconds and 80 random bits in Crockford's base 32, the form known as ULID
//! (github.com/ulid/spec), in lower case.

use crate::{Timestamp, random_bytes};

/// Makes ids.
#[derive(Clone, Copy, Debug)]
pub struct Id;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Id {
    /// A new id of 26 characters that sorts by `now`.
    pub fn generate(now: Timestamp) -> String {
        Self::from_parts(now, random_bytes())
    }

    /// A short random id of 10 characters (50 bits), for things that people type.
    pub fn short() -> String {
        random_bytes::<10>().iter().map(|byte| ALPHABET[usize::from(byte & 31)] as char).collect()
    }

    /// The id made of a time and 80 bits that the caller chose, for example a hash where the id must be repeatable.
    pub fn from_parts(now: Timestamp, random: [u8; 10]) -> String {
        let millis = u128::try_from(now.as_millis().max(0)).unwrap_or(0) & 0xffff_ffff_ffff;
        let bits = random.iter().fold(millis, |bits, byte| (bits << 8) | u128::from(*byte));
        (0..26).rev().map(|place| ALPHABET[((bits >> (5 * place)) & 31) as usize] as char).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time_and_differ() {
        let early = Id::generate(Timestamp::from_micros(1_000_000));
        let late = Id::generate(Timestamp::from_micros(2_000_000));
        assert!(early < late);
        assert_eq!(early.len(), 26);
        assert_ne!(Id::short(), Id::short());
    }
}
