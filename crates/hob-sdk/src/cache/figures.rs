//! What a cache has done so far, and how well.

use std::time::Duration;

use hob_core::Histogram;
use serde::Serialize;

/// How long ages and lags are looked back on, at least; at most twice as long.
const LOOK_BACK: Duration = Duration::from_secs(60);

/// Counts since the cache was made, what it holds now, and what was seen within the last minute or two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Reads from memory that asked nobody.
    pub hits: u64,
    /// Reads that had to ask the entity's owner and got a new representation.
    pub misses: u64,
    /// Reads that asked and learnt that the kept representation is still right.
    pub revalidations: u64,
    /// Reads from memory although it may have been outdated, because the owner did not answer.
    pub stale_served: u64,
    /// Events that changed what is known of a kept entity.
    pub events: u64,
    /// Events that told the tag of what is kept, and so spared a fetch.
    pub spared: u64,
    /// Second fetches, because the first still brought what an event had outdated.
    pub asked_again: u64,
    /// Entities that were forgotten to keep within the limit.
    pub evictions: u64,
    /// Entities known now.
    pub entities: u64,
    /// Of them, those known to be gone.
    pub tombstones: u64,
    /// Bytes held now, with what is known about them.
    pub bytes: u64,
    /// How old representations were when they were served, in milliseconds: the median.
    pub age_ms_p50: f64,
    /// The same: 99 of 100 were younger.
    pub age_ms_p99: f64,
    /// Milliseconds from when Hob took an event to when the cache knew of it: the median.
    pub lag_ms_p50: f64,
    /// The same: 99 of 100 came sooner.
    pub lag_ms_p99: f64,
}

/// Durations of the recent past.
#[derive(Debug, Default)]
pub(super) struct Recent {
    begun: Duration,
    current: Histogram,
    previous: Histogram,
}

impl Recent {
    pub(super) fn record(&mut self, value: Duration, now: Duration) {
        self.turn(now);
        self.current.record(value.as_secs_f64());
    }

    /// The milliseconds below which the share `q` of durations lies; 0 when there were none.
    pub(super) fn quantile_ms(&self, q: f64) -> f64 {
        let mut both = self.previous.clone();
        both.merge(&self.current);
        let seconds = both.quantile(q).unwrap_or(0.0);
        (seconds * 1_000_000.0).round() / 1000.0
    }

    pub(super) fn turn(&mut self, now: Duration) {
        if now < self.begun + LOOK_BACK {
            return;
        }
        self.previous = std::mem::take(&mut self.current);
        if now >= self.begun + 2 * LOOK_BACK {
            self.previous = Histogram::default();
        }
        self.begun = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_long_past_is_forgotten() {
        let mut recent = Recent::default();
        assert_eq!(recent.quantile_ms(0.5), 0.0);
        recent.record(Duration::from_millis(8), Duration::from_secs(1));
        recent.turn(LOOK_BACK);
        assert!((recent.quantile_ms(0.5) - 8.0).abs() < 0.001);
        recent.turn(2 * LOOK_BACK);
        assert_eq!(recent.quantile_ms(0.5), 0.0);
        recent.record(Duration::from_millis(8), 3 * LOOK_BACK);
        recent.turn(9 * LOOK_BACK);
        assert_eq!(recent.quantile_ms(0.5), 0.0);
    }
}
