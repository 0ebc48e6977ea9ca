//! When the next step is due, and how long simulated time was held: pure, told of real time as of anything else.

use std::time::Duration;

use takeaway_world::STEP_SECONDS;

/// Simulated seconds that calls and dispatch may lag behind before time is held for them.
pub(crate) const LAG_SECONDS_MAX: f64 = 30.0;

/// The schedule of steps. Real time is counted from any fixed moment.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    speed: f64,
    /// When, in real time, the next step is due.
    due: Duration,
    held_seconds: f64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Next {
    /// Take a step.
    Step,
    /// Wait so long.
    Wait(Duration),
    /// Wait for dispatch.
    Hold,
}

impl Pace {
    /// A schedule whose first step is due at once, going on from the time held earlier.
    pub(crate) fn new(speed: f64, now: Duration, held_seconds: f64) -> Self {
        Self { speed, due: now, held_seconds }
    }

    /// What to do now, while dispatch lags so many simulated seconds behind. A [`Next::Step`] is counted as taken.
    pub(crate) fn next(&mut self, now: Duration, dispatch_lag_seconds: f64) -> Next {
        if let Some(early) = self.due.checked_sub(now).filter(|early| !early.is_zero()) {
            return Next::Wait(early);
        }
        if dispatch_lag_seconds > LAG_SECONDS_MAX {
            return Next::Hold;
        }
        let behind = self.behind_seconds(now);
        if behind > LAG_SECONDS_MAX {
            // What was missed is not made up for: time was held.
            self.held_seconds += behind;
            self.due = now;
        }
        self.due += Duration::from_secs_f64(STEP_SECONDS as f64 / self.speed);
        Next::Step
    }

    /// Simulated seconds of which time was held, up to now.
    pub(crate) fn held_seconds(&self, now: Duration) -> f64 {
        let behind = self.behind_seconds(now);
        self.held_seconds + if behind > LAG_SECONDS_MAX { behind } else { 0.0 }
    }

    fn behind_seconds(&self, now: Duration) -> f64 {
        now.saturating_sub(self.due).as_secs_f64() * self.speed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    #[test]
    fn steps_come_at_their_speed_and_small_delays_are_made_up_for() {
        let mut pace = Pace::new(100.0, ms(0), 0.0);
        assert_eq!(pace.next(ms(0), 0.0), Next::Step);
        assert_eq!(pace.next(ms(40), 0.0), Next::Wait(ms(60)));
        // 200 ms late are 20 simulated seconds: both steps come at once, and the third when it is due.
        assert_eq!(pace.next(ms(300), 0.0), Next::Step);
        assert_eq!(pace.next(ms(300), 0.0), Next::Step);
        assert_eq!(pace.next(ms(300), 0.0), Next::Step);
        assert_eq!(pace.next(ms(300), 0.0), Next::Wait(ms(100)));
        assert_eq!(pace.held_seconds(ms(300)), 0.0);
    }

    #[test]
    fn time_is_held_for_slow_calls_and_for_dispatch() {
        let mut pace = Pace::new(100.0, ms(0), 5.0);
        assert_eq!(pace.next(ms(0), 0.0), Next::Step);
        assert_eq!(pace.held_seconds(ms(1100)), 105.0);
        assert_eq!(pace.next(ms(1100), 0.0), Next::Step);
        assert_eq!(pace.next(ms(1100), 0.0), Next::Wait(ms(100)));
        assert_eq!(pace.next(ms(1200), 30.5), Next::Hold);
        assert_eq!(pace.next(ms(2200), 30.5), Next::Hold);
        assert_eq!(pace.held_seconds(ms(2200)), 205.0);
        assert_eq!(pace.next(ms(2200), 0.0), Next::Step);
        assert_eq!(pace.held_seconds(ms(2200)), 205.0);
    }
}
