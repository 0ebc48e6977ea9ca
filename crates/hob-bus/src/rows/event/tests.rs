//! The stored form of events is fixed, and whatever is written can be read.

use proptest::prelude::*;

use super::*;

fn plain() -> EventRow<'static> {
    EventRow {
        recorded: Timestamp::from_micros(1_767_614_400_000_000),
        id: "o7-1",
        service: "orders",
        is_notice: true,
        kind: "update",
        entityseq: Some(300),
        notbefore: None,
        subject: Some("http://t/orders/7"),
        request_id: Some("r1"),
        traceparent: None,
        entitytag: Some("\"2\""),
        source: None,
        content_type: None,
        data_schema: None,
        extensions: Vec::new(),
        data: Some((Form::Json, b"{\"a\":1}")),
    }
}

fn full() -> EventRow<'static> {
    EventRow {
        is_notice: false,
        entityseq: None,
        notbefore: Some(Timestamp::from_micros(1)),
        request_id: None,
        traceparent: Some("00-1"),
        source: Some("urn:till:7"),
        content_type: Some("image/png"),
        data_schema: Some("#png"),
        extensions: vec![
            ("city", Extension::Text("london".into())),
            ("is", Extension::Boolean(true)),
            ("nr", Extension::Integer(-3)),
        ],
        data: Some((Form::Bytes, &[0x89, 0x50])),
        ..plain()
    }
}

fn hex(row: &EventRow<'_>) -> String {
    row.encode().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn a_notices_stored_form_is_fixed() {
    let golden = concat!(
        "02b340",
        "007069cca2470600",
        "2c01000000",
        "046f372d31",
        "066f7264657273",
        "06757064617465",
        "11687474703a2f2f742f6f72646572732f37",
        "027231",
        "03223222",
        "7b2261223a317d"
    );
    assert_eq!(hex(&plain()), golden);
    assert_eq!(EventRow::decode(&plain().encode()), Some(plain()));
}

#[test]
fn the_stored_form_of_an_event_with_every_member_is_fixed() {
    let golden = concat!(
        "02dcc7",
        "007069cca2470600",
        "046f372d31",
        "066f7264657273",
        "06757064617465",
        "0100000000000000",
        "11687474703a2f2f742f6f72646572732f37",
        "0430302d31",
        "03223222",
        "0a75726e3a74696c6c3a37",
        "09696d6167652f706e67",
        "0423706e67",
        "03",
        "0463697479",
        "03066c6f6e646f6e",
        "026973",
        "01",
        "026e72",
        "0205",
        "8950"
    );
    assert_eq!(hex(&full()), golden);
    assert_eq!(EventRow::decode(&full().encode()), Some(full()));
}

#[test]
fn the_count_of_an_entity_is_written_last() {
    let mut bytes = EventRow { entityseq: Some(0), ..plain() }.encode();
    set_entityseq(&mut bytes, 300);
    assert_eq!(EventRow::decode(&bytes), Some(plain()));
}

#[test]
fn an_earlier_version_is_no_row() {
    let mut bytes = plain().encode();
    bytes[0] = 1;
    assert_eq!(EventRow::decode(&bytes), None);
}

fn extension() -> impl Strategy<Value = Extension<'static>> {
    prop_oneof![
        any::<bool>().prop_map(Extension::Boolean),
        any::<i32>().prop_map(Extension::Integer),
        ".{0,40}".prop_map(|text| Extension::Text(text.into())),
    ]
}

proptest! {
    #[test]
    fn events_round_trip(id in ".{1,20}", kind in "[a-z]{1,9}", seq in proptest::option::of(0_u64..1 << 40),
        subject in proptest::option::of(".{0,300}"), source in proptest::option::of(".{0,60}"),
        notbefore in proptest::option::of(any::<i64>()),
        extensions in proptest::collection::vec(("[a-z0-9]{1,20}", extension()), 0..4),
        data in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..50))) {
        let row = EventRow {
            id: &id, kind: &kind, entityseq: seq, subject: subject.as_deref(), source: source.as_deref(),
            notbefore: notbefore.map(Timestamp::from_micros),
            extensions: extensions.iter().map(|(name, value)| (name.as_str(), value.clone())).collect(),
            data: data.as_deref().map(|data| (Form::Text, data)), is_notice: false, ..plain()
        };
        let bytes = row.encode();
        prop_assert!(bytes.len() <= row.length_max());
        prop_assert_eq!(EventRow::decode(&bytes), Some(row));
    }

    #[test]
    fn any_bytes_decode_or_are_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
        let _ = EventRow::decode(&bytes);
        if let Some(first) = bytes.first_mut() {
            *first = VERSION;
        }
        let _ = EventRow::decode(&bytes);
    }
}
