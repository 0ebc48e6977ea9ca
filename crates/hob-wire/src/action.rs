//! Actions: what can be done about an issue, and what was done.

use hob_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Who decides that an action is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActionMode {
    /// A person, by pressing a button.
    #[default]
    Suggest,
    /// The rule proposes it; a person approves once, within ten minutes.
    Approve,
    /// The rule, within its guards.
    Auto,
}

/// How an action stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ActionState {
    /// It can be done now.
    Offered,
    /// It waits for somebody to approve it.
    Waiting,
    /// It is being done.
    Running,
    /// It was done.
    Done,
    /// It was tried, and failed.
    Failed,
    /// A guard did not let it.
    Refused,
    /// Nobody approved it in time.
    Expired,
    /// It would have been done: its rule is too young to act.
    DryRun,
}

/// A button: a link relation that the entity of an issue has now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Offer {
    /// The link relation.
    pub relation: String,
    /// What people read.
    pub title: String,
    /// Who decides.
    pub mode: ActionMode,
    /// How it stands for this issue.
    pub state: ActionState,
    /// Why it stands so: what it waits for, which guard refused, what was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Where it is done.
    pub href: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// The newest try: its id in `GET /v1/actions`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Until when it may be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What was done about an issue, or was to be: an item of `GET /v1/actions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Action {
    /// Made from the issue's id, so that a replay gives the same. The call carries it as `Idempotency-Key` and
    /// `X-Request-Id`.
    pub id: String,
    /// The issue.
    pub issue: String,
    /// The rule of the issue.
    pub rule: String,
    /// The entity whose link it is.
    pub about: String,
    /// The link relation.
    pub relation: String,
    /// What people read.
    pub title: String,
    /// Where it is done.
    pub href: String,
    /// `POST` or `PUT`.
    pub method: String,
    /// The body.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub with: Map<String, Value>,
    /// Who decides.
    pub mode: ActionMode,
    /// How it stands.
    pub state: ActionState,
    /// Who wanted it: `rule/<name>`, or a person.
    pub actor: String,
    /// Who approved it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// Why it was wanted, and what became of it.
    pub reason: String,
    /// When it was wanted, on the scope's clock.
    pub asked: Timestamp,
    /// Until when it may be approved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// When it ended, on the scope's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// The HTTP status of the answer; 0 when there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// How many actions led here, one causing the other: 0 when none did.
    #[serde(default)]
    pub depth: u8,
    /// Whether the issue was over in time after it was done; nothing while that is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub helped: Option<bool>,
}

/// Whether anything may act: `POST /v1/actions/pause` and `resume`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ActionsState {
    /// Who stopped all actions, and why; nothing while they run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Relations that stopped by themselves after failures, as `rule/relation`, with the reason.
    #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub stopped: std::collections::BTreeMap<String, String>,
}

/// All actions are stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Paused {
    /// Who stopped them.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Since when, on the scope's clock.
    pub since: Timestamp,
}
