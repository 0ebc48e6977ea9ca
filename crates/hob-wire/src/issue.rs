//! Issues: things that need attention, opened by rules.

use hob_core::{Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::Offer;

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
    /// When the present acknowledgement ends: an issue that nobody resolves by then is open again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged_until: Option<Timestamp>,
    /// Whose it is: who acknowledged it first, or to whom it was assigned since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// While it is snoozed nobody is told of it; it stays in every list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snoozed: Option<Snooze>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolved: Option<Timestamp>,
    /// Why it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resolution: Option<String>,
    /// What people said of it: `false-alarm`. Labels make up the precision of its rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Somebody said that it is mended: when its condition is looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify_at: Option<Timestamp>,
    /// The issue that it became part of, by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// How often nobody resolved it in the time that they had taken for it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub escalated: u32,
    /// Why its condition cannot be told now. Until it can, the issue is frozen: it neither resolves nor expires, and
    /// nothing acts on it by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unknown: Option<String>,
    /// Its condition is over, and what it waits for all the same: its children.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits: Option<String>,
    /// The issue that explains this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Unresolved issues that this one explains.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub children: u32,
    /// It stands for all that its rule would have opened beyond its budget; they are counted as its members.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub storm: bool,
    /// How often it came back within its rule's `reopen_within`.
    #[serde(default)]
    pub reopenings: u32,
    /// How many transitions it has had. A command that names the revision that its sender saw is refused when somebody
    /// was quicker.
    #[serde(default)]
    pub revision: u32,
    /// How its priority came about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub terms: Vec<Term>,
    /// Whom it touches.
    #[serde(default)]
    pub members: Members,
    /// Hrefs of what else it touches, the first hundred.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub affects: Vec<String>,
    /// What can be done about it: link relations that its entity has now.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub actions: Vec<Offer>,
    /// The action that caused what it is about, when one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caused_by: Option<String>,
    /// Where it is written what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runbook: Option<String>,
    /// `shadow` when its rule runs without showing; such issues are listed only where they are asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule_mode: Option<String>,
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
    /// `rule`, `entity`, `event`, `command`, `note` or `action`.
    pub kind: String,
    /// What it says, in one line.
    pub text: String,
    /// The event that says so, 20 digits, when there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// The request that caused it: log records name it too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestid: Option<String>,
    /// Values: the entity as it was, or the fields that the rule read.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

/// A change of an issue's state; the data of an event on `hob.issues`, whose type is the transition's name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Transition {
    /// `opened`, `acknowledged`, `assigned`, `snoozed`, `woken`, `resolved`, `reopened`, `merged`, `labelled`,
    /// `escalated`, `adopted`, `released`, `noted` or `acted`.
    pub transition: String,
    /// When, on the scope's clock.
    #[serde(default)]
    pub time: Timestamp,
    /// Who did it: `rule/<name>`, or a person's name.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What changed, as it was before.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub before: Map<String, Value>,
    /// What changed, as it is now.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub after: Map<String, Value>,
    /// The issue as it is now.
    pub issue: Issue,
}

/// For how long an issue is silent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Snooze {
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Earlier when it becomes worse: its priority rises by ten, or it touches twice as many.
    #[serde(default)]
    pub worse: bool,
    /// Who snoozed it.
    pub by: String,
}

/// One term of a priority.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Term {
    /// `base`, `urgency`, `members`, `escalated` or `acknowledged`.
    pub name: String,
    /// What it adds; the sum is kept between 0 and 100.
    pub points: i32,
    /// Why so many.
    pub text: String,
}

/// Whom an issue touches: all counted, few named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Members {
    /// How many.
    pub count: u32,
    /// The first ones, and the last ones that came.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub first: Vec<Member>,
    /// The nearest time at which something becomes unacceptable for one of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worst: Option<Timestamp>,
}

/// One that an issue touches.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// The entity.
    pub href: String,
    /// How people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When something becomes unacceptable for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slack_at: Option<Timestamp>,
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}
