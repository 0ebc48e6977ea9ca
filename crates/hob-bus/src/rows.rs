//! The stored form of events, topics, subscriptions and cursors. Every form begins with a version; a golden test
//! fixes each, because what was written once must stay readable.
//!
//! An event's scope, topic and time stand in the log's own record; its row holds the rest, in this order:
//!
//! ```text
//! version u8 = 1 | flags u8 | recorded time, microseconds since 1970, i64 little-endian
//! id | service | type        each: length as a varint (LEB128), then UTF-8
//! entityseq                  a varint, when flagged
//! subject | requestid | traceparent | entitytag     each as above, when flagged
//! data                       JSON, up to the end, when flagged
//! ```

use hob_core::{Name, Timestamp, TopicName};
use hob_wire::TopicTerms;
use serde::{Deserialize, Serialize};

use crate::Error;

const VERSION: u8 = 1;
const NOTICE: u8 = 1;
const ENTITYSEQ: u8 = 2;
const SUBJECT: u8 = 4;
const REQUEST: u8 = 8;
const TRACE: u8 = 16;
const ENTITYTAG: u8 = 32;
const DATA: u8 = 64;

/// An event's row, borrowed from its bytes: decoding copies nothing and reads no data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EventRow<'a> {
    pub(crate) recorded: Timestamp,
    pub(crate) id: &'a str,
    /// Who published it.
    pub(crate) service: &'a str,
    /// Whether `kind` is a change, so that the event's type is `<topic>.<kind>`.
    pub(crate) is_notice: bool,
    pub(crate) kind: &'a str,
    pub(crate) entityseq: Option<u64>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) entitytag: Option<&'a str>,
    pub(crate) data: Option<&'a [u8]>,
}

impl<'a> EventRow<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let texts = [self.subject, self.request_id, self.traceparent, self.entitytag];
        let bits = [SUBJECT, REQUEST, TRACE, ENTITYTAG];
        let mut flags = if self.is_notice { NOTICE } else { 0 };
        flags |= if self.entityseq.is_some() { ENTITYSEQ } else { 0 };
        flags |= if self.data.is_some() { DATA } else { 0 };
        flags |= texts.iter().zip(bits).filter(|(text, _)| text.is_some()).map(|(_, bit)| bit).sum::<u8>();
        let length = texts.iter().flatten().map(|text| text.len() + 2).sum::<usize>();
        let data = self.data.unwrap_or_default();
        let mut out = Vec::with_capacity(
            32 + self.id.len() + self.service.len() + self.kind.len() + length + data.len(),
        );
        out.extend([VERSION, flags]);
        out.extend(self.recorded.as_micros().to_le_bytes());
        for text in [self.id, self.service, self.kind] {
            put_text(&mut out, text);
        }
        if let Some(entityseq) = self.entityseq {
            put_varint(&mut out, entityseq);
        }
        texts.iter().flatten().for_each(|text| put_text(&mut out, text));
        out.extend(data);
        out
    }

    /// Reads a row; `None` when the bytes are none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, flags], rest) = bytes.split_first_chunk::<2>()?;
        if version != VERSION {
            return None;
        }
        let (recorded, mut rest) = rest.split_first_chunk::<8>()?;
        let id = take_text(&mut rest)?;
        let service = take_text(&mut rest)?;
        let kind = take_text(&mut rest)?;
        let entityseq = if flags & ENTITYSEQ == 0 { None } else { Some(take_varint(&mut rest)?) };
        let mut optional = |bit| if flags & bit == 0 { Some(None) } else { take_text(&mut rest).map(Some) };
        let subject = optional(SUBJECT)?;
        let request_id = optional(REQUEST)?;
        let traceparent = optional(TRACE)?;
        let entitytag = optional(ENTITYTAG)?;
        let data = (flags & DATA != 0).then_some(rest);
        Some(Self {
            recorded: Timestamp::from_micros(i64::from_le_bytes(*recorded)),
            id,
            service,
            is_notice: flags & NOTICE != 0,
            kind,
            entityseq,
            subject,
            request_id,
            traceparent,
            entitytag,
            data,
        })
    }
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend(text.as_bytes());
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

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
    use proptest::prelude::*;

    use super::*;

    fn row() -> EventRow<'static> {
        EventRow {
            recorded: Timestamp::from_micros(1_767_614_400_000_000),
            id: "o7-1",
            service: "orders",
            is_notice: true,
            kind: "update",
            entityseq: Some(300),
            subject: Some("http://t/orders/7"),
            request_id: Some("r1"),
            traceparent: None,
            entitytag: Some("\"2\""),
            data: Some(b"{\"a\":1}"),
        }
    }

    #[test]
    fn an_events_stored_form_is_fixed() {
        let hex: String = row().encode().iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "016f",
            "007069cca2470600",
            "046f372d31",
            "066f7264657273",
            "06757064617465",
            "ac02",
            "11687474703a2f2f742f6f72646572732f37",
            "027231",
            "03223222",
            "7b2261223a317d"
        );
        assert_eq!(hex, golden);
        let bytes = row().encode();
        assert_eq!(EventRow::decode(&bytes), Some(row()));
    }

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
        };
        assert_eq!(encode_json(&subscription), br#"{"version":1,"id":"x","topics":["orders"],"start":7}"#);
        let cursor = CursorRow { version: 1, of: "x".to_owned(), done: 9, acked: vec![11] };
        assert_eq!(encode_json(&cursor), br#"{"version":1,"of":"x","done":9,"acked":[11]}"#);
    }

    proptest! {
        #[test]
        fn events_round_trip(id in ".{1,20}", kind in "[a-z]{1,9}", seq in proptest::option::of(any::<u64>()),
            subject in proptest::option::of(".{0,300}"), trace in proptest::option::of(".{0,60}"),
            data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50))) {
            let row = EventRow {
                id: &id, kind: &kind, entityseq: seq, subject: subject.as_deref(), traceparent: trace.as_deref(),
                data: data.as_deref(), is_notice: false, ..row()
            };
            let bytes = row.encode();
            prop_assert_eq!(EventRow::decode(&bytes), Some(row));
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = EventRow::decode(&bytes);
        }
    }
}
