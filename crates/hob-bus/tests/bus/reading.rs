//! The event log and live streams.

use std::time::Duration;

use futures_util::StreamExt;
use hob_bus::{Error, Filter, Tail, TailItem};
use serde_json::json;

use crate::{World, draft, publisher, scope, time, topic, update};

async fn next_event(tail: &mut Tail) -> hob_wire::Event {
    loop {
        let item =
            tokio::time::timeout(Duration::from_secs(20), tail.next()).await.expect("in time").unwrap();
        if let TailItem::Event(event) = item {
            return *event;
        }
    }
}

#[tokio::test]
async fn the_log_is_filtered_by_everything_that_events_have() {
    let world = World::new().await;
    let mut with_request = publisher("orders");
    with_request.request_id = Some("r9".to_owned());
    world.publish(vec![update(1), update(2)]).await;
    world.bus.publish(&with_request, vec![update(1)]).await.unwrap();
    let deletion = json!({"topic": "orders", "type": "delete", "href": "http://t/orders/1", "t": "2026-01-05T13:00:00Z"});
    world.publish(vec![draft(deletion)]).await;
    let ping = json!({"topic": "rider.pings", "type": "ping", "data": {"at": [1, 2]}});
    world.bus.publish(&publisher("riders"), vec![draft(ping)]).await.unwrap();
    let all = || Filter::all(scope());
    for (filter, expected) in [
        (all(), vec![1, 2, 3, 4, 5]),
        (Filter::topics(scope(), vec![topic("rider.pings")]), vec![5]),
        (Filter::all("qa/ie".parse().unwrap()), vec![]),
        (Filter { subject: Some("http://t/orders/1".to_owned()), ..all() }, vec![1, 3, 4]),
        (Filter { request_id: Some("r9".to_owned()), ..all() }, vec![3]),
        (Filter { types: vec!["orders.delete".to_owned(), "ping".to_owned()], ..all() }, vec![4, 5]),
        (Filter { from: Some(time("2026-01-05T12:30:00Z")), ..all() }, vec![4]),
        (Filter { to: Some(time("2026-01-05T12:00:00Z")), ..all() }, vec![]),
    ] {
        let page = world.bus.events(&filter, 0, 10).await.unwrap();
        let found: Vec<u64> = page.events.iter().map(hob_wire::Event::position).collect();
        assert_eq!((found, page.next), (expected, None), "{filter:?}");
    }
    let page = world.bus.events(&all(), 1, 2).await.unwrap();
    assert_eq!((page.events.len(), page.next), (2, Some(3)));
}

#[tokio::test]
async fn a_tail_resumes_without_loss_or_repeat() {
    let world = World::new().await;
    world.publish((1..=3).map(update).collect()).await;
    let mut tail = world.bus.tail(Filter::all(scope()), 0);
    let mut seen = Vec::new();
    for _ in 0..2 {
        seen.push(next_event(&mut tail).await.position());
    }
    drop(tail);
    let mut tail = world.bus.tail(Filter::all(scope()), 2);
    let bus = world.bus.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..50 {
            bus.publish(&publisher("orders"), vec![update(n), update(n)]).await.unwrap();
        }
    });
    while seen.len() < 103 {
        // A reader that is called off at any moment misses nothing.
        if let Ok(TailItem::Event(event)) = tokio::time::timeout(Duration::from_millis(1), tail.next())
            .await
            .unwrap_or(Ok(TailItem::Heartbeat { head: 0 }))
        {
            seen.push(event.position());
        }
    }
    publishing.await.unwrap();
    assert_eq!(seen, (1..=103).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_tail_of_every_topic_sees_topics_that_come_later() {
    let world = World::new().await;
    let mut tail = world.bus.tail(Filter::all(scope()), world.bus.head());
    world.publish(vec![update(1)]).await;
    assert_eq!(next_event(&mut tail).await.topic, topic("orders"));
    let ping = json!({"topic": "rider.pings", "type": "ping"});
    world.bus.publish(&publisher("riders"), vec![draft(ping)]).await.unwrap();
    assert_eq!(next_event(&mut tail).await.topic, topic("rider.pings"));
}

#[tokio::test]
async fn heartbeats_say_how_far_nothing_is_missing() {
    let world = World::new().await;
    let mut tail = world.bus.tail(Filter::topics(scope(), vec![topic("rider.pings")]), 0);
    assert_eq!(tail.next().await.unwrap(), TailItem::Heartbeat { head: 0 });
    world.publish(vec![update(1)]).await;
    let started = tokio::time::Instant::now();
    assert_eq!(tail.next().await.unwrap(), TailItem::Heartbeat { head: 1 });
    let waited = started.elapsed();
    assert!(waited > Duration::from_millis(1_500) && waited < Duration::from_secs(10), "{waited:?}");
    let mut stream = Box::pin(tail.into_stream());
    world.bus.close().await;
    assert!(matches!(stream.next().await, Some(Err(Error::Closed))));
    assert!(stream.next().await.is_none());
}
