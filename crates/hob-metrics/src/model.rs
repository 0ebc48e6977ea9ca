//! What a sample is, and what may be asked.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Histogram, Name, Scope, Timestamp};
use serde::{Deserialize, Serialize};

/// Bytes of a metric's name.
pub const NAME_BYTES_MAX: usize = 200;
/// Labels of a sample.
pub const LABELS_MAX: usize = 16;
/// Bytes of a label's name or value.
pub const LABEL_BYTES_MAX: usize = 200;
/// Points of one series in one answer.
pub const POINTS_MAX: u64 = 11_000;
/// Series of one answer.
pub const SERIES_MAX: usize = 1000;
/// Rows of the log that one query reads.
pub const SCAN_ROWS_MAX: u64 = 1_000_000;

/// Samples of one series that arrived together.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When they arrived.
    pub time: Timestamp,
    /// Where and for whom.
    pub scope: Scope,
    /// The service.
    pub service: Name,
    /// The metric's name.
    pub name: String,
    /// Its labels, apart from service and scope; `instance` among them when there is one.
    pub labels: BTreeMap<String, String>,
    /// What was measured.
    pub value: Value,
}

/// What was measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Value {
    /// So many more.
    Count(f64),
    /// So much now.
    Gauge(f64),
    /// So much more or less than before.
    Delta(f64),
    /// So long each, in seconds (or in the metric's own unit).
    Timing(Histogram),
}

/// Which points are wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Where and for whom.
    pub scope: Scope,
    /// The metric; a trailing `*` matches any ending; every metric when left out.
    pub name: Option<String>,
    /// The service.
    pub service: Option<Name>,
    /// The instance; all of a service's gathered into one series when left out.
    pub instance: Option<String>,
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// Length of a step.
    pub step: Duration,
}

impl Query {
    /// Whether a metric's name is wanted.
    pub fn takes_name(&self, name: &str) -> bool {
        match self.name.as_deref() {
            None => true,
            Some(wanted) => match wanted.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => name == wanted,
            },
        }
    }
}
