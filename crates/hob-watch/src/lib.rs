//! Rules that open issues: entities, observations, conditions, timers.
//!
//! Notices are fetched into observations; observations, streams, clocks and people's commands are the only inputs of
//! a pure engine, which opens, changes and resolves issues. Everything it needs is in the event log, so that a replay
//! gives the same issues. Only this crate opens issues. Start at [`Watch`].

mod error;
mod fetch;
mod handle;

pub use error::Error;
pub use fetch::{Fetch, Fetched};
pub use handle::{FigureValue, Figures, IssueFilter, RuleSummary, Watch};
