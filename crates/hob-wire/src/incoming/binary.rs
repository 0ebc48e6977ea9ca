//! CloudEvents' binary mode: attributes in headers, data as the body.

use std::borrow::Cow;

use super::cloudevent::{self, Parts};
use super::value::Scalar;
use super::{Flaws, Incoming, Payload, Unread};
use crate::cloudevents::{decode_header, is_json};

const PREFIX: &str = "ce-";

/// Whether headers of these names are those of an event in binary mode.
pub fn is_binary<'h>(mut names: impl Iterator<Item = &'h str>) -> bool {
    names.any(|name| name.eq_ignore_ascii_case("ce-specversion"))
}

/// Reads an event in binary mode. `headers` are all of the request's; `content_type` is the body's.
pub fn read_binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a [u8])>,
    content_type: Option<&'a str>,
    body: &'a [u8],
) -> Result<Incoming<'a>, Unread> {
    let mut flaws = Flaws::default();
    let mut event = Incoming { content_type: content_type.map(Cow::Borrowed), ..Incoming::default() };
    let mut parts = Parts::default();
    for (name, value) in headers {
        let Some(name) = attribute(name) else { continue };
        match decode_header(value) {
            Some(_) if matches!(&*name, "data" | "data_base64" | "datacontenttype") => {
                let hint = "the body is the data, and Content-Type its type";
                flaws.add(name.into_owned(), "is no header of binary mode", hint);
            }
            Some(text) => cloudevent::take(&mut event, &mut parts, name, Scalar::Text(text), &mut flaws),
            None => flaws.add(name.into_owned(), "is no UTF-8", "percent-encode it as UTF-8"),
        }
    }
    cloudevent::finish(&mut event, parts, &mut flaws);
    event.data = read_body(content_type, body, &mut flaws);
    if event.data.is_none() {
        event.content_type = None;
    }
    if flaws.found.is_empty() { Ok(event) } else { Err(Unread::Flaws { events: 1, flaws: flaws.found }) }
}

/// The attribute that a header tells, in lower case.
fn attribute(header: &str) -> Option<Cow<'_, str>> {
    let (prefix, name) = header.split_at_checked(PREFIX.len())?;
    if !prefix.eq_ignore_ascii_case(PREFIX) {
        return None;
    }
    let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
    Some(if is_lower { Cow::Borrowed(name) } else { Cow::Owned(name.to_ascii_lowercase()) })
}

fn read_body<'a>(content_type: Option<&str>, body: &'a [u8], flaws: &mut Flaws) -> Option<Payload<'a>> {
    if body.is_empty() {
        return None;
    }
    let Some(content_type) = content_type else { return Some(Payload::Bytes(Cow::Borrowed(body))) };
    if !is_json(content_type) {
        let text = is_text(content_type).then(|| std::str::from_utf8(body).ok()).flatten();
        return Some(match text {
            Some(text) => Payload::Text(Cow::Borrowed(text)),
            None => Payload::Bytes(Cow::Borrowed(body)),
        });
    }
    match super::list::read_json_text(body) {
        Ok(text) => cloudevent::json_data(text, flaws),
        Err(problem) => {
            flaws.add("data", format!("is no JSON: {problem}"), "send JSON, or another Content-Type");
            None
        }
    }
}

/// Whether a media type is one of texts.
fn is_text(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence.starts_with("text/") || essence.ends_with("/xml") || essence.ends_with("+xml")
}
