//! Topics: what one service publishes about.

use hob_core::{Name, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// On what terms a topic's events are taken and kept: the body of `PUT /v1/topics/{topic}`, and the members of a
/// topic in `service.yml` beside its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TopicTerms {
    /// What its events carry.
    #[serde(default)]
    pub kind: TopicKind,
    /// Bytes of one event's data, at most; the kind's own limit when left out (notify 64 B, stream and compact 64 KiB),
    /// and never more than 256 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_bytes_max: Option<u64>,
    /// How much its publisher may send.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota: Option<Quota>,
    /// How long its events are kept; for ever when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// When a publish is answered.
    #[serde(default, skip_serializing_if = "AckMode::is_disk")]
    pub ack: AckMode,
}

/// How much may be published on a topic. Over it: 429 with `Retry-After` and `RateLimit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Quota {
    /// Events a second, on average.
    pub events_per_second: u32,
    /// Events at once after a quiet time; those of one second, and at least one batch of 1,000, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

/// How long events are kept: until the first of these limits is passed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// Seconds since Hob took them. Written as `30d` in `service.yml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_seconds: Option<u64>,
    /// Bytes of the topic's events as they were published, newest first. Written as `10GiB` in `service.yml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

/// When a publish is answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum AckMode {
    /// When its events are on disk.
    #[default]
    Disk,
    /// At once: a crash may lose what was answered in its last moment. For rider pings and the like.
    Memory,
}

impl AckMode {
    /// Whether it is the default.
    pub fn is_disk(&self) -> bool {
        *self == Self::Disk
    }
}

/// What a topic's events carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopicKind {
    /// Notices: that an entity changed, and no payload.
    #[default]
    Notify,
    /// Records with a small payload, such as rider pings.
    Stream,
    /// Notices with a payload, of which only the newest of each entity is kept for good: the last known state.
    Compact,
}

/// A topic of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// Its name, unique in its scope.
    pub name: TopicName,
    /// On what terms its events are taken and kept.
    #[serde(flatten)]
    pub terms: TopicTerms,
    /// The one service that may publish on it.
    pub owner: Name,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
    /// How many events it has had.
    #[serde(default)]
    pub events: u64,
    /// Sequence of its newest event, 20 digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
    /// Events that wait for their `notbefore`.
    #[serde(default)]
    pub delayed: u64,
    /// Those that could not be read when their time had come, since Hob started: they never appear.
    #[serde(default)]
    pub delayed_lost: u64,
}
