//! Decides whether published events are right for their topics: pure, all or nothing, every flaw told at once.

use std::borrow::Cow;

use hob_core::limits::{NOTICE_DATA_BYTES_MAX, STREAM_DATA_BYTES_MAX};
use hob_core::{Timestamp, nearest};
use hob_wire::incoming::FLAWS_MAX;
use hob_wire::{AckMode, EventFlaw, Extension, Incoming, TopicKind, TopicTerms};

use crate::model::limits::{DATA_BYTES_MAX, HOB_DATA_BYTES_MAX};
use crate::topics::Outlet;

const ID_BYTES_MAX: usize = 128;
const HREF_BYTES_MAX: usize = 2_048;
const TYPE_LENGTH_MAX: usize = 128;
const ATTRIBUTE_BYTES_MAX: usize = 256;
/// Bytes of a source or a schema, which are URIs.
const URI_BYTES_MAX: usize = 1_024;
/// Bytes of an extension attribute.
const EXTENSION_BYTES_MAX: usize = 1_024;
/// Furthest that an event may be held back, from now on its topic's clock.
pub(crate) const DELAY_MAX: std::time::Duration = std::time::Duration::from_secs(90 * 24 * 3_600);
const CHANGES: [&str; 4] = ["create", "update", "delete", "noop"];

/// What holds for the events of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: TopicKind,
    /// Whether it is one of Hob's own topics, which take more data and any subject.
    pub(crate) is_hobs: bool,
    pub(crate) data_bytes_max: usize,
    pub(crate) ack: AckMode,
}

impl Terms {
    /// Those of a service's topic.
    pub(crate) fn of(terms: &TopicTerms) -> Self {
        let by_kind = match terms.kind {
            TopicKind::Notify => NOTICE_DATA_BYTES_MAX,
            TopicKind::Stream | TopicKind::Compact => STREAM_DATA_BYTES_MAX,
        };
        let wanted = terms.data_bytes_max.and_then(|bytes| usize::try_from(bytes).ok());
        let data_bytes_max = wanted.unwrap_or(by_kind).min(DATA_BYTES_MAX);
        Self { kind: terms.kind, is_hobs: false, data_bytes_max, ack: terms.ack }
    }

    /// Those of one of Hob's own topics.
    pub(crate) fn of_hobs(kind: TopicKind) -> Self {
        Self { kind, is_hobs: true, data_bytes_max: HOB_DATA_BYTES_MAX, ack: AckMode::Disk }
    }

    /// Whether its events are notices: what changed, of which entity.
    pub(crate) fn is_notice(self) -> bool {
        matches!(self.kind, TopicKind::Notify | TopicKind::Compact)
    }
}

/// Tells what is wrong with events, each under the terms of its topic.
pub(crate) fn check<'a>(
    events: impl Iterator<Item = (&'a Outlet, Timestamp, &'a Incoming<'a>)>,
) -> Vec<EventFlaw> {
    let mut flaws = Flaws { index: 0, flaws: Vec::new() };
    for (index, (outlet, now, event)) in events.enumerate() {
        flaws.index = index;
        check_kind(outlet, event, &mut flaws);
        check_subject(outlet.terms, event, &mut flaws);
        check_attributes(event, &mut flaws);
        check_times(event, now, &mut flaws);
        check_data(outlet.terms, event, &mut flaws);
        if flaws.flaws.len() >= FLAWS_MAX {
            break;
        }
    }
    flaws.flaws
}

/// The type without the topic, which a notice may carry in front: `orders.update` is `update` on `orders`.
pub(crate) fn short_kind<'a>(outlet: &Outlet, kind: &'a str) -> &'a str {
    let rest = || kind.strip_prefix(outlet.topic.as_str())?.strip_prefix('.');
    if outlet.terms.is_notice() { rest().unwrap_or(kind) } else { kind }
}

struct Flaws {
    index: usize,
    flaws: Vec<EventFlaw>,
}

impl Flaws {
    fn add(
        &mut self,
        member: impl Into<Cow<'static, str>>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let (what, hint) = (what.into(), hint.into());
        self.flaws.push(EventFlaw { index: self.index, member: member.into(), what, hint });
    }
}

fn check_kind(outlet: &Outlet, event: &Incoming<'_>, flaws: &mut Flaws) {
    let kind = short_kind(outlet, &event.kind);
    let told = shorten(kind);
    if outlet.terms.is_notice() {
        if CHANGES.contains(&kind) {
            return;
        }
        let hint = match nearest(kind, CHANGES) {
            Some(change) => format!("did you mean {change}?"),
            None => "use create, update, delete or noop; other names belong on a stream topic".to_owned(),
        };
        let topic = if outlet.terms.kind == TopicKind::Notify { "notify" } else { "compact" };
        return flaws.add("type", format!("is {told:?} on a {topic} topic"), hint);
    }
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-' | b':' | b'/' | b'+');
    if kind.is_empty() || kind.len() > TYPE_LENGTH_MAX || !kind.bytes().all(is_plain) {
        flaws.add("type", format!("is {told:?}"), "use 1 to 128 of a-z, A-Z, 0-9 and . _ - : / +");
    }
}

fn check_subject(terms: Terms, event: &Incoming<'_>, flaws: &mut Flaws) {
    let member = if event.is_cloudevent { "subject" } else { "href" };
    let Some(href) = event.subject.as_deref() else {
        if terms.is_notice() {
            flaws.add(member, "is missing", "name the entity that changed: an absolute http or https URL");
        }
        return;
    };
    // A CloudEvent's subject on a stream topic may be any text.
    let is_free = terms.is_hobs || event.is_cloudevent && !terms.is_notice();
    let what = match href_problem(href, is_free) {
        Some(problem) => format!("{problem}: {:?}", shorten(href)),
        None => return,
    };
    flaws.add(member, what, "use an absolute URL such as https://example.test/orders/7");
}

/// What keeps a text from being the href of an entity.
fn href_problem(href: &str, is_free: bool) -> Option<&'static str> {
    if href.len() > HREF_BYTES_MAX {
        return Some("is longer than 2048 bytes");
    }
    if href.is_empty() || href.chars().any(|c| c.is_control()) {
        return Some("is empty or has control characters");
    }
    if is_free {
        return None;
    }
    let is_unfit = |c: char| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\');
    if href.chars().any(is_unfit) {
        return Some("has characters that must be percent-encoded");
    }
    let Some(rest) = href.strip_prefix("https://").or_else(|| href.strip_prefix("http://")) else {
        return Some("is no absolute http or https URL");
    };
    if rest.contains('#') {
        return Some("has a fragment, which no server ever sees");
    }
    let authority = rest.split(['/', '?']).next().unwrap_or_default();
    if authority.contains('@') {
        return Some("holds credentials");
    }
    if authority.is_empty() || authority.starts_with(':') {
        return Some("has no host");
    }
    None
}

fn check_attributes(event: &Incoming<'_>, flaws: &mut Flaws) {
    let members = [
        ("id", &event.id, ID_BYTES_MAX),
        ("source", &event.source, URI_BYTES_MAX),
        ("dataschema", &event.data_schema, URI_BYTES_MAX),
        ("datacontenttype", &event.content_type, ATTRIBUTE_BYTES_MAX),
        ("entitytag", &event.entitytag, ATTRIBUTE_BYTES_MAX),
        ("requestid", &event.requestid, ATTRIBUTE_BYTES_MAX),
        ("traceparent", &event.traceparent, ATTRIBUTE_BYTES_MAX),
    ];
    for (member, value, limit) in members {
        if let Some(value) = value {
            check_text(Cow::Borrowed(member), value, limit, flaws);
        }
    }
    for (name, value) in &event.extensions {
        if let Extension::Text(text) = value {
            check_text(Cow::Owned(name.to_string()), text, EXTENSION_BYTES_MAX, flaws);
        }
    }
}

fn check_text(member: Cow<'static, str>, value: &str, limit: usize, flaws: &mut Flaws) {
    let hint = "leave it out, or use 1 or more printable characters within the limit";
    if value.is_empty() || value.chars().any(char::is_control) {
        flaws.add(member, "is empty or has control characters", hint);
    } else if value.len() > limit {
        flaws.add(member, format!("is longer than {limit} bytes"), hint);
    }
}

fn check_times(event: &Incoming<'_>, now: Timestamp, flaws: &mut Flaws) {
    let is_writable = |time: Timestamp| (TIME_MIN..=TIME_MAX).contains(&time);
    if event.time.is_some_and(|time| !is_writable(time)) {
        let member = if event.is_cloudevent { "time" } else { "t" };
        flaws.add(member, "is no time between the years 1 and 9999", "write it as RFC 3339");
    }
    let Some(notbefore) = event.notbefore else { return };
    if !is_writable(notbefore) || notbefore.since(now) > DELAY_MAX {
        let what = "is further away than 90 days from now on the topic's clock";
        flaws.add("notbefore", what, "keep such plans in your own service, and publish when they are due");
    }
}

/// 0001-01-01 and 9999-12-31: beyond these RFC 3339 has no way to write a time.
const TIME_MIN: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);
const TIME_MAX: Timestamp = Timestamp::from_micros(253_402_214_400_000_000);

fn check_data(terms: Terms, event: &Incoming<'_>, flaws: &mut Flaws) {
    let (size, limit) = (event.data.as_ref().map_or(0, |data| data.as_bytes().len()), terms.data_bytes_max);
    if size <= limit {
        return;
    }
    let hint = match terms.kind {
        TopicKind::Notify => {
            "a notice says that something changed; readers fetch the href, or use a stream topic"
        }
        TopicKind::Stream | TopicKind::Compact => "keep the body elsewhere and publish where it is",
    };
    flaws.add("data", format!("has {size} bytes, and the limit is {limit}"), hint);
}

fn shorten(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests;
