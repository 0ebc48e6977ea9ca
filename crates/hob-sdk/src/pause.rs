//! How long to wait before something is tried again: longer each time, and never all at once.

use std::time::Duration;

/// Pauses that double.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pauses {
    /// About how long the first one is.
    pub(crate) first: Duration,
    /// The longest.
    pub(crate) longest: Duration,
}

impl Pauses {
    /// The pause after so many failures in a row, counted from 1; `random` (0 to 1) takes up to half of it away, so that
    /// those who failed together do not come back together.
    pub(crate) fn after(self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(20);
        let whole = self.first.saturating_mul(1 << doublings).min(self.longest);
        whole.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// A number from 0 to 1.
pub(crate) fn random() -> f64 {
    f64::from(u32::from_le_bytes(hob_core::random_bytes())) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_are_shortened_by_half_at_most() {
        let pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) };
        assert_eq!(pauses.after(1, 0.0), Duration::from_millis(50));
        assert_eq!(pauses.after(3, 0.0), Duration::from_millis(200));
        assert_eq!(pauses.after(3, 1.0), Duration::from_millis(100));
        assert_eq!(pauses.after(u32::MAX, 0.0), Duration::from_secs(5));
        assert!((0.0..=1.0).contains(&random()));
    }
}
