//! How the day goes: what `GET /city/status` and `GET /city/truth` show.

use serde::{Deserialize, Serialize};
use takeaway_world::{Fault, FaultKind, SimTime, World};

/// `GET /city/status`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// Orders placed so far.
    pub(crate) placed: usize,
    /// Placed and not finished.
    pub(crate) on_their_way: usize,
    /// Delivered so far.
    pub(crate) delivered: usize,
    /// Of these, after their quote.
    pub(crate) late: usize,
    /// Given up.
    pub(crate) cancelled: usize,
    /// Cancelled, or delivered later than is acceptable.
    pub(crate) unacceptable: usize,
    /// The city's time.
    pub(crate) simulated_time: SimTime,
    /// Simulated seconds by which the city fell behind its speed, because its calls or dispatch were slow.
    pub(crate) held_seconds: f64,
    /// Whether the day is over.
    pub(crate) ended: bool,
    /// Why time stands still, when it does.
    pub(crate) holding: Option<String>,
    /// Simulated seconds for each real one.
    pub(crate) speed: f64,
    /// How fast riders ride.
    pub(crate) metres_per_minute: f64,
    /// Which day is played.
    pub(crate) play: String,
    /// Changes that a service refused; none, unless something is wrong.
    pub(crate) refused: u64,
}

/// What the worker knows beside the world.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Beside {
    pub(crate) held_seconds: f64,
    pub(crate) holding: Option<String>,
    pub(crate) refused: u64,
    pub(crate) speed: f64,
    pub(crate) play: String,
}

impl Status {
    pub(crate) fn of(world: &World, beside: &Beside) -> Self {
        let figures = world.figures();
        Self {
            placed: figures.placed,
            on_their_way: figures.on_their_way,
            delivered: figures.delivered,
            late: figures.late,
            cancelled: figures.cancelled,
            unacceptable: figures.unacceptable,
            simulated_time: world.now(),
            held_seconds: (beside.held_seconds * 10.0).round() / 10.0,
            ended: world.ended(),
            holding: beside.holding.clone(),
            speed: beside.speed,
            metres_per_minute: world.metres_per_minute(),
            play: beside.play.clone(),
            refused: beside.refused,
        }
    }
}

/// An item of `GET /city/truth`: an injected fault.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Truth {
    kind: FaultKind,
    /// The href of what it befell.
    subject: String,
    started: SimTime,
    ended: Option<SimTime>,
}

impl Truth {
    pub(crate) fn of(fault: &Fault, origin: &str) -> Self {
        let Fault { kind, subject, started, ended } = *fault;
        Self { kind, subject: subject.href(origin), started, ended }
    }
}
