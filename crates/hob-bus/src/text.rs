//! Writes events as the JSON that readers get, straight from the log's rows: nothing in between is built.
//!
//! The text says what [`hob_wire::Event`] says; data that is JSON goes out as it was published. It has no line breaks,
//! so that it may stand on a line of its own.

use hob_core::{Scope, Timestamp, TopicName};
use hob_store::{Stored, Tag};
use hob_wire::{Extension, sequence_text};

use crate::positions::Positions;
use crate::rows::{EventRow, Form};

/// What stands around each event of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Framing {
    /// Before the event's sequence; `None` when that is not written.
    pub sequence: Option<&'static str>,
    /// Before the event itself.
    pub before: &'static str,
    /// Behind it.
    pub after: &'static str,
}

impl Framing {
    /// Stands around each event of a list, the last one too.
    pub(crate) const LIST: Self = Self { sequence: None, before: "", after: "," };
}

/// Bytes that are set aside for one event.
pub(crate) const EVENT_BYTES: usize = 640;

/// Writes events one after the other; knows the place of the last one's topic.
pub(crate) struct Writer<'a> {
    positions: &'a Positions,
    last: Option<(Tag, Scope, TopicName)>,
}

impl<'a> Writer<'a> {
    pub(crate) fn new(positions: &'a Positions) -> Self {
        Self { positions, last: None }
    }

    /// The scope and topic of a record.
    pub(crate) fn place(&mut self, tag: &Tag) -> Option<(&Scope, &TopicName)> {
        if self.last.as_ref().is_none_or(|(known, ..)| known != tag) {
            let (scope, topic) = self.positions.place(tag)?;
            self.last = Some((tag.clone(), scope, topic));
        }
        self.last.as_ref().map(|(_, scope, topic)| (scope, topic))
    }

    /// Writes one in its frame.
    pub(crate) fn frame(&mut self, out: &mut Vec<u8>, framing: Framing, stored: &Stored, row: &EventRow<'_>) {
        let Some((scope, topic)) = self.place(&stored.tag) else { return };
        let sequence = sequence_text(stored.seq);
        if let Some(before) = framing.sequence {
            out.extend_from_slice(before.as_bytes());
            out.extend_from_slice(sequence.as_bytes());
        }
        out.extend_from_slice(framing.before.as_bytes());
        write(out, (scope, topic), &sequence, stored.time, row);
        out.extend_from_slice(framing.after.as_bytes());
    }
}

/// Writes one event.
fn write(
    out: &mut Vec<u8>,
    (scope, topic): (&Scope, &TopicName),
    sequence: &str,
    time: i64,
    row: &EventRow<'_>,
) {
    out.extend_from_slice(br#"{"specversion":"1.0""#);
    text(out, "id", row.id);
    match row.source {
        Some(source) => text(out, "source", source),
        // Names need no escapes.
        None => plain(out, "source", &["/services/", row.service]),
    }
    match row.is_notice {
        true => plain(out, "type", &[topic.as_str(), ".", row.kind]),
        false => text(out, "type", row.kind),
    }
    optional(out, "subject", row.subject);
    moment(out, "time", Timestamp::from_micros(time));
    optional(out, "datacontenttype", row.content_type.or(row.json().map(|_| "application/json")));
    optional(out, "dataschema", row.data_schema);
    match row.data {
        None => {}
        Some((Form::Json, json)) => {
            name(out, "data");
            let at = out.len();
            out.extend_from_slice(json);
            // A line break in JSON is never part of a text.
            out[at..].iter_mut().filter(|byte| matches!(byte, b'\n' | b'\r')).for_each(|byte| *byte = b' ');
        }
        Some((Form::Text, data)) => text(out, "data", &String::from_utf8_lossy(data)),
        Some((Form::Bytes, bytes)) => plain(out, "data_base64", &[&hob_wire::base64_text(bytes)]),
    }
    plain(out, "topic", &[topic.as_str()]);
    plain(out, "sequence", &[sequence]);
    moment(out, "recordedtime", row.recorded);
    optional(out, "requestid", row.request_id);
    optional(out, "traceparent", row.traceparent);
    if let Some(entityseq) = row.entityseq {
        number(out, "entityseq", i128::from(entityseq));
    }
    optional(out, "entitytag", row.entitytag);
    if let Some(notbefore) = row.notbefore {
        moment(out, "notbefore", notbefore);
    }
    plain(out, "environment", &[scope.environment.as_str()]);
    plain(out, "tenant", &[scope.tenant.as_str()]);
    for (key, value) in &row.extensions {
        match value {
            Extension::Boolean(value) => {
                name(out, key);
                out.extend_from_slice(if *value { b"true" } else { b"false" });
            }
            Extension::Integer(value) => number(out, key, i128::from(*value)),
            Extension::Text(value) => text(out, key, value),
        }
    }
    out.push(b'}');
}

/// A member's name, which needs no escapes: attributes have letters and digits.
fn name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn optional(out: &mut Vec<u8>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        text(out, key, value);
    }
}

fn text(out: &mut Vec<u8>, key: &str, value: &str) {
    let is_plain = |byte: &u8| *byte >= 0x20 && *byte != b'"' && *byte != b'\\';
    if value.as_bytes().iter().all(is_plain) {
        return plain(out, key, &[value]);
    }
    name(out, key);
    serde_json::to_writer(out, value).expect("a text is JSON, and memory takes it");
}

/// A member whose text, in pieces, needs no escapes.
fn plain(out: &mut Vec<u8>, key: &str, pieces: &[&str]) {
    name(out, key);
    out.push(b'"');
    pieces.iter().for_each(|piece| out.extend_from_slice(piece.as_bytes()));
    out.push(b'"');
}

fn number(out: &mut Vec<u8>, key: &str, value: i128) {
    name(out, key);
    out.extend_from_slice(value.to_string().as_bytes());
}

fn moment(out: &mut Vec<u8>, key: &str, time: Timestamp) {
    name(out, key);
    out.push(b'"');
    time.write(out);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::read::event_of;

    proptest! {
        #[test]
        fn the_text_says_what_the_event_says(
            texts in proptest::collection::vec(proptest::option::of("\\PC{0,12}[\"\\\\\\n]?"), 7),
            (id, kind) in ("\\PC{1,20}", "[a-z.]{1,12}"),
            (is_notice, form, number) in (any::<bool>(), 0_u8..4, any::<i32>()),
            (entityseq, notbefore) in (proptest::option::of(1_u64..1 << 39), proptest::option::of(0_i64..1 << 50)),
            (time, recorded) in (0_i64..1 << 52, -(1_i64 << 52)..1 << 52),
        ) {
            let mut texts = texts.iter().map(Option::as_deref);
            let mut next = || texts.next().flatten();
            let data: Option<(Form, &[u8])> = match form {
                0 => None,
                1 => Some((Form::Json, b"{\"a\": [1,\n 2.5, \"x\\ny\"]}")),
                2 => Some((Form::Text, b"a \"note\"\nof two lines")),
                _ => Some((Form::Bytes, b"\x00\x01\xff")),
            };
            let row = EventRow {
                recorded: Timestamp::from_micros(recorded),
                id: &id,
                service: "shop",
                is_notice,
                kind: if is_notice { "update" } else { &kind },
                entityseq,
                notbefore: notbefore.map(Timestamp::from_micros),
                subject: next(),
                request_id: next(),
                traceparent: next(),
                entitytag: next(),
                source: next(),
                content_type: next().filter(|_| data.is_some()),
                data_schema: next(),
                extensions: vec![
                    ("city", Extension::Text(Cow::Borrowed("Le\"eds"))),
                    ("floor", Extension::Integer(number)),
                    ("open", Extension::Boolean(number > 0)),
                ],
                data,
            };
            let (scope, topic): (Scope, TopicName) = ("qa/uk".parse().unwrap(), "orders".parse().unwrap());
            let tag = Tag::new("qa/uk/orders").unwrap();
            let stored = Stored { seq: 7, tag, time, payload: Bytes::new() };
            let mut out = Vec::new();
            write(&mut out, (&scope, &topic), &sequence_text(7), time, &row);
            prop_assert!(!out.contains(&b'\n'));
            let event = event_of(scope, topic, &stored, &row);
            let expected = serde_json::to_value(&event).unwrap();
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&out).unwrap(), expected);
            if form != 1 {
                prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&event).unwrap());
            }
        }
    }
}
