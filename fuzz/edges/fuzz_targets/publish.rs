//! Arbitrary bytes in place of published events, in every format: read or refused, never a panic; and what is read as
//! JSON data can be parsed by everybody.

#![no_main]

use hob_wire::Payload;
use hob_wire::incoming::{Format, read, read_binary};
use libfuzzer_sys::fuzz_target;

const FORMATS: [Format; 6] = [
    Format::Notices,
    Format::Drafts,
    Format::NoticeLines,
    Format::DraftLines,
    Format::CloudEvent,
    Format::CloudEvents,
];

fuzz_target!(|bytes: &[u8]| {
    for format in FORMATS {
        for event in read(format, bytes, 10).unwrap_or_default() {
            if let Some(Payload::Json(text)) = event.data {
                serde_json::from_str::<serde_json::Value>(&text).expect("data that was let in is JSON");
            }
        }
    }
    let (head, body) = bytes.split_at(bytes.len() / 2);
    let headers = [("ce-specversion", &b"1.0"[..]), ("ce-id", head), ("ce-x", body)];
    let _ = read_binary(headers.into_iter(), Some("application/json"), body);
});
