//! What counts and sums say. Nothing here evaluates an expression, so that it can be asked after each event.

use std::time::Duration;

use hob_core::Timestamp;

use super::Engine;
use super::cell::Judgement;
use crate::model::{Count, Limit, Moved, Trigger};
use crate::plan::RulePlan;
use crate::reducers::{Rate, Reducer, Ring};
use crate::rows::Verdict;

/// A spike as its rule describes one.
struct Spike {
    window: Duration,
    against: Duration,
    factor: f64,
    at_least: u32,
}

fn so(is: bool) -> Judgement {
    Judgement::plain(if is { Verdict::True } else { Verdict::False })
}

fn until(recheck: Option<Timestamp>, judgement: Judgement) -> Judgement {
    Judgement { recheck, ..judgement }
}

impl Engine {
    pub(super) fn judge_counted(&self, plan: &RulePlan, href: &str) -> Judgement {
        let (now, jumped) = (self.state.clock, self.state.jumped);
        let trigger = &plan.rule.trigger;
        if let Trigger::Count { count: Count::Entities { within: None, .. }, at_least } = trigger {
            return self.judge_tally(plan, href, i64::from(*at_least));
        }
        match (trigger, self.reducer(plan, href)) {
            (Trigger::Count { count, at_least }, Some(Reducer::Ring(ring))) => {
                let within = match count {
                    Count::Events { within, .. } => *within,
                    Count::Entities { within, .. } => within.unwrap_or_default(),
                };
                at_least_of(ring, *at_least, within, now)
            }
            (Trigger::Flatline { within, below, .. }, Some(Reducer::Ring(ring))) => {
                let fair = ring.first.max(jumped).plus(*within);
                if now < fair {
                    return not_yet(fair);
                }
                let recheck = ring.falls_below(*below, *within, now);
                until(recheck, so(ring.lately(*within, now) < *below))
            }
            (Trigger::Rate { limit, window, .. }, Some(Reducer::Rate(rate))) => {
                judge_rate(rate, *limit, *window, jumped, now)
            }
            (Trigger::Spike { window, against, factor, at_least, .. }, Some(Reducer::Ring(ring))) => {
                let spike =
                    Spike { window: *window, against: *against, factor: *factor, at_least: *at_least };
                judge_spike(ring, &spike, jumped, now)
            }
            (Trigger::Change { within, moved: Moved::Times(times), .. }, Some(Reducer::Ring(ring))) => {
                at_least_of(ring, *times, *within, now)
            }
            (
                Trigger::Change { within, moved: Moved::By { distance, direction }, .. },
                Some(Reducer::Span(span)),
            ) => {
                let is = span.moved(*direction, *within, now) >= *distance;
                until(is.then(|| span.fades(*within, now)).flatten(), so(is))
            }
            (Trigger::NewTerm { shown, .. }, Some(Reducer::News(at))) => {
                let ends = at.plus(*shown);
                let is = now < ends;
                Judgement { begun: is.then_some(*at), ..until(is.then_some(ends), so(is)) }
            }
            _ => so(false),
        }
    }

    fn judge_tally(&self, plan: &RulePlan, href: &str, at_least: i64) -> Judgement {
        let tally = self.tally_of(plan.number, href);
        if tally.yes < at_least && tally.yes + tally.unknown >= at_least {
            return Judgement::unknown(format!("of {} it cannot be told whether they count", tally.unknown));
        }
        so(tally.yes >= at_least)
    }
}

fn not_yet(fair: Timestamp) -> Judgement {
    until(Some(fair), Judgement::unknown("it is not watched for long enough yet".to_owned()))
}

fn at_least_of(ring: &Ring, least: u32, within: Duration, now: Timestamp) -> Judgement {
    until(ring.falls_below(least, within, now), so(ring.lately(within, now) >= least))
}

fn judge_rate(rate: &Rate, limit: Limit, window: Duration, jumped: Timestamp, now: Timestamp) -> Judgement {
    let seconds = rate.per_second(window, now);
    match limit {
        Limit::Above(limit) => until(rate.falls_to(limit, window, now), so(seconds > limit)),
        Limit::Below(limit) => {
            // A mean that begins at nothing has come near the truth after two windows.
            let fair = rate.first.max(jumped).plus(window.saturating_mul(2));
            match now < fair {
                true => not_yet(fair),
                false => until(rate.falls_to(limit, window, now), so(seconds < limit)),
            }
        }
    }
}

fn judge_spike(ring: &Ring, spike: &Spike, jumped: Timestamp, now: Timestamp) -> Judgement {
    let Spike { window, against, factor, at_least } = *spike;
    let fair = ring.first.max(jumped).plus(window).plus(against);
    if now < fair {
        return not_yet(fair);
    }
    let lately = f64::from(ring.lately(window, now));
    let before = f64::from(ring.count(now.minus(window).minus(against), now.minus(window)));
    let usual = before * window.as_secs_f64() / against.as_secs_f64();
    let enough = f64::from(at_least);
    let is = match factor >= 1.0 {
        true => lately >= enough && lately >= usual * factor,
        false => usual >= enough && lately <= usual * factor,
    };
    until(Some(now.plus(ring.grain())), so(is))
}
