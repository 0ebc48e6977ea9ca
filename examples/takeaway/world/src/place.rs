//! Where things are: metres on a plane, and how long a ride takes.

use serde::{Deserialize, Serialize};

/// A place in the city, in metres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Point {
    /// Metres east.
    pub x: i64,
    /// Metres north.
    pub y: i64,
}

impl Point {
    /// Straight-line distance to another place, in metres.
    pub fn metres_to(self, other: Self) -> f64 {
        (self.x as f64 - other.x as f64).hypot(self.y as f64 - other.y as f64)
    }

    /// Minutes that a ride to another place takes: the straight line, rounded up to whole minutes, as the published
    /// instances of the Meal Delivery Routing Problem define it.
    pub fn minutes_to(self, other: Self, metres_per_minute: f64) -> i64 {
        (self.metres_to(other) / metres_per_minute).ceil() as i64
    }

    /// The place after `done` of `whole` parts of the straight line to another place, to the metre.
    pub fn towards(self, other: Self, done: i64, whole: i64) -> Self {
        if whole <= 0 || done >= whole {
            return other;
        }
        let done = done.max(0);
        Self { x: self.x + (other.x - self.x) * done / whole, y: self.y + (other.y - self.y) * done / whole }
    }
}
