//! How fast events come: a mean that forgets at the pace of its window.

use std::time::Duration;

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::bits::Exact;

/// Events a second, as seen through a window that fades.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rate {
    /// Events, each worth less the older it is.
    worth: Exact,
    at: Timestamp,
    /// Since when events are counted.
    pub(crate) first: Timestamp,
}

impl Rate {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { worth: Exact(0.0), at: now, first: now }
    }

    fn faded(&self, window: Duration, now: Timestamp) -> f64 {
        self.worth.0 * (-now.since(self.at).as_secs_f64() / window.as_secs_f64()).exp()
    }

    /// Counts an event; a late one counts as if it came now, because it did.
    pub(crate) fn add(&mut self, window: Duration, time: Timestamp) {
        self.worth = Exact(self.faded(window, time) + 1.0);
        self.at = self.at.max(time);
    }

    /// Events a second.
    pub(crate) fn per_second(&self, window: Duration, now: Timestamp) -> f64 {
        self.faded(window, now) / window.as_secs_f64()
    }

    /// When it falls to `limit` if no more come; nothing when it is there.
    pub(crate) fn falls_to(&self, limit: f64, window: Duration, now: Timestamp) -> Option<Timestamp> {
        let above = self.per_second(window, now) / limit;
        if above.is_nan() || above <= 1.0 {
            return None;
        }
        // A second more, so that it is below and not at the limit by a rounding.
        let seconds = (above.ln() * window.as_secs_f64()).min(1e9) + 1.0;
        Some(now.plus(Duration::from_secs_f64(seconds)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_steady_stream_has_its_rate_and_silence_fades() {
        let window = Duration::from_secs(60);
        let at = |second: u64| Timestamp::EPOCH.plus(Duration::from_secs(second));
        let mut rate = Rate::new(at(0));
        (0..600).for_each(|second| rate.add(window, at(second)));
        let now = rate.per_second(window, at(600));
        assert!((now - 1.0).abs() < 0.02, "{now}");
        let falls = rate.falls_to(0.5, window, at(600)).unwrap();
        assert!(falls > at(640) && falls < at(644), "{falls}");
        assert!(rate.per_second(window, falls) < 0.5);
        assert_eq!(rate.falls_to(0.5, window, falls), None);
    }
}
