//! Subscriptions: a consumer's cursor over the event log, read by pull lease or as a live stream.

use hob_core::{Name, Timestamp, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Event;

/// What a consumer asks for when it puts a subscription.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SubscriptionSpec {
    /// The topics, one or more.
    pub topics: Vec<TopicName>,
    /// Only events of these types, when any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// Where a new subscription begins; an existing one stays where it is.
    #[serde(default)]
    pub from: CursorAt,
}

/// A place in the event log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum CursorAt {
    /// After the newest event.
    #[default]
    End,
    /// At the oldest event kept.
    Start,
}

/// A subscription and how it is doing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SubscriptionState {
    /// Its name, unique among the service's in its scope.
    pub name: TopicName,
    /// The consumer that owns it.
    pub service: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// The topics.
    pub topics: Vec<TopicName>,
    /// Only events of these types, when any are named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// `active`, or why it stands: `leased` while a puller holds a batch.
    pub state: String,
    /// Everything up to here is acknowledged; 20 digits.
    pub cursor: String,
    /// Events between the cursor and the log's head that match.
    pub lag_events: u64,
    /// Age of the oldest of them, in seconds.
    pub lag_seconds: f64,
    /// Events handed out under a lease and not yet acknowledged.
    pub in_flight: u64,
    /// Live streams open now.
    pub streams: u64,
    /// Why it does not move, when it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stall_reason: Option<String>,
}

/// Events handed out under a lease.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Batch {
    /// Names the lease in the acknowledgement.
    pub lease: String,
    /// When the lease ends: then the events are handed out again.
    pub expires: Timestamp,
    /// The events, in log order.
    pub events: Vec<Event>,
}

/// An acknowledgement, posted to `/v1/subscriptions/{name}/acks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// The lease that it is about.
    pub lease: String,
    /// Everything up to this sequence, 20 digits, is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upto: Option<String>,
    /// These events, by id, are done.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ack: Vec<String>,
    /// These are not, and are handed out again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nack: Vec<Nack>,
    /// Hold the lease that many milliseconds longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extend_ms: Option<u64>,
}

/// An event that its consumer could not handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Nack {
    /// The event's id.
    pub id: String,
    /// Hand it out again after so many milliseconds.
    #[serde(default)]
    pub delay_ms: u64,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}
