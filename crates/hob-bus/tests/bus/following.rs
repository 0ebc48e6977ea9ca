//! Events as text for those who follow them live, and what following does to a subscription's cursor.

use std::time::Duration;

use hob_bus::{Error, Filter, Follow, Framing, Piece, Progress, SubscriptionKey};
use hob_wire::{Ack, Event, SubscriptionState, sequence_text};
use serde_json::json;

use crate::{World, draft, key, publisher, pull, scope, topic, update};

/// An event a line, its sequence before it.
const LINES: Framing = Framing { sequence: Some(""), before: " ", after: "\n" };
const WAIT_MAX: Duration = Duration::from_secs(20);

/// The sequences and events of the next lines, at least so many.
async fn lines(follow: &mut Follow, count: usize) -> Vec<(u64, Event)> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let piece = tokio::time::timeout(WAIT_MAX, follow.next()).await.expect("in time").unwrap();
        let Piece::Events(text) = piece else { continue };
        for line in String::from_utf8(text.to_vec()).unwrap().lines() {
            let (sequence, event) = line.split_once(' ').unwrap();
            lines.push((sequence.parse().unwrap(), serde_json::from_str(event).unwrap()));
        }
    }
    lines
}

async fn subscribe(world: &World, name: &str, more: serde_json::Value) -> SubscriptionKey {
    let key = key("mailer", name);
    let mut spec = json!({"topics": ["orders"], "from": "start"});
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    world.bus.put_subscription(&key, serde_json::from_value(spec).unwrap()).await.unwrap();
    key
}

/// Waits until a subscription is as it should be.
async fn wait_for(
    world: &World,
    key: &SubscriptionKey,
    is_so: impl Fn(&SubscriptionState) -> bool,
) -> SubscriptionState {
    let deadline = tokio::time::Instant::now() + WAIT_MAX;
    loop {
        let state = world.bus.subscription(key).await.unwrap();
        if is_so(&state) {
            return state;
        }
        assert!(tokio::time::Instant::now() < deadline, "{state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Asks for more until there is none, so that all before counts as sent.
async fn drain(follow: &mut Follow) {
    while let Ok(piece) = tokio::time::timeout(Duration::from_millis(1), follow.next()).await {
        assert!(matches!(piece.unwrap(), Piece::Heartbeat { .. }));
    }
}

#[tokio::test]
async fn all_who_follow_get_the_same_text() {
    let world = World::new().await;
    let ping = |n: u32| json!({"topic": "rider.pings", "type": "ping", "data": {"n": n, "note": "a\n\"b\""}});
    let follow = |after| world.bus.follow(Filter::all(scope()), after, LINES).unwrap();
    let (mut first, mut second) = (follow(0), follow(0));
    for n in 1..=20 {
        world.publish(vec![update(n), update(n + 1)]).await;
        world.bus.publish(&publisher("riders"), vec![draft(ping(n))]).await.unwrap();
    }
    let told = lines(&mut first, 60).await;
    let page = world.bus.events(&Filter::all(scope()), 0, 100).await.unwrap();
    assert!(told.iter().map(|(_, event)| event).eq(&page.events));
    assert!(told.iter().all(|(sequence, event)| *sequence == event.position()));
    assert_eq!(lines(&mut second, 60).await, told);
    // One that comes in the middle, one that is far behind, and one that wants less.
    let mut third = follow(31);
    assert_eq!(lines(&mut third, 29).await, told[31..]);
    for first in [0, 1_000] {
        world.publish((first..first + 1_000).map(update).collect()).await;
    }
    assert_eq!(lines(&mut first, 2_000).await.len(), 2_000);
    let mut late = follow(0);
    assert_eq!(lines(&mut late, 2_060).await[..60], told);
    let some = Filter { subject: Some("http://t/orders/3".to_owned()), ..Filter::all(scope()) };
    let mut some = world.bus.follow(some, 0, LINES).unwrap();
    let found: Vec<u64> = lines(&mut some, 3).await.iter().map(|(sequence, _)| *sequence).collect();
    assert_eq!(found, [5, 7, 64]);
}

#[tokio::test]
async fn a_follower_is_woken_by_its_own_topics() {
    let world = World::new().await;
    let orders = Filter::topics(scope(), vec![topic("orders")]);
    let mut follow = world.bus.follow(orders, world.bus.head(), LINES).unwrap();
    drain(&mut follow).await;
    let publishing = async {
        for n in 1..=50 {
            world.publish(vec![update(n)]).await;
        }
    };
    let (told, ()) = tokio::join!(lines(&mut follow, 50), publishing);
    assert!(told.iter().map(|(sequence, _)| *sequence).eq(1..=50));
}

#[tokio::test]
async fn what_a_stream_has_sent_moves_the_cursor() {
    let world = World::new().await;
    let seen = subscribe(&world, "seen", json!({"types": ["orders.update"]})).await;
    world.publish((1..=9).map(update).collect()).await;
    let follow = async |after, progress| world.bus.stream_text(&seen, after, progress, LINES).await;
    let mut stream = follow(None, Progress::Sent).await.unwrap();
    assert_eq!(lines(&mut stream, 9).await.len(), 9);
    let state = world.bus.subscription(&seen).await.unwrap();
    assert_eq!((state.streams, state.lag_events), (1, 9), "given out is not sent yet");
    drain(&mut stream).await;
    let state = wait_for(&world, &seen, |state| state.lag_events == 0).await;
    assert_eq!((state.cursor, state.delivered), (sequence_text(9), 9));
    // An acknowledgement beside it is fine, one of what is not there is not.
    let done = |upto| Ack { lease: "stream".to_owned(), upto: Some(sequence_text(upto)), ..Ack::default() };
    world.bus.ack(&seen, done(9)).await.unwrap();
    assert!(world.bus.ack(&seen, done(10)).await.is_err());
    drop(stream);
    let ahead = follow(Some(10), Progress::Sent).await.err().unwrap();
    assert!(matches!(ahead, Error::SeekAhead { head: 9, .. }), "{ahead}");
    let world = world.reopen().await;
    let state = world.bus.subscription(&seen).await.unwrap();
    assert_eq!((state.cursor, state.lag_events, state.streams), (sequence_text(9), 0, 0));
}

#[tokio::test]
async fn a_stream_takes_nothing_from_those_who_acknowledge_pull_or_are_pushed_to() {
    let world = World::new().await;
    let acked = subscribe(&world, "acked", json!({})).await;
    let pulled = subscribe(&world, "pulled", json!({})).await;
    let pushed = subscribe(&world, "pushed", json!({"sink": "http://127.0.0.1:9/hook"})).await;
    world.publish((1..=9).map(update).collect()).await;
    let first = world.bus.lease(&pulled, pull(1)).await.unwrap().unwrap();
    let (state, cursor) = (|key| world.bus.subscription(key), |state: SubscriptionState| state.cursor);
    for (key, progress) in
        [(&acked, Progress::Acknowledged), (&pulled, Progress::Sent), (&pushed, Progress::Sent)]
    {
        let mut stream = world.bus.stream_text(key, None, progress, LINES).await.unwrap();
        assert_eq!(lines(&mut stream, 9).await.len(), 9);
        drain(&mut stream).await;
        assert_eq!(cursor(state(key).await.unwrap()), sequence_text(0), "{key}");
        if *key == acked {
            let upto = Some(sequence_text(4));
            let ack = Ack { lease: "stream".to_owned(), upto, ..Ack::default() };
            world.bus.ack(key, ack).await.unwrap();
            let state = state(key).await.unwrap();
            assert_eq!((state.cursor.as_str(), state.lag_events), (sequence_text(4).as_str(), 5));
        }
        drop(stream);
    }
    assert_eq!(cursor(state(&acked).await.unwrap()), sequence_text(4));
    let ack = Ack { lease: first.lease, upto: Some(sequence_text(1)), ..Ack::default() };
    world.bus.ack(&pulled, ack).await.unwrap();
    let mut stream = world.bus.stream_text(&pulled, None, Progress::Sent, LINES).await.unwrap();
    assert_eq!(lines(&mut stream, 8).await.len(), 8);
    drain(&mut stream).await;
    assert_eq!(cursor(state(&pulled).await.unwrap()), sequence_text(1));
    // When nobody has pulled for long, the stream is what is left.
    world.clock.advance(Duration::from_secs(61));
    assert_eq!(cursor(wait_for(&world, &pulled, |state| state.lag_events == 0).await), sequence_text(9));
    assert!(world.bus.lease(&pulled, pull(100)).await.unwrap().is_none());
}

#[tokio::test]
async fn a_pull_as_text_says_the_same() {
    let world = World::new().await;
    let (events, text) =
        (subscribe(&world, "events", json!({})).await, subscribe(&world, "text", json!({})).await);
    world.publish((1..=9).map(|n| update(n % 4)).collect()).await;
    let given = world.bus.lease(&events, pull(7)).await.unwrap().unwrap();
    let told = world.bus.lease_text(&text, vec![], pull(7)).await.unwrap().unwrap().concat();
    let told: hob_wire::Batch = serde_json::from_slice(&told).unwrap();
    assert_eq!((told.events, told.expires), (given.events, given.expires));
    let ack = Ack { lease: told.lease, upto: Some(sequence_text(7)), ..Ack::default() };
    world.bus.ack(&text, ack).await.unwrap();
    world.bus.snapshot(&text).await.unwrap();
    let told = world.bus.lease_text(&text, vec![], pull(100)).await.unwrap().unwrap().concat();
    let told: hob_wire::Batch = serde_json::from_slice(&told).unwrap();
    let noops = told.events.iter().filter(|event| event.change() == Some(hob_wire::EventChange::Noop));
    assert_eq!((told.events.len(), noops.count()), (6, 4));
    assert!(world.bus.lease_text(&text, vec![], pull(100)).await.unwrap().is_none());
}

#[tokio::test]
async fn what_came_as_one_may_end_event_by_event() {
    let world = World::new().await;
    let text = subscribe(&world, "text", json!({})).await;
    world.publish((1..=6).map(update).collect()).await;
    let wanted = async |acks: Vec<Ack>, max| {
        let told = world.bus.lease_text(&text, acks, pull(max)).await.unwrap().map(|pieces| pieces.concat());
        told.map(|told| serde_json::from_slice::<hob_wire::Batch>(&told).unwrap())
    };
    let sequences = |batch: &hob_wire::Batch| -> Vec<u64> {
        batch.events.iter().map(|event| event.sequence.parse().unwrap()).collect()
    };
    let state = async || world.bus.subscription(&text).await.unwrap();
    let first = wanted(vec![], 3).await.unwrap();
    let waiting = state().await;
    assert_eq!((waiting.in_flight, waiting.lag_events, waiting.cursor), (3, 6, sequence_text(0)));
    // Another puller gets the rest, and the first one part of its own again.
    let second = wanted(vec![], 9).await.unwrap();
    assert_eq!((sequences(&first), sequences(&second)), (vec![1, 2, 3], vec![4, 5, 6]));
    let nack = hob_wire::Nack { id: first.events[1].id.clone(), delay_ms: Some(0), reason: None };
    let upto = |batch: &hob_wire::Batch, upto| Ack {
        lease: batch.lease.clone(),
        upto: Some(sequence_text(upto)),
        ..Ack::default()
    };
    let again = wanted(vec![Ack { nack: vec![nack], ..upto(&first, 3) }, upto(&second, 6)], 9).await.unwrap();
    assert_eq!((sequences(&again), state().await.cursor), (vec![2], sequence_text(1)));
    assert!(wanted(vec![upto(&again, 2)], 9).await.is_none());
    // What is acknowledged as a whole is done as a whole; the same again is fine, and more than was given is refused.
    world.publish((1..=4).map(update).collect()).await;
    let run = wanted(vec![], 9).await.unwrap();
    let refused = world.bus.lease_text(&text, vec![upto(&run, 99)], pull(1)).await;
    assert!(matches!(refused, Err(hob_bus::Error::BadAck { .. })));
    assert!(world.bus.lease_text(&text, vec![upto(&run, 10)], pull(0)).await.is_err());
    assert_eq!(state().await.in_flight, 4, "a wish that is refused acknowledges nothing");
    assert!(wanted(vec![upto(&run, 10), upto(&run, 10)], 9).await.is_none());
    assert_eq!((state().await.delivered, state().await.lag_events), (10, 0));
    // A lease that runs out hands all of it out again, attempts counted.
    world.publish((1..=2).map(update).collect()).await;
    assert_eq!(sequences(&wanted(vec![], 9).await.unwrap()), [11, 12]);
    world.clock.advance(Duration::from_secs(31));
    assert_eq!(sequences(&wanted(vec![], 9).await.unwrap()), [11, 12]);
    assert_eq!(state().await.failed, 3);
}
