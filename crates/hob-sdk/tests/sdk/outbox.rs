//! The outbox on a real file, with relays that share it and a bus that fails.

use hob_sdk::axum::http::StatusCode;
use hob_sdk::core::CODES;
use hob_sdk::wire::Draft;
use hob_sdk::{Database, Outbox, OutboxError, RequestContext};

use crate::bus::{Bus, until};

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS thing (name TEXT PRIMARY KEY)";

fn draft(bus: &Bus, name: &str, kind: &str) -> Draft {
    let draft = serde_json::json!({ "topic": "things", "type": kind, "href": bus.href(name) });
    serde_json::from_value(draft).unwrap()
}

async fn add(database: &Database, draft: Draft, fail: bool) -> Result<(), OutboxError> {
    let name = draft.notice.href.clone().unwrap();
    database
        .write(move |transaction| {
            transaction.execute("INSERT OR IGNORE INTO thing (name) VALUES (?1)", [&name])?;
            Outbox::enqueue(transaction, draft)?;
            if fail { Err(OutboxError::Cut) } else { Ok(()) }
        })
        .await
}

async fn open(path: &std::path::Path) -> (Database, Outbox) {
    let database = Database::open(path.join("things.sqlite"), SCHEMA).await.unwrap();
    let outbox = Outbox::open(&database).await.unwrap();
    (database, outbox)
}

#[tokio::test]
async fn a_notice_leaves_with_its_change_and_never_without() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    let context = RequestContext { request_id: "r1".to_owned(), traceparent: None };
    context.scope(add(&database, draft(&bus, "t1", "create"), false)).await.unwrap();
    add(&database, draft(&bus, "t2", "create"), true).await.unwrap_err();
    add(&database, draft(&bus, "t3", "create"), false).await.unwrap();
    until("both are posted", async || bus.hrefs() == [bus.href("t1"), bus.href("t3")]).await;
    assert_eq!(bus.shared.events.lock().unwrap()[0].requestid.as_deref(), Some("r1"));
    until("the outbox is empty", async || outbox.figures().await.unwrap().pending == 0).await;
    relay.stop().await;
}

#[tokio::test]
async fn two_instances_share_a_file_and_the_order_is_kept() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (first, outbox) = open(folder.path()).await;
    let (second, other_outbox) = open(folder.path()).await;
    let (relay, other_relay) = (
        outbox.relay(&bus.client(), &bus.config(folder.path())),
        other_outbox.relay(&bus.client(), &bus.config(folder.path())),
    );
    let mut expected = Vec::new();
    for number in 0..40 {
        let database = if number % 2 == 0 { &first } else { &second };
        add(database, draft(&bus, &format!("t{number}"), "create"), false).await.unwrap();
        expected.push(bus.href(&format!("t{number}")));
    }
    until("all are posted", async || bus.hrefs().len() == 40).await;
    assert_eq!(bus.hrefs(), expected);
    // Whoever holds the lease gives it back, and the other one goes on.
    relay.stop().await;
    add(&first, draft(&bus, "t40", "create"), false).await.unwrap();
    until("the other relay goes on", async || bus.hrefs().len() == 41).await;
    drop(other_relay);
}

#[tokio::test]
async fn nothing_is_lost_while_hob_is_away_and_nothing_is_told_twice() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    *bus.shared.refuse.lock().unwrap() = Some(StatusCode::SERVICE_UNAVAILABLE);
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    add(&database, draft(&bus, "t1", "create"), false).await.unwrap();
    until("it was tried", async || !bus.shared.posts.lock().unwrap().is_empty()).await;
    // The process dies with the row still there; what it may already have posted is known by its id.
    drop(relay);
    assert_eq!(outbox.figures().await.unwrap().pending, 1);
    *bus.shared.refuse.lock().unwrap() = None;
    drop((database, outbox));
    let (_, outbox) = open(folder.path()).await;
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("it is posted", async || bus.hrefs() == [bus.href("t1")]).await;
    relay.stop().await;
    let id = bus.shared.events.lock().unwrap()[0].id.clone();
    assert!(id.ends_with("-1"), "{id}");
}

#[tokio::test]
async fn a_notice_that_is_never_taken_does_not_hold_up_the_others() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    for (name, kind) in [("t1", "create"), ("t2", "bad"), ("t3", "create")] {
        add(&database, draft(&bus, name, kind), false).await.unwrap();
    }
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("the others are posted", async || bus.hrefs() == [bus.href("t1"), bus.href("t3")]).await;
    until("it is set aside", async || outbox.figures().await.unwrap().set_aside == 1).await;
    let set_aside = outbox.set_aside().await.unwrap();
    assert!(set_aside[0].reason.contains("422"), "{set_aside:?}");
    assert_eq!(set_aside[0].draft.as_ref().unwrap().notice.href, Some(bus.href("t2")));
    assert!(outbox.put_back(set_aside[0].number).await.unwrap());
    until("it is set aside once more", async || {
        let figures = outbox.figures().await.unwrap();
        (figures.pending, figures.set_aside) == (0, 1)
    })
    .await;
    assert!(outbox.give_up(set_aside[0].number).await.unwrap());
    assert_eq!(outbox.figures().await.unwrap(), hob_sdk::outbox::Figures::default());
    relay.stop().await;
}

#[tokio::test]
async fn bad_rows_among_many_are_found_and_the_order_of_the_others_is_kept() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    let drafts: Vec<Draft> = (0..400)
        .map(|number| {
            let kind = if number % 97 == 13 || number == 399 { "bad" } else { "update" };
            draft(&bus, &format!("t{number}"), kind)
        })
        .collect();
    let expected: Vec<String> = drafts
        .iter()
        .filter(|draft| draft.notice.kind != "bad")
        .filter_map(|draft| draft.notice.href.clone())
        .collect();
    database
        .write(move |transaction| {
            drafts.into_iter().try_for_each(|draft| Outbox::enqueue(transaction, draft))
        })
        .await
        .unwrap();
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("the outbox is empty", async || outbox.figures().await.unwrap().pending == 0).await;
    assert_eq!(bus.hrefs(), expected);
    assert_eq!(outbox.figures().await.unwrap().set_aside, 5);
    let posts = bus.shared.posts.lock().unwrap().len();
    assert!(posts < 150, "{posts} posts");
    relay.stop().await;
}

#[tokio::test]
async fn every_refusal_for_good_costs_its_own_notice_and_no_other() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    // Not understood, not ours, no such topic, gone, too large, another media type, wrong: by Hob's own numbers.
    let numbers = [2, 21, 22, 25, 8, 9, 23];
    let mut expected = Vec::new();
    for number in numbers {
        add(&database, draft(&bus, &format!("before-{number}"), "create"), false).await.unwrap();
        add(&database, draft(&bus, &format!("refused-{number}"), &format!("hob-{number}")), false)
            .await
            .unwrap();
        expected.push(bus.href(&format!("before-{number}")));
    }
    // What comes later about the same entity goes, and tells of its newest state.
    add(&database, draft(&bus, "refused-2", "update"), false).await.unwrap();
    expected.push(bus.href("refused-2"));
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("the outbox is empty", async || outbox.figures().await.unwrap().pending == 0).await;
    assert_eq!(bus.hrefs(), expected);
    let reasons: Vec<String> = outbox.set_aside().await.unwrap().into_iter().map(|row| row.reason).collect();
    let titles = numbers.map(|number| CODES.iter().find(|code| code.number == number).unwrap().title);
    assert!(
        reasons.len() == titles.len()
            && reasons.iter().zip(titles).all(|(reason, title)| reason.contains(title)),
        "{reasons:?}"
    );
    relay.stop().await;
}

#[tokio::test]
async fn a_post_that_is_too_large_goes_in_parts_and_nothing_is_set_aside() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    *bus.shared.drafts_max.lock().unwrap() = 7;
    let drafts: Vec<Draft> = (0..60).map(|number| draft(&bus, &format!("t{number}"), "update")).collect();
    let expected: Vec<String> = drafts.iter().filter_map(|draft| draft.notice.href.clone()).collect();
    database
        .write(move |transaction| {
            drafts.into_iter().try_for_each(|draft| Outbox::enqueue(transaction, draft))
        })
        .await
        .unwrap();
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("the outbox is empty", async || outbox.figures().await.unwrap().pending == 0).await;
    assert_eq!((bus.hrefs(), outbox.figures().await.unwrap().set_aside), (expected, 0));
    relay.stop().await;
}

#[tokio::test]
async fn what_is_over_its_quota_or_refused_on_the_way_waits_and_is_never_set_aside() {
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    // More often than the client tries by itself.
    *bus.shared.over_quota.lock().unwrap() = 6;
    for name in ["t1", "t2"] {
        add(&database, draft(&bus, name, "update"), false).await.unwrap();
    }
    let relay = outbox.relay(&bus.client(), &bus.config(folder.path()));
    until("both are posted", async || bus.hrefs() == [bus.href("t1"), bus.href("t2")]).await;
    for status in [StatusCode::NOT_FOUND, StatusCode::UNAUTHORIZED, StatusCode::INSUFFICIENT_STORAGE] {
        *bus.shared.refuse.lock().unwrap() = Some(status);
        let posts = bus.shared.posts.lock().unwrap().len();
        add(&database, draft(&bus, status.as_str(), "update"), false).await.unwrap();
        until("it was tried", async || bus.shared.posts.lock().unwrap().len() > posts).await;
        *bus.shared.refuse.lock().unwrap() = None;
        until("it is posted", async || bus.hrefs().last() == Some(&bus.href(status.as_str()))).await;
    }
    assert_eq!(outbox.figures().await.unwrap().set_aside, 0);
    relay.stop().await;
}
