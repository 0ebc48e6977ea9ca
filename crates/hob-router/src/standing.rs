//! Whether an instance gets requests like any other: it may have refused a connection a moment ago, have failed too often
//! in a row, or have started so recently that its share still grows. For an instance of which none is true, the answer
//! costs one relaxed read.
//!
//! Ejection follows Envoy's outlier detection: five failures in a row, thirty seconds for the first time and so much
//! longer for each time after it, five minutes at most.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::instance::lock;

/// Failures in a row after which an instance is ejected.
const FAILURES_MAX: u32 = 5;
/// How long an instance is ejected the first time; the second time twice as long, and so on.
const EJECTION: Duration = Duration::from_secs(30);
/// How long at most. An instance that was not ejected for so long is forgiven its earlier ejections.
const EJECTION_MAX: Duration = Duration::from_secs(300);
/// The least share of a target that starts slowly: with none it would never warm up.
const SHARE_MIN: f64 = 0.1;

/// An instance's standing among its like.
#[derive(Default)]
pub(crate) struct Standing {
    /// Whether there is anything in `state` to look at.
    is_special: AtomicBool,
    failures: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    skipped_until: Option<Instant>,
    ejected_until: Option<Instant>,
    ejections: u32,
    slow_start: Option<(Instant, Duration)>,
}

/// What an instance may be given just now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Look {
    /// Its full share.
    Usual,
    /// Nothing for a moment: it took no connection.
    Skipped,
    /// Nothing for longer: it failed too often.
    Ejected,
    /// This part of its share.
    Warming(f64),
}

impl Standing {
    /// Whether it gets its full share.
    pub(crate) fn is_usual(&self) -> bool {
        !self.is_special.load(Ordering::Relaxed)
    }

    /// What it may be given.
    pub(crate) fn look(&self, now: Instant) -> Look {
        if self.is_usual() {
            return Look::Usual;
        }
        let mut state = lock(&self.state);
        if state.skipped_until.is_some_and(|until| now < until) {
            return Look::Skipped;
        }
        state.skipped_until = None;
        if state.ejected_until.is_some_and(|until| now < until) {
            return Look::Ejected;
        }
        if let Some((since, time)) = state.slow_start {
            let passed = now.saturating_duration_since(since);
            if passed < time {
                return Look::Warming((passed.as_secs_f64() / time.as_secs_f64()).max(SHARE_MIN));
            }
            state.slow_start = None;
        }
        self.is_special.store(false, Ordering::Relaxed);
        Look::Usual
    }

    /// Passes it over for a moment.
    pub(crate) fn skip(&self, until: Instant) {
        self.change(|state| state.skipped_until = Some(until));
    }

    /// Its share grows from `since` on for so long.
    pub(crate) fn start_slowly(&self, since: Instant, time: Duration) {
        self.change(|state| state.slow_start = Some((since, time)));
    }

    /// It answered well.
    pub(crate) fn succeed(&self) {
        // Written only when there is something to forgive, so that the line stays shared between the threads' caches.
        if self.failures.load(Ordering::Relaxed) != 0 {
            self.failures.store(0, Ordering::Relaxed);
        }
    }

    /// It failed; returns whether that ejects it.
    pub(crate) fn fail(&self, now: Instant) -> bool {
        if self.failures.fetch_add(1, Ordering::Relaxed) + 1 < FAILURES_MAX {
            return false;
        }
        self.failures.store(0, Ordering::Relaxed);
        self.change(|state| {
            if state.ejected_until.is_some_and(|until| now < until) {
                return;
            }
            let is_forgiven = state.ejected_until.is_none_or(|until| now - until > EJECTION_MAX);
            state.ejections = if is_forgiven { 1 } else { state.ejections + 1 };
            state.ejected_until = Some(now + EJECTION_MAX.min(EJECTION * state.ejections));
        });
        true
    }

    /// How long it stays ejected.
    pub(crate) fn ejected_for(&self, now: Instant) -> Option<Duration> {
        if self.is_usual() {
            return None;
        }
        lock(&self.state)
            .ejected_until
            .and_then(|until| until.checked_duration_since(now))
            .filter(|left| !left.is_zero())
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        self.is_special.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_failures_in_a_row_eject_and_longer_each_time() {
        let (standing, start) = (Standing::default(), Instant::now());
        let fail = |at: Instant| (0..5).filter(|_| standing.fail(at)).count();
        (0..4).for_each(|_| assert!(!standing.fail(start)));
        standing.succeed();
        (0..4).for_each(|_| assert!(!standing.fail(start)));
        assert!(standing.fail(start));
        assert_eq!(standing.look(start + Duration::from_secs(29)), Look::Ejected);
        let second = start + Duration::from_secs(30);
        assert_eq!(standing.look(second), Look::Usual);
        assert_eq!(fail(second), 1);
        assert_eq!(standing.ejected_for(second), Some(Duration::from_secs(60)));
        let mut at = second;
        for _ in 0..20 {
            at += standing.ejected_for(at).unwrap();
            assert_eq!(fail(at), 1);
        }
        assert_eq!(standing.ejected_for(at), Some(EJECTION_MAX));
        let late = at + EJECTION_MAX * 2 + Duration::from_secs(1);
        assert_eq!(fail(late), 1);
        assert_eq!(standing.ejected_for(late), Some(EJECTION));
    }

    #[test]
    fn a_share_grows_from_a_tenth_to_all() {
        let (standing, start) = (Standing::default(), Instant::now());
        standing.start_slowly(start, Duration::from_secs(10));
        assert_eq!(standing.look(start), Look::Warming(SHARE_MIN));
        assert_eq!(standing.look(start + Duration::from_secs(5)), Look::Warming(0.5));
        assert_eq!(standing.look(start + Duration::from_secs(10)), Look::Usual);
        assert!(standing.is_usual());
    }
}
