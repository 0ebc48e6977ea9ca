//! Whether something is within a circle, and since when.

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

use super::Position;
use crate::model::Crossing;

/// An entity and a circle.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fence {
    /// The middle; another one is another fence.
    pub(crate) around: Position,
    is_inside: bool,
    was_inside: bool,
    /// Since when it is on this side.
    pub(crate) since: Timestamp,
    /// The newest position's time.
    pub(crate) last: Timestamp,
}

impl Fence {
    /// The first position; nothing when the middle is told in another way.
    pub(crate) fn new(around: Position, metres: u32, position: Position, time: Timestamp) -> Option<Self> {
        let is_inside = position.metres_from(around)? <= f64::from(metres);
        Some(Self { around, is_inside, was_inside: is_inside, since: time, last: time })
    }

    /// Takes a position; a late one changes nothing.
    pub(crate) fn moved(&mut self, metres: u32, position: Position, time: Timestamp) {
        let Some(far) = position.metres_from(self.around).filter(|_| time >= self.last) else { return };
        let is_inside = far <= f64::from(metres);
        if is_inside != self.is_inside {
            self.since = time;
        }
        self.is_inside = is_inside;
        self.was_inside |= is_inside;
        self.last = time;
    }

    /// Whether what a rule asks about is so.
    pub(crate) fn is(&self, crossing: Crossing) -> bool {
        match crossing {
            Crossing::Enter => self.is_inside,
            Crossing::Exit => self.was_inside && !self.is_inside,
            Crossing::Dwell(held) => self.is_inside && self.last.since(self.since) >= held,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn circles_are_entered_dwelt_in_and_left() {
        let at = Timestamp::from_micros;
        let place = |x: f64| Position::new(x, 0.0, false);
        let dwell = Crossing::Dwell(Duration::from_micros(5));
        let mut fence = Fence::new(place(0.0), 100, place(500.0), at(0)).unwrap();
        let is = |fence: &Fence| [Crossing::Enter, Crossing::Exit, dwell].map(|crossing| fence.is(crossing));
        assert_eq!(is(&fence), [false, false, false]);
        fence.moved(100, place(100.0), at(1));
        assert_eq!(is(&fence), [true, false, false]);
        fence.moved(100, place(500.0), at(0));
        fence.moved(100, place(0.0), at(6));
        assert_eq!(is(&fence), [true, false, true]);
        fence.moved(100, place(101.0), at(7));
        assert_eq!(is(&fence), [false, true, false]);
    }
}
