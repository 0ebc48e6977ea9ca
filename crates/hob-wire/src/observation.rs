//! What fetches of entities returned, and what parts of Hob report about themselves.

use hob_core::{Name, Timestamp, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a fetch of an entity's href returned; the data of an event on `hob.observations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Observation {
    /// The entity.
    pub href: String,
    /// The topic whose notice caused the fetch; it tells what kind of entity this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub topic: Option<TopicName>,
    /// The HTTP status; 0 when there was no answer.
    pub status: u16,
    /// The representation's ETag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// The body when it was JSON within the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<Value>,
    /// Why there is no body: an error in a few words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Sequence of the newest event that caused the fetch, 20 digits.
    pub cause: String,
    /// The scope's clock when the fetch began.
    pub clock: Timestamp,
}

/// A fact that some part of Hob reports about itself or its wards, on `hob.conditions`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Condition {
    /// What it is about: an href or a name such as `subscription/orders.emails`.
    pub subject: String,
    /// The condition's name, for example `crash_loop`.
    pub condition: String,
    /// Whether it holds now.
    pub active: bool,
    /// Why, for a person.
    pub reason: String,
    /// The environment it belongs to, when it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub environment: Option<Name>,
    /// The tenant it belongs to, when it belongs to one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Name>,
}
