//! What makes a rule true.

use std::fmt;
use std::time::Duration;

use hob_core::{TopicName, format_duration};

use super::{Offset, Path};
use crate::expression::Expression;

/// What makes a rule true.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// An expression that holds for a time.
    When { when: Expression, held: Duration },
    /// A time in the entity comes near or has passed.
    Deadline { field: Path, offset: Offset, unless: Option<Expression> },
    /// The entity's stream of positions stays within a circle for a time.
    Stopped { metres: u32, held: Duration, during: Option<Expression>, from: Option<Path> },
    /// No such event of the entity for a time, while something is so.
    Absent { source: Source, within: Duration, during: Option<Expression> },
    /// Many of something.
    Count { count: Count, at_least: u32 },
    /// Events come too fast, or too slowly: a mean that forgets at the pace of its window.
    Rate { source: Source, limit: Limit, window: Duration },
    /// Events of the last window are that many times those of the windows before.
    Spike { source: Source, window: Duration, against: Duration, factor: f64, at_least: u32 },
    /// A field moved by much, or often.
    Change { field: Path, within: Duration, moved: Moved },
    /// The entity's positions enter a circle around another entity, leave it, or stay in it.
    Fence { around: Around, metres: u32, crossing: Crossing },
    /// Fewer events than that in a time.
    Flatline { source: Source, within: Duration, below: u32 },
    /// A field has a value that no entity had for as long as values are remembered.
    NewTerm { field: Path, source: Option<Source>, remembered: Duration, shown: Duration, most: usize },
}

/// Events that are counted or missed.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) topic: TopicName,
    /// Events of this type alone.
    pub(crate) kind: Option<String>,
    /// Events of which this is true alone; the event is `event`.
    pub(crate) filter: Option<Expression>,
    /// Whose count an event belongs to.
    pub(crate) by: By,
}

/// How a counted thing leads to the entity that the rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// It is the entity's own.
    Itself,
    /// A relation of the entity that the event is about, or that is counted.
    Relation(String),
    /// A member of the event's data, or a field, that holds the id.
    Field(String),
}

/// What is counted.
#[derive(Debug)]
pub(crate) enum Count {
    /// Entities of which something is true now, or became true within a time.
    Entities { kind: String, filter: Option<Expression>, by: By, held: Duration, within: Option<Duration> },
    /// Events within a time.
    Events { source: Source, within: Duration },
}

/// How many events a second are too many, or too few.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Limit {
    Above(f64),
    Below(f64),
}

/// How a field changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Moved {
    /// A number moved this far, or a time this many seconds.
    By { distance: f64, direction: Direction },
    /// It had this many other values.
    Times(u32),
}

/// Which way a number moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    Up,
    Down,
    Any,
}

/// The middle of a circle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Around {
    /// Where the entity behind a relation is, by its fields `x` and `y`, or `lat` and `lon`.
    Relation(String),
    /// A field that holds a position.
    Field(Path),
}

/// What happens at a circle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crossing {
    Enter,
    Exit,
    Dwell(Duration),
}

impl Trigger {
    /// The events that it counts or misses.
    pub(crate) fn source(&self) -> Option<&Source> {
        match self {
            Self::Absent { source, .. }
            | Self::Rate { source, .. }
            | Self::Spike { source, .. }
            | Self::Flatline { source, .. }
            | Self::Count { count: Count::Events { source, .. }, .. } => Some(source),
            Self::NewTerm { source, .. } => source.as_ref(),
            _ => None,
        }
    }

    /// Whether positions of the entity's stream may change what it says.
    pub(crate) fn reads_positions(&self) -> bool {
        matches!(self, Self::Stopped { .. } | Self::Fence { .. })
    }

    /// How much of the past it needs to see before it can be told what it says.
    pub(crate) fn looks_back(&self) -> Duration {
        match self {
            Self::When { held, .. } | Self::Stopped { held, .. } => *held,
            Self::Deadline { .. } => Duration::ZERO,
            Self::Absent { within, .. } | Self::Change { within, .. } | Self::Flatline { within, .. } => {
                *within
            }
            Self::Count { count: Count::Events { within, .. }, .. } => *within,
            Self::Count { count: Count::Entities { within, held, .. }, .. } => {
                within.unwrap_or_default().saturating_add(*held)
            }
            Self::Rate { window, .. } => window.saturating_mul(4),
            Self::Spike { window, against, .. } => window.saturating_add(*against),
            Self::Fence { crossing: Crossing::Dwell(held), .. } => *held,
            Self::Fence { .. } => Duration::ZERO,
            Self::NewTerm { remembered, .. } => *remembered,
        }
    }
}

/// The trigger in the words of its file.
impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |expression: &Option<Expression>, word: &str| {
            expression.as_ref().map(|expression| format!(" {word} {}", expression.text())).unwrap_or_default()
        };
        let time = |duration: &Duration| format_duration(*duration);
        match self {
            Self::When { when, held } if held.is_zero() => f.write_str(when.text()),
            Self::When { when, held } => write!(f, "{} for {}", when.text(), time(held)),
            Self::Deadline { field, offset, unless } => {
                write!(f, "now is {offset} {field}{}", text(unless, "unless"))
            }
            Self::Stopped { metres, held, during, .. } => {
                write!(f, "not moved {metres} m for {}{}", time(held), text(during, "while"))
            }
            Self::Absent { source, within, during } => {
                write!(f, "no {source} within {}{}", time(within), text(during, "while"))
            }
            Self::Count { count: Count::Events { source, within }, at_least } => {
                write!(f, "at least {at_least} {source} within {}", time(within))
            }
            Self::Count { count: Count::Entities { kind, filter, within, .. }, at_least } => {
                let within = within.map(|within| format!(" within {}", time(&within))).unwrap_or_default();
                write!(f, "at least {at_least} of {kind}{}{within}", text(filter, "where"))
            }
            Self::Rate { source, limit, window } => {
                let (word, rate) = match limit {
                    Limit::Above(rate) => ("more", rate),
                    Limit::Below(rate) => ("less", rate),
                };
                write!(f, "{word} than {} {source} a minute over {}", rate * 60.0, time(window))
            }
            Self::Spike { source, window, against, factor, .. } => {
                write!(f, "{source} of {} are {factor} times those of {}", time(window), time(against))
            }
            Self::Change { field, within, moved: Moved::By { distance, .. } } => {
                write!(f, "{field} moved by {distance} within {}", time(within))
            }
            Self::Change { field, within, moved: Moved::Times(times) } => {
                write!(f, "{field} changed {times} times within {}", time(within))
            }
            Self::Fence { around, metres, crossing } => {
                let word = match crossing {
                    Crossing::Enter => "within".to_owned(),
                    Crossing::Exit => "no longer within".to_owned(),
                    Crossing::Dwell(held) => format!("for {} within", time(held)),
                };
                write!(f, "{word} {metres} m of {around}")
            }
            Self::Flatline { source, within, below } => {
                write!(f, "fewer than {below} {source} within {}", time(within))
            }
            Self::NewTerm { field, remembered, .. } => {
                write!(f, "{field} has a value not seen for {}", time(remembered))
            }
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.as_deref().unwrap_or(self.topic.as_str()))?;
        match &self.filter {
            Some(filter) => write!(f, " where {}", filter.text()),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Relation(relation) => f.write_str(relation),
            Self::Field(path) => path.fmt(f),
        }
    }
}
