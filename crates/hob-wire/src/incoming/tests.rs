//! Every format, right and wrong, and that what is rendered reads as what was sent.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cloudevents::{batch, binary, structured};
use crate::{Event, sequence_text};

fn flaws(format: Format, body: &str) -> Vec<String> {
    match read(format, body.as_bytes(), 100) {
        Err(Unread::Flaws { flaws, .. }) => flaws.iter().map(ToString::to_string).collect(),
        other => panic!("{other:?}"),
    }
}

fn syntax(format: Format, body: &[u8]) -> String {
    match read(format, body, 100) {
        Err(error @ Unread::Syntax { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_notice_and_a_list_are_read() {
    let one = br#" {"type": "update", "href": "http:\/\/t/1", "data": {"a": [1, 2]}, "t": "2026-01-05T12:00:00+01:00",
        "id": null, "notbefore": "2026-01-06T00:00:00Z"} "#;
    let events = read(Format::Notices, one, 10).unwrap();
    assert_eq!(events.len(), 1);
    let event = &events[0];
    assert_eq!((&*event.kind, event.subject.as_deref(), &event.id), ("update", Some("http://t/1"), &None));
    assert_eq!(event.data, Some(Payload::Json("{\"a\":[1,2]}".into())));
    assert_eq!(event.time, Some("2026-01-05T11:00:00Z".parse().unwrap()));
    assert!(event.notbefore.is_some());
    let list = br#"[{"type":"a","topic":"x"},{"type":"b","topic":"y","data":null}]"#;
    let events = read(Format::Drafts, list, 10).unwrap();
    assert_eq!(events.iter().map(|e| e.topic.as_deref().unwrap()).collect::<Vec<_>>(), ["x", "y"]);
    assert_eq!(events[1].data, None);
    assert_eq!(read(Format::Notices, b"[]", 10).unwrap(), []);
    let lines = b"{\"type\":\"a\"}\r\n\n {\"type\":\"b\"}";
    assert_eq!(read(Format::NoticeLines, lines, 10).unwrap().len(), 2);
}

#[test]
fn a_plain_notice_borrows_from_the_body() {
    let body = br#"{"type":"update","href":"http://t/1","data":{"a":1}}"#;
    let event = &read(Format::Notices, body, 10).unwrap()[0];
    assert!(matches!((&event.kind, &event.subject), (Cow::Borrowed(_), Some(Cow::Borrowed(_)))));
    assert!(matches!(event.data, Some(Payload::Json(Cow::Borrowed(_)))));
}

#[test]
fn every_flaw_of_a_list_is_told_with_its_place() {
    let body = r#"[{"type":"a"}, {"type":7,"hrf":"x"}, 5, {"href":["x"],"topic":"t","specversion":"1.0"},
        {"type":"a","type":"b","t":"noon","id":""}, null, {"data":[1e999],"type":"x"}]"#;
    assert_eq!(
        flaws(Format::Notices, body),
        [
            "event 1: type is a number; it must be a text",
            "event 1: hrf is no member of a notice; did you mean href?",
            "event 1: type is missing; say what happened: create, update, delete or noop",
            "event 2: is a number; an event is an object",
            "event 3: href is a list; it must be a text",
            "event 3: topic is named by the path already; leave it out, or send events of several topics to /v1/events",
            "event 3: specversion belongs to a CloudEvent; send it as application/cloudevents+json, or a list as application/cloudevents-batch+json",
            "event 3: type is missing; say what happened: create, update, delete or noop",
            "event 4: type is given twice; give it once",
            "event 4: t is \"noon\", which is no time; write it as RFC 3339, for example 2026-01-05T12:00:00Z",
            "event 4: id is empty; leave it out, or fill it",
            "event 5: is null; an event is an object",
            "event 6: data has a number beyond the range of a double: 1e999; send JSON that every reader can hold",
        ]
    );
    let items = match read(Format::Drafts, br#"{"type":"a"}"#, 10).unwrap_err() {
        Unread::Flaws { flaws, .. } => flaws.iter().map(ErrorItem::from).collect::<Vec<_>>(),
        other => panic!("{other:?}"),
    };
    assert_eq!(items[0].place, "/0/topic");
    let many = format!("[{}]", vec!["{}"; 90].join(","));
    assert_eq!(flaws(Format::Notices, &many).len(), FLAWS_MAX);
}

#[test]
fn broken_json_is_told_with_line_and_column() {
    for (format, body, expect) in [
        (
            Format::Notices,
            &b"{\"type\": \"update\"\n \"href\": 1}"[..],
            "read the body as a notice or a list of notices in JSON: line 2, column 2: expected `,` or `}`",
        ),
        (
            Format::CloudEvent,
            b"[]",
            "read the body as one CloudEvent in JSON: line 1, column 2: it is a list; send it as application/cloudevents-batch+json",
        ),
        (Format::Notices, b"", "line 1, column 0: EOF while parsing a value"),
        (Format::Notices, b"[{}, ", "line 1, column 5: EOF while parsing a value"),
        (Format::Notices, b"[{\"type\":\"a\"}] x", "trailing characters"),
        (Format::Notices, b"7", "expected a notice or a list of notices in JSON"),
        (Format::Notices, b"{\"type\":\"\xff\"}", "it is no UTF-8"),
    ] {
        let told = syntax(format, body);
        assert!(told.contains(expect), "{told}");
    }
    assert_eq!(
        flaws(Format::NoticeLines, "{\"type\":\"a\"}\n{\"type\":\n{}"),
        [
            "event 1: is no JSON in line 2, column 8; EOF while parsing a value",
            "event 2: type is missing; say what happened: create, update, delete or noop",
        ]
    );
}

#[test]
fn too_many_events_are_refused_without_reading_on() {
    let list = format!("[{}]", [r#"{"type":"a"}"#; 11].join(","));
    assert_eq!(read(Format::Notices, list.as_bytes(), 10), Err(Unread::TooMany { max: 10 }));
    assert_eq!(read(Format::Notices, list.as_bytes(), 11).unwrap().len(), 11);
    let lines = "{\"type\":\"a\"}\n".repeat(11);
    assert_eq!(read(Format::NoticeLines, lines.as_bytes(), 10), Err(Unread::TooMany { max: 10 }));
    assert_eq!(read(Format::NoticeLines, lines.as_bytes(), 11).unwrap().len(), 11);
}

#[test]
fn a_cloud_event_is_read_with_its_extensions() {
    let body = json!({
        "specversion": "1.0", "id": "1", "source": "urn:till:7", "type": "orders.update", "subject": "http://t/1",
        "time": "2026-01-05T12:00:00Z", "datacontenttype": "text/xml", "data": "<a b=\"1\"/>", "city": "london",
        "weight": -7, "rush": true, "none": null, "requestid": "r1", "topic": "orders",
    })
    .to_string();
    let event = &read(Format::CloudEvent, body.as_bytes(), 10).unwrap()[0];
    assert!(event.is_cloudevent);
    assert_eq!(event.data, Some(Payload::Text("<a b=\"1\"/>".into())));
    assert_eq!((event.topic.as_deref(), event.requestid.as_deref()), (Some("orders"), Some("r1")));
    let extensions: Vec<_> =
        event.extensions.iter().map(|(name, value)| (&**name, value.to_value())).collect();
    let expect = [("city", json!("london")), ("rush", json!(true)), ("weight", json!(-7))];
    assert_eq!(extensions.len(), 3);
    assert!(expect.iter().all(|pair| extensions.contains(pair)), "{extensions:?}");
    let bytes = r#"[{"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"AAEC/w=="}]"#;
    let event = &read(Format::CloudEvents, bytes.as_bytes(), 10).unwrap()[0];
    assert_eq!(event.data, Some(Payload::Bytes(vec![0, 1, 2, 255].into())));
}

#[test]
fn flaws_of_cloud_events_are_told() {
    let body = r#"[{"specversion":"0.3","type":"t"},
        {"specversion":"1.0","id":"1","source":"s","type":"t","BAD":1,"big":4294967296,"list":[],"sequence":"1",
         "data":1,"data_base64":"AA=="},
        {"specversion":"1.0","id":"1","source":"s","type":"t","data_base64":"*"}]"#;
    let told = flaws(Format::CloudEvents, body);
    for (nth, expect) in [
        "event 0: specversion is \"0.3\"; send CloudEvents 1.0",
        "event 0: id is missing",
        "event 0: source is missing",
        "event 1: BAD is no name of an attribute",
        "event 1: big is no whole number of 32 bits",
        "event 1: list is a list; attributes are",
        "event 1: sequence is for Hob to say",
        "event 1: data_base64 stands beside data",
        "event 2: data_base64 is no base64",
    ]
    .into_iter()
    .enumerate()
    {
        assert!(told[nth].starts_with(expect), "{told:?}");
    }
}

fn headers<'a>(pairs: &'a [(&'a str, &'a str)]) -> impl Iterator<Item = (&'a str, &'a [u8])> {
    pairs.iter().map(|(name, value)| (*name, value.as_bytes()))
}

#[test]
fn binary_mode_is_read_whatever_the_case() {
    let pairs = [
        ("Ce-SpecVersion", "1.0"),
        ("CE-ID", "1"),
        ("ce-source", "/s%20p"),
        ("ce-type", "t"),
        ("ce-city", "K%C3%B6ln"),
        ("ce-n", "7"),
        ("host", "x"),
    ];
    assert!(is_binary(pairs.iter().map(|(name, _)| *name)));
    let read = |content_type, body| read_binary(headers(&pairs), content_type, body);
    let event = read(Some("application/json; charset=utf-8"), b" {\"a\": 1}").unwrap();
    assert_eq!((event.id.as_deref(), event.source.as_deref()), (Some("1"), Some("/s p")));
    assert_eq!(event.data, Some(Payload::Json("{\"a\":1}".into())));
    assert_eq!(event.extensions[0], ("city".into(), Extension::Text("Köln".into())));
    assert_eq!(read(Some("text/plain"), b"hi").unwrap().data, Some(Payload::Text("hi".into())));
    assert_eq!(read(Some("image/png"), b"hi").unwrap().data, Some(Payload::Bytes(b"hi"[..].into())));
    let empty = read(Some("application/json"), b"").unwrap();
    assert_eq!((empty.data, empty.content_type), (None, None));
    let error = read(Some("application/json"), b"{").unwrap_err();
    assert!(error.to_string().contains("data is no JSON: line 1, column 1"), "{error}");
    let wrong = [("ce-specversion", "1.0"), ("ce-datacontenttype", "a/b"), ("ce-id", "%ff")];
    let error = read_binary(headers(&wrong), None, b"").unwrap_err();
    let Unread::Flaws { flaws, .. } = error else { panic!("{error}") };
    let members: Vec<_> = flaws.iter().map(|flaw| &*flaw.member).collect();
    assert_eq!(members, ["datacontenttype", "id", "id", "source", "type"]);
}

fn event(id: &str, data: Option<Value>, city: &str, subject: Option<String>) -> Event {
    Event {
        specversion: "1.0".to_owned(),
        id: id.to_owned(),
        source: "/services/orders".to_owned(),
        kind: "orders.update".to_owned(),
        subject,
        time: Timestamp::from_micros(1_767_614_400_000_000),
        datacontenttype: data.as_ref().map(|_| "application/json".to_owned()),
        dataschema: None,
        data,
        data_base64: None,
        topic: "orders".parse().unwrap(),
        sequence: sequence_text(7),
        recordedtime: Timestamp::EPOCH,
        requestid: Some("r1".to_owned()),
        traceparent: None,
        entityseq: Some(3),
        entitytag: Some("\"2\"".to_owned()),
        notbefore: None,
        environment: "qa".parse().unwrap(),
        tenant: "uk".parse().unwrap(),
        extensions: [("city".to_owned(), json!(city)), ("rush".to_owned(), json!(true))].into(),
    }
}

/// What Hob says itself, which no publisher may.
fn without_hobs(mut value: Value) -> Value {
    let members = value.as_object_mut().unwrap();
    for name in ["sequence", "recordedtime", "entityseq", "environment", "tenant"] {
        members.remove(name);
    }
    value
}

#[test]
fn binary_headers_are_as_the_binding_says() {
    let (headers, body) = binary(&event("a b", Some(json!({"a": 1})), "Köln", None));
    let get = |name: &str| headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str());
    assert_eq!(body, b"{\"a\":1}");
    assert_eq!(get("content-type"), Some("application/json"));
    assert_eq!(get("ce-id"), Some("a%20b"));
    assert_eq!(get("ce-city"), Some("K%C3%B6ln"));
    assert_eq!(get("ce-rush"), Some("true"));
    assert_eq!(get("ce-entityseq"), Some("3"));
    assert_eq!(get("ce-subject"), None);
}

proptest! {
    #[test]
    fn what_is_rendered_reads_as_what_was_published(
        id in "[ -~é€]{1,20}", city in "\\PC{1,20}", subject in proptest::option::of("\\PC{1,30}"),
        data in proptest::option::of(prop_oneof![
            any::<i32>().prop_map(Value::from), ".{0,20}".prop_map(Value::from), Just(json!({"a": [1, {}]}))
        ])
    ) {
        let event = event(&id, data, &city, subject);
        let whole: Value = serde_json::from_slice(&structured(&event)).unwrap();
        prop_assert_eq!(&serde_json::from_slice::<Event>(&structured(&event)).unwrap(), &event);
        let sent = without_hobs(whole).to_string();
        let from_structured = read(Format::CloudEvent, sent.as_bytes(), 1).unwrap().remove(0);
        prop_assert_eq!(from_structured.id.as_deref(), Some(&*event.id));
        prop_assert_eq!(from_structured.subject.as_deref(), event.subject.as_deref());
        let list: Value = serde_json::from_slice(&batch([&event, &event])).unwrap();
        prop_assert_eq!(list.as_array().unwrap().len(), 2);

        let (headers, body) = binary(&event);
        let hobs = ["ce-sequence", "ce-recordedtime", "ce-entityseq", "ce-environment", "ce-tenant"];
        let sent = headers.iter().filter(|(name, _)| !hobs.contains(&name.as_str()));
        let sent = sent.map(|(name, value)| (name.as_str(), value.as_bytes()));
        let from_binary = read_binary(sent, event.datacontenttype.as_deref(), &body).unwrap();
        prop_assert_eq!(&from_binary.id, &from_structured.id);
        prop_assert_eq!(&from_binary.subject, &from_structured.subject);
        prop_assert_eq!(&from_binary.data, &from_structured.data);
        prop_assert_eq!(from_binary.extensions[0].clone(), ("city".into(), Extension::Text(city.into())));
    }

    #[test]
    fn any_body_is_read_or_refused(body in "[\\[\\]{}:,\" \\\\a-u0-9é\n]{0,60}") {
        for format in [
            Format::Notices, Format::Drafts, Format::NoticeLines, Format::DraftLines, Format::CloudEvent,
            Format::CloudEvents,
        ] {
            let _ = read(format, body.as_bytes(), 3);
        }
    }

    #[test]
    fn notices_read_as_a_tree_would(kind in "[a-z]{1,9}", href in "\\PC{1,30}", data in ".{0,20}", tag in ".{1,9}") {
        let notice = json!({"type": kind, "href": href, "data": {"x": data}, "entitytag": tag});
        let tree: Notice = serde_json::from_value(notice.clone()).unwrap();
        let body = serde_json::to_vec_pretty(&notice).unwrap();
        prop_assert_eq!(&read(Format::Notices, &body, 1).unwrap()[0], &Incoming::from(&tree));
    }
}
