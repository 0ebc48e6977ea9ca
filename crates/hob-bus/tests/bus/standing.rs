//! Subscriptions that stand still say why, in a word and in a sentence.

use std::time::Duration;

use hob_wire::{Ack, Batch, CursorAt, DeliverySpec, Nack, Stall, SubscriptionSpec, SubscriptionState};

use crate::{World, key, pull, topic, update};

const LIMIT: u32 = hob_bus::limits::PARKED_MAX as u32;

async fn subscribe(world: &World) {
    let delivery = DeliverySpec { attempts: 9, backoff_ms: vec![600_000], ..DeliverySpec::default() };
    let spec = SubscriptionSpec {
        topics: vec![topic("orders")],
        from: CursorAt::Start,
        delivery,
        ..SubscriptionSpec::default()
    };
    world.bus.put_subscription(&key("mailer", "emails"), spec).await.unwrap();
}

async fn state(world: &World) -> SubscriptionState {
    world.bus.subscription(&key("mailer", "emails")).await.unwrap()
}

async fn lease(world: &World) -> Option<Batch> {
    world.bus.lease(&key("mailer", "emails"), pull(1_000)).await.unwrap()
}

/// Fails every event of a batch.
async fn nack(world: &World, batch: Batch) {
    let refuse = |event: hob_wire::Event| Nack {
        id: event.id,
        delay_ms: None,
        reason: Some("the mail server is away".to_owned()),
    };
    let nack = batch.events.into_iter().map(refuse).collect();
    let ack = Ack { lease: batch.lease, nack, ..Ack::default() };
    world.bus.ack(&key("mailer", "emails"), ack).await.unwrap();
}

#[tokio::test]
async fn one_that_nobody_pulls_says_so() {
    let world = World::new().await;
    subscribe(&world).await;
    world.publish(vec![update(1)]).await;
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(state(&world).await.stall, None, "its consumer may be starting");
    world.clock.advance(Duration::from_secs(1));
    let told = state(&world).await;
    assert_eq!((told.state.as_str(), told.stall), ("stalled", Some(Stall::NoConsumer)));
    assert_eq!(told.stall_reason.unwrap(), "mailer has not pulled since Hob started");
    let batch = lease(&world).await.unwrap();
    assert_eq!(state(&world).await.stall, None);
    nack(&world, batch).await;
    // It was pulled at a time that is told.
    world.clock.advance(Duration::from_secs(601));
    let told = state(&world).await;
    assert_eq!(told.stall, Some(Stall::NoConsumer));
    assert_eq!(told.stall_reason.unwrap(), "mailer has not pulled for 10m1s");
}

#[tokio::test]
async fn one_of_which_everything_has_failed_says_when_it_is_tried_again() {
    let world = World::new().await;
    subscribe(&world).await;
    world.publish(vec![update(1), update(2)]).await;
    let batch = lease(&world).await.unwrap();
    nack(&world, batch).await;
    let told = state(&world).await;
    assert_eq!((told.state.as_str(), told.stall), ("stalled", Some(Stall::Retrying)));
    let reason = told.stall_reason.unwrap();
    assert!(told.next_attempt.is_some());
    assert!(reason.starts_with("2 entities wait after a failure, the first for another "), "{reason}");
    assert!(reason.ends_with("s; last: the mail server is away"), "{reason}");
    // Another entity flows, and then all waits again.
    world.publish(vec![update(3)]).await;
    assert_eq!(lease(&world).await.unwrap().events.len(), 1);
    assert_eq!(state(&world).await.stall, None);
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(lease(&world).await.unwrap().events.len(), 3, "the lease of the third has ended as well");
}

#[tokio::test]
async fn one_with_as_many_failures_as_it_may_have_looks_no_further() {
    let world = World::new().await;
    subscribe(&world).await;
    for first in (0..LIMIT).step_by(500) {
        world.publish((first..first + 500).map(update).collect()).await;
    }
    while let Some(batch) = lease(&world).await {
        nack(&world, batch).await;
    }
    assert_eq!(state(&world).await.stall, Some(Stall::Retrying), "there is nothing more to look for");
    world.publish(vec![update(LIMIT)]).await;
    assert!(lease(&world).await.is_none());
    let told = state(&world).await;
    assert_eq!((told.stall, told.parked_keys), (Some(Stall::WindowFull), u64::from(LIMIT)));
    let reason = told.stall_reason.unwrap();
    assert!(reason.contains("which is as many as may (10000); last: the mail server is away"), "{reason}");
    assert_eq!(told.lag_events, u64::from(LIMIT) + 1);
    world.clock.advance(Duration::from_secs(600));
    let (mut delivered, mut ends) = (0, Vec::new());
    while let Some(Batch { lease, events, .. }) = lease(&world).await {
        delivered += events.len();
        ends.extend(events.last().map(|event| event.sequence.clone()));
        let ack = events.into_iter().map(|event| event.id).collect();
        world.bus.ack(&key("mailer", "emails"), Ack { lease, ack, ..Ack::default() }).await.unwrap();
    }
    assert_eq!((delivered as u32, ends.len()), (LIMIT + 1, 11));
    assert_eq!(state(&world).await.stall, None);
}

#[tokio::test]
async fn a_snapshot_goes_on_after_a_restart() {
    let world = World::new().await;
    let entities = 1_700;
    for first in (0..entities).step_by(100) {
        world.publish((first..first + 100).map(update).collect()).await;
    }
    let spec = SubscriptionSpec { topics: vec![topic("orders")], ..SubscriptionSpec::default() };
    for name in ["emails", "other"] {
        world.bus.put_subscription(&key("mailer", name), spec.clone()).await.unwrap();
    }
    let cursor = state(&world).await.cursor;
    assert_eq!(world.bus.snapshot(&key("mailer", "emails")).await.unwrap().count, u64::from(entities));
    let mut told = std::collections::BTreeSet::new();
    let mut world = world;
    for is_last in [false, false, true] {
        let mut taken = 0;
        while let Some(Batch { lease, events, .. }) = lease(&world).await {
            assert!(events.iter().all(|event| event.kind == "orders.noop"));
            taken += events.len();
            told.extend(events.iter().map(|event| event.subject.clone().unwrap()));
            let ack = events.into_iter().map(|event| event.id).collect();
            world.bus.ack(&key("mailer", "emails"), Ack { lease, ack, ..Ack::default() }).await.unwrap();
            if !is_last && taken > 0 {
                break;
            }
        }
        assert!(taken > 0, "something was left to tell");
        if !is_last {
            assert!((told.len() as u32) < entities);
            world = world.reopen().await;
        }
    }
    assert_eq!(told.len() as u32, entities);
    // Neither was its cursor moved, nor was anybody else told.
    assert_eq!(state(&world).await.cursor, cursor);
    assert!(world.bus.lease(&key("mailer", "other"), pull(10)).await.unwrap().is_none());
}
