//! On what terms a service runs: what its processes may use, how they are probed, warmed and drained, how a release
//! takes over, and how many instances there are.

use std::collections::BTreeMap;

use hob_core::Name;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// When a process runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// For as long as its release is in use.
    #[default]
    Always,
    /// Once for each release, to its end, before anything else of the release starts: a migration.
    PreRelease,
}

/// What an instance may use. What is left out is not limited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Resources {
    /// Thousandths of a core.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu_millis: Option<u32>,
    /// Bytes of memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// Processes and threads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pids: Option<u32>,
}

/// The signal that asks a process to end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum StopSignal {
    /// SIGTERM.
    #[default]
    Term,
    /// SIGINT.
    Int,
    /// SIGQUIT.
    Quit,
    /// SIGHUP.
    Hup,
    /// SIGUSR1.
    Usr1,
    /// SIGUSR2.
    Usr2,
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Stop {
    /// What it is sent.
    pub signal: StopSignal,
    /// Milliseconds until it is killed.
    pub timeout_ms: u64,
}

impl Default for Stop {
    fn default() -> Self {
        Self { signal: StopSignal::Term, timeout_ms: 10_000 }
    }
}

/// A probe: an HTTP request that any 2xx answers within its time, or a TCP connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// The path to get; a TCP connection is enough when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// The `Host` to send; the instance's address when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Milliseconds between probes.
    pub every_ms: u64,
    /// Milliseconds that one may take.
    pub timeout_ms: u64,
    /// Failures in a row that count.
    #[serde(default = "Check::fall_default")]
    pub fall: u32,
    /// Successes in a row that count.
    #[serde(default = "Check::rise_default")]
    pub rise: u32,
}

impl Check {
    fn fall_default() -> u32 {
        3
    }

    fn rise_default() -> u32 {
        1
    }
}

/// How an instance says that it has started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Startup {
    /// It says `READY=1` on the socket that `NOTIFY_SOCKET` names (sd_notify).
    #[serde(default)]
    pub notify: bool,
    /// Or this probe succeeds, whichever comes first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<Check>,
    /// Milliseconds after which it is taken for broken and started again.
    pub deadline_ms: u64,
}

/// How to see how a service is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Health {
    /// Whether an instance has started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub startup: Option<Startup>,
    /// Whether an instance may take requests. A listening process without one is probed by TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub readiness: Option<Check>,
    /// Whether an instance still lives; one that does not is started again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Check>,
}

/// How far an instance is kept apart from the rest of its node.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "UPPERCASE")]
pub enum Isolation {
    /// A session of its own, resource limits, a scrubbed environment, a private temporary folder.
    #[default]
    L0,
    /// And no new privileges, files and ports by list (Landlock), dangerous system calls denied (seccomp).
    L1,
    /// And its own mounts, processes, IPC and host name.
    L2,
    /// And its own user, and limits by control group.
    L3,
}

/// What an instance may reach beside its package, its data and its temporary folder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Sandbox {
    /// No more than this; as far as the node can when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub isolation: Option<Isolation>,
    /// Files and folders to read.
    pub read: Vec<String>,
    /// Files and folders to write.
    pub write: Vec<String>,
    /// Ports to connect to; any when left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connect: Option<Vec<u16>>,
}

/// Requests that an instance gets before those of customers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Warmup {
    /// Paths to get, in this order.
    pub requests: Vec<String>,
    /// How often at least.
    pub rounds: u32,
    /// Until this many milliseconds are the 95th percentile of a round.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until_p95_ms: Option<u64>,
    /// Milliseconds after which it is warm enough.
    pub max_ms: u64,
    /// Milliseconds over which its share of requests grows once it is ready.
    pub slow_start_ms: u64,
}

/// How an instance's last requests end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Drain {
    /// Milliseconds that requests in flight get.
    pub in_flight_ms: u64,
    /// The close code that websockets get.
    pub websocket_close: u16,
    /// Milliseconds over which websockets and event streams are closed, so that clients do not come back at once.
    pub spread_ms: u64,
}

impl Default for Drain {
    fn default() -> Self {
        Self { in_flight_ms: 30_000, websocket_close: 1001, spread_ms: 10_000 }
    }
}

/// How many requests one client may make.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RouteLimit {
    /// Requests a second and client address.
    pub per_second: f64,
    /// How many may come at once.
    pub burst: u32,
}

/// What may be sent again to another instance, beside what none has received.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Retry {
    /// Whether idempotent requests are repeated when an instance died before its answer.
    pub idempotent: bool,
    /// Retries per hundred requests.
    pub budget_percent: f64,
}

impl Default for Retry {
    fn default() -> Self {
        Self { idempotent: true, budget_percent: 10.0 }
    }
}

/// How a release takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ReleaseTerms {
    /// Releases whose packages stay on every node.
    pub keep: u32,
    /// Milliseconds that the release before stays hot.
    pub standby_ms: u64,
    /// Instances of a release that start at once; all when left out. The release before keeps its own meanwhile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub surge: Option<u32>,
    /// Milliseconds for the whole rollout, bake and steps not counted.
    pub deadline_ms: u64,
    /// The shares of requests that it takes one after the other; all at once when empty.
    pub steps: Vec<StepTerms>,
    /// What is looked at during each step and the bake.
    pub gates: Vec<Gate>,
    /// Milliseconds for which the gates are held when it takes all requests.
    pub bake_ms: u64,
}

impl Default for ReleaseTerms {
    fn default() -> Self {
        Self {
            keep: 10,
            standby_ms: 600_000,
            surge: None,
            deadline_ms: 600_000,
            steps: Vec::new(),
            gates: Vec::new(),
            bake_ms: 0,
        }
    }
}

/// A share of the requests, for a time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct StepTerms {
    /// Per cent of the requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<u8>,
    /// The cookie by which a client stays in the share or out of it; by its address when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cookie: Option<String>,
    /// Requests that carry these headers.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// The tenant's scope goes first; others wait until it has held for this step's time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
    /// Milliseconds.
    pub for_ms: u64,
}

impl StepTerms {
    /// Whether some requests go to the new release and some to the one before.
    pub fn is_partial(&self) -> bool {
        self.weight.is_some_and(|weight| weight < 100) || (self.weight.is_none() && !self.headers.is_empty())
    }
}

/// What must hold for a rollout to go on. No data means that it waits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "gate", rename_all = "snake_case")]
pub enum Gate {
    /// The share of requests to the new release that end in 5xx or with no answer.
    ErrorRatio {
        /// From 0 to 1.
        max: f64,
        /// Requests below which nothing is said.
        min_requests: u64,
    },
    /// The latency of the new instances against as many fresh ones of the release before, by Mann–Whitney.
    Latency {
        /// How much slower the median may be, 0.25 is a quarter.
        tolerance: f64,
        /// How sure the test must be, 0.98.
        confidence: f64,
        /// Requests on each side below which nothing is said.
        min_requests: u64,
    },
}

/// How many instances of `web` there are. Without it `replicas` says so.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Scale {
    /// Never fewer, but for `idle_after_ms`.
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Requests in flight that one instance should have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<f64>,
    /// Times with a minimum of their own.
    pub schedule: Vec<Window>,
    /// Milliseconds without a request after which none is left; the router holds the first that comes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_after_ms: Option<u64>,
}

impl Default for Scale {
    fn default() -> Self {
        Self { min: 1, max: 1, in_flight: None, schedule: Vec::new(), idle_after_ms: None }
    }
}

/// A time, again and again, with a minimum of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// When it begins: five fields of cron.
    pub cron: String,
    /// When it ends.
    pub until: String,
    /// The time zone by its IANA name.
    pub tz: String,
    /// At least so many.
    pub min: u32,
    /// Whether they are ready when it begins, not merely started.
    #[serde(default)]
    pub ready_by: bool,
}
