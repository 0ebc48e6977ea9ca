//! Events: CloudEvents 1.0 in JSON, and the short forms in which they are published.

use std::collections::BTreeMap;

use hob_core::{Timestamp, TopicName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a notice says happened to an entity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// It came to be.
    Create,
    /// It changed.
    Update,
    /// It is gone.
    Delete,
    /// Nothing happened: it exists, and a reader may want to look.
    Noop,
}

impl Change {
    /// The last label of the event's type.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::Noop => "noop",
        }
    }
}

/// An event as Hob keeps it and gives it out: a CloudEvent (github.com/cloudevents/spec, 1.0) in structured JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Always `1.0`.
    pub specversion: String,
    /// The producer's id; with `source` it makes the event known again.
    pub id: String,
    /// `/services/<publisher>`, unless its publisher named another one; with `id` it makes the event known again.
    pub source: String,
    /// `<topic>.<create|update|delete|noop>`; on stream topics any name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The href of the entity that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The producer's time, on the topic's clock.
    pub time: Timestamp,
    /// The media type of `data`, when there is some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datacontenttype: Option<String>,
    /// The schema of `data`, as its publisher named it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataschema: Option<String>,
    /// The payload: none on notices. A text when `datacontenttype` is neither JSON nor binary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The payload when it is bytes, in base64; never beside `data`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_base64: Option<String>,
    /// The topic.
    pub topic: TopicName,
    /// Position in the event log: 20 digits, so that texts compare like numbers.
    pub sequence: String,
    /// When Hob took it, by the wall clock.
    pub recordedtime: Timestamp,
    /// The request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestid: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// It is the n-th event of its subject, counted from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entityseq: Option<u64>,
    /// The ETag of the subject's new representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitytag: Option<String>,
    /// It was held back until this time, by the topic's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notbefore: Option<Timestamp>,
    /// The scope's environment.
    pub environment: hob_core::Name,
    /// The scope's tenant.
    pub tenant: hob_core::Name,
    /// Further CloudEvents extension attributes of its publisher's.
    #[serde(flatten)]
    pub extensions: BTreeMap<String, Value>,
}

/// Writes a log position as events carry it: 20 digits.
pub fn sequence_text(sequence: u64) -> String {
    format!("{sequence:020}")
}

impl Event {
    /// The position in the event log as a number; 0 when it is none.
    pub fn position(&self) -> u64 {
        self.sequence.parse().unwrap_or(0)
    }

    /// What happened, when this is a notice.
    pub fn change(&self) -> Option<Change> {
        let label = self.kind.strip_prefix(self.topic.as_str())?.strip_prefix('.')?;
        [Change::Create, Change::Update, Change::Delete, Change::Noop]
            .into_iter()
            .find(|c| c.as_str() == label)
    }
}

/// A notice (RESN): `{"type": "update", "href": "https://…/orders/7"}`, posted to `/v1/topics/{topic}/events`.
/// On a stream topic `type` may be any name and `data` a small payload.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Notice {
    /// `create`, `update`, `delete` or `noop`; on stream topics any name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The entity, absolute; may be left out on stream topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub href: Option<String>,
    /// The producer's time; now (on the topic's clock) when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub t: Option<Timestamp>,
    /// The producer's id, for deduplication; made by Hob when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The payload, on stream topics.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<Value>,
    /// The ETag of the new representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entitytag: Option<String>,
    /// The request that caused it; that of the publishing request when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requestid: Option<String>,
    /// W3C trace context.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// Held back until this time, by the topic's clock: readers see it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notbefore: Option<Timestamp>,
}

impl Notice {
    /// A notice of this type about nothing yet.
    pub fn new(kind: impl Into<String>) -> Self {
        Self {
            kind: kind.into(),
            href: None,
            t: None,
            id: None,
            data: None,
            entitytag: None,
            requestid: None,
            traceparent: None,
            notbefore: None,
        }
    }
}

/// A notice together with its topic: the item of a batch posted to `/v1/events` as a JSON array.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Draft {
    /// The topic.
    pub topic: TopicName,
    /// The rest.
    #[serde(flatten)]
    pub notice: Notice,
}

/// The answer to a publish: where the events stand in the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Published {
    /// Sequence of the first event of the batch, 20 digits.
    pub first: String,
    /// Sequence of the last.
    pub last: String,
    /// How many were known already, by source and id, and were not appended again.
    pub deduplicated: u32,
}
