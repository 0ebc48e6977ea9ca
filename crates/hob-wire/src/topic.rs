//! Topics: what one service publishes about.

use hob_core::{Name, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a topic's events carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum TopicKind {
    /// Notices: that an entity changed, and no payload.
    #[default]
    Notify,
    /// Records with a small payload, such as rider pings.
    Stream,
}

/// A topic of a scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Topic {
    /// Its name, unique in its scope.
    pub name: TopicName,
    /// What its events carry.
    pub kind: TopicKind,
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
}
