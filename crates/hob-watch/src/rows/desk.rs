//! What is remembered of issues beyond themselves: actions, days, occurrences that were not enough yet.

use std::collections::{BTreeMap, VecDeque};

use hob_core::{Digest, Histogram, Timestamp};
use hob_wire::{Action, Paused};
use serde::{Deserialize, Serialize};

/// What is remembered of issues beyond themselves.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DeskRow {
    /// Actions by id, the newest.
    #[serde(default)]
    pub(crate) actions: BTreeMap<String, ActionRow>,
    /// Their ids in the order in which they were wanted.
    #[serde(default)]
    pub(crate) order: VecDeque<String>,
    /// Who stopped all actions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Paused>,
    /// Actions that failed so many times one after the other, by `rule/relation`.
    #[serde(default)]
    pub(crate) failures: BTreeMap<String, u32>,
    /// Actions that stopped by themselves, and why, by `rule/relation`.
    #[serde(default)]
    pub(crate) stopped: BTreeMap<String, String>,
    /// Since when each rule is as it is.
    #[serde(default)]
    pub(crate) since: BTreeMap<String, Since>,
    /// Occurrences that were not enough for an issue yet, by rule and key.
    #[serde(default)]
    pub(crate) hits: BTreeMap<String, BTreeMap<String, Vec<Hit>>>,
    /// The newest days.
    #[serde(default)]
    pub(crate) days: BTreeMap<String, DayRow>,
    /// When issues of each rule opened lately.
    #[serde(default)]
    pub(crate) opened: BTreeMap<String, VecDeque<Timestamp>>,
}

/// Since when a rule is as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) digest: Digest,
    /// Nothing while the clock has told no time.
    pub(crate) at: Option<Timestamp>,
}

/// An occurrence that was not enough for an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hit {
    pub(crate) at: Timestamp,
    pub(crate) href: String,
}

/// An action and what it takes to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ActionRow {
    pub(crate) action: Action,
    /// Which opening of the issue it was for.
    pub(crate) opening: u32,
    /// The call is under way, or was when the process died.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_begun: bool,
    /// A guard refused it that may let it pass later.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) may_pass: bool,
    /// When it is looked at whether it helped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verify_at: Option<Timestamp>,
}

/// A day.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct DayRow {
    pub(crate) opened: u64,
    pub(crate) resolved: u64,
    pub(crate) reopened: u64,
    pub(crate) investigations: u64,
    pub(crate) actions: u64,
    pub(crate) acknowledge: Histogram,
    pub(crate) resolve: Histogram,
    /// Entities seen for the first time, by kind.
    pub(crate) seen: BTreeMap<String, u64>,
    /// How entities ended: so many of so many, by `kind.outcome`.
    pub(crate) outcomes: BTreeMap<String, (u64, u64)>,
    pub(crate) rules: BTreeMap<String, RuleDay>,
}

/// A day of a rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleDay {
    pub(crate) opened: u64,
    pub(crate) resolved: u64,
    pub(crate) false_alarms: u64,
}

impl DayRow {
    /// Counts a false alarm of a rule, or takes one back.
    pub(crate) fn false_alarm(&mut self, rule: &str, is_one: bool) {
        let day = self.rules.entry(rule.to_owned()).or_default();
        day.false_alarms = match is_one {
            true => day.false_alarms + 1,
            false => day.false_alarms.saturating_sub(1),
        };
    }
}
