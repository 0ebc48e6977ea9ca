//! What rules would have done to events of the past.

use hob_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Evidence;

fn unnamed() -> String {
    "rule.yml".to_owned()
}

/// Rules to be tried on the past: `POST /v1/rules/backtest`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewBacktest {
    /// The file's name, for flaws.
    #[serde(default = "unnamed")]
    pub file: String,
    /// Rules, and entities when they differ from those in force.
    pub text: String,
    /// How far back: `7d`; all that is kept when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// A value of the rule and what to try for it: `for=3m,5m,8m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<String>,
}

/// What rules would have done.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Backtest {
    /// The scope's clock at the first and the last input.
    pub since: Timestamp,
    /// The scope's clock at the last input.
    pub until: Timestamp,
    /// Inputs that were replayed.
    pub inputs: u64,
    /// The kind of entity whose outcome is the truth, and the outcome's name; empty when no kind has one.
    pub kind: String,
    /// The outcome's name.
    pub outcome: String,
    /// Entities that ended in this time.
    pub entities: u64,
    /// Those that ended badly.
    pub bad: u64,
    /// Those that had not ended yet, and count nowhere.
    pub open: u64,
    /// Those that somebody acted on, whose outcomes say less.
    pub acted: u64,
    /// What to keep in mind.
    pub notes: Vec<String>,
    /// By rule, then in the order of the sweep.
    pub rules: Vec<RuleTrial>,
}

/// One rule, as it stands or with another value.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RuleTrial {
    /// The rule.
    pub rule: String,
    /// `for=5m`; nothing for the rule as it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<String>,
    /// Issues that it would have opened.
    pub issues: u64,
    /// For each entity that ended.
    pub issues_per_entity: f64,
    /// The most of them that were open at a time.
    pub open_most: u64,
    /// Entities that its issues are about or touch, of those that ended.
    pub flagged: u64,
    /// Of those that ended.
    pub flagged_share: f64,
    /// How many of the flagged ended badly, nobody having acted; nothing when none was flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// How many of those that ended badly were flagged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recall: Option<f64>,
    /// Flagged entities that nobody acted on, and how many of them ended badly.
    pub unacted: [u64; 2],
    /// Flagged entities that somebody acted on, and how many of them ended badly.
    pub acted: [u64; 2],
    /// Seconds from the first issue until it was too late: tenth, fiftieth and ninetieth of a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lead: Option<[f64; 3]>,
    /// Seconds from when the condition began until the issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<[f64; 3]>,
    /// Issues that the version in force would not have opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extra: Option<u64>,
    /// Issues that only the version in force would have opened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missed: Option<u64>,
    /// Where it breaks its budget.
    pub over_budget: Vec<String>,
    /// Some of the issues.
    pub samples: Vec<Sample>,
}

/// An issue that would have been.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sample {
    /// What it would have said.
    pub title: String,
    /// The entity.
    pub about: String,
    /// When it would have opened.
    pub opened: Timestamp,
    /// Whether what it is about ended badly, when that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bad: Option<bool>,
    /// What led to it.
    pub timeline: Vec<Evidence>,
}
