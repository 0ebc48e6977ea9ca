//! Endpoints that are down, slow or full, and those that are well.

use std::time::Duration;

use hob_wire::{BreakerState, DeliverySpec, PushFormat};
use tokio::sync::watch;

use super::server::{Deed, Server, status};
use super::world::{World, distinct_in_order};

pub(super) fn delivery(max: u32) -> DeliverySpec {
    DeliverySpec { max, ..DeliverySpec::default() }
}

/// One request at a time, so that requests can be counted.
pub(super) fn single(max: u32) -> DeliverySpec {
    DeliverySpec { concurrency: 1, ..delivery(max) }
}

#[tokio::test]
async fn events_come_signed_and_in_order() {
    let world = World::new().await;
    let server = Server::start(|_| status(204)).await;
    world.subscribe("all", &server.url(), delivery(50)).await;
    world.publish((0..300).map(|n| n % 7)).await;
    world.until_delivered("all").await;
    let taken = server.taken();
    assert_eq!((taken.len(), distinct_in_order(&taken)), (300, 300));
    for request in server.requests() {
        assert_eq!(request.path, "/in");
        assert_eq!(request.headers["content-type"], "application/cloudevents-batch+json");
        assert!(request.headers["webhook-signature"].starts_with("v1,"));
        assert_eq!(request.headers["hob-subscription"], "all");
        assert_eq!(request.headers["hob-attempt"], "1");
        assert!(request.events().len() <= 50);
    }
    world.close().await;
}

#[tokio::test]
async fn an_endpoint_dead_for_an_hour_costs_a_probe_a_step_and_loses_nothing() {
    let world = World::new().await;
    let server = Server::start(|_| status(503)).await;
    world.subscribe("all", &server.url(), single(10)).await;
    world.publish((0..100).map(|n| n % 40)).await;
    let is_open = |state: &hob_wire::SubscriptionState| state.breaker == Some(BreakerState::Open);
    let begun = "2026-01-05T12:00:00Z".parse().unwrap();
    let mut state = world.until("all", is_open).await;
    assert_eq!(server.count(), 3);
    let mut probes = 0;
    loop {
        let next = state.next_attempt.unwrap();
        if next.since(begun) > Duration::from_secs(3_600) {
            break;
        }
        let before = server.count();
        world.clock.set(next);
        state = world.until("all", |state| server.count() > before && is_open(state)).await;
        probes += 1;
        assert_eq!(server.count(), 3 + probes);
        assert_eq!(server.requests()[before].events().len(), 1);
    }
    assert!((12..=28).contains(&probes), "{probes} probes");
    let address = server.end().await;
    let server = Server::start_on(address, |_| status(200)).await;
    world.clock.set(state.next_attempt.unwrap());
    let state = world.until_delivered("all").await;
    assert_eq!(state.dead_letters, 0);
    assert_eq!(distinct_in_order(&server.taken()), 100);
    world.close().await;
}

#[tokio::test]
async fn an_endpoint_that_cannot_be_reached_gets_its_events_once_it_can() {
    let world = World::new().await;
    let address = Server::start(|_| status(200)).await.end().await;
    world.subscribe("all", &format!("http://{address}/in"), delivery(10)).await;
    world.publish(0..50).await;
    let state = world.until("all", |state| state.breaker == Some(BreakerState::Open)).await;
    assert!(state.last_error.unwrap().detail.contains("cannot be reached"));
    let server = Server::start_on(address, |_| status(200)).await;
    world.until_delivered("all").await;
    assert_eq!(distinct_in_order(&server.taken()), 50);
    world.close().await;
}

#[tokio::test]
async fn a_hanging_endpoint_slows_no_other() {
    let world = World::new().await;
    let (slow, quick) = (Server::start(|_| Deed::Hang).await, Server::start(|_| status(200)).await);
    world.subscribe("slow", &slow.url(), delivery(10)).await;
    world.subscribe("quick", &quick.url(), delivery(10)).await;
    world.publish(0..200).await;
    world.until("quick", |state| state.lag_events == 0 && state.in_flight == 0).await;
    assert_eq!(distinct_in_order(&quick.taken()), 200);
    assert!(slow.count() <= 8);
    world.close().await;
}

#[tokio::test]
async fn no_more_requests_are_in_flight_than_asked_for() {
    let world = World::new().await;
    let (gate, opened) = watch::channel(false);
    let server = Server::start(move |_| Deed::Gated(opened.clone(), 200)).await;
    world.subscribe("all", &server.url(), DeliverySpec { concurrency: 3, ..delivery(2) }).await;
    world.publish(0..20).await;
    world.until("all", |state| state.in_flight == 6 && server.count() == 3).await;
    gate.send_replace(true);
    world.until_delivered("all").await;
    assert_eq!((server.count(), distinct_in_order(&server.taken())), (10, 20));
    world.close().await;
}

#[tokio::test]
async fn one_entity_is_in_one_request_at_a_time() {
    let world = World::new().await;
    let (gate, opened) = watch::channel(false);
    let server = Server::start(move |_| Deed::Gated(opened.clone(), 200)).await;
    world.subscribe("all", &server.url(), delivery(1)).await;
    world.publish([7, 7, 7, 8]).await;
    world.until("all", |state| state.in_flight == 2 && server.count() == 2).await;
    gate.send_replace(true);
    world.until_delivered("all").await;
    assert_eq!((server.count(), distinct_in_order(&server.taken())), (4, 4));
    world.close().await;
}

#[tokio::test]
async fn a_push_waits_for_company_as_long_as_its_subscription_says() {
    let world = World::new().await;
    let server = Server::start(|_| status(200)).await;
    let patient = DeliverySpec { deadline_ms: 60_000, ..delivery(5) };
    world.subscribe("all", &server.url(), patient).await;
    for order in 0..4 {
        world.publish([order]).await;
        world.until("all", |state| state.in_flight == u64::from(order) + 1).await;
    }
    assert_eq!(server.count(), 0);
    world.publish([4]).await;
    world.until("all", |state| state.lag_events == 0 && state.in_flight == 0).await;
    assert_eq!((server.count(), server.taken().len()), (1, 5));
    world.close().await;
}

#[tokio::test]
async fn events_may_be_pushed_one_at_a_time_in_either_mode() {
    let world = World::new().await;
    let server = Server::start(|_| status(200)).await;
    for (name, format) in [("structured", PushFormat::Structured), ("binary", PushFormat::Binary)] {
        world.subscribe(name, &server.url(), DeliverySpec { format, ..delivery(100) }).await;
    }
    world.publish([7]).await;
    for name in ["structured", "binary"] {
        world.until_delivered(name).await;
    }
    let requests = server.requests();
    let of = |name: &str| requests.iter().find(|seen| seen.headers["hob-subscription"] == name).unwrap();
    let (structured, binary) = (of("structured"), of("binary"));
    assert_eq!(structured.headers["content-type"], "application/cloudevents+json");
    let event: hob_wire::Event = serde_json::from_slice(&structured.body).unwrap();
    assert_eq!(event.subject.as_deref(), Some("http://t/orders/7"));
    assert_eq!(binary.headers["ce-id"], event.id);
    assert_eq!(binary.headers["ce-type"], "orders.update");
    assert!(binary.body.is_empty());
    world.close().await;
}

#[tokio::test]
async fn a_service_of_the_platform_is_called_through_the_router() {
    let router = Server::start(|_| status(200)).await;
    let url = format!("http://{}", router.address);
    let world = World::with_router(&url, Some("https://uk.takeaway.test")).await;
    world.subscribe("all", "https://uk.takeaway.test/emails/in?x=1", delivery(10)).await;
    world.publish([7]).await;
    world.until_delivered("all").await;
    let requests = router.requests();
    assert_eq!(requests[0].path, "/emails/in?x=1");
    assert_eq!(requests[0].headers["host"], "uk.takeaway.test");
    world.close().await;
}
