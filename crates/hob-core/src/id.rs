//! Sortable unique ids: 48 bits of milliseconds and 80 random bits in Crockford's base 32, the form known as ULID
//! (github.com/ulid/spec), in lower case.

use std::cell::RefCell;

use crate::{Timestamp, random_bytes};

/// Makes ids.
#[derive(Clone, Copy, Debug)]
pub struct Id;

/// Random bytes that a thread fetches at once: a call of the system for each id would cost more than the id.
const POOL_BYTES: usize = 512;

const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

impl Id {
    /// A new id of 26 characters that sorts by `now`.
    pub fn generate(now: Timestamp) -> String {
        Self::from_parts(now, pooled())
    }

    /// A short random id of 10 characters (50 bits), for things that people type.
    pub fn short() -> String {
        text(pooled::<10>().map(|byte| ALPHABET[usize::from(byte & 31)]))
    }

    /// The id made of a time and 80 bits that the caller chose, for example a hash where the id must be repeatable.
    pub fn from_parts(now: Timestamp, random: [u8; 10]) -> String {
        let millis = u128::try_from(now.as_millis().max(0)).unwrap_or(0) & 0xffff_ffff_ffff;
        let bits = random.iter().fold(millis, |bits, byte| (bits << 8) | u128::from(*byte));
        let letter = |place: usize| ALPHABET[((bits >> (5 * (25 - place))) & 31) as usize];
        text::<26>(std::array::from_fn(letter))
    }
}

fn text<const N: usize>(letters: [u8; N]) -> String {
    std::str::from_utf8(&letters).expect("the alphabet is ASCII").to_owned()
}

/// Random bytes out of the thread's pool, each given out once.
fn pooled<const N: usize>() -> [u8; N] {
    thread_local! {
        static POOL: RefCell<([u8; POOL_BYTES], usize)> = const { RefCell::new(([0; POOL_BYTES], POOL_BYTES)) };
    }
    POOL.with_borrow_mut(|(bytes, used)| {
        if *used + N > POOL_BYTES {
            (*bytes, *used) = (random_bytes(), 0);
        }
        let mut taken = [0; N];
        taken.copy_from_slice(&bytes[*used..*used + N]);
        *used += N;
        taken
    })
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

    #[test]
    fn no_two_ids_share_their_random_part() {
        let ids: std::collections::HashSet<String> =
            (0..4 * POOL_BYTES).map(|_| Id::generate(Timestamp::EPOCH)).collect();
        assert_eq!(ids.len(), 4 * POOL_BYTES);
    }
}
