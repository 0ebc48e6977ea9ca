//! One mergeable histogram for the whole platform: router reports, statsd timers and samples all use it.
//!
//! Buckets are exponential with eight to the doubling, as in the OpenTelemetry exponential histogram at scale 3
//! (opentelemetry.io, metrics data model): a quantile is off by at most 4.4 %. The number of buckets is bounded; what
//! lies beyond falls into the lowest or the highest.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

const PER_DOUBLING: f64 = 8.0;
/// The lowest bucket holds everything up to 2^-20 (about a microsecond, when the unit is seconds).
const LOWEST: i16 = -20 * 8;
/// The highest bucket holds everything from 2^30 on.
const HIGHEST: i16 = 30 * 8;

/// Counts of values by exponential bucket, with their sum, least and greatest. Values are whole-process constant in
/// unit: seconds for latencies. Negative and not-a-number values are not taken.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Histogram {
    /// Number of values.
    pub count: u64,
    /// Sum of values.
    pub sum: f64,
    /// Least value; 0 when there is none.
    pub min: f64,
    /// Greatest value; 0 when there is none.
    pub max: f64,
    /// Counts by bucket: bucket `b` holds values in (2^(b/8), 2^((b+1)/8)].
    pub buckets: BTreeMap<i16, u64>,
}

impl Histogram {
    /// Adds one value; returns whether it was taken.
    pub fn record(&mut self, value: f64) -> bool {
        self.record_many(value, 1)
    }

    /// Adds a value `times` over, for sampled telemetry; returns whether it was taken.
    pub fn record_many(&mut self, value: f64, times: u64) -> bool {
        if !value.is_finite() || value < 0.0 || times == 0 {
            return false;
        }
        self.min = if self.count == 0 { value } else { self.min.min(value) };
        self.max = self.max.max(value);
        self.count += times;
        self.sum += value * times as f64;
        *self.buckets.entry(bucket_of(value)).or_default() += times;
        true
    }

    /// Adds all of `other`'s values.
    pub fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        self.min = if self.count == 0 { other.min } else { self.min.min(other.min) };
        self.max = self.max.max(other.max);
        self.count += other.count;
        self.sum += other.sum;
        for (bucket, count) in &other.buckets {
            *self.buckets.entry((*bucket).clamp(LOWEST, HIGHEST)).or_default() += count;
        }
    }

    /// The value below which the share `q` (0 to 1) of values lies: a bucket's geometric middle, within the least
    /// and greatest value seen; nothing when empty.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        if self.count == 0 {
            return None;
        }
        let rank = (q.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                let middle = 2_f64.powf((f64::from(*bucket) + 0.5) / PER_DOUBLING);
                return Some(middle.clamp(self.min, self.max));
            }
        }
        Some(self.max)
    }

    /// Mean of the values; nothing when empty.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum / self.count as f64)
    }
}

fn bucket_of(value: f64) -> i16 {
    if value <= 0.0 {
        return LOWEST;
    }
    let bucket = (value.log2() * PER_DOUBLING).ceil() - 1.0;
    bucket.clamp(f64::from(LOWEST), f64::from(HIGHEST)) as i16
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_is_no_magnitude() {
        let mut histogram = Histogram::default();
        assert!(!histogram.record(f64::NAN));
        assert!(!histogram.record(-1.0));
        assert_eq!(histogram.quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn quantiles_are_within_a_bucket(mut values in prop::collection::vec(1e-5_f64..1e5, 1..200), q in 0.0_f64..1.0) {
            let mut histogram = Histogram::default();
            for value in &values {
                prop_assert!(histogram.record(*value));
            }
            values.sort_by(f64::total_cmp);
            let rank = ((q * values.len() as f64).ceil().max(1.0) as usize).min(values.len());
            let exact = values[rank - 1];
            let told = histogram.quantile(q).unwrap();
            prop_assert!((told / exact).log2().abs() <= 1.0 / PER_DOUBLING, "{told} for {exact}");
        }

        #[test]
        fn merging_equals_recording_all(a in prop::collection::vec(0.0_f64..1e4, 0..50), b in prop::collection::vec(0.0_f64..1e4, 0..50)) {
            let fill = |values: &[f64]| values.iter().fold(Histogram::default(), |mut h, v| { h.record(*v); h });
            let mut merged = fill(&a);
            merged.merge(&fill(&b));
            let all = fill(&[a, b].concat());
            prop_assert_eq!(&merged.buckets, &all.buckets);
            prop_assert_eq!(merged.count, all.count);
            prop_assert_eq!((merged.min, merged.max), (all.min, all.max));
        }
    }
}
