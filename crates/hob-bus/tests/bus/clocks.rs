//! The scopes' clocks.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_bus::{Filter, TailItem, hob_topics};
use hob_core::Timestamp;
use serde_json::json;

use crate::{World, draft, publisher, scope, time, topic, update};

async fn ping_at(world: &World, at: &str) {
    let ping = draft(json!({"topic": "rider.pings", "type": "tick", "t": at}));
    world.bus.publish(&publisher("riders"), vec![ping]).await.unwrap();
}

#[tokio::test]
async fn an_event_clock_is_moved_by_its_topic_alone() {
    let world = World::new().await;
    let wall = time("2026-01-05T12:00:00Z");
    assert_eq!(world.bus.clock(&scope()), wall);
    let clocks = BTreeMap::from([(scope(), topic("rider.pings"))]);
    world.bus.set_clocks(clocks.clone());
    let mut watch = world.bus.clock_watch(&scope());
    assert_eq!(world.bus.clock(&scope()), Timestamp::EPOCH);
    ping_at(&world, "2019-05-01T10:00:10Z").await;
    watch.changed().await.unwrap();
    assert_eq!(*watch.borrow_and_update(), time("2019-05-01T10:00:10Z"));
    // It never goes back, and other topics do not move it.
    ping_at(&world, "2019-05-01T10:00:00Z").await;
    let mut later = update(1);
    later.notice.t = Some(time("2020-01-01T00:00:00Z"));
    world.publish(vec![later]).await;
    assert_eq!(world.bus.clock(&scope()), time("2019-05-01T10:00:10Z"));
    assert!(!watch.has_changed().unwrap());
    // Events that tell no time get the scope's, Hob's own the wall's.
    world.publish(vec![update(2)]).await;
    assert_eq!(world.bus.event(&scope(), 4).await.unwrap().time, time("2019-05-01T10:00:10Z"));
    let notice = serde_json::from_value(json!({"type": "x"})).unwrap();
    world.bus.publish_as_hob(&scope(), &topic(hob_topics::COMMANDS), vec![notice]).await.unwrap();
    assert_eq!(world.bus.event(&scope(), 5).await.unwrap().time, wall);
    let world = world.crash().await;
    world.bus.set_clocks(clocks);
    assert_eq!(world.bus.clock(&scope()), time("2019-05-01T10:00:10Z"));
}

#[tokio::test]
async fn the_wall_clock_ticks_as_records_while_somebody_reads_them() {
    let world = World::new().await;
    let bus = world.bus.clone();
    let ticking = tokio::spawn(async move { bus.tick_wall_clock().await });
    let mut watch = world.bus.clock_watch(&scope());
    world.clock.advance(Duration::from_secs(5));
    tokio::time::timeout(Duration::from_secs(10), watch.changed()).await.expect("in time").unwrap();
    assert_eq!(world.bus.head(), 0, "nobody reads hob.clock yet");
    let mut tail = world.bus.tail(Filter::topics(scope(), vec![topic(hob_topics::CLOCK)]), 0);
    let tick = loop {
        if let TailItem::Event(event) = tail.next().await.unwrap() {
            break event;
        }
    };
    assert_eq!((tick.kind.as_str(), tick.time), ("tick", time("2026-01-05T12:00:05Z")));
    world.bus.close().await;
    tokio::time::timeout(Duration::from_secs(10), ticking).await.expect("it ends with the bus").unwrap();
}
