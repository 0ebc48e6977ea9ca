//! Records over a real log: found by what was asked, newest first, page by page, also after the log was opened again.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

use std::path::Path;

use hob_core::Timestamp;
use hob_records::{Found, NewRecord, Query, Records};
use hob_store::{Store, StoreOptions};
use hob_wire::{Level, RecordSource};

fn at(second: i64) -> Timestamp {
    Timestamp::from_micros(second * 1_000_000)
}

fn record(second: i64, service: &str, level: Level, message: &str) -> NewRecord {
    NewRecord {
        time: at(second),
        level,
        source: RecordSource::Stdout,
        service: service.parse().unwrap(),
        process: None,
        instance: None,
        scope: "demo/uk".parse().unwrap(),
        release: 1,
        message: message.to_owned(),
        request_id: message.strip_prefix("request ").map(str::to_owned),
        fields: serde_json::Map::new(),
    }
}

async fn open(folder: &Path) -> (Store, Records) {
    let store = Store::open(folder, StoreOptions::default()).await.unwrap();
    let records = Records::new(store.signals.clone());
    (store, records)
}

fn messages(found: &Found) -> Vec<&str> {
    found.records.iter().map(|record| record.message.as_str()).collect()
}

#[tokio::test]
async fn records_are_found_by_what_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, records) = open(folder.path()).await;
    let some = [
        (1, "orders", Level::Info, "placed"),
        (2, "riders", Level::Warn, "slow RIDER"),
        (3, "orders", Level::Error, "request 7"),
    ];
    for (second, service, level, message) in some {
        records.append(vec![record(second, service, level, message)], at(second)).await.unwrap();
    }
    let check = async |query: Query, expect: &[&str]| {
        let found = records.search(&query, 10).await.unwrap();
        assert_eq!(messages(&found), expect, "{query:?}");
        assert_eq!(found.next, None);
    };
    let query = Query::default;
    check(query(), &["request 7", "slow RIDER", "placed"]).await;
    check(Query { service: Some("orders".parse().unwrap()), ..query() }, &["request 7", "placed"]).await;
    check(Query { level: Some(Level::Warn), ..query() }, &["request 7", "slow RIDER"]).await;
    check(Query { text: Some("Slow".to_owned()), ..query() }, &["slow RIDER"]).await;
    check(Query { request_id: Some("7".to_owned()), ..query() }, &["request 7"]).await;
    check(Query { from: Some(at(2)), to: Some(at(3)), ..query() }, &["slow RIDER"]).await;
    check(Query { scope: Some("demo/ie".parse().unwrap()), ..query() }, &[]).await;
}

#[tokio::test]
async fn pages_lose_and_repeat_nothing_while_the_log_grows() {
    let folder = tempfile::tempdir().unwrap();
    let (_store, records) = open(folder.path()).await;
    let message = |n: i64| format!("line {n}");
    let batch = (0..5000).map(|n| record(n, "orders", Level::Info, &message(n))).collect();
    records.append(batch, at(5000)).await.unwrap();
    let (mut seen, mut before) = (Vec::new(), None);
    loop {
        let found = records.search(&Query { before, ..Query::default() }, 700).await.unwrap();
        seen.extend(found.records.into_iter().map(|record| record.message));
        records.append(vec![record(9999, "orders", Level::Info, "later")], at(9999)).await.unwrap();
        match found.next {
            Some(next) => before = Some(next),
            None => break,
        }
    }
    let expect: Vec<String> = (0..5000).rev().map(message).collect();
    assert_eq!(seen, expect);
}

#[tokio::test]
async fn following_shows_what_is_new_and_a_restart_keeps_it() {
    let folder = tempfile::tempdir().unwrap();
    let head = {
        let (_store, records) = open(folder.path()).await;
        records.append(vec![record(1, "orders", Level::Info, "before")], at(1)).await.unwrap();
        records.head()
    };
    let (_store, records) = open(folder.path()).await;
    records.append(vec![record(2, "orders", Level::Info, "after")], at(2)).await.unwrap();
    let found = records.search(&Query { after: Some(head), ..Query::default() }, 10).await.unwrap();
    assert_eq!(messages(&found), ["after"]);
    let all = records.search(&Query::default(), 10).await.unwrap();
    assert_eq!(messages(&all), ["after", "before"]);
}
