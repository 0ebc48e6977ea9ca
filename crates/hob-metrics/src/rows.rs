//! The stored form of samples: one row per service and arrival, JSON behind a version byte.

use std::collections::BTreeMap;

use hob_core::{Name, Scope, Timestamp};
use serde::{Deserialize, Serialize};

use crate::model::{Sample, Value};

const VERSION: u8 = 1;

/// Samples of one service that arrived together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) time: Timestamp,
    pub(crate) scope: Scope,
    pub(crate) service: Name,
    pub(crate) samples: Vec<RowSample>,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RowSample {
    #[serde(rename = "n")]
    pub(crate) name: String,
    #[serde(rename = "l", default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    #[serde(rename = "v")]
    pub(crate) value: Value,
}

/// Gathers samples into rows by service and time, in the order of their first samples.
pub(crate) fn rows(samples: Vec<Sample>) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    for sample in samples {
        let Sample { time, scope, service, name, labels, value } = sample;
        let known = rows.iter_mut().find(|r| r.time == time && r.service == service && r.scope == scope);
        let row_sample = RowSample { name, labels, value };
        match known {
            Some(row) => row.samples.push(row_sample),
            None => rows.push(Row { time, scope, service, samples: vec![row_sample] }),
        }
    }
    rows
}

/// The bytes of a row in the log.
pub(crate) fn encode(row: &Row) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, row)
        .expect("a row has only texts, finite numbers and maps with text keys");
    bytes
}

/// The row that bytes of the log hold; nothing when they are of another version or no row.
pub(crate) fn decode(bytes: &[u8]) -> Option<Row> {
    match bytes.split_first()? {
        (&VERSION, json) => serde_json::from_slice(json).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_a_promise() {
        let sample = |value| Sample {
            time: Timestamp::from_micros(1_767_614_400_000_000),
            scope: "demo/uk".parse().unwrap(),
            service: "orders".parse().unwrap(),
            name: "placed".to_owned(),
            labels: BTreeMap::from([("instance".to_owned(), "a".to_owned())]),
            value,
        };
        let mut histogram = hob_core::Histogram::default();
        histogram.record(0.5);
        let rows = rows(vec![sample(Value::Count(2.0)), sample(Value::Timing(histogram))]);
        assert_eq!(rows.len(), 1);
        let golden = concat!(
            "\u{1}{\"time\":\"2026-01-05T12:00:00Z\",\"scope\":{\"environment\":\"demo\",\"tenant\":\"uk\"},",
            "\"service\":\"orders\",\"samples\":[{\"n\":\"placed\",\"l\":{\"instance\":\"a\"},\"v\":{\"count\":2.0}},",
            "{\"n\":\"placed\",\"l\":{\"instance\":\"a\"},\"v\":{\"timing\":{\"count\":1,\"sum\":0.5,\"min\":0.5,",
            "\"max\":0.5,\"buckets\":{\"-9\":1}}}}]}"
        );
        let bytes = encode(&rows[0]);
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), golden);
        assert_eq!(decode(&bytes).as_ref(), Some(&rows[0]));
        assert_eq!(decode(b"\x02{}"), None);
    }
}
