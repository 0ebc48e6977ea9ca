//! What passes, and how each flaw is told.

use hob_wire::Notice;
use serde_json::json;

use super::*;

fn outlet(kind: TopicKind, is_hobs: bool) -> Outlet {
    let terms = match is_hobs {
        true => Terms::of_hobs(kind),
        false => Terms::of(&TopicTerms { kind, ..TopicTerms::default() }),
    };
    Outlet::test("orders", terms)
}

fn flaws_of(outlet: &Outlet, value: &serde_json::Value) -> Vec<EventFlaw> {
    let parse = |value: &serde_json::Value| serde_json::from_value::<Notice>(value.clone()).unwrap();
    let (good, notice) = (parse(&json!({"type": "update", "href": "http://t/1"})), parse(value));
    let notify = self::outlet(TopicKind::Notify, false);
    let now = Timestamp::EPOCH;
    let events = [(&notify, now, &Incoming::from(&good)), (outlet, now, &Incoming::from(&notice))];
    check(events.into_iter())
}

fn flaw_of(kind: TopicKind, value: &serde_json::Value) -> String {
    let flaws = flaws_of(&outlet(kind, false), value);
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    flaws[0].to_string()
}

#[test]
fn right_events_pass() {
    let url = "https://t.test:8080/orders/7?v=1";
    for (kind, value) in [
        (TopicKind::Notify, json!({"type": "update", "href": url})),
        (TopicKind::Notify, json!({"type": "noop", "href": "http://127.0.0.1:1/x", "data": {"v": 1}})),
        (TopicKind::Stream, json!({"type": "Ping.v1_a-b"})),
        (
            TopicKind::Stream,
            json!({"type": "ping", "href": url, "data": {"lat": 1.5}, "t": "2026-01-05T12:00:00Z"}),
        ),
    ] {
        assert_eq!(flaws_of(&outlet(kind, false), &value), [], "{value}");
    }
    let hobs = json!({"type": "x", "href": "subscription/a b"});
    assert_eq!(flaws_of(&outlet(TopicKind::Stream, true), &hobs), []);
}

#[test]
fn each_flaw_names_event_member_and_way_out() {
    let url = "http://t/1";
    for (kind, value, expect) in [
        (
            TopicKind::Notify,
            json!({"type": "updated", "href": url}),
            "event 1: type is \"updated\" on a notify topic; did you mean update?",
        ),
        (
            TopicKind::Notify,
            json!({"type": "placed", "href": url}),
            "event 1: type is \"placed\" on a notify topic; use create, update, delete or noop; other names belong on a stream topic",
        ),
        (
            TopicKind::Notify,
            json!({"type": "update"}),
            "event 1: href is missing; name the entity that changed: an absolute http or https URL",
        ),
        (
            TopicKind::Stream,
            json!({"type": "a b"}),
            "event 1: type is \"a b\"; use 1 to 128 of a-z, A-Z, 0-9 and . _ - : / +",
        ),
        (
            TopicKind::Stream,
            json!({"type": "a", "id": ""}),
            "event 1: id is empty or has control characters; leave it out, or use 1 or more printable characters within the limit",
        ),
    ] {
        assert_eq!(flaw_of(kind, &value), expect);
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
        let flaw = flaw_of(TopicKind::Notify, &json!({"type": "update", "href": href}));
        assert!(flaw.starts_with("event 1: href "), "{flaw}");
    }
}

#[test]
fn data_has_a_limit_by_kind() {
    let body = |size: usize| json!({"type": "update", "href": "http://t/1", "data": "x".repeat(size)});
    assert!(flaw_of(TopicKind::Notify, &body(63)).contains("has 65 bytes, and the limit is 64"));
    assert!(flaw_of(TopicKind::Stream, &body(65_536)).contains("the limit is 65536"));
    assert_eq!(flaws_of(&outlet(TopicKind::Stream, true), &body(65_536)), []);
}

#[test]
fn a_compact_topic_takes_notices_with_data() {
    let state = |kind: &str| json!({"type": kind, "href": "http://t/1", "data": {"lat": 1.5, "much": "x".repeat(500)}});
    assert_eq!(flaws_of(&outlet(TopicKind::Compact, false), &state("update")), []);
    assert!(
        flaw_of(TopicKind::Compact, &state("moved"))
            .starts_with("event 1: type is \"moved\" on a compact topic")
    );
}

#[test]
fn a_cloud_event_is_told_of_in_its_own_words() {
    let notify = outlet(TopicKind::Notify, false);
    let event = Incoming { kind: "orders.update".into(), is_cloudevent: true, ..Incoming::default() };
    let flaws = check([(&notify, Timestamp::EPOCH, &event)].into_iter());
    assert_eq!(flaws.len(), 1, "{flaws:?}");
    assert!(flaws[0].to_string().starts_with("event 0: subject is missing"));
    let free = Incoming { subject: Some("till 7".into()), ..event.clone() };
    let stream = outlet(TopicKind::Stream, false);
    assert_eq!(check([(&stream, Timestamp::EPOCH, &free)].into_iter()), []);
    let late = Incoming {
        notbefore: Some(Timestamp::EPOCH.plus(DELAY_MAX).plus(std::time::Duration::from_secs(1))),
        subject: Some("http://t/1".into()),
        extensions: vec![("city".into(), Extension::Text("a\nb".into()))],
        ..event
    };
    let flaws = check([(&notify, Timestamp::EPOCH, &late)].into_iter());
    let members: Vec<_> = flaws.iter().map(|flaw| &*flaw.member).collect();
    assert_eq!(members, ["city", "notbefore"]);
}
