//! Instances: running processes of releases.

use hob_core::{Name, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Confinement, Usage};

/// Where an instance stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum InstanceState {
    /// Started or about to be; not ready yet.
    #[default]
    Starting,
    /// Its readiness probe succeeds (or it has none and runs).
    Ready,
    /// It gets no new requests and ends its last ones.
    Draining,
    /// It ended because it should.
    Stopped,
    /// It ended or could not start although it should run.
    Failed,
}

/// One running process of a release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Instance {
    /// Unique and typeable: `orders-web-3x7k2m9qza`.
    pub id: String,
    /// The service.
    pub service: Name,
    /// Which of its processes.
    pub process: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The release's number.
    pub release: u64,
    /// The node that it runs on.
    pub node: Name,
    /// Where it stands.
    pub state: InstanceState,
    /// `127.0.0.1:40123`, when it listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// When its present process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// The process id on its node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Why it is not ready, when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How its last process ended: `status 0`, `signal 9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it says of itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How it is confined.
    #[serde(default)]
    pub confinement: Confinement,
    /// What it uses.
    #[serde(default)]
    pub usage: Usage,
}

impl Instance {
    /// Whether it is as the other is, apart from what it uses, which changes all the time.
    pub fn is_as(&self, other: &Self) -> bool {
        self == other || Self { usage: other.usage, ..self.clone() } == *other
    }
}
