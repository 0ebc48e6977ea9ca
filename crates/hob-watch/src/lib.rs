//! Rules that open issues: entities, observations, conditions, timers.
//!
//! Notices are fetched into observations; observations, streams, clocks and people's commands are the only inputs of
//! a pure engine, which opens, changes and resolves issues. Everything it needs is in the event log, so that a replay
//! gives the same issues. Only this crate opens issues. Start at [`Watch`], or at [`Engine`] to drive the rules
//! without a log.

mod act;
mod backtest;
mod cases;
mod checkpoint;
mod command;
mod cost;
mod engine;
mod error;
mod expression;
mod fetch;
mod fetch_queue;
mod fetcher;
mod fields;
mod handle;
mod inputs;
#[allow(dead_code, reason = "all of the grammar is read before all of it is executed")]
mod model;
mod past;
mod performer;
mod plan;
mod question;
mod reducers;
mod rows;
mod rules;
mod service;
mod template;
mod value;
mod view;

pub use act::{Act, Acted};
pub use backtest::{Trial, backtest, combined, swept};
pub use cases::{CaseOutcome, run_cases};
pub use command::{Command, Refusal, Verb};
pub use cost::Meter;
pub use engine::{ACTIONS_MAX, Count, ENTITIES_MAX, Engine, Input, Output, RESOLVED_ISSUES_MAX, What};
pub use error::Error;
pub use fetch::{Fetch, Fetched};
pub use handle::{EntityFilter, FigureValue, Figures, IssueFilter, Parent, RuleSummary, Watch};
pub use model::Rules;
pub use rules::compile;
