//! What the core tells an agent, and what an agent reports back.

use std::collections::BTreeMap;

use hob_core::{Digest, Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::InstanceState;

/// All instances that should run on a node: one item of the stream `GET /v1/nodes/{node}/intended`. It is the whole
/// truth each time: what is not in it should not run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Intended {
    /// Rises with every change.
    pub revision: u64,
    /// What should run.
    pub instances: Vec<IntendedInstance>,
    /// Processes to kill with SIGKILL, by instance and the process id that was meant; the instance is then started
    /// again like any that ended.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub shoot: Vec<Shot>,
}

/// A process to kill. It names the process id so that a repeated order never hits the successor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Shot {
    /// The instance's id.
    pub instance: String,
    /// The process id that it had when the order was given.
    pub pid: u32,
}

/// One instance that should run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IntendedInstance {
    /// The instance's id; a new process of the same id replaces one that ended.
    pub id: String,
    /// The service.
    pub service: Name,
    /// Which of its processes.
    pub process: Name,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// The release's number.
    pub release: u64,
    /// The package to fetch (`GET /v1/packages/{digest}`), check and unpack.
    pub package: Digest,
    /// The program and its arguments, relative to the unpacked files; run in that folder.
    pub run: Vec<String>,
    /// Whether it listens: then the agent picks a free port and sets `PORT`.
    pub listens: bool,
    /// The environment, apart from what the agent adds (`PORT`, `TMPDIR`, `DATA_DIR`, `STATSD_HOST`, `STATSD_PORT`).
    pub env: BTreeMap<String, String>,
    /// How to see that it is ready; without one it is ready once it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Probe>,
    /// Milliseconds from SIGTERM to SIGKILL.
    pub stop_timeout_ms: u64,
}

/// An HTTP probe: any 2xx answer within the timeout is success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Probe {
    /// The path to get.
    pub http: String,
    /// Milliseconds between probes.
    pub every_ms: u64,
    /// Milliseconds that one may take.
    pub timeout_ms: u64,
}

/// What an agent sees on its node: posted to `/v1/nodes/{node}/report` at every change and each second.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// The revision of `Intended` that was last taken in.
    pub revision: u64,
    /// The agent's time.
    pub time: Timestamp,
    /// Every instance that the agent knows, also those that ended since the last report that the core took.
    pub instances: Vec<InstanceReport>,
}

/// One instance as its agent sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct InstanceReport {
    /// The instance's id.
    pub id: String,
    /// Where it stands.
    pub state: InstanceState,
    /// Where it listens, `127.0.0.1:40123`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// Its process id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When its present process started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started: Option<Timestamp>,
    /// How often it was started again.
    #[serde(default)]
    pub restarts: u32,
    /// Why it is not ready: the exit status, the last probe result, the last lines that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
