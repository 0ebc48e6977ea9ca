//! Entities as the bus knows them: from their events alone.

use hob_core::{Name, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::Event;

/// What the event log knows of the thing at an href: the item of `GET /v1/entities`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Entity {
    /// The thing.
    pub href: String,
    /// The topic that tells of it.
    pub topic: TopicName,
    /// The service that owns it.
    pub owner: Name,
    /// How many events it has had.
    pub entityseq: u64,
    /// Sequence of its newest event, 20 digits.
    pub sequence: String,
    /// The ETag that its newest event told, when it told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitytag: Option<String>,
    /// Whether its newest event was a deletion.
    pub deleted: bool,
    /// Its newest event: on a compact topic, its last known state. In lists only on compact topics; left out when it is no
    /// longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Event>,
    /// Where.
    pub environment: Name,
    /// For whom.
    pub tenant: Name,
}
