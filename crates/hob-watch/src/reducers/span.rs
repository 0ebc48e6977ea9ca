//! Between which numbers a field moved lately.

use std::time::Duration;

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::bits::Exact;
use crate::model::Direction;

/// Buckets of a span.
const BUCKETS: usize = 12;

/// The least and the greatest number of each bucket of time, and the newest number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Span {
    /// Microseconds of a bucket.
    width: i64,
    /// Number of the bucket, least, greatest; oldest first.
    buckets: Vec<(i64, Exact, Exact)>,
    newest: Exact,
}

impl Span {
    pub(crate) fn new(window: Duration) -> Self {
        let micros = i64::try_from(window.as_micros()).unwrap_or(i64::MAX);
        Self { width: (micros / (BUCKETS as i64 - 1)).max(1), buckets: Vec::new(), newest: Exact(0.0) }
    }

    /// Takes the number that the field has from `now` on. The one that it had until now counts at `now` too.
    pub(crate) fn take(&mut self, number: f64, now: Timestamp) {
        let bucket = now.as_micros().div_euclid(self.width);
        let before = if self.buckets.is_empty() { number } else { self.newest.0 };
        match self.buckets.last_mut().filter(|last| last.0 >= bucket) {
            Some((_, least, greatest)) => {
                (*least, *greatest) = (Exact(least.0.min(number)), Exact(greatest.0.max(number)));
            }
            None => self.buckets.push((bucket, Exact(number.min(before)), Exact(number.max(before)))),
        }
        if self.buckets.len() > BUCKETS {
            self.buckets.remove(0);
        }
        self.newest = Exact(number);
    }

    /// How far the newest number is from where the field was within the window.
    pub(crate) fn moved(&self, direction: Direction, window: Duration, now: Timestamp) -> f64 {
        let first = now.minus(window).as_micros().div_euclid(self.width);
        let lately = self.buckets.iter().filter(|(bucket, ..)| *bucket >= first);
        let (mut up, mut down) = (0.0_f64, 0.0_f64);
        for (_, least, greatest) in lately {
            up = up.max(self.newest.0 - least.0);
            down = down.max(greatest.0 - self.newest.0);
        }
        match direction {
            Direction::Up => up,
            Direction::Down => down,
            Direction::Any => up.max(down),
        }
    }

    /// When the oldest numbers are forgotten.
    pub(crate) fn fades(&self, window: Duration, now: Timestamp) -> Option<Timestamp> {
        let first = now.minus(window).as_micros().div_euclid(self.width);
        let oldest = self.buckets.iter().map(|(bucket, ..)| *bucket).find(|bucket| *bucket >= first)?;
        Some(Timestamp::from_micros(oldest.saturating_add(1).saturating_mul(self.width)).plus(window))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_moves_is_measured_from_where_it_was() {
        let window = Duration::from_secs(600);
        let at = |second: u64| Timestamp::EPOCH.plus(Duration::from_secs(second));
        let mut span = Span::new(window);
        span.take(30.0, at(0));
        assert!(span.moved(Direction::Any, window, at(0)).abs() < 1e-9);
        span.take(25.0, at(1000));
        span.take(42.0, at(1100));
        assert!((span.moved(Direction::Up, window, at(1100)) - 17.0).abs() < 1e-9);
        assert!(span.moved(Direction::Down, window, at(1100)).abs() < 1e-9);
        let fades = span.fades(window, at(1100)).unwrap();
        assert!(fades > at(1600) && fades < at(1720), "{fades}");
        assert!(
            span.moved(Direction::Up, window, fades).abs() < 17.0 - 1e-9
                || span.fades(window, fades).is_some()
        );
    }
}
