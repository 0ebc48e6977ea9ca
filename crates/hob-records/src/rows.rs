//! The stored form of a record: its wire form in JSON without position, behind a version byte.

use hob_wire::{Record, sequence_text};
use serde::{Deserialize, Serialize};

use crate::model::{LINE_BYTES_MAX, NewRecord};

const VERSION: u8 = 1;

/// The bytes of a record in the log.
pub(crate) fn encode(new: NewRecord) -> Vec<u8> {
    let mut message = new.message;
    if message.len() > LINE_BYTES_MAX {
        let cut = (0..=LINE_BYTES_MAX).rev().find(|at| message.is_char_boundary(*at)).unwrap_or(0);
        message.truncate(cut);
        message.push('…');
    }
    let mut fields = new.fields;
    let mut bytes = message.len();
    fields.retain(|key, value| {
        bytes += key.len() + value.to_string().len();
        bytes <= LINE_BYTES_MAX
    });
    let record = Record {
        sequence: String::new(),
        time: new.time,
        level: new.level,
        source: new.source,
        service: new.service,
        process: new.process,
        instance: new.instance,
        scope: new.scope,
        release: new.release,
        message,
        request_id: new.request_id,
        fields,
    };
    let mut row = vec![VERSION];
    let mut serializer = serde_json::Serializer::new(&mut row);
    record.serialize(&mut serializer).expect("a record has only texts, numbers and maps with text keys");
    row
}

/// The record that stands at `sequence`; nothing when the bytes are of another version or no record.
pub(crate) fn decode(sequence: u64, bytes: &[u8]) -> Option<Record> {
    let (version, json) = bytes.split_first()?;
    if *version != VERSION {
        return None;
    }
    let mut record = Record::deserialize(&mut serde_json::Deserializer::from_slice(json)).ok()?;
    record.sequence = sequence_text(sequence);
    Some(record)
}

#[cfg(test)]
mod tests {
    use hob_core::Timestamp;
    use hob_wire::{Level, RecordSource};
    use serde_json::json;

    use super::*;

    fn record(message: &str) -> NewRecord {
        NewRecord {
            time: Timestamp::from_micros(1_767_614_400_000_000),
            level: Level::Warn,
            source: RecordSource::Stdout,
            service: "orders".parse().unwrap(),
            process: None,
            instance: Some("orders-web-1".to_owned()),
            scope: "demo/uk".parse().unwrap(),
            release: 3,
            message: message.to_owned(),
            request_id: Some("r1".to_owned()),
            fields: json!({"n": 1}).as_object().cloned().unwrap(),
        }
    }

    #[test]
    fn the_stored_form_is_a_promise() {
        let row = encode(record("hello"));
        let golden = concat!(
            "\u{1}{\"sequence\":\"\",\"time\":\"2026-01-05T12:00:00Z\",\"level\":\"warn\",\"source\":\"stdout\",",
            "\"service\":\"orders\",\"instance\":\"orders-web-1\",\"environment\":\"demo\",\"tenant\":\"uk\",",
            "\"release\":3,\"message\":\"hello\",\"request_id\":\"r1\",\"fields\":{\"n\":1}}"
        );
        assert_eq!(String::from_utf8(row.clone()).unwrap(), golden);
        assert_eq!(decode(7, &row).unwrap().sequence, "00000000000000000007");
        assert_eq!(decode(7, b"\x02{}"), None);
        assert_eq!(decode(7, b""), None);
    }

    #[test]
    fn long_messages_are_cut_between_letters() {
        let row = encode(record(&"é".repeat(LINE_BYTES_MAX)));
        let message = decode(1, &row).unwrap().message;
        assert!(message.ends_with('…') && message.len() <= LINE_BYTES_MAX + '…'.len_utf8());
    }
}
