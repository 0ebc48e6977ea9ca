//! Services at a glance: the rows of their list.

use hob_core::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Kind;

/// How a service is in a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ServiceState {
    /// Declared, and never deployed here.
    Undeployed,
    /// A rollout is under way.
    Deploying,
    /// Every instance that should be ready is.
    Ready,
    /// Some instances that should be ready are not.
    Degraded,
    /// No instance is ready.
    Down,
}

/// A service in a scope: an item of `GET /v1/services`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceSummary {
    /// Its name.
    pub name: Name,
    /// What it is.
    pub kind: Kind,
    /// The team that owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Name>,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The release in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release: Option<u64>,
    /// The release in standby, to which a rollback is a matter of routes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standby: Option<u64>,
    /// The package of the release in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<hob_core::Digest>,
    /// Digest of the configuration of the release in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<hob_core::Digest>,
    /// Instances of the release in use that are ready.
    pub ready: u32,
    /// Instances of the release in use that should be.
    pub wanted: u32,
    /// How it is.
    pub state: ServiceState,
    /// The newest rollout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<String>,
}
