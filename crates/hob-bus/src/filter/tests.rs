//! The dialects' semantics as tables, and that a stored event and the event given out are judged alike.

use std::collections::BTreeMap;

use hob_core::{Scope, Timestamp, TopicName};
use proptest::prelude::*;
use serde_json::json;

use super::attribute::Text;
use super::*;
use crate::rows::EventRow;

/// An event that has just the attributes that a test names.
struct Plain(BTreeMap<&'static str, &'static str>);

impl Attributes for Plain {
    fn text<'a>(&'a self, attribute: &'a Attribute) -> Option<Text<'a>> {
        let found = self.0.iter().find(|(name, _)| Attribute::parse(name).as_ref() == Ok(attribute));
        found.map(|(_, text)| Text::from(*text))
    }
}

/// Filters, an event's attributes, and whether they match.
type Case = (Vec<serde_json::Value>, Vec<(&'static str, &'static str)>, bool);

fn compile(filters: serde_json::Value) -> Result<Filters, FilterFlaw> {
    let specs: Vec<FilterSpec> = serde_json::from_value(filters).unwrap();
    Filters::compile(&specs)
}

/// A condition on one attribute, in the words of the tables below.
fn c(dialect: &str, name: &str, text: &str) -> serde_json::Value {
    json!({ dialect: { name: text } })
}

/// The subscription cases of the CloudEvents SQL conformance suite, said in dialects. Where an expression there fails
/// for want of an attribute, the dialects give no match, or go on to the other arm of an `any`.
#[test]
fn subscription_cases_of_the_conformance_suite() {
    let https = || c("prefix", "source", "https://");
    let custom = || c("prefix", "myext", "custom");
    let error = || c("suffix", "type", ".error");
    let ext = || c("suffix", "myext", "ext");
    let (my, ca) = (|| c("prefix", "id", "my"), || c("suffix", "source", ".ca"));
    let exact_ext = || c("exact", "myext", "customext");
    let both = || json!({"all": [my(), ca()]});
    let either = || json!({"any": [my(), ca()]});
    let success = || json!({"all": [c("exact", "id", "myId"), c("suffix", "type", ".success")]});
    let warning = || json!({"all": [c("exact", "id", "notmyId"), c("prefix", "source", "http://"), c("suffix", "type", ".warning")]});
    let dnf = || json!({"any": [success(), warning()]});
    let cnf = || {
        vec![
            json!({"any": [c("exact", "id", "myId"), c("suffix", "type", ".success")]}),
            json!({"any": [c("exact", "id", "notmyId"), https(), c("suffix", "type", ".warning")]}),
        ]
    };
    let with_ext = || [cnf(), vec![exact_ext()]].concat();
    let (local, secure) = ("http://localhost.localdomain", "https://localhost.localdomain");
    let (to_ca, to_com) = ("http://www.some-website.ca", "http://www.some-website.com");
    let (worked, warned) = ("example.event.success", "example.event.warning");
    #[rustfmt::skip]
    let cases: Vec<Case> = vec![
        (vec![https()], vec![("source", "https://example.com")], true),
        (vec![https()], vec![("source", "http://example.com")], false),
        (vec![custom()], vec![("myext", "customext")], true),
        (vec![custom()], vec![], false),
        (vec![error()], vec![("type", "com.github.error")], true),
        (vec![error()], vec![("type", "com.github.success")], false),
        (vec![ext()], vec![("myext", "customext")], true),
        (vec![ext()], vec![], false),
        (vec![c("exact", "id", "myId")], vec![("id", "myId")], true),
        (vec![c("exact", "id", "myId")], vec![("id", "notmyId")], false),
        (vec![exact_ext()], vec![("myext", "customext")], true),
        (vec![exact_ext()], vec![], false),
        (vec![both()], vec![("id", "myId"), ("source", to_ca)], true),
        (vec![both()], vec![("id", "myId"), ("source", to_com)], false),
        (vec![custom(), error()], vec![("myext", "customext"), ("type", "com.github.error")], true),
        (vec![c("prefix", "type", "example."), custom()], vec![("type", "example.event.type")], false),
        (vec![either()], vec![("id", "myId"), ("source", to_ca)], true),
        (vec![either()], vec![("id", "myId"), ("source", to_com)], true),
        (vec![either()], vec![("id", "notmyId"), ("source", to_ca)], true),
        (vec![either()], vec![("id", "notmyId"), ("source", to_com)], false),
        (vec![json!({"any": [my(), ext()]})], vec![("id", "notmyId")], false),
        (vec![dnf()], vec![("id", "myId"), ("type", worked)], true),
        (vec![dnf()], vec![("id", "notmyId"), ("type", warned), ("source", local)], true),
        (vec![dnf()], vec![("id", "notmyId"), ("type", warned), ("source", secure)], false),
        (vec![json!({"any": [dnf(), c("exact", "myext", "cusomext")]})],
            vec![("id", "notmyId"), ("type", warned), ("source", secure)], false),
        (cnf(), vec![("id", "myId"), ("type", warned), ("source", local)], true),
        (cnf(), vec![("id", "notmyId"), ("type", worked), ("source", local)], true),
        (cnf(), vec![("id", "notmyId"), ("type", warned), ("source", local)], false),
        (cnf(), vec![("id", "myId"), ("type", worked), ("source", local)], false),
        (with_ext(), vec![("id", "myId"), ("type", warned), ("source", local)], false),
    ];
    for (filters, event, expect) in cases {
        let text = serde_json::to_string(&filters).unwrap();
        let matches = compile(json!(filters)).unwrap().matches(&Plain(event.iter().copied().collect()));
        assert_eq!(matches, expect, "{text} over {event:?}");
    }
}

#[test]
fn dialects_hold_to_the_letter() {
    let cases = [
        (json!([]), true),
        (json!([{"exact": {"type": "orders.update"}}]), true),
        (json!([{"exact": {"type": "Orders.update"}}]), false),
        (json!([{"exact": {"type": "orders.updat"}}]), false),
        (json!([{"exact": {"type": "orders.update", "subject": "http://t/orders/7"}}]), true),
        (json!([{"exact": {"type": "orders.update", "subject": "http://t/orders/8"}}]), false),
        (json!([{"prefix": {"type": "orders."}}, {"suffix": {"subject": "/7"}}]), true),
        (json!([{"prefix": {"type": "orders."}}, {"suffix": {"subject": "/8"}}]), false),
        (json!([{"not": {"exact": {"type": "orders.update"}}}]), false),
        (json!([{"not": {"exact": {"lacking": "x"}}}]), true),
        (json!([{"not": {"not": {"exact": {"lacking": "x"}}}}]), false),
        (json!([{"any": [{"exact": {"id": "x"}}, {"exact": {"id": "o7-1"}}]}]), true),
        (json!([{"all": [{"exact": {"id": "x"}}, {"exact": {"id": "o7-1"}}]}]), false),
    ];
    for (filters, expect) in cases {
        assert_eq!(compile(filters.clone()).unwrap().matches(&stored().view()), expect, "{filters}");
    }
}

#[test]
fn every_attribute_of_a_stored_event_can_be_named() {
    let is = |name: &str, text: &str| compile(json!([c("exact", name, text)])).unwrap();
    for (name, text) in [
        ("specversion", "1.0"),
        ("id", "o7-1"),
        ("source", "/services/orders"),
        ("type", "orders.update"),
        ("subject", "http://t/orders/7"),
        ("time", "2026-01-05T12:00:00Z"),
        ("topic", "orders"),
        ("sequence", "00000000000000000042"),
        ("recordedtime", "2026-01-05T12:00:01Z"),
        ("requestid", "r1"),
        ("entityseq", "300"),
        ("entitytag", "\"2\""),
        ("environment", "qa"),
        ("tenant", "uk"),
    ] {
        assert!(is(name, text).matches(&stored().view()), "{name}");
        assert!(!is(name, &format!("{text}x")).matches(&stored().view()), "{name}");
    }
    assert!(!is("traceparent", "x").matches(&stored().view()));
}

#[test]
fn wrong_filters_are_refused_with_their_place() {
    let mut deep = json!({"exact": {"id": "x"}});
    for _ in 0..FILTER_DEPTH_MAX {
        deep = json!({"not": deep});
    }
    let many: Vec<_> = (0..=FILTER_CONDITIONS_MAX).map(|_| json!({"exact": {"id": "x"}})).collect();
    let long = "x".repeat(FILTER_TEXT_BYTES_MAX + 1);
    for (filters, place) in [
        (json!([{"exact": {}}]), "/filters/0/exact"),
        (json!([{"exact": {"id": ""}}]), "/filters/0/exact/id"),
        (json!([{"prefix": {"": "x"}}]), "/filters/0/prefix/"),
        (json!([{"suffix": {"My-Ext": "x"}}]), "/filters/0/suffix/My-Ext"),
        (json!([{"exact": {"data": "x"}}]), "/filters/0/exact/data"),
        (json!([{"exact": {"id": "x"}}, {"all": []}]), "/filters/1/all"),
        (json!([{"any": []}]), "/filters/0/any"),
        (json!([{"any": [{"not": {"exact": {"id": long}}}]}]), "/filters/0/any/0/not/exact/id"),
        (json!(many), "/filters/50"),
        (json!([deep]), "/filters/0/not/not/not/not/not/not/not/not"),
    ] {
        assert_eq!(compile(filters.clone()).unwrap_err().place, place, "{filters}");
    }
}

#[test]
fn what_is_within_the_limits_is_taken() {
    let mut deep = json!({"exact": {"id": "x".repeat(FILTER_TEXT_BYTES_MAX)}});
    for _ in 1..FILTER_DEPTH_MAX {
        deep = json!({"not": deep});
    }
    assert!(compile(json!([deep])).is_ok());
    let many: Vec<_> = (0..FILTER_CONDITIONS_MAX / 2).map(|_| json!({"exact": {"id": "x"}})).collect();
    assert!(compile(json!(many)).is_ok());
}

proptest! {
    #[test]
    fn texts_in_parts_compare_like_whole_ones(
        parts in proptest::array::uniform3("[ab.]{0,3}"), text in "[ab.]{0,7}",
    ) {
        let whole = parts.concat();
        let found = Text::Parts([&parts[0], &parts[1], &parts[2]]);
        prop_assert_eq!(found.is(&text), whole == text);
        prop_assert_eq!(found.begins(&text), whole.starts_with(&text));
        prop_assert_eq!(found.ends(&text), whole.ends_with(&text));
        prop_assert!(found.is(&whole));
    }
}

struct Stored {
    row: EventRow<'static>,
    scope: Scope,
    topic: TopicName,
}

impl Stored {
    fn view(&self) -> View<'_> {
        let time = "2026-01-05T12:00:00Z".parse().unwrap();
        View { row: &self.row, scope: &self.scope, topic: &self.topic, sequence: 42, time }
    }
}

fn stored() -> Stored {
    let row = EventRow {
        recorded: Timestamp::from_micros(1_767_614_401_000_000),
        id: "o7-1",
        service: "orders",
        is_notice: true,
        kind: "update",
        entityseq: Some(300),
        subject: Some("http://t/orders/7"),
        request_id: Some("r1"),
        traceparent: None,
        entitytag: Some("\"2\""),
        notbefore: None,
        source: None,
        content_type: None,
        data_schema: None,
        extensions: Vec::new(),
        data: None,
    };
    Stored { row, scope: "qa/uk".parse().unwrap(), topic: "orders".parse().unwrap() }
}
