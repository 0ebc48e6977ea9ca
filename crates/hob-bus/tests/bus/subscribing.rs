//! Subscriptions: leases, acknowledgements, cursors.

use std::time::Duration;

use hob_bus::{Error, Progress, Pull, TailItem};
use hob_core::code;
use hob_wire::{Ack, Batch, CursorAt, Nack, SubscriptionSpec, sequence_text};

use crate::{World, key, pull, topic, update};

fn spec(from: CursorAt) -> SubscriptionSpec {
    SubscriptionSpec { topics: vec![topic("orders")], from, ..SubscriptionSpec::default() }
}

fn ack_all(batch: &Batch) -> Ack {
    let upto = batch.events.last().map(|event| event.sequence.clone());
    Ack { lease: batch.lease.clone(), upto, ..Ack::default() }
}

fn positions(batch: &Batch) -> Vec<u64> {
    batch.events.iter().map(hob_wire::Event::position).collect()
}

async fn lease(world: &World, max: usize) -> Option<Batch> {
    world.bus.lease(&key("mailer", "emails"), pull(max)).await.unwrap()
}

async fn ack(world: &World, ack: Ack) -> Result<(), Error> {
    world.bus.ack(&key("mailer", "emails"), ack).await
}

#[tokio::test]
async fn events_are_leased_acknowledged_and_not_given_again() {
    let world = World::new().await;
    world.publish((1..=5).map(update).collect()).await;
    let put = world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::Start)).await.unwrap();
    assert!(put.created);
    assert_eq!((put.value.lag_events, put.value.cursor), (5, sequence_text(0)));
    let batch = lease(&world, 3).await.unwrap();
    assert_eq!(positions(&batch), [1, 2, 3]);
    let second = lease(&world, 3).await.unwrap();
    assert_eq!(positions(&second), [4, 5]);
    let state = world.bus.subscription(&key("mailer", "emails")).await.unwrap();
    assert_eq!((state.state.as_str(), state.in_flight, state.lag_events), ("leased", 5, 5));
    ack(&world, ack_all(&second)).await.unwrap();
    let state = world.bus.subscription(&key("mailer", "emails")).await.unwrap();
    assert_eq!((state.in_flight, state.lag_events, state.cursor), (3, 3, sequence_text(0)));
    ack(&world, ack_all(&batch)).await.unwrap();
    let state = world.bus.subscription(&key("mailer", "emails")).await.unwrap();
    assert_eq!((state.lag_events, state.cursor, state.stall_reason), (0, sequence_text(5), None));
    let world = world.reopen().await;
    assert!(lease(&world, 10).await.is_none());
    let again = world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::Start)).await.unwrap();
    assert!(!again.created);
    assert_eq!(again.value.cursor, sequence_text(5));
}

#[tokio::test]
async fn an_expired_lease_is_given_again_and_its_acknowledgement_refused() {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::End)).await.unwrap();
    world.publish(vec![update(1), update(2)]).await;
    let batch = lease(&world, 10).await.unwrap();
    world.clock.advance(Duration::from_secs(31));
    let late = ack(&world, ack_all(&batch)).await.unwrap_err();
    assert_eq!(late.code(), code::LEASE);
    let again = lease(&world, 10).await.unwrap();
    assert_eq!(positions(&again), [1, 2]);
    let extend = Ack { lease: again.lease.clone(), extend_ms: Some(60_000), ..Ack::default() };
    ack(&world, extend).await.unwrap();
    world.clock.advance(Duration::from_secs(45));
    ack(&world, ack_all(&again)).await.unwrap();
}

#[tokio::test]
async fn acknowledgements_beyond_the_cursor_survive_a_restart() {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::End)).await.unwrap();
    world.publish((1..=4).map(update).collect()).await;
    let batch = lease(&world, 10).await.unwrap();
    let id = |nth: usize| batch.events[nth].id.clone();
    let nack = vec![Nack { id: id(0), delay_ms: Some(10_000), reason: None }];
    ack(&world, Ack { lease: batch.lease.clone(), ack: vec![id(1), id(3)], nack, ..Ack::default() })
        .await
        .unwrap();
    let state = world.bus.subscription(&key("mailer", "emails")).await.unwrap();
    assert_eq!((state.lag_events, state.in_flight), (2, 1));
    let world = world.reopen().await;
    // The third was leased when Hob ended, and the first keeps its delay.
    assert_eq!(positions(&lease(&world, 10).await.unwrap()), [3]);
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(positions(&lease(&world, 10).await.unwrap()), [1]);
}

#[tokio::test]
async fn a_nack_delays_its_entity_and_says_so() {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::End)).await.unwrap();
    world.publish(vec![update(1), update(2), update(1)]).await;
    let batch = lease(&world, 2).await.unwrap();
    let nack = vec![Nack { id: batch.events[0].id.clone(), delay_ms: Some(10_000), reason: None }];
    ack(&world, Ack { nack, ..ack_all(&batch) }).await.unwrap();
    assert!(lease(&world, 10).await.is_none(), "the third event waits behind the first");
    let state = world.bus.subscription(&key("mailer", "emails")).await.unwrap();
    assert_eq!(
        state.stall_reason.unwrap(),
        "1 entity waits after a failure, the first for another 10s; \
         last: its consumer gave it back without a reason"
    );
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(positions(&lease(&world, 10).await.unwrap()), [1, 3]);
}

#[tokio::test]
async fn a_puller_waits_for_events_and_for_the_lease_that_has_their_entity() {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::End)).await.unwrap();
    let waiting = |world: &World| {
        let bus = world.bus.clone();
        let pull = Pull { wait: Duration::from_secs(20), ..pull(10) };
        tokio::spawn(async move { bus.lease(&key("mailer", "emails"), pull).await.unwrap() })
    };
    let first = waiting(&world);
    world.publish(vec![update(1)]).await;
    let first = first.await.unwrap().unwrap();
    assert_eq!(positions(&first), [1]);
    let second = waiting(&world);
    world.publish(vec![update(1)]).await;
    assert!(lease(&world, 10).await.is_none(), "its entity is in the first lease");
    ack(&world, ack_all(&first)).await.unwrap();
    assert_eq!(positions(&second.await.unwrap().unwrap()), [2]);
}

#[tokio::test]
async fn asking_for_something_else_keeps_the_cursor() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    world.bus.put_subscription(&mailer, spec(CursorAt::Start)).await.unwrap();
    let removal =
        crate::draft(serde_json::json!({"topic": "orders", "type": "delete", "href": "http://t/orders/1"}));
    world.publish(vec![update(1), removal, update(2)]).await;
    let deletions = SubscriptionSpec { types: vec!["orders.delete".to_owned()], ..spec(CursorAt::Start) };
    let put = world.bus.put_subscription(&mailer, deletions).await.unwrap();
    assert_eq!((put.created, put.value.lag_events), (false, 1));
    let batch = lease(&world, 10).await.unwrap();
    assert_eq!(positions(&batch), [2]);
    ack(&world, ack_all(&batch)).await.unwrap();
    let state = world.bus.subscription(&mailer).await.unwrap();
    assert_eq!(state.cursor, sequence_text(3), "the cursor passes what is not asked for");
    let wrong = SubscriptionSpec { types: vec!["orders.updated".to_owned()], ..spec(CursorAt::Start) };
    let error = world.bus.put_subscription(&mailer, wrong).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "put subscription emails: its topics have no events of type \"orders.updated\"; for example \"orders.update\""
    );
}

#[tokio::test]
async fn a_subscription_may_come_before_its_topic_and_says_so() {
    let world = World::new().await;
    let early = SubscriptionSpec { topics: vec![topic("order")], ..spec(CursorAt::Start) };
    let put = world.bus.put_subscription(&key("mailer", "emails"), early).await.unwrap();
    let reason = put.value.stall_reason.unwrap();
    assert_eq!(reason, "topic order is not declared in qa/uk; did you mean orders?");
}

#[tokio::test]
async fn a_deleted_subscription_ends_its_streams_and_leaves_no_cursor() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    world.bus.put_subscription(&mailer, spec(CursorAt::Start)).await.unwrap();
    world.publish(vec![update(1)]).await;
    let mut stream = world.bus.stream(&mailer, None, Progress::Acknowledged).await.unwrap();
    let event = loop {
        if let TailItem::Event(event) = stream.next().await.unwrap() {
            break event;
        }
    };
    assert_eq!(event.position(), 1);
    let state = world.bus.subscription(&mailer).await.unwrap();
    assert_eq!((state.streams, state.cursor), (1, sequence_text(0)));
    let done = Ack { lease: "stream".to_owned(), upto: Some(sequence_text(1)), ..Ack::default() };
    world.bus.ack(&mailer, done.clone()).await.unwrap();
    let beyond = Ack { upto: Some(sequence_text(2)), ..done };
    assert_eq!(world.bus.ack(&mailer, beyond).await.unwrap_err().code(), code::INVALID);
    assert_eq!(world.bus.subscription(&mailer).await.unwrap().cursor, sequence_text(1));
    world.bus.delete_subscription(&mailer).await.unwrap();
    let ended = loop {
        match stream.next().await {
            Ok(_) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(ended.code(), code::NOT_FOUND);
    drop(stream);
    let world = world.reopen().await;
    let put = world.bus.put_subscription(&mailer, spec(CursorAt::Start)).await.unwrap();
    assert_eq!((put.created, put.value.cursor), (true, sequence_text(0)));
    let error = world.bus.subscription(&key("mailer", "email")).await.unwrap_err();
    assert_eq!(error.hint().unwrap(), "did you mean emails?");
}

#[tokio::test]
async fn a_crash_redelivers_and_never_skips() {
    let mut world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::Start)).await.unwrap();
    let mut acked = 0;
    for round in 0..4 {
        world.publish((1..=10).map(update).collect()).await;
        let batch = lease(&world, 7).await.unwrap();
        let given = positions(&batch);
        assert!(given[0] <= acked + 1, "round {round}: {given:?} after {acked}");
        ack(&world, ack_all(&batch)).await.unwrap();
        acked = *given.last().unwrap();
        world = world.crash().await;
    }
}

#[tokio::test]
async fn more_than_one_batch_can_carry_is_given_in_parts_and_given_again_whole() {
    let world = World::new().await;
    let pings = SubscriptionSpec { topics: vec![topic("rider.pings")], ..spec(CursorAt::Start) };
    world.bus.put_subscription(&key("mailer", "emails"), pings).await.unwrap();
    let ping = |n: u32| {
        let data = format!("{n}{}", "x".repeat(60_000));
        let href = format!("http://t/riders/{}", n % 7);
        crate::draft(serde_json::json!({"topic": "rider.pings", "type": "ping", "href": href, "data": data}))
    };
    for round in 0..3 {
        let batch = (0..50).map(|n| ping(round * 50 + n)).collect();
        world.bus.publish(&crate::publisher("riders"), batch).await.unwrap();
    }
    let mut expected = 1;
    while expected <= 150 {
        let batch = lease(&world, 1_000).await.unwrap();
        let first = positions(&batch);
        world.clock.advance(Duration::from_secs(31));
        let batch = lease(&world, 1_000).await.unwrap();
        let again = positions(&batch);
        let common = first.len().min(again.len());
        assert_eq!(first[..common], again[..common]);
        assert_eq!(again, (expected..expected + again.len() as u64).collect::<Vec<_>>());
        expected += again.len() as u64;
        ack(&world, ack_all(&batch)).await.unwrap();
    }
}

#[tokio::test]
async fn wrong_pulls_are_refused_with_a_way_out() {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec(CursorAt::End)).await.unwrap();
    let long = Pull { lease_for: Duration::from_secs(601), ..pull(1) };
    for wrong in [pull(0), pull(1001), long, Pull { wait: Duration::from_secs(61), ..pull(1) }] {
        let error = world.bus.lease(&key("mailer", "emails"), wrong).await.unwrap_err();
        assert_eq!(error.code(), code::INVALID, "{error}");
    }
}
