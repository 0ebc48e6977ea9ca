//! Topics' terms: quotas, what is held back, and that a flood drowns nobody else.

use std::time::Duration;

use hob_bus::{Error, Publisher};
use hob_core::code;
use hob_wire::incoming::{Format, read};
use hob_wire::{AckMode, Draft, Quota, TopicKind, TopicTerms};
use serde_json::json;

use crate::{World, draft, name, publisher, scope, topic, update};

async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn with_quota(world: &World, quota: Quota) {
    let terms = TopicTerms { quota: Some(quota), ..TopicTerms::default() };
    world.bus.put_topic(&scope(), &name("orders"), &topic("orders"), terms).await.unwrap();
}

#[tokio::test]
async fn over_its_quota_a_topic_takes_nothing_and_says_until_when() {
    let world = World::new().await;
    with_quota(&world, Quota { events_per_second: 10, burst: Some(20) }).await;
    world.publish((0..20).map(update).collect()).await;
    let Err(Error::OverQuota { left, .. }) = world.bus.publish(&publisher("orders"), vec![update(1)]).await
    else {
        panic!("the quota let it pass");
    };
    assert_eq!((left.left, left.wait), (0, Duration::from_millis(100)));
    let refused = world.bus.admit(&scope(), &name("orders"), "orders").map(drop).unwrap_err();
    assert_eq!(refused.code(), code::QUOTA);
    // Other topics are not touched, and a batch over several is taken whole or not at all.
    let ping = draft(json!({"topic": "rider.pings", "type": "ping"}));
    world.bus.publish(&publisher("riders"), vec![ping]).await.unwrap();
    world.clock.advance(Duration::from_millis(100));
    let admission = world.bus.admit(&scope(), &name("orders"), "orders").unwrap();
    let body = br#"{"type": "update", "href": "http://t/1"}"#;
    let events = read(Format::Notices, body, 10).unwrap();
    let (_, left) = world.bus.publish_on(&publisher("orders"), admission, events).await.unwrap();
    assert_eq!(left.unwrap().left, 0);
    assert_eq!(world.bus.topic(&scope(), &topic("orders")).unwrap().events, 21);
}

#[tokio::test]
async fn a_flood_drowns_nobody_else() {
    let world = World::new().await;
    with_quota(&world, Quota { events_per_second: 50, burst: Some(100) }).await;
    let elsewhere: hob_core::Scope = "qa/ie".parse().unwrap();
    world.bus.put_topic(&elsewhere, &name("orders"), &topic("orders"), TopicTerms::default()).await.unwrap();
    let flood: Vec<_> = (0..20)
        .map(|_| {
            let bus = world.bus.clone();
            tokio::spawn(async move {
                let mut taken = 0;
                for n in 0..10_u32 {
                    let batch: Vec<Draft> = (n * 10..n * 10 + 10).map(update).collect();
                    taken += u32::from(bus.publish(&publisher("orders"), batch).await.is_ok()) * 10;
                }
                taken
            })
        })
        .collect();
    let other = Publisher { scope: elsewhere.clone(), ..publisher("orders") };
    for n in 0..50 {
        world.bus.publish(&other, vec![update(n)]).await.unwrap();
    }
    let mut taken = 0;
    for task in flood {
        taken += task.await.unwrap();
    }
    // Twenty times the quota was sent, and its bucket was taken.
    assert_eq!(taken, 100);
    assert_eq!(world.bus.topic(&elsewhere, &topic("orders")).unwrap().events, 50);
}

#[tokio::test]
async fn a_topic_that_is_answered_from_memory_keeps_its_order() {
    let world = World::new().await;
    let terms = TopicTerms { kind: TopicKind::Stream, ack: AckMode::Memory, ..TopicTerms::default() };
    world.bus.put_topic(&scope(), &name("riders"), &topic("rider.pings"), terms).await.unwrap();
    for n in 0..100 {
        let ping = draft(json!({"topic": "rider.pings", "type": "ping", "data": n}));
        world.bus.publish(&publisher("riders"), vec![ping]).await.unwrap();
    }
    until("all are there", async || world.bus.head() >= 100).await;
    let page = world.bus.events(&hob_bus::Filter::all(scope()), 0, 1000).await.unwrap();
    let data: Vec<_> = page.events.iter().map(|event| event.data.clone().unwrap()).collect();
    assert_eq!(data, (0..100).map(serde_json::Value::from).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_cloud_event_comes_back_as_it_was_sent() {
    let world = World::new().await;
    let body = json!({
        "specversion": "1.0", "id": "1", "source": "urn:till:7", "type": "orders.update", "subject": "http://t/7",
        "datacontenttype": "text/plain", "data": "ok", "dataschema": "#s", "city": "london", "n": 3,
    });
    let body = body.to_string();
    let events = read(Format::CloudEvent, body.as_bytes(), 1).unwrap();
    world.bus.publish_events(&publisher("orders"), events.clone()).await.unwrap();
    // Another source may use the same id; the same one may not.
    assert_eq!(world.bus.publish_events(&publisher("orders"), events).await.unwrap().deduplicated, 1);
    let mut own = update(7);
    own.notice.id = Some("1".to_owned());
    assert_eq!(world.publish(vec![own]).await.deduplicated, 0);
    let event = serde_json::to_value(world.bus.event(&scope(), 1).await.unwrap()).unwrap();
    for (member, value) in [
        ("source", json!("urn:till:7")),
        ("type", json!("orders.update")),
        ("data", json!("ok")),
        ("datacontenttype", json!("text/plain")),
        ("dataschema", json!("#s")),
        ("city", json!("london")),
        ("n", json!(3)),
        ("entityseq", json!(1)),
    ] {
        assert_eq!(event[member], value, "{member}");
    }
}

#[tokio::test]
async fn a_forgotten_topic_keeps_its_events() {
    let world = World::new().await;
    world.publish(vec![update(1)]).await;
    world.bus.delete_topic(&scope(), &topic("orders")).await.unwrap();
    assert_eq!(world.bus.event(&scope(), 1).await.unwrap().position(), 1);
    let error = world.bus.publish(&publisher("orders"), vec![update(2)]).await.unwrap_err();
    assert_eq!(error.code(), code::TOPIC_UNKNOWN);
    assert!(world.bus.delete_topic(&scope(), &topic("orders")).await.is_err());
    let world = world.crash().await;
    assert!(world.bus.topic(&scope(), &topic("orders")).is_err());
}

fn later(n: u32, notbefore: &str) -> Draft {
    let mut draft = update(n);
    draft.notice.notbefore = Some(notbefore.parse().unwrap());
    draft.notice.id = Some(format!("later-{n}"));
    draft
}

#[tokio::test]
async fn an_event_that_is_held_back_appears_once_when_its_time_has_come() {
    let world = World::new().await;
    let batch = vec![later(1, "2026-01-05T12:00:30Z"), update(2), later(3, "2026-01-05T11:00:00Z")];
    world.publish(batch).await;
    let orders = async |world: &World| world.bus.topic(&scope(), &topic("orders")).unwrap();
    let found = orders(&world).await;
    assert_eq!((found.events, found.delayed), (2, 1));
    assert_eq!(world.publish(vec![later(1, "2026-01-05T12:00:30Z")]).await.deduplicated, 1);
    let all = world.bus.events(&hob_bus::Filter::all(scope()), 0, 100).await.unwrap();
    assert_eq!(all.events.len(), 2);
    // It is still known after a crash.
    let world = world.crash().await;
    assert_eq!(orders(&world).await.delayed, 1);
    world.clock.advance(Duration::from_secs(30));
    until("it appears", async || orders(&world).await.events == 3).await;
    until("it is done", async || orders(&world).await.delayed == 0).await;
    let all = world.bus.events(&hob_bus::Filter::all(scope()), 0, 100).await.unwrap();
    let event = all.events.last().unwrap();
    assert_eq!((event.id.as_str(), event.entityseq), ("later-1", Some(1)));
    assert_eq!(event.time, event.notbefore.unwrap());
    assert!(event.extensions.is_empty());
    // Neither the same id nor another crash brings it again.
    assert_eq!(world.publish(vec![later(1, "2026-01-05T12:00:30Z")]).await.deduplicated, 1);
    let world = world.crash().await;
    assert_eq!((orders(&world).await.events, orders(&world).await.delayed), (3, 0));
}

#[tokio::test]
async fn what_is_read_again_at_start_moves_on_behind_what_is_done() {
    let world = World::new().await;
    let from = async |world: &World| {
        let entry = world.store.as_ref().unwrap().kv.get("delayed/qa/uk").await.unwrap().unwrap();
        serde_json::from_slice::<serde_json::Value>(&entry.value).unwrap()["from"].as_u64().unwrap()
    };
    world.publish(vec![later(1, "2026-01-05T12:00:30Z"), later(2, "2026-01-05T13:00:00Z")]).await;
    let begun = from(&world).await;
    let second = world.bus.head();
    world.clock.advance(Duration::from_secs(30));
    until("the first is done", async || world.bus.topic(&scope(), &topic("orders")).unwrap().delayed == 1)
        .await;
    for first in (0..10_500).step_by(500) {
        world.publish((first..first + 500).map(update).collect()).await;
    }
    assert_eq!(from(&world).await, begun, "the second is held back still");
    let world = world.crash().await;
    assert_eq!(world.bus.topic(&scope(), &topic("orders")).unwrap().delayed, 1);
    world.clock.advance(Duration::from_secs(3_600));
    until("it moves on", async || from(&world).await > second + 10_000).await;
    let world = world.crash().await;
    let found = world.bus.topic(&scope(), &topic("orders")).unwrap();
    assert_eq!((found.delayed, found.delayed_lost, found.events), (0, 0, 10_502));
}

#[tokio::test]
async fn an_event_held_back_that_is_damaged_is_counted_and_told() {
    let world = World::new().await;
    world.publish(vec![later(1, "2026-01-05T12:00:30Z"), later(2, "2026-01-05T12:00:30Z")]).await;
    world.bus.tend_log().await.unwrap();
    for entry in std::fs::read_dir(world.directory.path().join("blobs/parts/events")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[16..24].iter_mut().for_each(|byte| *byte ^= 0xff);
        std::fs::write(&path, bytes).unwrap();
    }
    world.clock.advance(Duration::from_secs(30));
    let orders = || world.bus.topic(&scope(), &topic("orders")).unwrap();
    until("they are given up", async || orders().delayed == 0).await;
    assert_eq!((orders().delayed_lost, orders().events), (2, 0));
    let filter = hob_bus::Filter::topics(scope(), vec![topic(hob_bus::hob_topics::CONDITIONS)]);
    let told = async || {
        let events = world.bus.events(&filter, 0, 100).await.unwrap().events;
        events.into_iter().find(|event| event.subject.as_deref() == Some("events/held-back"))
    };
    until("it is told", async || told().await.is_some()).await;
    let data = told().await.unwrap().data.unwrap();
    assert_eq!((&data["condition"], &data["active"]), (&json!("damaged"), &json!(true)));
    assert!(data["reason"].as_str().unwrap().contains("2 between 1 and 2 cannot be read"), "{data}");
}
