//! Decides whether published events are right: pure, all or nothing, and with every flaw told at once.

use hob_core::limits::{NOTICE_DATA_BYTES_MAX, STREAM_DATA_BYTES_MAX};
use hob_core::{Timestamp, nearest};
use hob_wire::{Notice, TopicKind};

use crate::EventFlaw;
use crate::model::limits::HOB_DATA_BYTES_MAX;

/// Flaws that are told at once.
const FLAWS_MAX: usize = 20;
const ID_BYTES_MAX: usize = 128;
const HREF_BYTES_MAX: usize = 2_048;
const TYPE_LENGTH_MAX: usize = 64;
const ATTRIBUTE_BYTES_MAX: usize = 256;
const CHANGES: [&str; 4] = ["create", "update", "delete", "noop"];

/// What holds for the events of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) kind: TopicKind,
    /// Whether it is one of Hob's own topics, which take more data and any subject.
    pub(crate) is_hobs: bool,
}

impl Terms {
    fn data_bytes_max(self) -> usize {
        match (self.is_hobs, self.kind) {
            (true, _) => HOB_DATA_BYTES_MAX,
            (false, TopicKind::Notify) => NOTICE_DATA_BYTES_MAX,
            (false, TopicKind::Stream | TopicKind::Compact) => STREAM_DATA_BYTES_MAX,
        }
    }
}

/// An event that is right, with its data as it will be stored.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sound {
    pub(crate) notice: Notice,
    pub(crate) data: Option<Vec<u8>>,
}

/// Checks events, each under the terms of its topic.
pub(crate) fn check(events: Vec<(Terms, Notice)>) -> Result<Vec<Sound>, Vec<EventFlaw>> {
    let mut flaws = Flaws { index: 0, flaws: Vec::new() };
    let mut sound = Vec::with_capacity(events.len());
    for (index, (terms, notice)) in events.into_iter().enumerate() {
        flaws.index = index;
        check_kind(terms, &notice, &mut flaws);
        check_subject(terms, notice.href.as_deref(), &mut flaws);
        check_attributes(&notice, &mut flaws);
        let data = notice.data.as_ref().filter(|data| !data.is_null());
        let data = data.map(|data| serde_json::to_vec(data).expect("a JSON value can be written"));
        check_data(terms, data.as_deref(), &mut flaws);
        sound.push(Sound { notice, data });
        if flaws.flaws.len() >= FLAWS_MAX {
            break;
        }
    }
    if flaws.flaws.is_empty() { Ok(sound) } else { Err(flaws.flaws) }
}

struct Flaws {
    index: usize,
    flaws: Vec<EventFlaw>,
}

impl Flaws {
    fn add(&mut self, member: &'static str, what: impl Into<String>, hint: impl Into<String>) {
        self.flaws.push(EventFlaw { index: self.index, member, what: what.into(), hint: hint.into() });
    }
}

fn check_kind(terms: Terms, notice: &Notice, flaws: &mut Flaws) {
    let kind = shorten(&notice.kind);
    if terms.kind == TopicKind::Notify {
        if CHANGES.contains(&notice.kind.as_str()) {
            return;
        }
        let hint = match nearest(&notice.kind, CHANGES) {
            Some(change) => format!("did you mean {change}?"),
            None => "use create, update, delete or noop; other names belong on a stream topic".to_owned(),
        };
        return flaws.add("type", format!("is {kind:?} on a notify topic"), hint);
    }
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if notice.kind.is_empty() || notice.kind.len() > TYPE_LENGTH_MAX || !notice.kind.chars().all(is_plain) {
        flaws.add("type", format!("is {kind:?}"), "use 1 to 64 of a-z, A-Z, 0-9, dots, - and _");
    }
}

fn check_subject(terms: Terms, href: Option<&str>, flaws: &mut Flaws) {
    let Some(href) = href else {
        if terms.kind == TopicKind::Notify {
            flaws.add("href", "is missing", "name the entity that changed: an absolute http or https URL");
        }
        return;
    };
    let what = match href_problem(href, terms.is_hobs) {
        Some(problem) => format!("{problem}: {:?}", shorten(href)),
        None => return,
    };
    flaws.add("href", what, "use an absolute URL such as https://example.test/orders/7");
}

/// What keeps a text from being the href of an entity.
fn href_problem(href: &str, is_hobs: bool) -> Option<&'static str> {
    if href.len() > HREF_BYTES_MAX {
        return Some("is longer than 2048 bytes");
    }
    if href.is_empty() || href.chars().any(|c| c.is_control()) {
        return Some("is empty or has control characters");
    }
    if is_hobs {
        return None;
    }
    if href.chars().any(|c| c.is_whitespace() || matches!(c, '<' | '>' | '"' | '\\')) {
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

fn check_attributes(notice: &Notice, flaws: &mut Flaws) {
    let hint = "leave it out, or use 1 or more printable characters within the limit";
    let members = [
        ("id", &notice.id, ID_BYTES_MAX),
        ("entitytag", &notice.entitytag, ATTRIBUTE_BYTES_MAX),
        ("requestid", &notice.requestid, ATTRIBUTE_BYTES_MAX),
        ("traceparent", &notice.traceparent, ATTRIBUTE_BYTES_MAX),
    ];
    for (member, value, limit) in members {
        let Some(value) = value else { continue };
        if value.is_empty() || value.chars().any(char::is_control) {
            flaws.add(member, "is empty or has control characters", hint);
        } else if value.len() > limit {
            flaws.add(member, format!("is longer than {limit} bytes"), hint);
        }
    }
    if notice.t.is_some_and(|time| time < TIME_MIN || time > TIME_MAX) {
        flaws.add("t", "is no time between the years 1 and 9999", "write it as RFC 3339");
    }
}

/// 0001-01-01 and 9999-12-31: beyond these RFC 3339 has no way to write a time.
const TIME_MIN: Timestamp = Timestamp::from_micros(-62_135_596_800_000_000);
const TIME_MAX: Timestamp = Timestamp::from_micros(253_402_214_400_000_000);

fn check_data(terms: Terms, data: Option<&[u8]>, flaws: &mut Flaws) {
    let (size, limit) = (data.map_or(0, <[u8]>::len), terms.data_bytes_max());
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
mod tests {
    use serde_json::json;

    use super::*;

    const NOTIFY: Terms = Terms { kind: TopicKind::Notify, is_hobs: false };
    const STREAM: Terms = Terms { kind: TopicKind::Stream, is_hobs: false };

    fn notice(value: serde_json::Value) -> Notice {
        serde_json::from_value(value).unwrap()
    }

    fn flaw_of(terms: Terms, value: serde_json::Value) -> String {
        let good = (NOTIFY, notice(json!({"type": "update", "href": "http://t/1"})));
        let flaws = check(vec![good, (terms, notice(value))]).unwrap_err();
        assert_eq!(flaws.len(), 1, "{flaws:?}");
        flaws[0].to_string()
    }

    #[test]
    fn right_events_pass() {
        let url = "https://t.test:8080/orders/7?v=1";
        for (terms, value) in [
            (NOTIFY, json!({"type": "update", "href": url})),
            (NOTIFY, json!({"type": "noop", "href": "http://127.0.0.1:1/x", "data": {"v": 1}})),
            (STREAM, json!({"type": "Ping.v1_a-b"})),
            (STREAM, json!({"type": "ping", "href": url, "data": {"lat": 1.5}, "t": "2026-01-05T12:00:00Z"})),
            (Terms { is_hobs: true, ..STREAM }, json!({"type": "x", "href": "subscription/a b"})),
        ] {
            assert!(check(vec![(terms, notice(value.clone()))]).is_ok(), "{value}");
        }
    }

    #[test]
    fn each_flaw_names_event_member_and_way_out() {
        let url = "http://t/1";
        for (terms, value, expect) in [
            (
                NOTIFY,
                json!({"type": "updated", "href": url}),
                "event 1: type is \"updated\" on a notify topic; did you mean update?",
            ),
            (
                NOTIFY,
                json!({"type": "placed", "href": url}),
                "event 1: type is \"placed\" on a notify topic; use create, update, delete or noop; other names belong on a stream topic",
            ),
            (
                NOTIFY,
                json!({"type": "update"}),
                "event 1: href is missing; name the entity that changed: an absolute http or https URL",
            ),
            (
                STREAM,
                json!({"type": "a b"}),
                "event 1: type is \"a b\"; use 1 to 64 of a-z, A-Z, 0-9, dots, - and _",
            ),
            (
                STREAM,
                json!({"type": "a", "id": ""}),
                "event 1: id is empty or has control characters; leave it out, or use 1 or more printable characters within the limit",
            ),
        ] {
            assert_eq!(flaw_of(terms, value), expect);
        }
    }

    #[test]
    fn hrefs_that_lead_nowhere_are_refused() {
        for href in [
            "/orders/7",
            "orders",
            "ftp://t/1",
            "http://",
            "http:///x",
            "http://t/1#a",
            "http://u:p@t/1",
            "http://t/a b",
            "http://:80/",
            "",
        ] {
            let flaw = flaw_of(NOTIFY, json!({"type": "update", "href": href}));
            assert!(flaw.starts_with("event 1: href "), "{flaw}");
        }
    }

    #[test]
    fn data_has_a_limit_by_kind() {
        let body = |size: usize| json!({"type": "update", "href": "http://t/1", "data": "x".repeat(size)});
        assert!(flaw_of(NOTIFY, body(63)).contains("has 65 bytes, and the limit is 64"));
        assert!(flaw_of(STREAM, body(65_536)).contains("the limit is 65536"));
        assert!(check(vec![(Terms { is_hobs: true, ..STREAM }, notice(body(65_536)))]).is_ok());
    }
}
