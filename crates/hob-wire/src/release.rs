//! Releases, and the rollouts that move traffic from one to the next.

use hob_core::{Digest, Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Change;

/// Where a release stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReleaseState {
    /// Made, not yet in use.
    Pending,
    /// It takes the requests.
    Routed,
    /// It runs, and takes over at once on a rollback.
    Standby,
    /// It was in use and runs no more.
    Retired,
    /// Its rollout did not succeed.
    Failed,
}

/// A package and its configuration, numbered per service and scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Release {
    /// Counts from 1.
    pub number: u64,
    /// The service.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The package.
    pub package: Digest,
    /// Digest of the resolved configuration.
    pub config: Digest,
    /// The git revision, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git: Option<String>,
    /// When it was made.
    pub created: Timestamp,
    /// Where it stands.
    pub state: ReleaseState,
    /// A name that people gave it; a named release is never collected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The environment from which it was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promoted_from: Option<Name>,
}

/// Where a rollout stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RolloutState {
    /// An older rollout of the same service has not ended, or another tenant goes first.
    Queued,
    /// Every node fetches the package; nothing else has changed.
    Prefetching,
    /// The processes that run once do.
    PreRelease,
    /// Instances of the target release start, are warmed and become ready.
    Starting,
    /// The routers are told; each acknowledges.
    Routing,
    /// The target takes a share of the requests, and its gates are held.
    Stepping,
    /// No data, or somebody asked for it: it waits with the share that it has.
    Holding,
    /// The target takes all requests, and its gates are still held.
    Baking,
    /// The requests go back to the release before.
    Reverting,
    /// The old instances end their last requests.
    Draining,
    /// The target release takes the requests.
    Complete,
    /// It did not succeed; the release before it still takes the requests.
    Failed,
    /// A newer rollout of the same service took its place.
    Superseded,
}

/// The state machine that moves traffic from one release to the next, or back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rollout {
    /// Unique.
    pub id: String,
    /// The service.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The release that shall take the requests.
    pub to: u64,
    /// The release that took them before, when there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Whether it goes back.
    #[serde(default)]
    pub rollback: bool,
    /// Where it stands.
    pub state: RolloutState,
    /// What it waits for, or why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// When it began.
    pub started: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// Instances of the target that are ready.
    #[serde(default)]
    pub ready: u32,
    /// Instances of the target that should be.
    #[serde(default)]
    pub wanted: u32,
    /// The states so far.
    #[serde(default)]
    pub steps: Vec<RolloutStep>,
    /// When the present state fails, or ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// Which of its shares it has come to, from 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub share: Option<u32>,
    /// Per cent of the requests that the target takes now.
    #[serde(default)]
    pub weight: u8,
    /// What the gates saw last.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gates: Vec<Evidence>,
    /// How the target differs from the release that took the requests before: its package, variables by name,
    /// processes, terms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub changes: Vec<Change>,
}

/// What somebody wants of a rollout under way: `PATCH /v1/rollouts/{id}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutPatch {
    /// What it shall do.
    pub wanted: Wanted,
}

/// What a rollout shall do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Wanted {
    /// Come no further than it is; a gate that fails still sends it back.
    Hold,
    /// Go on, also where the gates saw too little.
    Resume,
    /// Go back to the release before.
    Abort,
}

/// The name of a release: `PUT /v1/services/{service}/releases/{number}/name`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReleaseName {
    /// The name; none takes it away. A named release stays on every node.
    #[serde(default)]
    pub name: Option<String>,
}

/// What a gate says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Go on.
    Pass,
    /// Go back.
    Fail,
    /// Too little was seen: wait.
    NoData,
}

/// What a gate saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Evidence {
    /// `error_ratio` or `latency`.
    pub gate: String,
    /// What it says.
    pub verdict: Verdict,
    /// In words, with the figures: `0.2 % of 1,200 requests failed; at most 1 %`.
    pub why: String,
    /// Requests to the new release that it rests on.
    pub requests: u64,
    /// Its figure of the new release: a share, or milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new: Option<f64>,
    /// The same of the release before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<f64>,
}

/// A state that a rollout came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RolloutStep {
    /// The state.
    pub state: RolloutState,
    /// When.
    pub at: Timestamp,
}
