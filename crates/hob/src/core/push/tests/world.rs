//! A bus on a directory of its own that pushes through real sockets, its wall clock moved by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_bus::{Bus, Publisher, SubscriptionKey};
use hob_core::{Clock, ManualClock, Scope};
use hob_store::{Store, StoreOptions};
use hob_wire::{DeliverySpec, Draft, Event, SubscriptionSpec, SubscriptionState, TopicKind, TopicTerms};
use serde_json::json;
use tokio::sync::watch;

use super::super::HttpEndpoint;
use hob_sdk::Trust;

/// How long a test waits for what must come.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct World {
    pub(super) bus: Bus,
    pub(super) clock: ManualClock,
    stop: watch::Sender<bool>,
    pushing: tokio::task::JoinHandle<()>,
    directory: tempfile::TempDir,
    _store: Store,
}

/// Has a bus push through an endpoint until told to stop.
fn push(bus: &Bus, endpoint: HttpEndpoint) -> (watch::Sender<bool>, tokio::task::JoinHandle<()>) {
    let (stop, mut stopped) = watch::channel(false);
    let bus = bus.clone();
    let pushing = tokio::spawn(async move {
        let stop = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        bus.push(Arc::new(endpoint), stop).await;
    });
    (stop, pushing)
}

pub(super) fn scope() -> Scope {
    "qa/uk".parse().unwrap()
}

pub(super) fn key(name: &str) -> SubscriptionKey {
    SubscriptionKey { scope: scope(), service: "emails".parse().unwrap(), name: name.parse().unwrap() }
}

impl World {
    pub(super) async fn new() -> Self {
        Self::with_router("http://127.0.0.1:9", None).await
    }

    /// One that trusts more than the platform does.
    pub(super) async fn trusting(trust: &Trust) -> Self {
        Self::with("http://127.0.0.1:9", None, trust).await
    }

    /// One whose scope has this public origin, which leads to the router.
    pub(super) async fn with_router(router_url: &str, origin: Option<&'static str>) -> Self {
        Self::with(router_url, origin, &Trust::platform()).await
    }

    async fn with(router_url: &str, origin: Option<&'static str>, trust: &Trust) -> Self {
        let origins = move |_: &Scope| origin.map(str::to_owned);
        Self::calling(HttpEndpoint::new(router_url, Arc::new(origins), trust).unwrap()).await
    }

    /// One that calls endpoints like this.
    pub(super) async fn calling(endpoint: HttpEndpoint) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual("2026-01-05T12:00:00Z".parse().unwrap());
        let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
        let bus = Bus::open(&store, clock).await.unwrap();
        let terms = TopicTerms { kind: TopicKind::Notify, ..TopicTerms::default() };
        let (owner, topic) = ("orders".parse().unwrap(), "orders".parse().unwrap());
        bus.put_topic(&scope(), &owner, &topic, terms).await.unwrap();
        let (stop, pushing) = push(&bus, endpoint);
        Self { bus, clock: hand, stop, pushing, directory, _store: store }
    }

    /// The same after a restart.
    pub(super) async fn restart(self) -> Self {
        let Self { bus, clock, stop, pushing, directory, _store: store } = self;
        let now = bus.clock(&"no/where".parse().unwrap());
        stop.send_replace(true);
        pushing.await.unwrap();
        bus.close().await;
        drop((bus, store, clock));
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let store = loop {
            match Store::open(directory.path(), StoreOptions::default()).await {
                Err(hob_store::OpenError::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let (clock, hand) = Clock::manual(now);
        let bus = Bus::open(&store, clock).await.unwrap();
        let endpoint =
            HttpEndpoint::new("http://127.0.0.1:9", Arc::new(|_: &Scope| None), &Trust::platform());
        let (stop, pushing) = push(&bus, endpoint.unwrap());
        Self { bus, clock: hand, stop, pushing, directory, _store: store }
    }

    /// Has `orders` pushed to an endpoint.
    pub(super) async fn subscribe(&self, name: &str, url: &str, delivery: DeliverySpec) -> SubscriptionState {
        let spec = SubscriptionSpec {
            topics: vec!["orders".parse().unwrap()],
            sink: Some(url.to_owned()),
            delivery,
            ..SubscriptionSpec::default()
        };
        self.bus.put_subscription(&key(name), spec).await.unwrap().value
    }

    /// Publishes an update of each order.
    pub(super) async fn publish(&self, orders: impl IntoIterator<Item = u32>) {
        let draft = |order: u32| -> Draft {
            let href = format!("http://t/orders/{order}");
            serde_json::from_value(json!({"topic": "orders", "type": "update", "href": href})).unwrap()
        };
        let service = "orders".parse().unwrap();
        let publisher = Publisher { scope: scope(), service, request_id: None, traceparent: None };
        let drafts: Vec<Draft> = orders.into_iter().map(draft).collect();
        for batch in drafts.chunks(500) {
            self.bus.publish(&publisher, batch.to_vec()).await.unwrap();
        }
    }

    pub(super) async fn state(&self, name: &str) -> SubscriptionState {
        self.bus.subscription(&key(name)).await.unwrap()
    }

    /// Waits until a subscription is as wanted.
    pub(super) async fn until(
        &self,
        name: &str,
        is_so: impl Fn(&SubscriptionState) -> bool,
    ) -> SubscriptionState {
        let started = tokio::time::Instant::now();
        loop {
            let state = self.state(name).await;
            if is_so(&state) {
                return state;
            }
            assert!(started.elapsed() < PATIENCE, "it never came to be: {state:#?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until nothing is left to deliver, while time goes by a second at each look.
    pub(super) async fn until_delivered(&self, name: &str) -> SubscriptionState {
        let is_over = |state: &SubscriptionState| {
            self.clock.advance(Duration::from_secs(1));
            state.lag_events == 0 && state.in_flight == 0
        };
        self.until(name, is_over).await
    }

    /// Stops pushing and closes the bus.
    pub(super) async fn close(self) {
        self.stop.send_replace(true);
        self.pushing.await.unwrap();
        self.bus.close().await;
    }
}

/// Checks that each entity's events came in order, repeats of what came before left out, and gives their number.
pub(super) fn distinct_in_order(events: &[Event]) -> usize {
    let (mut newest, mut seen) = (BTreeMap::<&str, u64>::new(), BTreeSet::new());
    for event in events {
        let entity = event.subject.as_deref().unwrap_or_default();
        if seen.insert(event.position()) {
            let last = newest.insert(entity, event.position()).unwrap_or(0);
            assert!(last < event.position(), "{entity}: {} came after {last}", event.position());
        }
    }
    seen.len()
}
