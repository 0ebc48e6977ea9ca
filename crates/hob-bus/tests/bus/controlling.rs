//! Subscriptions in people's hands: pauses, seeks, dead letters, snapshots, and what is told of them.

use std::time::Duration;

use hob_bus::Filter;
use hob_core::{Timestamp, code};
use hob_wire::{
    Ack, Batch, CursorAt, DeadLetterChoice, DeliverySpec, FilterSpec, Nack, OnPoison, Stall,
    SubscriptionPatch, SubscriptionSpec, SubscriptionState, WantedState, sequence_text,
};

use crate::{World, key, pull, scope, topic, update};

fn spec() -> SubscriptionSpec {
    let delivery = DeliverySpec { attempts: 2, backoff_ms: vec![1_000], ..DeliverySpec::default() };
    SubscriptionSpec {
        topics: vec![topic("orders")],
        from: CursorAt::Start,
        delivery,
        ..SubscriptionSpec::default()
    }
}

async fn lease(world: &World) -> Option<Batch> {
    world.bus.lease(&key("mailer", "emails"), pull(100)).await.unwrap()
}

async fn state(world: &World) -> SubscriptionState {
    world.bus.subscription(&key("mailer", "emails")).await.unwrap()
}

fn positions(batch: Option<Batch>) -> Vec<u64> {
    batch.map(|batch| batch.events.iter().map(hob_wire::Event::position).collect()).unwrap_or_default()
}

async fn ack_all(world: &World, batch: &Batch) {
    let upto = batch.events.last().map(|event| event.sequence.clone());
    let ack = Ack { lease: batch.lease.clone(), upto, ..Ack::default() };
    world.bus.ack(&key("mailer", "emails"), ack).await.unwrap();
}

async fn nack(world: &World, batch: &Batch, nth: usize) {
    let upto = batch.events.last().map(|event| event.sequence.clone());
    let nack = vec![Nack {
        id: batch.events[nth].id.clone(),
        delay_ms: None,
        reason: Some("no such customer".to_owned()),
    }];
    let ack = Ack { lease: batch.lease.clone(), upto, nack, ..Ack::default() };
    world.bus.ack(&key("mailer", "emails"), ack).await.unwrap();
}

/// Waits until a condition holds.
async fn until(world: &World, holds: impl Fn(&SubscriptionState) -> bool) -> SubscriptionState {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let state = state(world).await;
        if holds(&state) {
            return state;
        }
        assert!(tokio::time::Instant::now() < deadline, "{state:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn conditions(world: &World) -> Vec<(String, bool)> {
    let filter = Filter::topics(scope(), vec![topic("hob.conditions")]);
    let page = world.bus.events(&filter, 0, 100).await.unwrap();
    let told = page.events.into_iter().filter_map(|event| event.data);
    let told =
        told.map(|data| (data["subject"].as_str().unwrap().to_owned(), data["active"].as_bool().unwrap()));
    told.filter(|(subject, _)| subject.starts_with("subscription/")).collect()
}

/// A world in which the first of two orders is a dead letter.
async fn with_a_dead_letter() -> World {
    let world = World::new().await;
    world.bus.put_subscription(&key("mailer", "emails"), spec()).await.unwrap();
    world.publish(vec![update(1), update(2)]).await;
    let batch = lease(&world).await.unwrap();
    nack(&world, &batch, 0).await;
    world.clock.advance(Duration::from_secs(1));
    let batch = lease(&world).await.unwrap();
    nack(&world, &batch, 0).await;
    until(&world, |state| state.dead_letters == 1 && state.cursor == sequence_text(2)).await;
    world
}

#[tokio::test]
async fn a_pause_holds_until_it_is_resumed_and_survives_a_restart() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    world.bus.put_subscription(&mailer, spec()).await.unwrap();
    world.publish(vec![update(1)]).await;
    let patch = |state, until| SubscriptionPatch { state, until };
    let paused = world.bus.patch_subscription(&mailer, patch(WantedState::Paused, None)).await.unwrap();
    assert_eq!((paused.state.as_str(), paused.stall), ("paused", Some(Stall::Paused)));
    let world = world.reopen().await;
    assert!(lease(&world).await.is_none());
    world.bus.patch_subscription(&mailer, patch(WantedState::Active, None)).await.unwrap();
    let batch = lease(&world).await;
    assert_eq!(positions(batch), [1]);
    let time: Timestamp = "2026-01-05T12:10:00Z".parse().unwrap();
    let paused = world.bus.patch_subscription(&mailer, patch(WantedState::Paused, Some(time))).await.unwrap();
    assert_eq!(paused.stall_reason.unwrap(), "it is paused for another 10m");
    world.clock.advance(Duration::from_secs(600));
    assert_eq!(positions(lease(&world).await), [1]);
    let late = world.bus.patch_subscription(&mailer, patch(WantedState::Paused, Some(time))).await;
    assert_eq!(late.unwrap_err().code(), code::INVALID);
}

#[tokio::test]
async fn a_cursor_is_put_anywhere_but_ahead() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    world.bus.put_subscription(&mailer, spec()).await.unwrap();
    for id in 1..=10 {
        world.clock.advance(Duration::from_secs(1));
        world.publish(vec![update(id)]).await;
    }
    let batch = lease(&world).await.unwrap();
    let id = batch.events[3].id.clone();
    ack_all(&world, &batch).await;
    let by_id = format!("id:{id}");
    for (at, next) in [
        ("start", Some(1)),
        ("end", None),
        ("seq:4", Some(5)),
        ("seq:00000000000000000009", Some(10)),
        ("time:2026-01-05T12:00:07Z", Some(7)),
        ("time:2020-01-01T00:00:00Z", Some(1)),
        (by_id.as_str(), Some(5)),
    ] {
        let state = world.bus.seek(&mailer, at).await.unwrap();
        let expected = next.map_or(10, |next| next - 1);
        assert_eq!(state.cursor, sequence_text(expected), "{at}");
        assert_eq!(positions(lease(&world).await).first().copied(), next, "{at}");
    }
    for (at, number) in [
        ("seq:11", code::SEEK_AHEAD),
        ("time:2026-02-01T00:00:00Z", code::SEEK_AHEAD),
        ("id:nobody", code::SEEK),
        ("somewhere", code::SEEK),
        ("seq:x", code::SEEK),
    ] {
        assert_eq!(world.bus.seek(&mailer, at).await.unwrap_err().code(), number, "{at}");
    }
    // A seek is written before it is answered.
    world.bus.seek(&mailer, "seq:2").await.unwrap();
    let world = world.crash().await;
    assert_eq!(positions(lease(&world).await).first(), Some(&3));
}

#[tokio::test]
async fn an_event_that_fails_for_good_becomes_a_dead_letter_and_the_rest_flows() {
    let world = with_a_dead_letter().await;
    let mailer = key("mailer", "emails");
    let letters = world.bus.dead_letters(&mailer, 0, 10).await.unwrap().letters;
    let [letter] = letters.as_slice() else { panic!("{letters:?}") };
    assert_eq!((letter.id.as_str(), letter.attempts), (sequence_text(1).as_str(), 2));
    assert_eq!(letter.last_error.detail, "no such customer");
    assert_eq!(letter.event.as_ref().unwrap().subject, letter.subject);
    let about = "subscription/mailer/emails/http://t/orders/1".to_owned();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while conditions(&world).await != [(about.clone(), true)] {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", conditions(&world).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    world.publish(vec![update(1)]).await;
    let batch = lease(&world).await.unwrap();
    assert_eq!(positions(Some(batch.clone())).len(), 1);
    ack_all(&world, &batch).await;
    let world = world.reopen().await;
    assert_eq!(state(&world).await.dead_letters, 1);
    let dropped = world.bus.drop_dead_letters(&mailer, DeadLetterChoice::default()).await.unwrap();
    assert_eq!((dropped.count, state(&world).await.dead_letters), (1, 0));
    while conditions(&world).await.last() != Some(&(about.clone(), false)) {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", conditions(&world).await);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn a_replay_delivers_a_dead_letter_and_never_moves_the_cursor() {
    let world = with_a_dead_letter().await;
    let mailer = key("mailer", "emails");
    let none =
        DeadLetterChoice { subject: Some("http://t/orders/2".to_owned()), ..DeadLetterChoice::default() };
    assert_eq!(world.bus.replay_dead_letters(&mailer, none).await.unwrap().count, 0);
    let cursor = state(&world).await.cursor;
    for is_well in [false, true] {
        let all = DeadLetterChoice::default();
        assert_eq!(world.bus.replay_dead_letters(&mailer, all).await.unwrap().count, 1);
        assert!(world.bus.dead_letters(&mailer, 0, 10).await.unwrap().letters[0].replaying);
        let batch = lease(&world).await.unwrap();
        assert_eq!(positions(Some(batch.clone())), [1]);
        if is_well {
            ack_all(&world, &batch).await;
            until(&world, |state| state.dead_letters == 0).await;
        } else {
            nack(&world, &batch, 0).await;
            let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
            while world.bus.dead_letters(&mailer, 0, 10).await.unwrap().letters[0].attempts != 3 {
                assert!(tokio::time::Instant::now() < deadline, "the letter is not written again");
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
        // It passes over conditions, which are not its concern, and goes nowhere else.
        assert!(state(&world).await.cursor >= cursor);
        assert!(lease(&world).await.is_none());
    }
}

#[tokio::test]
async fn a_snapshot_tells_one_subscription_of_every_live_entity() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    world.publish((1..=20).map(update).collect()).await;
    let gone =
        crate::draft(serde_json::json!({"topic": "orders", "type": "delete", "href": "http://t/orders/3"}));
    world.publish(vec![gone]).await;
    let late = SubscriptionSpec { from: CursorAt::End, ..spec() };
    world.bus.put_subscription(&mailer, late).await.unwrap();
    let head = world.bus.head();
    assert_eq!(world.bus.snapshot(&mailer).await.unwrap().count, 19);
    let batch = lease(&world).await.unwrap();
    let kinds: Vec<&str> = batch.events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, vec!["orders.noop"; 19]);
    assert!(!batch.events.iter().any(|event| event.subject.as_deref() == Some("http://t/orders/3")));
    ack_all(&world, &batch).await;
    assert!(lease(&world).await.is_none());
    assert_eq!((world.bus.head(), state(&world).await.cursor), (head, sequence_text(head)));
}

#[tokio::test]
async fn filters_and_delivery_are_checked_and_kept() {
    let world = World::new().await;
    let mailer = key("mailer", "emails");
    let exact = |name: &str, text: &str| {
        FilterSpec::Exact([(name.to_owned(), text.to_owned())].into_iter().collect())
    };
    let filters = vec![exact("subject", "http://t/orders/2")];
    let put = world.bus.put_subscription(&mailer, SubscriptionSpec { filters, ..spec() }).await.unwrap();
    assert_eq!(put.value.filters.len(), 1);
    world.publish(vec![update(1), update(2), update(3)]).await;
    let batch = lease(&world).await.unwrap();
    assert_eq!(positions(Some(batch.clone())), [2]);
    ack_all(&world, &batch).await;
    assert_eq!(state(&world).await.cursor, sequence_text(3));
    let wrong = |change: fn(&mut DeliverySpec)| {
        let mut spec = spec();
        change(&mut spec.delivery);
        spec
    };
    for (spec, part) in [
        (wrong(|delivery| delivery.max = 0), "delivery.max is 0"),
        (wrong(|delivery| delivery.concurrency = 65), "delivery.concurrency is 65"),
        (wrong(|delivery| delivery.attempts = 0), "delivery.attempts is 0"),
        (wrong(|delivery| delivery.backoff_ms.clear()), "delivery.backoff_ms has 0"),
        (wrong(|delivery| delivery.timeout_ms = 1), "delivery.timeout_ms is 1"),
    ] {
        let error = world.bus.put_subscription(&mailer, spec).await.unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
    }
    let sink = Some("ftp://mailer".to_owned());
    let error = world.bus.put_subscription(&mailer, SubscriptionSpec { sink, ..spec() }).await.unwrap_err();
    assert_eq!(error.code(), code::SINK);
    let error = world.bus.rotate_secret(&mailer).await.unwrap_err();
    assert_eq!(error.code(), code::NO_SINK, "nothing is signed");
    let sink = Some("http://127.0.0.1:9/in".to_owned());
    let put = world.bus.put_subscription(&mailer, SubscriptionSpec { sink, ..spec() }).await.unwrap();
    let secret = put.value.secret.unwrap();
    assert!(secret.starts_with("whsec_"));
    assert_eq!(state(&world).await.secret, None, "a secret is shown once");
    let rotated = world.bus.rotate_secret(&mailer).await.unwrap().secret.unwrap();
    assert_ne!(rotated, secret);
}

#[tokio::test]
async fn one_that_blocks_on_poison_says_so() {
    let world = World::new().await;
    let mut block = spec();
    block.delivery.on_poison = OnPoison::Block;
    world.bus.put_subscription(&key("mailer", "emails"), block).await.unwrap();
    world.publish(vec![update(1)]).await;
    for _ in 0..4 {
        let batch = lease(&world).await.unwrap();
        nack(&world, &batch, 0).await;
        world.clock.advance(Duration::from_secs(1));
    }
    let batch = lease(&world).await.unwrap();
    nack(&world, &batch, 0).await;
    let state = state(&world).await;
    assert_eq!((state.stall, state.parked_keys, state.dead_letters), (Some(Stall::Poisoned), 1, 0));
    assert_eq!((state.failed, state.delivered), (5, 0));
    assert_eq!(state.last_error.unwrap().detail, "no such customer");
}
