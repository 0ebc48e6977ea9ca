//! What people order of routers, nodes and numbers of instances, and what they see of them.

use std::collections::BTreeMap;

use hob_core::{Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Ejection, Limited, NodeFacts, Route, Scale, Share, Shield, ShieldKind, Target, Usage};

/// A shield as it is ordered: the body of `PUT /v1/shields/{id}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NewShield {
    /// Only this service's requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Name>,
    /// Only in this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// Only this tenant's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Only at and below this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// What it does.
    #[serde(flatten)]
    pub kind: ShieldKind,
}

/// A shield, and whether the routers go by it: an item of `GET /v1/shields`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShieldState {
    /// The shield.
    #[serde(flatten)]
    pub shield: Shield,
    /// The generation of the routes in which it came, or went.
    pub generation: u64,
    /// Live routers that have not taken that generation in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting: Vec<Name>,
    /// Requests that wait now, in the pools that it is about.
    #[serde(default)]
    pub held: u64,
}

/// A router as it last reported: an item of `GET /v1/routers`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RouterSummary {
    /// Its name.
    pub name: Name,
    /// Whether it reported within its lease.
    pub live: bool,
    /// When it last reported.
    pub reported: Timestamp,
    /// The generation by which it routes.
    pub generation: u64,
    /// Whether that is the newest.
    pub current: bool,
    /// Connections of clients that are open.
    pub connections: u64,
    /// Requests in flight.
    pub in_flight: u64,
    /// Requests that wait, by pool.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, u64>,
    /// Instances to which it sends nothing for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ejected: Vec<Ejection>,
    /// Requests that it refused within the last minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<Limited>,
    /// Access records that it could not send since it reported first.
    #[serde(default)]
    pub records_dropped: u64,
}

/// A route, and how it does over all routers: an item of `GET /v1/routes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteSummary {
    /// The route.
    #[serde(flatten)]
    pub route: Route,
    /// The service that takes its requests.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The instances that take them.
    pub targets: Vec<Target>,
    /// Which requests go to another release.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shares: Vec<Share>,
    /// Requests of its pool in flight.
    pub in_flight: u64,
    /// Requests of its pool that wait.
    pub held: u64,
    /// Instances of its pool that a router sends nothing for a while.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ejected: Vec<Ejection>,
    /// Requests of its pool that were refused within the last minute.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limited: Vec<Limited>,
    /// Shields that it is under, the one that counts first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shields: Vec<String>,
}

/// What people decided about a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It takes instances.
    #[default]
    Active,
    /// It takes no new ones; those that it has move elsewhere.
    Draining,
    /// It is given up: what it has moves elsewhere, then it is forgotten.
    Killed,
}

/// What shall become of a node: the body of `PATCH /v1/nodes/{node}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodePatch {
    /// `active` or `draining`.
    pub state: NodeState,
}

/// A machine with an agent: an item of `GET /v1/nodes`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeSummary {
    /// Its name.
    pub name: Name,
    /// Whether its agent reported within its lease.
    pub live: bool,
    /// When its agent last reported, by the core's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Timestamp>,
    /// Instances that run on it.
    pub instances: u32,
    /// What people decided about it.
    #[serde(default)]
    pub state: NodeState,
    /// Who decided, when it is not active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Since when it is so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// What it is.
    #[serde(default)]
    pub facts: NodeFacts,
    /// What its instances use together.
    #[serde(default)]
    pub usage: Usage,
}

/// A token to be made with which machines become nodes: the body of `POST /v1/join-tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NewJoinToken {
    /// How many machines may join with it.
    pub uses: u32,
    /// Seconds for which it is good.
    pub seconds: u64,
}

impl Default for NewJoinToken {
    fn default() -> Self {
        Self { uses: 1, seconds: 3600 }
    }
}

/// A token with which machines become nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinToken {
    /// By which it is named.
    pub id: String,
    /// The token itself; told once, when it is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// How many machines may still join with it.
    pub uses: u32,
    /// Until when it is good.
    pub expires: Timestamp,
    /// Who made it.
    pub by: String,
}

/// Numbers of instances that people want, by process: the body of `PUT /v1/services/{service}/scale`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ScaleOrder(pub BTreeMap<Name, u32>);

/// How many instances a service has in a scope, and why: `GET /v1/services/{service}/scale`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ScaleState {
    /// The service.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// On what terms `web` scales; without them only by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Scale>,
    /// By process.
    pub processes: BTreeMap<Name, ProcessScale>,
    /// Milliseconds that an instance takes from the order to ready: the 95th percentile of the last ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_p95_ms: Option<u64>,
}

/// How many instances of a process there should be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProcessScale {
    /// The number wanted.
    pub wanted: u32,
    /// Those of them that are ready.
    pub ready: u32,
    /// The number that people want.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_hand: Option<u32>,
    /// Who wants that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it is this number.
    pub why: String,
}
