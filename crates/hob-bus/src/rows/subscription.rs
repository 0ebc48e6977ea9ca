//! The stored form of subscriptions, their cursors and their dead letters.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hob_core::{Timestamp, TopicName};
use hob_store::varint;
use hob_wire::{DeliveryError, DeliverySpec, FilterSpec};
use serde::{Deserialize, Serialize};

use crate::step::Failure;

/// A subscription at `subscriptions/<environment>/<tenant>/<service>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) filters: Vec<FilterSpec>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sink: Option<String>,
    #[serde(default, skip_serializing_if = "DeliverySpec::is_default")]
    pub(crate) delivery: DeliverySpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<PauseRow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) secrets: Option<SecretsRow>,
}

/// That a subscription is to hand out nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PauseRow {
    /// Ends by itself then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) until: Option<Timestamp>,
    /// What its endpoint said, when that wanted it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) gone: Option<String>,
}

/// The signing secrets of an endpoint.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SecretsRow {
    pub(crate) current: String,
    /// The one before, and until when it signs as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<(String, Timestamp)>,
}

impl std::fmt::Debug for SecretsRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretsRow(…)")
    }
}

/// A cursor at `cursors/<environment>/<tenant>/<service>/<name>`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CursorRow {
    pub(crate) version: u8,
    /// The id of the subscription that it belongs to.
    pub(crate) of: String,
    /// Everything up to here is acknowledged: for people who look.
    pub(crate) done: u64,
    /// Everything up to here was looked at.
    #[serde(default)]
    pub(crate) looked: u64,
    /// The sequences up to `looked` that are not done: base64 of runs, each a gap since the last run's end and a length
    /// as varints.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pending: String,
    /// Those of them that failed: base64 of varints, for each the gap in sequence, the attempts, and the milliseconds of
    /// the first failure and of the next attempt.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    failed: String,
    /// Where a snapshot goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) snapshot: Option<String>,
}

impl CursorRow {
    pub(crate) fn new(
        of: &str,
        (done, looked): (u64, u64),
        pending: impl Iterator<Item = (u64, Option<Failure>)>,
        snapshot: Option<&str>,
    ) -> Self {
        let (mut runs, mut failed) = (Vec::new(), Vec::new());
        let (mut run, mut end, mut last_failed) = (None::<(u64, u64)>, 0, 0);
        for (sequence, failure) in pending {
            run = match run {
                Some((first, length)) if first + length == sequence => Some((first, length + 1)),
                other => {
                    end = put_run(&mut runs, other, end);
                    Some((sequence, 1))
                }
            };
            let Some(failure) = failure else { continue };
            let millis = |time: Timestamp| u64::try_from(time.as_millis()).unwrap_or(0);
            varint::write(&mut failed, sequence - last_failed);
            varint::write(&mut failed, u64::from(failure.attempts));
            varint::write(&mut failed, millis(failure.first));
            varint::write(&mut failed, millis(failure.until));
            last_failed = sequence;
        }
        put_run(&mut runs, run, end);
        Self {
            version: super::ROW_VERSION,
            of: of.to_owned(),
            done,
            looked,
            pending: STANDARD.encode(runs),
            failed: STANDARD.encode(failed),
            snapshot: snapshot.map(str::to_owned),
        }
    }

    /// The sequences that were pending, with how those that failed had failed; `None` when they cannot be understood.
    pub(crate) fn pending(&self) -> Option<Vec<(u64, Option<Failure>)>> {
        let bytes = STANDARD.decode(&self.failed).ok()?;
        let mut rest = bytes.as_slice();
        let mut failures = BTreeMap::new();
        let mut sequence = 0_u64;
        while !rest.is_empty() {
            sequence = sequence.checked_add(varint::take(&mut rest)?)?;
            let attempts = u32::try_from(varint::take(&mut rest)?).ok()?;
            let mut time = || {
                let millis = i64::try_from(varint::take(&mut rest)?).ok()?;
                Some(Timestamp::from_micros(millis.checked_mul(1_000)?))
            };
            failures.insert(sequence, Failure { attempts, first: time()?, until: time()? });
        }
        let bytes = STANDARD.decode(&self.pending).ok()?;
        let mut rest = bytes.as_slice();
        let mut pending = Vec::new();
        let mut end = 0_u64;
        while !rest.is_empty() {
            let first = end.checked_add(varint::take(&mut rest)?)?;
            end = first.checked_add(varint::take(&mut rest)?)?;
            if end - first > crate::limits::PENDING_MAX as u64 {
                return None;
            }
            pending.extend((first..end).map(|sequence| (sequence, failures.get(&sequence).copied())));
        }
        Some(pending)
    }
}

fn put_run(out: &mut Vec<u8>, run: Option<(u64, u64)>, end: u64) -> u64 {
    let Some((first, length)) = run else { return end };
    varint::write(out, first - end);
    varint::write(out, length);
    first + length
}

/// A dead letter at `dead-letters/<environment>/<tenant>/<service>/<name>/<sequence>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LetterRow {
    pub(crate) version: u8,
    /// The id of the subscription that it belongs to.
    pub(crate) of: String,
    pub(crate) attempts: u32,
    pub(crate) first_failed: Timestamp,
    pub(crate) last_failed: Timestamp,
    pub(crate) last_error: DeliveryError,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<String>,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rows::{decode_json, encode_json};

    #[test]
    fn the_stored_forms_are_fixed() {
        let subscription = SubscriptionRow {
            version: 1,
            id: "x".to_owned(),
            topics: vec!["orders".parse().unwrap()],
            types: Vec::new(),
            start: 7,
            forgone: BTreeMap::new(),
            filters: Vec::new(),
            sink: None,
            delivery: DeliverySpec::default(),
            paused: None,
            secrets: None,
        };
        assert_eq!(encode_json(&subscription), br#"{"version":1,"id":"x","topics":["orders"],"start":7}"#);
        let failure = Failure {
            attempts: 3,
            first: Timestamp::from_micros(1_000_000),
            until: Timestamp::from_micros(9_000_000),
        };
        let pending = [(10, Some(failure)), (11, None), (20, None)];
        let cursor = CursorRow::new("x", (9, 25), pending.into_iter(), None);
        let golden =
            r#"{"version":1,"of":"x","done":9,"looked":25,"pending":"CgIIAQ==","failed":"CgPoB6hG"}"#;
        assert_eq!(String::from_utf8(encode_json(&cursor)).unwrap(), golden);
        assert_eq!(cursor.pending().unwrap(), pending);
        let plain: CursorRow = decode_json("k", br#"{"version":1,"of":"x","done":9}"#).unwrap();
        assert_eq!((plain.done, plain.pending().unwrap().len()), (9, 0));
        let letter = LetterRow {
            version: 1,
            of: "x".to_owned(),
            attempts: 10,
            first_failed: Timestamp::EPOCH,
            last_failed: Timestamp::EPOCH,
            last_error: DeliveryError {
                time: Timestamp::EPOCH,
                status: Some(500),
                detail: "no".to_owned(),
                subject: None,
            },
            subject: Some("http://t/orders/7".to_owned()),
        };
        let golden = concat!(
            r#"{"version":1,"of":"x","attempts":10,"first_failed":"1970-01-01T00:00:00Z","#,
            r#""last_failed":"1970-01-01T00:00:00Z","last_error":{"time":"1970-01-01T00:00:00Z","status":500,"#,
            r#""detail":"no"},"subject":"http://t/orders/7"}"#
        );
        assert_eq!(String::from_utf8(encode_json(&letter)).unwrap(), golden);
    }

    proptest! {
        #[test]
        fn what_is_pending_round_trips(
            pending in proptest::collection::btree_map(1_u64..5_000, proptest::option::of((1_u32..20, 0_i64..9_999_999)), 0..300)
        ) {
            let time = |millis: i64| Timestamp::from_micros(millis * 1_000);
            let pending: Vec<_> = pending.into_iter().map(|(sequence, failed)| {
                let failure = failed.map(|(attempts, millis)| Failure { attempts, first: time(millis), until: time(2 * millis) });
                (sequence, failure)
            }).collect();
            let row = CursorRow::new("x", (0, 5_000), pending.iter().copied(), None);
            prop_assert_eq!(row.pending().unwrap(), pending);
        }

        #[test]
        fn any_text_is_read_or_refused(text in "[A-Za-z0-9+/]{0,40}={0,2}") {
            let row = CursorRow { pending: text.clone(), failed: text, ..CursorRow::default() };
            let _ = row.pending();
        }
    }
}
