//! Positions from a stream: whether something has moved. Positions are taken here and nowhere in expressions, because
//! there are twenty of them for every other event.

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::bits::Exact;
use crate::fields::Fields;

/// Metres of a degree of latitude (a sphere of 6371 km).
const METRES_PER_DEGREE: f64 = 111_194.9;

/// A position as a stream record's data gives it: `x` and `y` in metres, or `lat` and `lon` (or `lng`) in degrees.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    at: (Exact, Exact),
    pub(crate) is_degrees: bool,
}

/// Where something was, and since when it is near there.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    anchor: Position,
    /// Since when it has been near the anchor.
    pub(crate) since: Timestamp,
    /// The newest position's time.
    pub(crate) last: Timestamp,
}

impl Position {
    pub(crate) fn new(first: f64, second: f64, is_degrees: bool) -> Self {
        Self { at: (Exact(first), Exact(second)), is_degrees }
    }

    pub(crate) fn read(data: &Value) -> Option<Self> {
        let data: &Map<String, Value> = data.as_object()?;
        Self::of(|name| data.get(name).and_then(Value::as_f64))
    }

    /// Where an entity says that it is.
    pub(crate) fn of_fields(fields: &Fields) -> Option<Self> {
        Self::of(|name| fields.plain(name).and_then(crate::fields::Plain::as_number))
    }

    fn of(read: impl Fn(&str) -> Option<f64>) -> Option<Self> {
        let number = |name: &str| read(name).filter(|number| number.is_finite());
        let metres = number("x").zip(number("y")).map(|(x, y)| Self::new(x, y, false));
        let degrees = || number("lat").zip(number("lon").or_else(|| number("lng")));
        metres.or_else(|| degrees().map(|(lat, lon)| Self::new(lat, lon, true)))
    }

    /// East and north.
    pub(crate) fn east_north(&self) -> (f64, f64) {
        let (first, second) = (self.at.0.0, self.at.1.0);
        if self.is_degrees { (second, first) } else { (first, second) }
    }

    /// How far another position is, when both are told in the same way.
    pub(crate) fn metres_from(&self, other: Self) -> Option<f64> {
        if self.is_degrees != other.is_degrees {
            return None;
        }
        let (a, b) = (self.at.0.0 - other.at.0.0, self.at.1.0 - other.at.1.0);
        if self.is_degrees {
            // Near enough to a plane for the distances that rules ask about.
            let shrink = self.at.0.0.to_radians().cos();
            return Some((a * METRES_PER_DEGREE).hypot(b * METRES_PER_DEGREE * shrink));
        }
        Some(a.hypot(b))
    }
}

impl Track {
    pub(crate) fn new(position: Position, time: Timestamp) -> Self {
        Self { anchor: position, since: time, last: time }
    }

    /// Takes a position; one that is older than the newest is late and changes nothing.
    pub(crate) fn moved(&mut self, metres: u32, position: Position, time: Timestamp) {
        if time < self.last {
            return;
        }
        if position.metres_from(self.anchor).is_some_and(|far| far <= f64::from(metres)) {
            self.last = time;
        } else {
            *self = Self::new(position, time);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn standing_still_keeps_the_anchor_and_late_positions_change_nothing() {
        let mut track: Option<Track> = None;
        let mut ping = |second: i64, x: i64| {
            let position = Position::read(&json!({"x": x, "y": 0})).unwrap();
            let time = Timestamp::from_micros(second);
            let track = track.get_or_insert(Track::new(position, time));
            track.moved(50, position, time);
            (track.since.as_micros(), track.last.as_micros())
        };
        assert_eq!(ping(1, 0), (1, 1));
        assert_eq!(ping(2, 30), (1, 2));
        assert_eq!(ping(3, 50), (1, 3));
        assert_eq!(ping(4, 51), (4, 4));
        assert_eq!(ping(3, 500), (4, 4));
        assert_eq!(ping(5, 60), (4, 5));
    }

    #[test]
    fn degrees_are_metres_too_and_nonsense_is_no_position() {
        let near = Position::read(&json!({"lat": 51.5, "lng": -0.1})).unwrap();
        let other = Position::new(51.5, -0.1007, true);
        assert!((near.metres_from(other).unwrap() - 48.4).abs() < 1.0);
        assert_eq!(near.metres_from(Position::new(5.0, 5.0, false)), None);
        assert_eq!(Position::read(&json!({"lat": "51", "lon": 0})), None);
    }
}
