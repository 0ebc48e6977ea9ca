//! Issues: things that need attention, opened by rules.

use hob_core::{Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Where an issue stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum IssueState {
    /// It needs attention.
    Open,
    /// Somebody attends to it.
    Acknowledged,
    /// It is over.
    Resolved,
}

/// One thing that needs attention.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// Made from its key and the log position that opened it, so that a replay gives the same.
    pub id: String,
    /// The rule that opened it.
    pub rule: String,
    /// Its identity: at most one unresolved issue per key.
    pub key: String,
    /// The href of the entity that it is about.
    pub about: String,
    /// Where it stands.
    pub state: IssueState,
    /// 0 to 100; the greater, the sooner.
    pub priority: u8,
    /// One line that says what is wrong.
    pub title: String,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// When it opened, on its scope's clock.
    pub opened: Timestamp,
    /// When somebody first acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Timestamp>,
    /// Who acknowledged it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Timestamp>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// How often it came back within its rule's `reopen_within`.
    #[serde(default)]
    pub reopenings: u32,
    /// Hrefs of what else it touches.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affects: Vec<String>,
    /// What led to it, oldest first.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
}

/// One piece of what led to an issue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// When it happened, on the scope's clock.
    pub time: Timestamp,
    /// When Hob recorded it, by the wall clock.
    pub recorded: Timestamp,
    /// `rule`, `entity`, `event`, or `command`.
    pub kind: String,
    /// What it says, in one line.
    pub text: String,
    /// The event that says so, 20 digits, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// Values: the entity as it was, or the fields that the rule read.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

/// A change of an issue's state; the data of an event on `hob.issues`, whose type is the transition's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// `opened`, `acknowledged`, `resolved` or `reopened`.
    pub transition: String,
    /// Who did it: `rule/<name>`, or a person's name.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The issue as it is now.
    pub issue: Issue,
}
