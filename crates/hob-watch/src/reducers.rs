//! What streams leave behind: fixed-size sums of what was seen, so that no event is kept and few are looked at.
//!
//! Ninety-six of a hundred events are positions. Each of these is changed in place by an event, and says by comparing
//! numbers alone whether a rule may have become true or false.

mod bits;
mod fence;
mod rate;
mod ring;
mod span;
mod track;

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

pub(crate) use fence::Fence;
pub(crate) use rate::Rate;
pub(crate) use ring::Ring;
pub(crate) use span::Span;
pub(crate) use track::{Position, Track};

/// What one rule keeps of one entity's events.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Reducer {
    /// Near where it stands, and since when.
    Track(Track),
    /// Whether it is within a circle, and since when.
    Fence(Fence),
    /// When something was first and last seen.
    Seen(Seen),
    /// How many events there were lately.
    Ring(Box<Ring>),
    /// How fast events come.
    Rate(Rate),
    /// Between which numbers a field moved lately.
    Span(Box<Span>),
    /// When a field had a value that nobody had before.
    News(Timestamp),
}

/// When something was first waited for, and last seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
}
