//! The stored form of topics; that of events is in [`event`], that of subscriptions, their cursors and dead letters in
//! [`subscription`]. Every form begins with a version; a golden test fixes each, because what was written once must
//! stay readable.

mod event;
mod idempotency;
mod subscription;

use hob_core::Name;
use hob_wire::TopicTerms;
use serde::{Deserialize, Serialize};

use crate::Error;

pub(crate) use event::{EventRow, Form, id_space, set_entityseq};
pub(crate) use idempotency::IdempotencyRow;
pub(crate) use subscription::{CursorRow, LetterRow, PauseRow, SecretsRow, SubscriptionRow};

/// A topic at `topics/<environment>/<tenant>/<name>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TopicRow {
    pub(crate) version: u8,
    #[serde(flatten)]
    pub(crate) terms: TopicTerms,
    pub(crate) owner: Name,
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
        let topic = TopicRow { version: 1, terms: TopicTerms::default(), owner: "orders".parse().unwrap() };
        assert_eq!(encode_json(&topic), br#"{"version":1,"kind":"notify","owner":"orders"}"#);
    }
}
