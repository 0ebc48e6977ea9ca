//! Random numbers for balancing, jitter and trace ids: quick, spread well, and nobody's secret.

use std::cell::Cell;
use std::hash::{BuildHasher, Hasher, RandomState};

thread_local! {
    static STATE: Cell<u64> = Cell::new(RandomState::new().build_hasher().finish() | 1);
}

/// 64 random bits: xorshift64* (S. Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled",
/// 2016), seeded for each thread from the process's random state.
pub(crate) fn bits() -> u64 {
    STATE.with(|state| {
        let mut x = state.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        state.set(x);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d)
    })
}

/// A random number from 0 to 1.
pub(crate) fn part() -> f64 {
    (bits() >> 11) as f64 / (1_u64 << 53) as f64
}
