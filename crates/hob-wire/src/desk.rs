//! Live operations over time and space: what the days were like, and what the rule engine knows of entities.

use std::collections::BTreeMap;

use hob_core::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// A day of issues, on the scope's clock: an item of `GET /v1/issues/figures`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct IssueDay {
    /// `2026-01-05`, in UTC.
    pub day: String,
    /// Issues that opened.
    pub opened: u64,
    /// Of them or of earlier ones, those that ended.
    pub resolved: u64,
    /// Those that came back.
    pub reopened: u64,
    /// Those that were labelled a false alarm.
    pub false_alarms: u64,
    /// Issues to which a person did something for the first time.
    pub investigations: u64,
    /// Actions that were done.
    pub actions: u64,
    /// Seconds from opening to acknowledging.
    pub acknowledge: Spread,
    /// Seconds from opening to the end.
    pub resolve: Spread,
    /// Entities seen for the first time, by kind.
    pub entities: BTreeMap<String, u64>,
    /// Investigations for each entity of a kind that has an `outcome`: investigations per order.
    pub investigations_per: BTreeMap<String, f64>,
    /// How entities ended: `order.unacceptable`.
    pub outcomes: BTreeMap<String, OutcomeShare>,
}

/// How long something took, in seconds.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// How many.
    pub count: u64,
    /// Half took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    /// Nine of ten took no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p90: Option<f64>,
}

/// How many entities ended in a way.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct OutcomeShare {
    /// Those that ended so.
    pub count: u64,
    /// Those of which it is known how they ended.
    pub of: u64,
    /// One divided by the other; 0 when none ended.
    pub share: f64,
}

/// An entity as the rule engine knows it: an item of `GET /v1/entities?kind=`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct WatchedEntity {
    /// The entity.
    pub href: String,
    /// Its kind, as rule files name it.
    pub kind: String,
    /// How people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its newest representation, without links.
    pub fields: Map<String, Value>,
    /// Links that it has now.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub relations: BTreeMap<String, Vec<String>>,
    /// Whether its newest fetch succeeded; else its fields are what they were.
    pub known: bool,
    /// Why it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Where it is, in the units of its stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<(f64, f64)>,
    /// Its unresolved issues.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<String>,
    /// The highest priority among them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
}

/// A moment of an entity: an item of `GET /v1/entities/timeline`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When, on the scope's clock.
    pub time: Timestamp,
    /// When Hob recorded it.
    pub recorded: Timestamp,
    /// `event`, `ping`, `observed`, `issue`, `command` or `log`.
    pub kind: String,
    /// What happened, in one line.
    pub text: String,
    /// The event that says so, 20 digits; of a log record, its sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<String>,
    /// The issue.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issue: Option<String>,
    /// The request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestid: Option<String>,
    /// What is known of it: fields that changed, a position, a transition's before and after.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub values: Map<String, Value>,
}

/// An entity at a time in the past: `GET /v1/entities/state?href=…&at=…`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct EntityState {
    /// The entity.
    pub href: String,
    /// The time that was asked for, on the scope's clock.
    pub at: Timestamp,
    /// When it was last observed before that; nothing when it never was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed: Option<Timestamp>,
    /// What was observed, as it was answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub representation: Option<Value>,
    /// Why there is no representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
}

/// A place on the schematic map: an item of `GET /v1/map`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Place {
    /// The entity.
    pub href: String,
    /// Its kind.
    pub kind: String,
    /// How people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// East, in metres or degrees.
    pub x: f64,
    /// North.
    pub y: f64,
    /// Its field `state`, when it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The highest priority of its unresolved issues.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<u8>,
    /// Hrefs that it links to, by relation: legs of a ride.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub links: BTreeMap<String, String>,
}
