//! The stored form of an event. Its scope, topic and time stand in the log's own record; its row holds the rest, in
//! this order:
//!
//! ```text
//! version u8 = 2 | flags u16 little-endian | recorded time, microseconds since 1970, i64 little-endian
//! entityseq                  40 bits little-endian, when flagged: at a fixed place, since it is known last
//! id | service | type        each: length as a varint (LEB128), then UTF-8
//! notbefore                  microseconds since 1970, i64 little-endian, when flagged
//! subject | requestid | traceparent | entitytag | source | datacontenttype | dataschema
//!                            each as the texts above, when flagged
//! extensions                 when flagged: how many (varint), then each: its name, a byte for its kind
//!                            (0 false, 1 true, 2 integer, 3 text), and an integer as a zigzag varint or the text
//! data                       up to the end; the two highest flags tell its form (0 none, 1 JSON, 2 text, 3 bytes)
//! ```

use std::borrow::Cow;

use hob_core::Timestamp;
use hob_store::varint;
use hob_wire::Extension;

const VERSION: u8 = 2;
const NOTICE: u16 = 1;
const ENTITYSEQ: u16 = 1 << 1;
const NOTBEFORE: u16 = 1 << 2;
const EXTENSIONS: u16 = 1 << 3;
/// The flags of the texts, in their order.
const TEXTS: [u16; 7] = [1 << 4, 1 << 5, 1 << 6, 1 << 7, 1 << 8, 1 << 9, 1 << 10];
const FORM_SHIFT: u32 = 14;
/// Bytes of the parts of a row that have a fixed length, and of the lengths of its texts.
const FIXED_BYTES: usize = 40;

/// Where the count of an entity stands, and in how many bytes: enough for a million events a second in 12 days.
const ENTITYSEQ_AT: usize = 11;
const ENTITYSEQ_BYTES: usize = 5;

const FALSE: u8 = 0;
const TRUE: u8 = 1;
const INTEGER: u8 = 2;
const TEXT: u8 = 3;

/// How the data of an event is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// As JSON.
    Json,
    /// As a text that is not JSON.
    Text,
    /// As bytes.
    Bytes,
}

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
    pub(crate) notbefore: Option<Timestamp>,
    pub(crate) subject: Option<&'a str>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) entitytag: Option<&'a str>,
    /// The source, when it is not `/services/<service>`.
    pub(crate) source: Option<&'a str>,
    /// The media type of the data, when its publisher named one.
    pub(crate) content_type: Option<&'a str>,
    pub(crate) data_schema: Option<&'a str>,
    pub(crate) extensions: Vec<(&'a str, Extension<'a>)>,
    pub(crate) data: Option<(Form, &'a [u8])>,
}

impl<'a> EventRow<'a> {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.length_max());
        self.encode_into(&mut out);
        out
    }

    /// Writes the row behind what `out` holds.
    pub(crate) fn encode_into(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.flags().to_le_bytes());
        out.extend(self.recorded.as_micros().to_le_bytes());
        if let Some(entityseq) = self.entityseq {
            out.extend_from_slice(&entityseq.to_le_bytes()[..ENTITYSEQ_BYTES]);
        }
        for text in [self.id, self.service, self.kind] {
            put_text(out, text);
        }
        if let Some(notbefore) = self.notbefore {
            out.extend(notbefore.as_micros().to_le_bytes());
        }
        self.texts().into_iter().flatten().for_each(|text| put_text(out, text));
        if !self.extensions.is_empty() {
            varint::write(out, self.extensions.len() as u64);
            for (name, value) in &self.extensions {
                put_text(out, name);
                put_extension(out, value);
            }
        }
        out.extend_from_slice(self.data.map_or(&[], |(_, data)| data));
    }

    /// Reads a row; `None` when the bytes are none.
    pub(crate) fn decode(bytes: &'a [u8]) -> Option<Self> {
        let (&[version, low, high], rest) = bytes.split_first_chunk::<3>()?;
        if version != VERSION {
            return None;
        }
        let flags = u16::from_le_bytes([low, high]);
        let (recorded, mut rest) = rest.split_first_chunk::<8>()?;
        let entityseq = if flags & ENTITYSEQ == 0 { None } else { Some(take_entityseq(&mut rest)?) };
        let id = take_text(&mut rest)?;
        let service = take_text(&mut rest)?;
        let kind = take_text(&mut rest)?;
        let notbefore = if flags & NOTBEFORE == 0 { None } else { Some(take_time(&mut rest)?) };
        let mut texts = [None; TEXTS.len()];
        for (text, bit) in texts.iter_mut().zip(TEXTS) {
            *text = if flags & bit == 0 { None } else { Some(take_text(&mut rest)?) };
        }
        let [subject, request_id, traceparent, entitytag, source, content_type, data_schema] = texts;
        let extensions = if flags & EXTENSIONS == 0 { Vec::new() } else { take_extensions(&mut rest)? };
        let form = match flags >> FORM_SHIFT {
            0 => None,
            1 => Some(Form::Json),
            2 => Some(Form::Text),
            _ => Some(Form::Bytes),
        };
        Some(Self {
            recorded: Timestamp::from_micros(i64::from_le_bytes(*recorded)),
            id,
            service,
            is_notice: flags & NOTICE != 0,
            kind,
            entityseq,
            notbefore,
            subject,
            request_id,
            traceparent,
            entitytag,
            source,
            content_type,
            data_schema,
            extensions,
            data: form.map(|form| (form, rest)),
        })
    }

    /// The data, when it is JSON.
    pub(crate) fn json(&self) -> Option<&'a [u8]> {
        self.data.filter(|(form, _)| *form == Form::Json).map(|(_, data)| data)
    }

    /// Whose ids these are: an id is known again within it.
    pub(crate) fn id_space(&self) -> Cow<'a, str> {
        id_space(self.service, self.source)
    }

    /// Bytes that the encoded row has at most.
    pub(crate) fn length_max(&self) -> usize {
        let texts = self.texts().into_iter().flatten().map(|text| text.len() + 3).sum::<usize>();
        let size = |value: &Extension<'_>| match value {
            Extension::Text(text) => text.len() + 4,
            Extension::Boolean(_) | Extension::Integer(_) => 11,
        };
        let extensions =
            self.extensions.iter().map(|(name, value)| name.len() + 3 + size(value)).sum::<usize>();
        let data = self.data.map_or(0, |(_, data)| data.len());
        FIXED_BYTES + self.id.len() + self.service.len() + self.kind.len() + texts + extensions + data
    }

    fn texts(&self) -> [Option<&'a str>; TEXTS.len()] {
        let Self { subject, request_id, traceparent, entitytag, source, content_type, data_schema, .. } =
            self;
        [*subject, *request_id, *traceparent, *entitytag, *source, *content_type, *data_schema]
    }

    fn flags(&self) -> u16 {
        let mut flags = if self.is_notice { NOTICE } else { 0 };
        flags |= if self.entityseq.is_some() { ENTITYSEQ } else { 0 };
        flags |= if self.notbefore.is_some() { NOTBEFORE } else { 0 };
        flags |= if self.extensions.is_empty() { 0 } else { EXTENSIONS };
        let texts = self.texts().into_iter().zip(TEXTS);
        flags |= texts.filter(|(text, _)| text.is_some()).map(|(_, bit)| bit).sum::<u16>();
        let form = match self.data {
            None => 0,
            Some((Form::Json, _)) => 1,
            Some((Form::Text, _)) => 2,
            Some((Form::Bytes, _)) => 3,
        };
        flags | form << FORM_SHIFT
    }
}

/// Writes the count of its entity into an encoded row that has room for one.
pub(crate) fn set_entityseq(row: &mut [u8], entityseq: u64) {
    if let Some(place) = row.get_mut(ENTITYSEQ_AT..ENTITYSEQ_AT + ENTITYSEQ_BYTES) {
        place.copy_from_slice(&entityseq.to_le_bytes()[..ENTITYSEQ_BYTES]);
    }
}

/// Within what an id is known again: the service's own ids, or those of another source that it passes on.
pub(crate) fn id_space<'a>(service: &'a str, source: Option<&str>) -> Cow<'a, str> {
    match source {
        None => Cow::Borrowed(service),
        Some(source) => Cow::Owned(format!("{service} {source}")),
    }
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    varint::write(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

fn put_extension(out: &mut Vec<u8>, value: &Extension<'_>) {
    match value {
        Extension::Boolean(false) => out.push(FALSE),
        Extension::Boolean(true) => out.push(TRUE),
        Extension::Integer(number) => {
            out.push(INTEGER);
            varint::write_signed(out, i64::from(*number));
        }
        Extension::Text(text) => {
            out.push(TEXT);
            put_text(out, text);
        }
    }
}

fn take_entityseq(rest: &mut &[u8]) -> Option<u64> {
    let (low, after) = rest.split_first_chunk::<ENTITYSEQ_BYTES>()?;
    *rest = after;
    let mut bytes = [0; 8];
    bytes[..ENTITYSEQ_BYTES].copy_from_slice(low);
    Some(u64::from_le_bytes(bytes))
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let length = usize::try_from(varint::take(rest)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    std::str::from_utf8(text).ok()
}

fn take_time(rest: &mut &[u8]) -> Option<Timestamp> {
    let (micros, after) = rest.split_first_chunk::<8>()?;
    *rest = after;
    Some(Timestamp::from_micros(i64::from_le_bytes(*micros)))
}

fn take_extensions<'a>(rest: &mut &'a [u8]) -> Option<Vec<(&'a str, Extension<'a>)>> {
    let count = varint::take(rest)?;
    let mut extensions = Vec::new();
    for _ in 0..count {
        let name = take_text(rest)?;
        let (&kind, after) = rest.split_first()?;
        *rest = after;
        let value = match kind {
            FALSE | TRUE => Extension::Boolean(kind == TRUE),
            INTEGER => Extension::Integer(i32::try_from(varint::take_signed(rest)?).ok()?),
            TEXT => Extension::Text(Cow::Borrowed(take_text(rest)?)),
            _ => return None,
        };
        extensions.push((name, value));
    }
    Some(extensions)
}

#[cfg(test)]
mod tests;
