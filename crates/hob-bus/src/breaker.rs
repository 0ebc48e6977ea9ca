//! Decides when an endpoint is left alone: pure, without clock or randomness.
//!
//! Three failures in a row open the breaker. While it is open nothing is sent; at the end of each pause one probe is,
//! and a probe that fails leads to the next, longer pause. Whatever the endpoint answers properly closes it. An
//! endpoint that says itself when it wants to be asked again (`Retry-After`) is believed at once, up to an hour.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::BreakerState;

/// Failures in a row that open it.
pub(crate) const FAILURES_MAX: u32 = 3;
/// Longest pause between two probes, so that an endpoint which comes back is soon found well.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(300);
/// Longest time for which an endpoint's `Retry-After` is heeded.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// How an endpoint is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Breaker {
    state: State,
    /// Counts changes between open and not: tells failures of requests that were sent before the last change.
    round: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { step: u32, until: Timestamp },
    HalfOpen { step: u32 },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// A probe is on its way.
    Probed,
    /// The endpoint answered properly, be it that it refused an event.
    Well,
    /// A request that was sent in this round failed because of the endpoint.
    Failed { round: u32, retry_after: Option<Duration>, luck: u64 },
}

/// What may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Everything.
    Free,
    /// One probe.
    Probe,
    /// Nothing until then.
    Until(Timestamp),
    /// Nothing until the probe on its way has been answered.
    Probing,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed { failures: 0 }, round: 0 }
    }
}

impl Breaker {
    /// What may be sent now.
    pub(crate) fn allowance(&self, now: Timestamp) -> Allowance {
        match self.state {
            State::Closed { .. } => Allowance::Free,
            State::Open { until, .. } if until <= now => Allowance::Probe,
            State::Open { until, .. } => Allowance::Until(until),
            State::HalfOpen { .. } => Allowance::Probing,
        }
    }

    /// The round in which a request is sent now.
    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// When the next probe is due, while it is open.
    pub(crate) fn next_probe(&self) -> Option<Timestamp> {
        if let State::Open { until, .. } = self.state { Some(until) } else { None }
    }

    /// The same for people.
    pub(crate) fn shown(&self) -> BreakerState {
        match self.state {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    fn to(self, state: State) -> Self {
        Self { state, round: self.round.wrapping_add(1) }
    }
}

/// Takes in what happened. Pauses follow `steps`, of which the last repeats.
pub(crate) fn step(breaker: Breaker, input: Input, steps: &[Duration], now: Timestamp) -> Breaker {
    match (input, breaker.state) {
        (Input::Probed, State::Open { step, .. }) => breaker.to(State::HalfOpen { step }),
        (Input::Probed, _) => breaker,
        (Input::Well, State::Closed { .. }) => Breaker { state: State::Closed { failures: 0 }, ..breaker },
        (Input::Well, _) => breaker.to(State::Closed { failures: 0 }),
        // It was sent before the endpoint was known to be unwell, and says nothing new.
        (Input::Failed { round, .. }, _) if round != breaker.round => breaker,
        (Input::Failed { retry_after, luck, .. }, state) => {
            let (failures, step) = match state {
                State::Closed { failures } => (failures + 1, 0),
                State::Open { step, .. } | State::HalfOpen { step } => (FAILURES_MAX, step + 1),
            };
            let asked = retry_after.filter(|pause| !pause.is_zero()).map(|pause| pause.min(RETRY_AFTER_MAX));
            if failures < FAILURES_MAX && asked.is_none() {
                return Breaker { state: State::Closed { failures }, ..breaker };
            }
            let pause = asked.unwrap_or_else(|| pause(steps, step, luck));
            breaker.to(State::Open { step, until: now.plus(pause) })
        }
    }
}

/// The pause of a step, shortened by chance by up to half.
fn pause(steps: &[Duration], step: u32, luck: u64) -> Duration {
    let index = (step as usize).min(steps.len().saturating_sub(1));
    let whole = steps.get(index).copied().unwrap_or(PAUSE_MAX).min(PAUSE_MAX);
    whole - whole.mul_f64(0.5 * (luck as f64 / u64::MAX as f64))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static STEPS: std::sync::LazyLock<[Duration; 6]> =
        std::sync::LazyLock::new(|| [1, 5, 30, 120, 600, 3_600].map(Duration::from_secs));

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn failed(breaker: Breaker, now: Timestamp) -> Breaker {
        let input = Input::Failed { round: breaker.round(), retry_after: None, luck: 0 };
        step(breaker, input, STEPS.as_slice(), now)
    }

    fn told(breaker: Breaker, input: Input, now: Timestamp) -> Breaker {
        step(breaker, input, STEPS.as_slice(), now)
    }

    fn opened() -> Breaker {
        (0..FAILURES_MAX).fold(Breaker::default(), |breaker, _| failed(breaker, at(0)))
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_an_answer_in_between_does_not() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            breaker = failed(failed(breaker, at(0)), at(0));
            assert_eq!(breaker.allowance(at(0)), Allowance::Free);
            breaker = told(breaker, Input::Well, at(0));
        }
        assert_eq!(opened().allowance(at(0)), Allowance::Until(at(1)));
        assert_eq!(opened().shown(), BreakerState::Open);
    }

    #[test]
    fn one_probe_a_step_is_sent_and_pauses_grow() {
        let (mut breaker, mut now, mut pauses) = (opened(), at(0), Vec::new());
        for _ in 0..7 {
            let Allowance::Until(until) = breaker.allowance(now) else { panic!("{breaker:?}") };
            pauses.push(until.since(now).as_secs());
            now = until;
            assert_eq!(breaker.allowance(now), Allowance::Probe);
            breaker = told(breaker, Input::Probed, now);
            assert_eq!(breaker.allowance(now.plus(PAUSE_MAX)), Allowance::Probing);
            assert_eq!(breaker.shown(), BreakerState::HalfOpen);
            breaker = failed(breaker, now);
        }
        assert_eq!(pauses, [1, 5, 30, 120, 300, 300, 300]);
    }

    #[test]
    fn a_probe_that_is_answered_closes_it() {
        let breaker = told(opened(), Input::Probed, at(1));
        assert_eq!(told(breaker, Input::Well, at(1)).allowance(at(1)), Allowance::Free);
        assert_eq!(told(opened(), Input::Well, at(0)).allowance(at(0)), Allowance::Free);
    }

    #[test]
    fn what_was_sent_before_it_opened_does_not_lengthen_the_pause() {
        let closed = Breaker::default();
        let late = Input::Failed { round: closed.round(), retry_after: None, luck: 0 };
        let open = opened();
        assert_eq!(told(open, late, at(0)), open);
        let probing = told(open, Input::Probed, at(1));
        assert_eq!(told(probing, late, at(1)), probing);
    }

    #[test]
    fn retry_after_is_believed_at_once_and_up_to_an_hour() {
        for (asked, expect) in [(7, 7), (3_600, 3_600), (1_000_000, 3_600)] {
            let input =
                Input::Failed { round: 0, retry_after: Some(Duration::from_secs(asked)), luck: u64::MAX };
            let breaker = told(Breaker::default(), input, at(0));
            assert_eq!(breaker.allowance(at(0)), Allowance::Until(at(expect)));
        }
        let input = Input::Failed { round: 0, retry_after: Some(Duration::ZERO), luck: 0 };
        assert_eq!(told(Breaker::default(), input, at(0)).allowance(at(0)), Allowance::Free);
    }

    proptest! {
        #[test]
        fn pauses_are_shortened_by_half_at_most(step in 0_u32..20, luck: u64) {
            let whole = STEPS[(step as usize).min(5)].min(PAUSE_MAX);
            let pause = pause(STEPS.as_slice(), step, luck);
            prop_assert!(pause <= whole && pause >= whole / 2);
        }

        #[test]
        fn an_endpoint_dead_for_an_hour_gets_a_probe_a_step(lucks in proptest::collection::vec(any::<u64>(), 200)) {
            let (mut breaker, mut now, mut requests) = (Breaker::default(), at(0), 0);
            for luck in lucks {
                match breaker.allowance(now) {
                    Allowance::Until(until) => now = until,
                    Allowance::Probe => breaker = told(breaker, Input::Probed, now),
                    Allowance::Free | Allowance::Probing => {}
                }
                if now >= at(3_600) {
                    break;
                }
                if matches!(breaker.allowance(now), Allowance::Free | Allowance::Probing) {
                    requests += 1;
                    let input = Input::Failed { round: breaker.round(), retry_after: None, luck };
                    breaker = told(breaker, input, now);
                }
            }
            prop_assert!(now >= at(3_600));
            // Three to open it, four to come to the longest pause, and one for each of the longest.
            prop_assert!(requests <= 3 + 4 + 24, "{} requests", requests);
        }
    }
}
