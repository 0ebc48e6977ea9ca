//! How much may be published on a topic: a bucket of events that fills with time. Pure.

use std::time::Duration;

use hob_core::Timestamp;
use hob_core::limits::PUBLISH_BATCH_MAX;
use hob_wire::Quota;

/// Parts of an event in which the bucket counts, so that it fills evenly.
const PARTS: i64 = 1_000_000;

/// A bucket: full at first, emptied by what is published.
///
/// A batch passes when the bucket has its events, or is full; the latter leaves a debt when the batch is larger than
/// the bucket, so that no batch is too large for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bucket {
    quota: Quota,
    /// Parts of events that may be published now; below zero while a debt is paid off.
    parts: i64,
    /// As of when.
    at: Timestamp,
}

/// What is left of a quota, as answers tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuotaLeft {
    /// Events a second.
    pub events_per_second: u32,
    /// Events that may be published at once now.
    pub left: u64,
    /// When there will be more: the time until the bucket is full, or has what was asked for.
    pub wait: Duration,
}

impl Bucket {
    pub(crate) fn new(quota: Quota, now: Timestamp) -> Self {
        let mut bucket = Self { quota, parts: 0, at: now };
        bucket.parts = bucket.full();
        bucket
    }

    /// Takes `events` out, or says when that would succeed.
    pub(crate) fn take(&mut self, events: usize, now: Timestamp) -> Result<QuotaLeft, QuotaLeft> {
        self.fill(now);
        let wanted = i64::try_from(events).unwrap_or(i64::MAX / PARTS).saturating_mul(PARTS);
        let needed = wanted.min(self.full());
        if self.parts < needed {
            return Err(self.left(needed));
        }
        self.parts -= wanted;
        Ok(self.left(self.full()))
    }

    /// Puts back what was taken for nothing.
    pub(crate) fn give_back(&mut self, events: usize) {
        let parts = i64::try_from(events).unwrap_or(i64::MAX / PARTS).saturating_mul(PARTS);
        self.parts = self.parts.saturating_add(parts).min(self.full());
    }

    fn full(&self) -> i64 {
        let at_least = self.quota.events_per_second.max(PUBLISH_BATCH_MAX as u32);
        i64::from(self.quota.burst.unwrap_or(at_least).max(1)) * PARTS
    }

    fn fill(&mut self, now: Timestamp) {
        // A clock that goes back fills nothing, and is not waited for.
        let micros = i64::try_from(now.since(self.at).as_micros()).unwrap_or(i64::MAX);
        let filled = micros.saturating_mul(i64::from(self.quota.events_per_second));
        self.parts = self.parts.saturating_add(filled).min(self.full());
        self.at = now;
    }

    fn left(&self, until: i64) -> QuotaLeft {
        let per_second = i64::from(self.quota.events_per_second.max(1));
        let missing = until.saturating_sub(self.parts).max(0);
        let micros = u64::try_from(missing / per_second + i64::from(missing % per_second > 0)).unwrap_or(0);
        QuotaLeft {
            events_per_second: self.quota.events_per_second,
            left: u64::try_from(self.parts.max(0) / PARTS).unwrap_or(0),
            wait: Duration::from_micros(micros),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const QUOTA: Quota = Quota { events_per_second: 10, burst: Some(20) };

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_micros(millis * 1_000)
    }

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let mut bucket = Bucket::new(QUOTA, at(0));
        assert_eq!(bucket.take(15, at(0)).unwrap().left, 5);
        let refused = bucket.take(6, at(0)).unwrap_err();
        assert_eq!((refused.left, refused.wait), (5, Duration::from_millis(100)));
        assert_eq!(bucket.take(6, at(100)).unwrap().left, 0);
        assert_eq!(bucket.take(1, at(150)).unwrap_err().wait, Duration::from_millis(50));
        assert_eq!(bucket.take(1, at(200)).unwrap().wait, Duration::from_secs(2));
        assert_eq!(bucket.take(20, at(60_000)).unwrap().left, 0);
    }

    #[test]
    fn a_batch_larger_than_the_bucket_passes_when_it_is_full_and_is_paid_off() {
        let mut bucket = Bucket::new(QUOTA, at(0));
        assert!(bucket.take(50, at(0)).is_ok());
        assert_eq!(bucket.take(1, at(0)).unwrap_err().wait, Duration::from_millis(3_100));
        assert!(bucket.take(1, at(3_100)).is_ok());
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_and_blocks_nothing() {
        let mut bucket = Bucket::new(QUOTA, at(1_000));
        assert!(bucket.take(20, at(1_000)).is_ok());
        assert!(bucket.take(1, at(0)).is_err());
        assert!(bucket.take(1, at(100)).is_ok());
    }

    #[test]
    fn without_a_burst_a_whole_batch_fits() {
        let mut bucket = Bucket::new(Quota { events_per_second: 1, burst: None }, at(0));
        assert_eq!(bucket.take(PUBLISH_BATCH_MAX, at(0)).unwrap().left, 0);
    }

    proptest! {
        #[test]
        fn no_more_passes_than_the_quota_allows(
            asks in proptest::collection::vec((0_i64..2_000, 1_usize..30), 1..200)
        ) {
            let mut bucket = Bucket::new(QUOTA, at(0));
            let (mut now, mut passed) = (0, 0);
            for (step, events) in asks {
                now += step;
                match bucket.take(events, at(now)) {
                    Ok(_) => passed += events as i64,
                    Err(refused) => {
                        // What the refusal promises holds.
                        let mut later = bucket.clone();
                        let then = at(now).plus(refused.wait);
                        prop_assert!(later.take(events, then).is_ok());
                    }
                }
                // Rate, bucket, and the debt of one batch.
                prop_assert!(passed <= 20 + now * 10 / 1_000 + 30);
            }
        }
    }
}
