//! Log records: as agents and routers send them in, and as they are read back.

use hob_core::{Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::AccessRecord;

/// How much a record matters.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For following single steps.
    Trace,
    /// For developers.
    Debug,
    /// Normal life.
    #[default]
    Info,
    /// Worth a look.
    Warn,
    /// Somebody should act.
    Error,
}

impl Level {
    /// Reads the names that loggers of common languages write, in any case: `WARNING`, `fatal`, `notice`.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_lowercase().as_str() {
            "trace" => Self::Trace,
            "debug" => Self::Debug,
            "info" | "notice" | "information" => Self::Info,
            "warn" | "warning" => Self::Warn,
            "error" | "err" | "fatal" | "critical" | "crit" | "alert" | "emerg" | "panic" => Self::Error,
            _ => return None,
        })
    }
}

/// Where a record came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum RecordSource {
    /// A line on standard output.
    Stdout,
    /// A line on standard error.
    Stderr,
    /// A request that went through a router.
    Access,
    /// Hob's own parts, about an instance: it started, it ended.
    Agent,
}

/// Records on their way in: posted to `/v1/records` by agents and routers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordBatch {
    /// The records, in the order in which they arose at each instance.
    pub records: Vec<RecordIn>,
    /// How many more there were that the sender had to drop.
    #[serde(default)]
    pub dropped: u64,
}

/// One record on its way in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RecordIn {
    /// When it was read or when the request ended.
    pub time: Timestamp,
    /// Where it came from.
    pub source: RecordSource,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// The service.
    pub service: Name,
    /// Which of its processes; none for access records.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Name>,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// The release's number.
    #[serde(default)]
    pub release: u64,
    /// The line as it was written, JSON or plain text, without its end; for agents' records, a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub line: Option<String>,
    /// The request, when this is an access record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessRecord>,
}

/// A record as it is read back (`GET /v1/records`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Record {
    /// Position in the signals log, 20 digits.
    pub sequence: String,
    /// When it happened: the record's own time when it names one.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Where it came from.
    pub source: RecordSource,
    /// The service.
    pub service: Name,
    /// Which of its processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<Name>,
    /// The instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// The release's number.
    #[serde(default)]
    pub release: u64,
    /// What it says.
    pub message: String,
    /// The request that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Whatever else the line held.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub fields: Map<String, Value>,
}
