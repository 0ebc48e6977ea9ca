//! Randomness that is a function of names: the same seed, kind and name give the same draws, in any order of asking.

use std::fmt::Display;

use rand_pcg::Pcg64;
use rand_pcg::rand_core::Rng;

/// A stream of random draws (PCG 64).
pub(crate) struct Chance(Pcg64);

impl Chance {
    /// The stream of a seed, a kind of draw and the name that it is for.
    pub(crate) fn keyed(seed: u64, kind: &str, name: impl Display) -> Self {
        // FNV-1a over the words spreads them; PCG's own first steps mix what is left.
        let key = format!("{seed}:{kind}:{name}");
        let hash = |start: u64| {
            key.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
        };
        let (high, low) = (hash(0xcbf2_9ce4_8422_2325), hash(0x9e37_79b9_7f4a_7c15));
        Self(Pcg64::new((u128::from(high) << 64) | u128::from(low), 0xa02b_dbf7_bb3c_0a7a))
    }

    /// Uniform in [0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub(crate) fn uniform(&mut self, from: f64, to: f64) -> f64 {
        from + (to - from) * self.unit()
    }

    pub(crate) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// An index below `count`, which must not be 0.
    pub(crate) fn index(&mut self, count: usize) -> usize {
        ((self.unit() * count as f64) as usize).min(count - 1)
    }

    /// Whole seconds, uniform between two numbers of minutes.
    pub(crate) fn seconds_in_minutes(&mut self, from: f64, to: f64) -> i64 {
        (self.uniform(from, to) * 60.0).round() as i64
    }

    /// Standard normal, by the method of Box and Muller.
    pub(crate) fn gaussian(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_are_keyed_and_normal() {
        let draw = |seed, kind, name| Chance::keyed(seed, kind, name).unit();
        assert_eq!(draw(1, "stall", "o1"), draw(1, "stall", "o1"));
        assert_ne!(draw(1, "stall", "o1"), draw(1, "stall", "o2"));
        assert_ne!(draw(1, "stall", "o1"), draw(2, "stall", "o1"));
        // Neighbouring names must be independent: the mean and deviation of the first draws say so.
        let values: Vec<f64> = (0..4000).map(|n| Chance::keyed(1, "noise", n).gaussian()).collect();
        let mean = values.iter().sum::<f64>() / 4000.0;
        let variance = values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!(mean.abs() < 0.06 && (variance - 1.0).abs() < 0.1, "mean {mean}, variance {variance}");
    }
}
