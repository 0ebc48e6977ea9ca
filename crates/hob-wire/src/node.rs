//! What the core tells an agent, and what an agent reports back.

use std::collections::BTreeMap;

use hob_core::{Digest, Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Check, InstanceState, Isolation, Resources, Sandbox, Startup, Stop, Warmup};

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
    /// Packages to have unpacked although nothing runs of them yet, or any more; others may be removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Digest>,
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
    /// Whether it runs once, to its end: it is `stopped` when that was status 0, `failed` otherwise, and not started
    /// again. Milliseconds that it may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub once_ms: Option<u64>,
    /// How to see that it has started; without one, readiness says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// How to see that it is ready; without one it is ready once it listens, or runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Check>,
    /// How to see that it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Check>,
    /// Requests that it gets before it is called ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
    /// How it is asked to end.
    #[serde(default)]
    pub stop: Stop,
    /// What it may use.
    #[serde(default)]
    pub resources: Resources,
    /// What it may reach.
    #[serde(default)]
    pub sandbox: Sandbox,
}

/// How an instance is confined, as far as its node could.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Confinement {
    /// The level reached.
    pub isolation: Isolation,
    /// Limits in force, as words: `memory`, `pids`, `cpu`.
    #[serde(default)]
    pub limits: Vec<String>,
    /// What was wished for and is not there, each with its reason: `cpu: no such controller`.
    #[serde(default)]
    pub missing: Vec<String>,
}

/// What an instance uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Usage {
    /// Seconds of processor time since its start.
    pub cpu_seconds: f64,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// Processes and threads.
    pub pids: u32,
}

/// What a node is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct NodeFacts {
    /// Its host name.
    pub host: String,
    /// The agent's version.
    pub version: String,
    /// Cores.
    pub cores: u32,
    /// Bytes of memory.
    pub memory_bytes: u64,
    /// `v2`, `hybrid` or `off`.
    pub cgroups: String,
    /// What instances get at most here.
    pub confinement: Confinement,
}

/// A machine asks to be a node: posted to `/v1/nodes`, with a join token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinRequest {
    /// The name that it wants.
    pub name: Name,
    /// What it is.
    #[serde(default)]
    pub facts: NodeFacts,
}

/// The token by which a node speaks from then on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JoinAnswer {
    /// Its name.
    pub name: Name,
    /// Its token.
    pub token: String,
}

/// What an agent sees on its node: posted to `/v1/nodes/{node}/report` at every change and each second.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct NodeReport {
    /// The revision of `Intended` that was last taken in.
    pub revision: u64,
    /// The agent's time.
    pub time: Timestamp,
    /// Every instance that the agent knows, also those that ended since the last report that the core took.
    pub instances: Vec<InstanceReport>,
    /// Packages that are unpacked here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub packages: Vec<Digest>,
    /// Packages that could not be fetched, each with the reason.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unfetched: BTreeMap<Digest, String>,
    /// What the node is.
    #[serde(default)]
    pub facts: NodeFacts,
}

/// One instance as its agent sees it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Why it is not ready: the exit status, the last probe results, the last lines that it wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// How its last process ended: `status 0`, `signal 9`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<String>,
    /// What it says of itself (`STATUS=` of sd_notify).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// How it is confined.
    #[serde(default)]
    pub confinement: Confinement,
    /// What it uses.
    #[serde(default)]
    pub usage: Usage,
}
