//! Attributes of a CloudEvent, from JSON members and from headers alike.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::value::Scalar;
use super::{Flaws, Incoming, Payload, payload, set_text, set_time, shorten};
use crate::Extension;
use crate::cloudevents::is_json;

/// Extension attributes of one event.
pub(super) const EXTENSIONS_MAX: usize = 32;
/// Letters of an extension attribute's name: CloudEvents asks for 20 or fewer, and some send more.
const NAME_LENGTH_MAX: usize = 40;
/// What Hob says about an event itself.
const HOBS: [&str; 5] = ["sequence", "recordedtime", "entityseq", "environment", "tenant"];

/// What is put together once every attribute is known.
#[derive(Default)]
pub(super) struct Parts<'a> {
    pub(super) specversion: Option<Cow<'a, str>>,
    /// The member `data`, as it was sent.
    pub(super) data: Option<&'a str>,
    pub(super) data_base64: Option<Cow<'a, str>>,
}

/// Takes in one attribute, `data` aside.
pub(super) fn take<'a>(
    event: &mut Incoming<'a>,
    parts: &mut Parts<'a>,
    name: Cow<'a, str>,
    value: Scalar<'a>,
    flaws: &mut Flaws,
) {
    match &*name {
        "specversion" => set_text(&mut parts.specversion, "specversion", value, flaws),
        "data_base64" => set_text(&mut parts.data_base64, "data_base64", value, flaws),
        "id" => set_text(&mut event.id, "id", value, flaws),
        "source" => set_text(&mut event.source, "source", value, flaws),
        "type" => {
            let mut kind = (!event.kind.is_empty()).then(|| std::mem::take(&mut event.kind));
            set_text(&mut kind, "type", value, flaws);
            event.kind = kind.unwrap_or_default();
        }
        "subject" => set_text(&mut event.subject, "subject", value, flaws),
        "time" => set_time(&mut event.time, "time", value, flaws),
        "datacontenttype" => set_text(&mut event.content_type, "datacontenttype", value, flaws),
        "dataschema" => set_text(&mut event.data_schema, "dataschema", value, flaws),
        "topic" => set_text(&mut event.topic, "topic", value, flaws),
        "requestid" => set_text(&mut event.requestid, "requestid", value, flaws),
        "traceparent" => set_text(&mut event.traceparent, "traceparent", value, flaws),
        "entitytag" => set_text(&mut event.entitytag, "entitytag", value, flaws),
        "notbefore" => set_time(&mut event.notbefore, "notbefore", value, flaws),
        other if HOBS.contains(&other) => {
            flaws.add(shorten(other), "is for Hob to say", "leave it out, or give it another name");
        }
        _ => take_extension(event, name, value, flaws),
    }
}

fn take_extension<'a>(event: &mut Incoming<'a>, name: Cow<'a, str>, value: Scalar<'a>, flaws: &mut Flaws) {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    if name.is_empty() || name.len() > NAME_LENGTH_MAX || !name.bytes().all(is_plain) {
        let hint = "name an extension attribute with a-z and 0-9 alone, in at most 20 letters";
        return flaws.add(shorten(&name), "is no name of an attribute", hint);
    }
    if event.extensions.len() >= EXTENSIONS_MAX {
        let what = format!("is one extension attribute more than the limit of {EXTENSIONS_MAX}");
        return flaws.add(name.into_owned(), what, "put such things into data");
    }
    if event.extensions.iter().any(|(known, _)| *known == name) {
        return flaws.add(name.into_owned(), "is given twice", "give it once");
    }
    let value = match value {
        Scalar::Null => return,
        Scalar::Boolean(value) => Extension::Boolean(value),
        Scalar::Text(text) => Extension::Text(text),
        Scalar::Integer(number) if i32::try_from(number).is_ok() => {
            Extension::Integer(i32::try_from(number).unwrap_or_default())
        }
        Scalar::Integer(_) | Scalar::Number => {
            return flaws.add(
                name.into_owned(),
                "is no whole number of 32 bits, the only numbers that an attribute may have",
                "write it as a text",
            );
        }
        Scalar::List | Scalar::Object => {
            let what = format!("is {}", value.name());
            return flaws.add(name.into_owned(), what, "attributes are texts, booleans or whole numbers");
        }
    };
    event.extensions.push((name, value));
}

/// Checks what every CloudEvent must have, and puts its data together.
pub(super) fn finish<'a>(event: &mut Incoming<'a>, parts: Parts<'a>, flaws: &mut Flaws) {
    event.is_cloudevent = true;
    match parts.specversion.as_deref() {
        Some("1.0") => {}
        Some(other) => {
            flaws.add("specversion", format!("is {:?}", shorten(other)), "send CloudEvents 1.0");
        }
        None => flaws.add("specversion", "is missing", "say \"1.0\""),
    }
    if event.id.is_none() {
        flaws.add("id", "is missing", "every CloudEvent has an id, unique within its source");
    }
    if event.source.is_none() {
        flaws.add("source", "is missing", "say where it comes from, such as /services/orders");
    }
    if event.kind.is_empty() {
        flaws.add("type", "is missing", "say what happened, such as orders.update");
    }
    let is_json = event.content_type.as_deref().is_none_or(is_json);
    event.data = match (parts.data, parts.data_base64) {
        (Some(data), Some(_)) if data != "null" => {
            return flaws.add("data_base64", "stands beside data", "send one of them");
        }
        (_, Some(text)) => base64_data(&text, flaws),
        (Some(data), None) if data.starts_with('"') && !is_json => text_data(data, flaws),
        (Some(data), None) => json_data(data, flaws),
        (None, None) => None,
    };
}

/// Data that was sent as JSON; none when it is `null`.
pub(super) fn json_data<'a>(raw: &'a str, flaws: &mut Flaws) -> Option<Payload<'a>> {
    if raw == "null" {
        return None;
    }
    match payload::compact(raw) {
        Ok(text) => Some(Payload::Json(text)),
        Err(problem) => {
            flaws.add("data", problem, "send JSON that every reader can hold");
            None
        }
    }
}

fn text_data<'a>(raw: &'a str, flaws: &mut Flaws) -> Option<Payload<'a>> {
    match serde_json::from_str(raw) {
        Ok(Scalar::Text(text)) => Some(Payload::Text(text)),
        Ok(_) => None,
        Err(error) => {
            flaws.add("data", format!("is no text: {error}"), "send Unicode, or bytes as data_base64");
            None
        }
    }
}

fn base64_data(text: &str, flaws: &mut Flaws) -> Option<Payload<'static>> {
    match STANDARD.decode(text) {
        Ok(bytes) => Some(Payload::Bytes(Cow::Owned(bytes))),
        Err(error) => {
            flaws.add(
                "data_base64",
                format!("is no base64: {error}"),
                "encode it as RFC 4648 section 4 says",
            );
            None
        }
    }
}
