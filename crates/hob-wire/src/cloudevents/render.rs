//! Events as CloudEvents for whoever reads or receives them: structured, batch, a line each, and binary mode.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::Event;
use crate::cloudevents::header;

/// The media type of one event in JSON.
pub const STRUCTURED: &str = "application/cloudevents+json";
/// The media type of a list of events in JSON.
pub const BATCH: &str = "application/cloudevents-batch+json";
/// The media type of events in JSON, a line each.
pub const LINES: &str = "application/x-ndjson";

/// One event in structured JSON ([`STRUCTURED`]).
pub fn structured(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(&mut out, event);
    out
}

/// Events as a JSON list ([`BATCH`]).
pub fn batch<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = vec![b'['];
    for event in events {
        if out.len() > 1 {
            out.push(b',');
        }
        write(&mut out, event);
    }
    out.push(b']');
    out
}

/// Events in JSON, each on a line of its own ([`LINES`]).
pub fn lines<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        write(&mut out, event);
        out.push(b'\n');
    }
    out
}

/// An event in binary mode: its attributes as headers, by lower-case name, and its data as the body.
/// `content-type` is among them when there is data.
pub fn binary(event: &Event) -> (Vec<(String, String)>, Vec<u8>) {
    let mut headers = Vec::with_capacity(16);
    let mut add = |name: &str, value: &str| headers.push((format!("ce-{name}"), header::encode(value)));
    add("specversion", &event.specversion);
    add("id", &event.id);
    add("source", &event.source);
    add("type", &event.kind);
    add("time", &event.time.to_string());
    add("topic", event.topic.as_str());
    add("sequence", &event.sequence);
    add("recordedtime", &event.recordedtime.to_string());
    add("environment", event.environment.as_str());
    add("tenant", event.tenant.as_str());
    let texts = [
        ("subject", &event.subject),
        ("dataschema", &event.dataschema),
        ("requestid", &event.requestid),
        ("traceparent", &event.traceparent),
        ("entitytag", &event.entitytag),
    ];
    texts.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).for_each(|(n, v)| add(n, v));
    if let Some(entityseq) = event.entityseq {
        add("entityseq", &entityseq.to_string());
    }
    if let Some(notbefore) = event.notbefore {
        add("notbefore", &notbefore.to_string());
    }
    for (name, value) in &event.extensions {
        match value {
            Value::String(text) => add(name, text),
            other => add(name, &other.to_string()),
        }
    }
    if let Some(media_type) = &event.datacontenttype {
        headers.push(("content-type".to_owned(), media_type.clone()));
    }
    (headers, body(event))
}

fn body(event: &Event) -> Vec<u8> {
    let is_json = event.datacontenttype.as_deref().is_none_or(super::is_json);
    match (&event.data, &event.data_base64) {
        (Some(Value::String(text)), _) if !is_json => text.as_bytes().to_vec(),
        (Some(data), _) => serde_json::to_vec(data).expect("JSON can be written"),
        (None, Some(text)) => STANDARD.decode(text).unwrap_or_default(),
        (None, None) => Vec::new(),
    }
}

fn write(out: &mut Vec<u8>, event: &Event) {
    serde_json::to_writer(out, event).expect("an event is JSON, and memory takes it");
}
