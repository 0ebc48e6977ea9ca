//! When cells and entities must be looked at again, in the order of time.
//!
//! Timers are lazy: moving one later leaves its entry where it is, and whoever is woken compares with the time that it
//! keeps itself. Nothing here is stored; it is rebuilt from those times.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::Timestamp;

/// What is woken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A rule's cell for an entity.
    Cell { rule: String, href: String },
    /// An entity that may be forgotten.
    Forget { href: String },
}

/// All timers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BTreeSet<(Timestamp, Timer)>,
    armed: BTreeMap<Timer, Timestamp>,
}

impl Timers {
    /// Wakes at `at` or, when an earlier wake is armed already, at that one.
    pub(crate) fn arm(&mut self, at: Timestamp, timer: Timer) {
        if let Some(armed) = self.armed.get(&timer) {
            if *armed <= at {
                return;
            }
            self.queue.remove(&(*armed, timer.clone()));
        }
        self.armed.insert(timer.clone(), at);
        self.queue.insert((at, timer));
    }

    /// The next timer that is due at `now`, and the time for which it was armed. Whoever is woken before its own time
    /// must arm again, also when that time is `now` or past: so timers wake in the order of their true times.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        if self.queue.first()?.0 > now {
            return None;
        }
        let (at, timer) = self.queue.pop_first()?;
        self.armed.remove(&timer);
        Some((at, timer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wakes_first_and_moving_later_is_lazy() {
        let at = Timestamp::from_micros;
        let timer = |href: &str| Timer::Forget { href: href.to_owned() };
        let mut timers = Timers::default();
        timers.arm(at(5), timer("a"));
        timers.arm(at(9), timer("a"));
        timers.arm(at(7), timer("b"));
        timers.arm(at(3), timer("b"));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(10)), Some((at(3), timer("b"))));
        assert_eq!(timers.pop(at(10)), Some((at(5), timer("a"))));
        assert_eq!(timers.pop(at(10)), None);
    }
}
