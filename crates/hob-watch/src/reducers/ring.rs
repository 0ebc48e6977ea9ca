//! How many events there were in the last while, in a ring of buckets.

use std::time::Duration;

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

/// Buckets of a ring: an event counts for at least its window and at most a sixtieth longer.
const BUCKETS: usize = 60;

/// Events by when they were, as far back as rules ask.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ring {
    /// Microseconds of a bucket.
    width: i64,
    /// The number of the newest bucket, counted from the epoch.
    head: i64,
    buckets: Vec<u16>,
    /// Since when events are counted.
    pub(crate) first: Timestamp,
}

impl Ring {
    /// Counts from `now` on; it remembers `reach`.
    pub(crate) fn new(reach: Duration, now: Timestamp) -> Self {
        let micros = i64::try_from(reach.as_micros()).unwrap_or(i64::MAX);
        let width = (micros / BUCKETS as i64).max(1);
        let head = now.as_micros().div_euclid(width);
        // One more, because the window rarely begins where a bucket does.
        Self { width, head, buckets: vec![0; BUCKETS + 2], first: now }
    }

    fn index(&self, bucket: i64) -> usize {
        usize::try_from(bucket.rem_euclid(self.buckets.len() as i64)).unwrap_or(0)
    }

    fn oldest(&self) -> i64 {
        self.head.saturating_sub(self.buckets.len() as i64 - 1)
    }

    /// Counts an event of `time`; one that is too old is let go.
    pub(crate) fn add(&mut self, time: Timestamp) {
        let bucket = time.as_micros().div_euclid(self.width);
        if bucket > self.head {
            let passed = bucket.saturating_sub(self.head).min(self.buckets.len() as i64);
            for step in 0..passed {
                let index = self.index(bucket - step);
                self.buckets[index] = 0;
            }
            self.head = bucket;
        }
        if bucket >= self.oldest() {
            let index = self.index(bucket);
            self.buckets[index] = self.buckets[index].saturating_add(1);
        }
    }

    /// Events after `from` and not after `to`; a bucket counts as a whole.
    pub(crate) fn count(&self, from: Timestamp, to: Timestamp) -> u32 {
        let first = from.as_micros().div_euclid(self.width).max(self.oldest());
        let last = to.as_micros().div_euclid(self.width).min(self.head);
        (first..=last).map(|bucket| u32::from(self.buckets[self.index(bucket)])).sum()
    }

    /// Events of the window before `now`.
    pub(crate) fn lately(&self, window: Duration, now: Timestamp) -> u32 {
        // Events may be a little ahead of the clock, which is told after them.
        self.count(now.minus(window), Timestamp::from_micros(i64::MAX))
    }

    /// When fewer than `least` events are in the window, if no more come; nothing when that is so now.
    pub(crate) fn falls_below(&self, least: u32, window: Duration, now: Timestamp) -> Option<Timestamp> {
        let mut left = self.lately(window, now);
        let first = now.minus(window).as_micros().div_euclid(self.width).max(self.oldest());
        for bucket in first..=self.head {
            left = left.saturating_sub(u32::from(self.buckets[self.index(bucket)]));
            if left < least {
                let end = bucket.saturating_add(1).saturating_mul(self.width);
                return Some(Timestamp::from_micros(end).plus(window));
            }
        }
        None
    }

    /// How long a bucket is.
    pub(crate) fn grain(&self) -> Duration {
        Duration::from_micros(u64::try_from(self.width).unwrap_or(1))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn events_count_for_their_window() {
        let minute = Duration::from_secs(60);
        let mut ring = Ring::new(minute, at(0));
        for second in [0, 10, 10, 30] {
            ring.add(at(second));
        }
        assert_eq!(ring.lately(minute, at(30)), 4);
        assert_eq!(ring.lately(minute, at(61)), 3);
        assert_eq!(ring.falls_below(2, minute, at(30)), Some(at(71)));
        assert_eq!(ring.lately(minute, at(71)), 1);
        // Late, and too late.
        ring.add(at(200));
        ring.add(at(190));
        ring.add(at(30));
        assert_eq!(ring.lately(minute, at(200)), 2);
        assert_eq!(ring.falls_below(1, minute, at(300)), None);
    }

    proptest! {
        #[test]
        fn a_ring_counts_as_a_list_does(times in prop::collection::vec(0_i64..600, 0..200), window in 60_u64..300) {
            let window = Duration::from_secs(window);
            let mut ring = Ring::new(window, at(0));
            let mut newest = 0;
            for time in &times {
                newest = newest.max(*time);
                ring.add(at(*time));
            }
            let now = at(newest);
            let within = |window: Duration| times.iter().filter(|time| at(**time) > now.minus(window)).count();
            let counted = ring.lately(window, now) as usize;
            prop_assert!(counted >= within(window) && counted <= within(window + 2 * ring.grain()));
        }
    }
}
