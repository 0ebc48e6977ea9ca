//! When cells and entities must be looked at again, in the order of time.
//!
//! Timers are lazy: moving one later leaves its entry where it is, and whoever is woken compares with the time that it
//! keeps itself. Nothing here is stored; it is rebuilt from those times.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;

use hob_core::Timestamp;

use crate::rows::Role;

/// What is woken.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// A rule's cell for an entity.
    Cell { rule: u16, role: Role, href: Arc<str> },
    /// An entity that may be forgotten.
    Forget { href: Arc<str> },
}

/// All timers of an engine.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    queue: BinaryHeap<Reverse<(Timestamp, Timer)>>,
}

impl Timers {
    /// Wakes at `at`. Entries of before stay: whoever is woken in vain does nothing.
    pub(crate) fn arm(&mut self, at: Timestamp, timer: Timer) {
        self.queue.push(Reverse((at, timer)));
    }

    /// The next timer that is due at `now`, and the time for which it was armed. Whoever is woken before its own time
    /// must arm again, also when that time is `now` or past: so timers wake in the order of their true times.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<(Timestamp, Timer)> {
        if self.queue.peek()?.0.0 > now {
            return None;
        }
        self.queue.pop().map(|Reverse(entry)| entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_wakes_first() {
        let at = Timestamp::from_micros;
        let timer = |href: &str| Timer::Forget { href: href.into() };
        let mut timers = Timers::default();
        timers.arm(at(5), timer("a"));
        timers.arm(at(7), timer("b"));
        timers.arm(at(5), timer("A"));
        timers.arm(at(3), timer("b"));
        assert_eq!(timers.pop(at(2)), None);
        assert_eq!(timers.pop(at(6)), Some((at(3), timer("b"))));
        assert_eq!(timers.pop(at(6)), Some((at(5), timer("A"))));
        assert_eq!(timers.pop(at(6)), Some((at(5), timer("a"))));
        assert_eq!(timers.pop(at(6)), None);
    }
}
