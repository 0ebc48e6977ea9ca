//! How long to wait before an instance that ended is started again.

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);
/// One that was ready for this long begins from the start.
const HEALTHY: Duration = Duration::from_secs(60);

/// Doubles from a second to a minute, without chance, so that what happens can be foretold.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    last: Option<Duration>,
}

impl Backoff {
    /// Goes on after a wait of another agent's.
    pub(crate) fn after(last: Option<Duration>) -> Self {
        Self { last }
    }

    /// The wait after a process that was ready for `ready_for`.
    pub(crate) fn next(&mut self, ready_for: Duration) -> Duration {
        let wait = match self.last {
            Some(last) if ready_for < HEALTHY => (last * 2).min(LONGEST),
            _ => FIRST,
        };
        self.last = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_until_a_minute_and_begin_anew_after_one_of_health() {
        let mut backoff = Backoff::default();
        let mut seconds = |ready: u64| backoff.next(Duration::from_secs(ready)).as_secs();
        assert_eq!([0; 8].map(&mut seconds), [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(seconds(60), 1);
        assert_eq!(Backoff::after(Some(Duration::from_secs(8))).next(Duration::ZERO).as_secs(), 16);
        assert_eq!(seconds(59), 2);
    }
}
