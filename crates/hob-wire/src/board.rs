//! What the console and the command line show of rules, figures and the platform as a whole.

use hob_core::{Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Role;

/// A rule and how it does: an item of `GET /v1/rules`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rule {
    /// Its name.
    pub name: String,
    /// The kind of entity that it is about.
    pub about: String,
    /// The file that declares it.
    pub file: String,
    /// `enabled`, `shadow` or `disabled`.
    #[serde(default)]
    pub mode: String,
    /// Issues of it that are not resolved.
    pub open: u64,
    /// Issues that it ever opened.
    pub opened_total: u64,
    /// Those of the last seven days on which anything happened, the newest first.
    #[serde(default)]
    pub opened_by_day: Vec<OpenedOn>,
    /// Of its issues of those days that ended, the share that nobody called a false alarm; nothing when none ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub precision: Option<f64>,
    /// When it last opened one, as far as its issues are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_opened: Option<Timestamp>,
    /// Its budget: issues that may be open at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_open: Option<u32>,
    /// Its budget: issues for each entity of a day.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_entity: Option<f64>,
    /// `watching`, or `unknown` when its expressions could not be answered lately.
    pub state: String,
    /// Why, when `unknown`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Issues that a rule opened on a day.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedOn {
    /// `2026-01-05`, in UTC on the scope's clock.
    pub day: String,
    /// How many.
    pub opened: u64,
}

/// The file that declares a rule: `GET /v1/rules/{name}/text`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RuleText {
    /// Its name.
    pub file: String,
    /// What it says.
    pub text: String,
}

/// How far the rule engine of a scope is: `GET /v1/rules/standing`. Two engines that took the same inputs are equal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Standing {
    /// The newest event that it took, 20 digits.
    pub sequence: String,
    /// The scope's clock, as it has it.
    pub clock: Timestamp,
    /// Of everything that it remembers.
    pub digest: hob_core::Digest,
}

/// What is wrong with a rule file: `POST /v1/rules/check`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Checked {
    /// Every flaw with its place; none when the file may be applied.
    pub flaws: Vec<crate::ErrorItem>,
}

/// A number on the live strip.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// Its name, unique in the scope.
    pub name: String,
    /// What people read.
    pub label: String,
    /// How many entities.
    pub value: u64,
    /// `good`, `neutral`, `warn` or `bad`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tone: Option<String>,
}

/// The live strip of a scope: `GET /v1/figures`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Figures {
    /// In the order of the files.
    pub figures: Vec<Figure>,
    /// The scope's clock.
    pub clock: Timestamp,
}

/// The platform as a whole: `GET /v1/status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Status {
    /// Hob's version.
    pub version: String,
    /// Whether everything that was asked for runs.
    pub ready: bool,
    /// Seconds since the core started.
    pub uptime_seconds: u64,
    /// The platform's name, once declared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Name>,
    /// The scopes; the first is meant when none is named.
    pub scopes: Vec<Scope>,
    /// Where requests for services go.
    pub router_url: String,
    /// The origin of entities' hrefs when it is not the router's; may contain `${environment}` and `${tenant}`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_url: Option<String>,
    /// Nodes with a live agent.
    pub nodes: u32,
    /// Routers with a live lease.
    pub routers: u32,
    /// Services over all scopes, and those of them that are ready.
    pub services: u32,
    /// Those of the services whose instances are all ready.
    pub services_ready: u32,
    /// Issues over all scopes that are not resolved.
    pub issues: u32,
    /// Events in the log.
    pub events: u64,
    /// How the event log is kept.
    #[serde(default)]
    pub event_log: EventLogState,
}

/// How the event log is kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct EventLogState {
    /// The oldest sequence that is kept of any topic.
    pub oldest: u64,
    /// Up to here events are sealed in compressed parts.
    pub sealed: u64,
    /// How many parts there are.
    pub parts: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Events that are gone because their topics keep them no longer.
    pub expired: u64,
    /// Superseded events of compact topics that are gone since Hob started.
    pub compacted: u64,
    /// Sequences between which events are damaged and cannot be read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub damaged: Vec<SequenceRange>,
    /// Whether events are refused because the disk is full.
    pub full: bool,
}

/// Sequences from the first to the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SequenceRange {
    /// The first.
    pub first: u64,
    /// The last.
    pub last: u64,
}

/// Whose token it is: `GET /v1/me`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Me {
    /// A person's name, an instance's id, a node's or a router's name.
    pub name: String,
    /// What it may do.
    pub role: Role,
}

/// A person's reason for what they do to an issue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reason {
    /// Why, for those who read it later.
    #[serde(default)]
    pub reason: String,
}

/// A release to be made and rolled out: `POST /v1/services/{service}/rollouts`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// The package, sent before.
    pub package: hob_core::Digest,
    /// Configuration that takes the place of the descriptor's, by variable.
    #[serde(default)]
    pub overrides: std::collections::BTreeMap<String, String>,
    /// The environment that ran this very package before, for the same tenant: a promotion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_from: Option<hob_core::Name>,
}

/// Where to go back to: `POST /v1/services/{service}/rollback`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollback {
    /// The release; the one before the present one that worked, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

/// What applying declarations did, or would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Applied {
    /// The revision of the declarations now; 0 when it was a dry run and nothing is declared.
    pub revision: u64,
    /// What changed.
    pub changes: Vec<crate::Change>,
}

/// A package that was taken: `POST /v1/packages`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Stored {
    /// Its name from now on.
    pub digest: hob_core::Digest,
}

/// A metric's name and the services that send it: an item of `GET /v1/metrics/names`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MetricName {
    /// The metric.
    pub name: String,
    /// The services.
    pub services: Vec<String>,
}
