//! How many instances of `web` there should be. Pure: what was seen and what was remembered in, the number out.
//!
//! The number is the largest of what people order, what the schedule asks for, and what the requests in flight need,
//! within the declared limits. It rises at once; it falls one at a time, a minute apart, and only after five minutes
//! below. A service that may go to zero does so after its time without any request; the router holds the first that
//! comes, and that one wakes it.

pub(crate) mod schedule;
mod starts;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Scale, Service};

pub(crate) use starts::Starts;

use crate::routers::Load;
use schedule::Schedule;

/// How long the load must have been low before an instance goes.
const LOW_TIME: Duration = Duration::from_secs(300);
/// Time between two that go.
const DOWN_EVERY: Duration = Duration::from_secs(60);
/// Requests in flight are counted over this time, so that one slow look does not start an instance.
const LOAD_TIME: Duration = Duration::from_secs(3);
/// Time between two looks at the load.
const LOAD_EVERY: Duration = Duration::from_secs(1);
/// Time between two looks at the schedule.
const SCHEDULE_EVERY: Duration = Duration::from_secs(1);
/// How long a router holds a request for an instance that is only being started.
const IDLE_HOLD_MS: u64 = 30_000;

/// What is remembered from one look to the next. It may be lost: everything is seen again.
#[derive(Default)]
pub(crate) struct Memory {
    loads: VecDeque<(Timestamp, f64)>,
    low_since: Option<Timestamp>,
    last_down: Option<Timestamp>,
    /// The order that was followed last.
    obeyed: Option<Timestamp>,
    /// Since when nothing was asked of it, as far as is known.
    quiet_since: Option<Timestamp>,
    scheduled: Option<(Timestamp, Option<(u32, String)>)>,
    /// The schedule as it was read, and the terms that it was read of.
    schedule: Option<(Scale, Vec<Schedule>)>,
}

impl Memory {
    /// What is remembered after a start: the order that is known was followed before.
    pub(crate) fn after_start(order: Option<Timestamp>) -> Self {
        Self { obeyed: order, ..Self::default() }
    }
}

/// What is seen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) now: Timestamp,
    /// The number wanted until now.
    pub(crate) current: u32,
    pub(crate) load: Load,
    /// The number that people ordered, and when.
    pub(crate) by_hand: Option<(u32, Timestamp)>,
    /// Whether a rollout is under way: then none goes.
    pub(crate) is_rolling: bool,
    /// How long an instance takes to become ready.
    pub(crate) lead: Duration,
}

/// A number, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    pub(crate) wanted: u32,
    pub(crate) why: String,
}

/// For how long a router holds a request while there is no instance; only where a service may go to zero.
pub(crate) fn idle_hold_ms(descriptor: &Service) -> Option<u64> {
    let terms = descriptor.scale.as_ref()?;
    terms.idle_after_ms.map(|_| IDLE_HOLD_MS)
}

/// The number wanted now.
pub(crate) fn decide(memory: &mut Memory, terms: &Scale, seen: &Seen) -> Decision {
    let mut target = target(memory, terms, seen);
    let is_new_order = seen.by_hand.is_some_and(|(_, since)| memory.obeyed.replace(since) != Some(since));
    if is_idle(memory, terms, seen) {
        memory.low_since = None;
        return Decision {
            wanted: 0,
            why: "no request for its idle time; the next one starts it".to_owned(),
        };
    }
    if terms.idle_after_ms.is_some() && target.wanted == 0 {
        target = Decision { wanted: 1, why: "it was asked something lately".to_owned() };
    }
    if target.wanted >= seen.current || is_new_order {
        memory.low_since = None;
        return target;
    }
    let current = seen.current.clamp(terms.min, terms.max.max(terms.min));
    let low_since = *memory.low_since.get_or_insert(seen.now);
    let is_long = seen.now.since(low_since) >= LOW_TIME;
    let is_calm = memory.last_down.is_none_or(|last| seen.now.since(last) >= DOWN_EVERY);
    if seen.is_rolling || !is_long || !is_calm {
        let why = format!("{}; it falls slowly to {}", target.why, target.wanted);
        return Decision { wanted: current, why };
    }
    memory.last_down = Some(seen.now);
    let wanted = current.saturating_sub(1).max(target.wanted);
    Decision { wanted, why: format!("{}; it falls slowly to {}", target.why, target.wanted) }
}

/// What the present needs, whatever there was before.
fn target(memory: &mut Memory, terms: &Scale, seen: &Seen) -> Decision {
    let mut target = Decision { wanted: terms.min, why: format!("at least {}", terms.min) };
    let mut raise = |wanted: u32, why: String| {
        if wanted > target.wanted {
            target = Decision { wanted, why };
        }
    };
    if let Some((number, _)) = seen.by_hand {
        raise(number, format!("{number} by hand"));
    }
    if let Some((number, why)) = scheduled(memory, terms, seen) {
        raise(number, why);
    }
    let load = smoothed(memory, seen);
    if let Some(each) = terms.in_flight.filter(|each| *each > 0.0) {
        let needed = (load / each).ceil().min(f64::from(u32::MAX)) as u32;
        raise(needed, format!("{load:.0} requests in flight, {each} for each"));
    }
    let most = terms.max.max(terms.min);
    if target.wanted > most {
        target = Decision { wanted: most, why: format!("{}; at most {most}", target.why) };
    }
    target
}

/// Whether it may go to zero, or stay there: nothing asked anything of it for its time.
fn is_idle(memory: &mut Memory, terms: &Scale, seen: &Seen) -> bool {
    let Some(after) = terms.idle_after_ms.map(Duration::from_millis) else { return false };
    let is_asked = seen.load.in_flight + seen.load.held > 0 || seen.is_rolling;
    let is_ordered = seen.by_hand.is_some_and(|(number, _)| number > 0);
    let is_scheduled = matches!(&memory.scheduled, Some((_, Some((number, _)))) if *number > 0);
    if is_asked || is_ordered || is_scheduled {
        memory.quiet_since = Some(seen.now);
        return false;
    }
    // What was at zero before Hob started is at zero still.
    let since =
        *memory.quiet_since.get_or_insert(if seen.current == 0 { Timestamp::EPOCH } else { seen.now });
    let quiet_since = seen.load.requested.map_or(since, |last| last.max(since));
    seen.now.since(quiet_since) >= after
}

/// What the schedule asks for; looked up once a second at most.
fn scheduled(memory: &mut Memory, terms: &Scale, seen: &Seen) -> Option<(u32, String)> {
    if memory.schedule.as_ref().is_none_or(|(read, _)| read != terms) {
        // A window that does not read was refused when it was declared.
        let windows = terms.schedule.iter().filter_map(|window| Schedule::new(window).ok()).collect();
        memory.schedule = Some((terms.clone(), windows));
        memory.scheduled = None;
    }
    if let Some((at, known)) = &memory.scheduled
        && seen.now >= *at
        && seen.now.since(*at) < SCHEDULE_EVERY
    {
        return known.clone();
    }
    let windows = memory.schedule.iter().flat_map(|(_, windows)| windows);
    let open = windows.filter_map(|window| Some((window.minimum(seen.now, seen.lead)?, window.told())));
    let most = open.max_by_key(|(number, _)| *number);
    memory.scheduled = Some((seen.now, most.clone()));
    most
}

/// Requests in flight and held, over a few seconds.
fn smoothed(memory: &mut Memory, seen: &Seen) -> f64 {
    let load = (seen.load.in_flight + seen.load.held) as f64;
    if memory.loads.back().is_none_or(|(at, _)| seen.now.since(*at) >= LOAD_EVERY) {
        memory.loads.push_back((seen.now, load));
    }
    while memory.loads.front().is_some_and(|(at, _)| seen.now.since(*at) >= LOAD_TIME) {
        memory.loads.pop_front();
    }
    let sum: f64 = memory.loads.iter().map(|(_, load)| load).sum();
    sum / memory.loads.len().max(1) as f64
}
