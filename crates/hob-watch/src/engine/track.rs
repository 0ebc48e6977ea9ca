//! Positions from a stream: whether something has moved. Positions are taken here and nowhere in expressions, because
//! there are twenty of them for every other event.

use std::collections::BTreeMap;

use hob_core::Timestamp;
use serde_json::Value;

use crate::rows::Track;

/// Metres of a degree of latitude (a sphere of 6371 km).
const METRES_PER_DEGREE: f64 = 111_194.9;

/// A position as a stream record's data gives it: `x` and `y` in metres, or `lat` and `lon` (or `lng`) in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Position {
    at: (f64, f64),
    is_degrees: bool,
}

impl Position {
    pub(crate) fn read(data: &Value) -> Option<Self> {
        let number = |name: &str| data.get(name).and_then(Value::as_f64).filter(|number| number.is_finite());
        let metres = number("x").zip(number("y")).map(|at| Self { at, is_degrees: false });
        let degrees = || number("lat").zip(number("lon").or_else(|| number("lng")));
        metres.or_else(|| degrees().map(|at| Self { at, is_degrees: true }))
    }

    fn metres_from(&self, other: (f64, f64)) -> f64 {
        let (a, b) = (self.at.0 - other.0, self.at.1 - other.1);
        if self.is_degrees {
            // Near enough to a plane for the distances that rules ask about.
            let shrink = self.at.0.to_radians().cos();
            return (a * METRES_PER_DEGREE).hypot(b * METRES_PER_DEGREE * shrink);
        }
        a.hypot(b)
    }
}

/// Takes a position; one that is older than the newest is late and changes nothing.
pub(crate) fn moved(tracks: &mut BTreeMap<u32, Track>, metres: u32, position: Position, time: Timestamp) {
    let Position { at: anchor, is_degrees } = position;
    let fresh = Track { anchor, is_degrees, since: time, last: time };
    let track = tracks.entry(metres).or_insert_with(|| fresh.clone());
    if time < track.last {
        return;
    }
    if track.is_degrees == is_degrees && position.metres_from(track.anchor) <= f64::from(metres) {
        track.last = time;
    } else {
        *track = fresh;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn standing_still_keeps_the_anchor_and_late_positions_change_nothing() {
        let mut tracks = BTreeMap::new();
        let mut ping = |second: i64, x: i64| {
            let position = Position::read(&json!({"x": x, "y": 0})).unwrap();
            moved(&mut tracks, 50, position, Timestamp::from_micros(second));
            (tracks[&50].since.as_micros(), tracks[&50].last.as_micros())
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
        assert!((near.metres_from((51.5, -0.1007)) - 48.4).abs() < 1.0);
        assert_eq!(Position::read(&json!({"lat": "51", "lon": 0})), None);
    }
}
