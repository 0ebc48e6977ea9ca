//! Endpoints that refuse, fail and misbehave.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use hob_sdk::Trust;
use hob_wire::{BreakerState, DeliverySpec, Stall};
use tokio::sync::watch;

use super::super::HttpEndpoint;
use super::behaviour::single;
use super::server::{Deed, Seen, Server, status};
use super::world::{World, distinct_in_order, key};

/// Retries after a second each.
fn quick(max: u32, attempts: u32) -> DeliverySpec {
    DeliverySpec { attempts, backoff_ms: vec![1_000], ..single(max) }
}

/// A script that counts the requests before it.
fn nth(deed: impl Fn(usize, &Seen) -> Deed + Send + Sync + 'static) -> impl Fn(&Seen) -> Deed + Send + Sync {
    let count = Arc::new(AtomicUsize::new(0));
    move |seen| deed(count.fetch_add(1, Ordering::SeqCst), seen)
}

#[tokio::test]
async fn an_event_that_is_refused_is_found_by_halves_while_the_others_flow() {
    for refusal in [400, 413, 422] {
        let world = World::new().await;
        let server = Server::start(move |seen| status(if seen.has(37) { refusal } else { 200 })).await;
        world.subscribe("all", &server.url(), quick(100, 2)).await;
        world.publish(0..100).await;
        let state = world.until("all", |state| state.parked_keys == 1 && state.in_flight == 0).await;
        assert_eq!(state.lag_events, 1);
        assert_eq!(state.last_error.unwrap().status, Some(refusal));
        assert_eq!(distinct_in_order(&server.taken()), 99);
        // The batch or, if the pusher was quick, two of them, and two halves a level.
        assert!(server.count() <= 30, "{} requests", server.count());
        let state = world.until_delivered("all").await;
        assert_eq!(state.dead_letters, 1);
        assert_eq!(server.requests().last().unwrap().headers["hob-attempt"], "2");
        world.close().await;
    }
}

#[tokio::test]
async fn an_event_that_makes_the_endpoint_fail_ends_as_the_only_dead_letter() {
    let world = World::new().await;
    let server = Server::start(|seen| status(if seen.has(37) { 500 } else { 200 })).await;
    world.subscribe("all", &server.url(), quick(100, 6)).await;
    world.publish((0..300).map(|n| n % 100)).await;
    let state = world.until_delivered("all").await;
    assert_eq!(state.dead_letters, 3);
    assert_eq!(distinct_in_order(&server.taken()), 297);
    world.close().await;
}

#[tokio::test]
async fn an_endpoint_that_takes_small_batches_gets_small_batches() {
    let world = World::new().await;
    let server = Server::start(|seen| status(if seen.events().len() > 10 { 413 } else { 200 })).await;
    world.subscribe("all", &server.url(), single(100)).await;
    world.publish(0..1_000).await;
    let state = world.until_delivered("all").await;
    assert_eq!((state.dead_letters, distinct_in_order(&server.taken())), (0, 1_000));
    let refused = server.requests().iter().filter(|seen| seen.events().len() > 10).count();
    assert!(refused <= 25, "{refused} requests were refused");
    world.close().await;
}

#[tokio::test]
async fn retry_after_is_honoured() {
    for answer in [429, 503] {
        let world = World::new().await;
        let pause = move || Deed::Answer(answer, vec![("retry-after", "30".to_owned())], String::new());
        let server = Server::start(nth(move |n, _| if n == 0 { pause() } else { status(200) })).await;
        world.subscribe("all", &server.url(), single(10)).await;
        world.publish(0..30).await;
        let state = world.until("all", |state| state.breaker == Some(BreakerState::Open)).await;
        let until = "2026-01-05T12:00:30Z".parse().unwrap();
        assert_eq!((state.next_attempt, state.stall), (Some(until), Some(Stall::BreakerOpen)));
        world.clock.advance(Duration::from_millis(29_999));
        assert_eq!(server.count(), 1);
        let state = world.until_delivered("all").await;
        assert_eq!((state.dead_letters, distinct_in_order(&server.taken())), (0, 30));
        assert_eq!(server.requests()[1].events().len(), 1);
        world.close().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_alone() {
    for answer in [410, 415] {
        let world = World::new().await;
        let server = Server::start(move |_| status(answer)).await;
        world.subscribe("all", &server.url(), single(10)).await;
        world.publish(0..30).await;
        let state = world.until("all", |state| state.stall == Some(Stall::EndpointGone)).await;
        assert!(state.stall_reason.unwrap().contains("endpoint"));
        world.publish(30..60).await;
        world.clock.advance(Duration::from_secs(24 * 3_600));
        assert_eq!((server.count(), world.state("all").await.lag_events), (1, 60));
        world.close().await;
    }
}

#[tokio::test]
async fn an_endpoint_that_is_gone_is_left_alone_after_a_restart_until_it_is_resumed() {
    let world = World::new().await;
    let server = Server::start(nth(|n, _| status(if n == 0 { 410 } else { 200 }))).await;
    world.subscribe("all", &server.url(), single(10)).await;
    world.publish(0..30).await;
    world.until("all", |state| state.stall == Some(Stall::EndpointGone)).await;
    let world = world.restart().await;
    let state = world.state("all").await;
    assert_eq!((state.stall, state.lag_events), (Some(Stall::EndpointGone), 30));
    // Another one is pushed to meanwhile, so the first would have been as well.
    let other = Server::start(|_| status(200)).await;
    world.subscribe("other", &other.url(), single(10)).await;
    world.publish(30..60).await;
    world.until("other", |state| state.lag_events == 0 && state.in_flight == 0).await;
    assert_eq!(server.count(), 1);
    let patch = hob_wire::SubscriptionPatch { state: hob_wire::WantedState::Active, until: None };
    world.bus.patch_subscription(&key("all"), patch).await.unwrap();
    world.until_delivered("all").await;
    assert_eq!(distinct_in_order(&server.taken()), 60);
    world.close().await;
}

#[tokio::test]
async fn a_name_that_comes_to_lead_elsewhere_is_not_followed_there() {
    for elsewhere in ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "fd00:ec2::254", "0.0.0.0"] {
        let server =
            Server::start(|_| Deed::Answer(200, vec![("connection", "close".to_owned())], String::new()));
        let server = server.await;
        let port = server.address.port();
        let (address, asked) = watch::channel(vec![server.address.ip()]);
        let looks = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&looks);
        let lookup = move |name: String| {
            assert_eq!(name, "emails.example");
            counted.fetch_add(1, Ordering::SeqCst);
            let found = asked.borrow().iter().map(|address| SocketAddr::new(*address, 0)).collect();
            async move { Ok(found) }.boxed()
        };
        let none = Arc::new(|_: &hob_core::Scope| None);
        let endpoint =
            HttpEndpoint::with_lookup("http://127.0.0.1:9", none, &Trust::platform(), Arc::new(lookup));
        let world = World::calling(endpoint.unwrap()).await;
        world.subscribe("all", &format!("http://emails.example:{port}/in"), single(10)).await;
        world.publish(0..5).await;
        world.until_delivered("all").await;
        let before = server.count();
        // One good address among them does not make up for it.
        address.send_replace(vec![server.address.ip(), elsewhere.parse().unwrap()]);
        world.publish(5..10).await;
        let state = world.until("all", |state| state.stall == Some(Stall::EndpointGone)).await;
        assert!(state.stall_reason.unwrap().contains("never called"), "{elsewhere}");
        assert_eq!((server.count(), state.lag_events), (before, 5), "{elsewhere}");
        assert!(looks.load(Ordering::SeqCst) >= 2);
        world.close().await;
    }
}

#[tokio::test]
async fn an_answer_that_breaks_off_is_no_answer() {
    let world = World::new().await;
    let server = Server::start(nth(|n, _| if n % 3 == 0 { Deed::HalfWay } else { status(200) })).await;
    world.subscribe("all", &server.url(), quick(10, 20)).await;
    world.publish((0..200).map(|n| n % 13)).await;
    let state = world.until_delivered("all").await;
    assert_eq!((state.dead_letters, distinct_in_order(&server.taken())), (0, 200));
    world.close().await;
}

#[tokio::test]
async fn an_answer_without_end_is_an_answer() {
    let world = World::new().await;
    let server = Server::start(|_| Deed::Endless(200)).await;
    world.subscribe("all", &server.url(), single(10)).await;
    world.publish(0..30).await;
    world.until_delivered("all").await;
    assert_eq!(distinct_in_order(&server.taken()), 30);
    world.close().await;
}

#[tokio::test]
async fn no_redirect_is_followed() {
    let world = World::new().await;
    let other = Server::start(|_| status(200)).await;
    let to = other.url();
    let server =
        Server::start(move |_| Deed::Answer(307, vec![("location", to.clone())], String::new())).await;
    world.subscribe("all", &server.url(), single(10)).await;
    world.publish(0..30).await;
    let state = world.until("all", |state| state.breaker == Some(BreakerState::Open)).await;
    assert_eq!(state.last_error.unwrap().status, Some(307));
    assert_eq!((server.count(), other.count()), (3, 0));
    world.close().await;
}

#[tokio::test]
async fn a_flapping_endpoint_gets_everything_in_order() {
    let world = World::new().await;
    let server =
        Server::start(nth(|n, _| status(if (n / 5) % 2 == 0 { 200 } else { [500, 502, 429, 408][n % 4] })))
            .await;
    world.subscribe("all", &server.url(), DeliverySpec { concurrency: 4, ..quick(10, 50) }).await;
    world.publish((0..500).map(|n| n % 31)).await;
    let state = world.until_delivered("all").await;
    assert_eq!((state.dead_letters, distinct_in_order(&server.taken())), (0, 500));
    world.close().await;
}

#[tokio::test]
async fn events_may_be_taken_in_part() {
    let world = World::new().await;
    let server = Server::start(nth(|n, seen| {
        let failed: Vec<_> = seen
            .events()
            .iter()
            .filter(|event| n == 0 && event.position() % 2 == 0)
            .map(|event| serde_json::json!({"id": event.id, "retry_after": 5, "reason": "no stock"}))
            .collect();
        let body = serde_json::json!({"failed": failed}).to_string();
        Deed::Answer(200, vec![("content-type", "application/json; charset=utf-8".to_owned())], body)
    }))
    .await;
    world.publish(0..1).await;
    world.subscribe("all", &server.url(), single(100)).await;
    world.publish(1..21).await;
    let state = world.until("all", |state| state.parked_keys > 0 && state.in_flight == 0).await;
    let first = server.requests()[0].events();
    let even = first.iter().filter(|event| event.position() % 2 == 0).count() as u64;
    assert_eq!(state.parked_keys, even);
    let error = state.last_error.unwrap();
    assert_eq!((error.status, error.detail.as_str()), (Some(200), "no stock"));
    let state = world.until_delivered("all").await;
    assert_eq!((state.dead_letters, state.failed, state.delivered), (0, even, 20));
    world.close().await;
}

#[tokio::test]
async fn addresses_that_are_never_called_are_refused_at_once() {
    let world = World::new().await;
    let spec = hob_wire::SubscriptionSpec {
        topics: vec!["orders".parse().unwrap()],
        sink: Some("http://169.254.169.254/latest".to_owned()),
        ..hob_wire::SubscriptionSpec::default()
    };
    let refused = world.bus.put_subscription(&key("all"), spec).await.unwrap_err();
    assert_eq!(refused.code(), hob_core::code::SINK);
    world.close().await;
}
