//! Tests in a rule's file: what happens when, and what the rule must do.

use std::time::Duration;

use hob_core::TopicName;
use serde_json::{Map, Value};

/// A test of a rule. Times are from its beginning.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Case {
    pub(crate) name: String,
    /// How long it runs on at least.
    pub(crate) until: Duration,
    /// What happens, in the order of time.
    pub(crate) steps: Vec<Step>,
    /// All that the rule's issues do, in order.
    pub(crate) expect: Vec<Happening>,
    /// Where the expectation stands in the file.
    pub(crate) line: usize,
    pub(crate) column: usize,
}

/// Something that happens in a test.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    pub(crate) at: Duration,
    /// The entity's kind and id; a topic's record is about none.
    pub(crate) entity: Option<(String, String)>,
    pub(crate) given: Given,
}

/// What is seen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    /// These fields of the entity; those that it had before stay.
    Fields(Map<String, Value>),
    /// A position of the entity: members of the record of its stream.
    Position(Map<String, Value>),
    /// An event about the entity, by its type.
    Event(String),
    /// A record of a topic.
    Record { topic: TopicName, data: Map<String, Value> },
    /// The entity answers 404.
    Gone,
    /// The entity answers 500.
    Failed,
}

/// What an issue does in a test: `opened at 5m`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Happening {
    pub(crate) transition: String,
    pub(crate) at: Duration,
    pub(crate) line: usize,
    pub(crate) column: usize,
}
