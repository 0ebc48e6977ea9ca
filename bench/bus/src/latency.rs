//! Latencies in buckets: each at most a sixty-fourth wide of its value, so a quantile is good to two per cent.

/// Buckets of one doubling.
const STEPS: u64 = 64;

/// How often which latency, in nanoseconds, was seen.
#[derive(Clone, Default)]
pub struct Latency {
    counts: Vec<u64>,
    total: u64,
}

impl Latency {
    pub fn add(&mut self, nanos: u64) {
        let at = bucket(nanos);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
        self.total += 1;
    }

    /// The value below which this share of all lies, in milliseconds; none when nothing was seen.
    pub fn quantile_ms(&self, share: f64) -> Option<f64> {
        let wanted = (self.total as f64 * share).ceil().max(1.0) as u64;
        let mut sum = 0;
        for (at, count) in self.counts.iter().enumerate() {
            sum += count;
            if sum >= wanted {
                return Some(value(at) as f64 / 1e6);
            }
        }
        None
    }
}

fn bucket(nanos: u64) -> usize {
    let nanos = nanos.max(1);
    let doubling = u64::from(63 - nanos.leading_zeros());
    if doubling < 6 {
        return nanos as usize;
    }
    let step = (nanos >> (doubling - 6)) - STEPS;
    ((doubling - 5) * STEPS + step) as usize
}

fn value(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < STEPS {
        return bucket;
    }
    let (doubling, step) = (bucket / STEPS + 5, bucket % STEPS);
    (STEPS + step) << (doubling - 6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_near_the_value() {
        for nanos in [1_u64, 63, 64, 1_000, 123_456, 9_999_999_999] {
            let found = value(bucket(nanos));
            assert!(found <= nanos && nanos - found <= nanos / 50, "{nanos} is kept as {found}");
        }
        let mut latency = Latency::default();
        (1..=100).for_each(|ms| latency.add(ms * 1_000_000));
        let p99 = latency.quantile_ms(0.99).unwrap();
        assert!((97.0..=99.0).contains(&p99), "{p99}");
    }
}
