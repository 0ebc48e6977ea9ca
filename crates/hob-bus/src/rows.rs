//! The stored form of topics, subscriptions and cursors; that of events is in [`event`]. Every form begins with a
//! version; a golden test fixes each, because what was written once must stay readable.

mod event;

use std::collections::BTreeMap;

use hob_core::{Name, TopicName};
use hob_wire::TopicTerms;
use serde::{Deserialize, Serialize};

use crate::Error;

pub(crate) use event::{EventRow, Form, id_space, put_varint, take_varint};

/// A topic at `topics/<environment>/<tenant>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicRow {
    pub(crate) version: u8,
    #[serde(flatten)]
    pub(crate) terms: TopicTerms,
    pub(crate) owner: Name,
}

/// A subscription at `subscriptions/<environment>/<tenant>/<service>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SubscriptionRow {
    pub(crate) version: u8,
    /// Tells it from an earlier one of the same name, whose cursor may still lie about.
    pub(crate) id: String,
    pub(crate) topics: Vec<TopicName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) types: Vec<String>,
    /// Where it began: everything up to here was never its concern.
    pub(crate) start: u64,
    /// What its topics had lost by retention when it began at their start, by tag: nothing that it misses.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) forgone: BTreeMap<String, u64>,
}

/// A cursor at `cursors/<environment>/<tenant>/<service>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRow {
    pub(crate) version: u8,
    /// The id of the subscription that it belongs to.
    pub(crate) of: String,
    /// Everything up to here is acknowledged.
    pub(crate) done: u64,
    /// And these beyond.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) acked: Vec<u64>,
}

/// The version of the JSON rows.
pub(crate) const ROW_VERSION: u8 = 1;

pub(crate) fn encode_json<T: Serialize>(row: &T) -> Vec<u8> {
    serde_json::to_vec(row).expect("rows hold nothing that JSON cannot say")
}

pub(crate) fn decode_json<'a, T: Deserialize<'a>>(key: &str, bytes: &'a [u8]) -> Result<T, Error> {
    let problem = |error: serde_json::Error| Error::Row { what: key.to_owned(), problem: error.to_string() };
    serde_json::from_slice(bytes).map_err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_forms_of_keys_are_fixed() {
        let name = |text: &str| text.parse::<TopicName>().unwrap();
        let topic = TopicRow { version: 1, terms: TopicTerms::default(), owner: "orders".parse().unwrap() };
        assert_eq!(encode_json(&topic), br#"{"version":1,"kind":"notify","owner":"orders"}"#);
        let subscription = SubscriptionRow {
            version: 1,
            id: "x".to_owned(),
            topics: vec![name("orders")],
            types: Vec::new(),
            start: 7,
            forgone: BTreeMap::new(),
        };
        assert_eq!(encode_json(&subscription), br#"{"version":1,"id":"x","topics":["orders"],"start":7}"#);
        let cursor = CursorRow { version: 1, of: "x".to_owned(), done: 9, acked: vec![11] };
        assert_eq!(encode_json(&cursor), br#"{"version":1,"of":"x","done":9,"acked":[11]}"#);
    }
}
