//! Metric samples: as agents send them in, and series as they are read back.

use std::collections::BTreeMap;

use hob_core::{Name, Scope, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Samples on their way in: posted to `/v1/samples` by agents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SampleBatch {
    /// Raw statsd datagrams, each tagged with the instance whose socket took it.
    pub statsd: Vec<Datagram>,
    /// How many more there were that the sender had to drop.
    #[serde(default)]
    pub dropped: u64,
}

/// One statsd datagram.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Datagram {
    /// When it was taken.
    pub time: Timestamp,
    /// The instance.
    pub instance: String,
    /// The service.
    pub service: Name,
    /// Where and for whom.
    #[serde(flatten)]
    pub scope: Scope,
    /// The datagram's text: one or more lines. What is no UTF-8 was replaced by U+FFFD.
    pub text: String,
}

/// A series as it is read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Series {
    /// The metric's name.
    pub name: String,
    /// Its labels: `service`, `environment`, `tenant`, `instance` and the like.
    pub labels: BTreeMap<String, String>,
    /// What a point's value is: `count`, `gauge`, `p50`, `p99`, `mean`.
    pub statistic: String,
    /// The points, oldest first.
    pub points: Vec<Point>,
}

/// A value at the begin of a step.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Point {
    /// Begin of the step.
    pub time: Timestamp,
    /// The value.
    pub value: f64,
}
