//! Events as publishers send them, read quickly: whatever the format, each becomes an [`Incoming`] that borrows from
//! the body, or all that is wrong is told at once. Nothing here knows topics or their terms.

mod binary;
mod cloudevent;
mod list;
mod notice;
mod payload;
mod value;

use std::borrow::Cow;
use std::fmt;

use hob_core::Timestamp;

use self::value::Scalar;
use crate::{Draft, ErrorItem, Extension, Notice};

pub use binary::{is_binary, read_binary};
pub use list::{Format, read};
pub use payload::Payload;

/// Flaws that are told at once.
pub const FLAWS_MAX: usize = 20;

/// An event as its publisher sent it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incoming<'a> {
    /// The topic, when the event names one itself.
    pub topic: Option<Cow<'a, str>>,
    /// `create`, `update`, `delete`, `noop`, any name on stream topics, or `<topic>.<one of these>`.
    pub kind: Cow<'a, str>,
    /// The entity that it is about.
    pub subject: Option<Cow<'a, str>>,
    /// The producer's id.
    pub id: Option<Cow<'a, str>>,
    /// The source, when it is named.
    pub source: Option<Cow<'a, str>>,
    /// The producer's time.
    pub time: Option<Timestamp>,
    /// The payload.
    pub data: Option<Payload<'a>>,
    /// The payload's media type, when it is named.
    pub content_type: Option<Cow<'a, str>>,
    /// The payload's schema.
    pub data_schema: Option<Cow<'a, str>>,
    /// The ETag of the entity's new representation.
    pub entitytag: Option<Cow<'a, str>>,
    /// The request that caused it.
    pub requestid: Option<Cow<'a, str>>,
    /// W3C trace context.
    pub traceparent: Option<Cow<'a, str>>,
    /// Held back until this time.
    pub notbefore: Option<Timestamp>,
    /// Further attributes.
    pub extensions: Vec<(Cow<'a, str>, Extension<'a>)>,
    /// Whether it came as a CloudEvent, whose members have other names.
    pub is_cloudevent: bool,
}

impl<'a> From<&'a Notice> for Incoming<'a> {
    fn from(notice: &'a Notice) -> Self {
        let borrowed = |text: &'a Option<String>| text.as_deref().map(Cow::Borrowed);
        Self {
            kind: Cow::Borrowed(&notice.kind),
            subject: borrowed(&notice.href),
            id: borrowed(&notice.id),
            time: notice.t,
            data: notice.data.as_ref().and_then(Payload::of_value),
            entitytag: borrowed(&notice.entitytag),
            requestid: borrowed(&notice.requestid),
            traceparent: borrowed(&notice.traceparent),
            notbefore: notice.notbefore,
            ..Self::default()
        }
    }
}

impl<'a> From<&'a Draft> for Incoming<'a> {
    fn from(draft: &'a Draft) -> Self {
        Self { topic: Some(Cow::Borrowed(draft.topic.as_str())), ..Self::from(&draft.notice) }
    }
}

/// One thing that is wrong with a published event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventFlaw {
    /// Which event of the batch, counted from 0.
    pub index: usize,
    /// Which member of it; empty when it is wrong as a whole.
    pub member: Cow<'static, str>,
    /// What is wrong.
    pub what: String,
    /// How to mend it.
    pub hint: String,
}

impl fmt::Display for EventFlaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blank = if self.member.is_empty() { "" } else { " " };
        write!(f, "event {}:{blank}{} {}; {}", self.index, self.member, self.what, self.hint)
    }
}

impl From<&EventFlaw> for ErrorItem {
    fn from(flaw: &EventFlaw) -> Self {
        let slash = if flaw.member.is_empty() { "" } else { "/" };
        Self {
            place: format!("/{}{slash}{}", flaw.index, flaw.member),
            detail: format!("{}; {}", flaw.what, flaw.hint),
        }
    }
}

/// Why a body could not be read as events.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// It is no JSON, or not of the form that its media type says.
    #[error("read the body as {expected}: {problem}")]
    Syntax {
        /// What was expected of the whole.
        expected: &'static str,
        /// What is wrong, with line and column.
        problem: String,
    },
    /// Its events are wrong: all that is, up to [`FLAWS_MAX`].
    #[error("read {events} events: {}", flaws.first().map(ToString::to_string).unwrap_or_default())]
    Flaws {
        /// How many events there are, or were read before there were too many flaws.
        events: usize,
        /// What is wrong.
        flaws: Vec<EventFlaw>,
    },
    /// It has more events than one publish takes.
    #[error("read more than {max} events")]
    TooMany {
        /// How many it takes.
        max: usize,
    },
}

/// Collects what is wrong with the events of a body.
#[derive(Default)]
struct Flaws {
    index: usize,
    found: Vec<EventFlaw>,
}

impl Flaws {
    fn add(
        &mut self,
        member: impl Into<Cow<'static, str>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (what, hint) = (what.into(), hint.into());
        self.found.push(EventFlaw { index: self.index, member: member.into(), what, hint });
    }

    fn are_enough(&self) -> bool {
        self.found.len() >= FLAWS_MAX
    }
}

/// Puts a text into its place, unless it is none, or one stands there.
fn set_text<'a>(
    place: &mut Option<Cow<'a, str>>,
    member: &'static str,
    value: Scalar<'a>,
    flaws: &mut Flaws,
) {
    match value {
        Scalar::Null => {}
        Scalar::Text(_) if place.is_some() => flaws.add(member, "is given twice", "give it once"),
        Scalar::Text(text) if text.is_empty() => flaws.add(member, "is empty", "leave it out, or fill it"),
        Scalar::Text(text) => *place = Some(text),
        other => flaws.add(member, format!("is {}", other.name()), "it must be a text"),
    }
}

/// Puts a time into its place, likewise.
fn set_time(place: &mut Option<Timestamp>, member: &'static str, value: Scalar<'_>, flaws: &mut Flaws) {
    let mut text = None;
    set_text(&mut text, member, value, flaws);
    let Some(text) = text else { return };
    match text.parse() {
        Ok(_) if place.is_some() => flaws.add(member, "is given twice", "give it once"),
        Ok(time) => *place = Some(time),
        Err(_) => {
            let hint = "write it as RFC 3339, for example 2026-01-05T12:00:00Z";
            flaws.add(member, format!("is {:?}, which is no time", shorten(&text)), hint);
        }
    }
}

/// A text cut short for a message.
fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
