//! What goes in, what is asked, and what is found.

use hob_core::{Name, Scope, Timestamp};
use hob_wire::{Level, Record, RecordSource};
use serde_json::{Map, Value};

/// Bytes of one record's message and fields; longer messages are cut, further fields left out.
pub const LINE_BYTES_MAX: usize = 64 * 1024;
/// Records that one search may return.
pub const PAGE_RECORDS_MAX: usize = 1000;
/// Records that one search looks at before it returns what it has and a cursor to go on from.
pub const SCAN_RECORDS_MAX: u64 = 200_000;

/// A decoded record on its way into the log.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// When it happened.
    pub time: Timestamp,
    /// How much it matters.
    pub level: Level,
    /// Where it came from.
    pub source: RecordSource,
    /// The service.
    pub service: Name,
    /// Which of its processes.
    pub process: Option<Name>,
    /// The instance.
    pub instance: Option<String>,
    /// Where and for whom.
    pub scope: Scope,
    /// The release's number.
    pub release: u64,
    /// What it says.
    pub message: String,
    /// The request that it belongs to.
    pub request_id: Option<String>,
    /// Whatever else it holds.
    pub fields: Map<String, Value>,
}

/// Which records are wanted; what is left out does not narrow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// Where and for whom; every scope when left out.
    pub scope: Option<Scope>,
    /// The service.
    pub service: Option<Name>,
    /// Which of its processes.
    pub process: Option<Name>,
    /// The instance.
    pub instance: Option<String>,
    /// At least this level.
    pub level: Option<Level>,
    /// The message or a field's text contains this, in any case.
    pub text: Option<String>,
    /// The request.
    pub request_id: Option<String>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Only what stands before this position of the signals log.
    pub before: Option<u64>,
    /// Only what stands after this position of the signals log, for following.
    pub after: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The records, newest first.
    pub records: Vec<Record>,
    /// Where to go on, as [`Query::before`]; nothing when all was seen.
    pub next: Option<u64>,
    /// Records seen.
    pub scanned: u64,
    /// Records lost to damage in the part of the log that was seen.
    pub damaged: u64,
}

impl Query {
    /// Whether a record is wanted, by everything but positions.
    pub fn takes(&self, record: &Record) -> bool {
        self.scope.as_ref().is_none_or(|scope| *scope == record.scope)
            && self.service.as_ref().is_none_or(|service| *service == record.service)
            && self.process.as_ref().is_none_or(|process| Some(process) == record.process.as_ref())
            && self.instance.as_ref().is_none_or(|instance| Some(instance) == record.instance.as_ref())
            && self.level.is_none_or(|level| record.level >= level)
            && self.request_id.as_ref().is_none_or(|id| Some(id) == record.request_id.as_ref())
            && self.from.is_none_or(|from| record.time >= from)
            && self.to.is_none_or(|to| record.time < to)
            && self.text.as_ref().is_none_or(|text| contains(record, &text.to_lowercase()))
    }
}

fn contains(record: &Record, text: &str) -> bool {
    record.message.to_lowercase().contains(text)
        || record.fields.values().any(|value| match value {
            Value::String(value) => value.to_lowercase().contains(text),
            other => other.to_string().to_lowercase().contains(text),
        })
}
