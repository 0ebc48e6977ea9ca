//! The bus over a real store in a temporary directory: what its users may rely on.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod clocks;
mod controlling;
mod entities;
mod following;
mod healing;
mod keeping;
mod killing;
mod losing;
mod publishing;
mod reading;
mod standing;
mod subscribing;
mod terms;

use std::time::Duration;

use hob_bus::{Bus, Publisher, Pull, SubscriptionKey};
use hob_core::{Clock, ManualClock, Name, Scope, Timestamp, TopicName};
use hob_store::{Store, StoreOptions};
use hob_wire::{Draft, TopicKind, TopicTerms};
use serde_json::{Value, json};

/// A bus on a directory of its own, its wall clock moved by hand.
struct World {
    directory: tempfile::TempDir,
    bus: Bus,
    clock: ManualClock,
    store: Option<Store>,
}

fn scope() -> Scope {
    "qa/uk".parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn topic(text: &str) -> TopicName {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn publisher(service: &str) -> Publisher {
    Publisher { scope: scope(), service: name(service), request_id: None, traceparent: None }
}

fn draft(value: Value) -> Draft {
    serde_json::from_value(value).unwrap()
}

fn update(id: u32) -> Draft {
    draft(json!({"topic": "orders", "type": "update", "href": format!("http://t/orders/{id}")}))
}

fn key(service: &str, subscription: &str) -> SubscriptionKey {
    SubscriptionKey { scope: scope(), service: name(service), name: topic(subscription) }
}

fn pull(max: usize) -> Pull {
    Pull { max, wait: Duration::ZERO, lease_for: Duration::from_secs(30) }
}

impl World {
    /// A bus on which `orders` owns the notify topic `orders` and `riders` the stream topic `rider.pings`.
    async fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual(time("2026-01-05T12:00:00Z"));
        let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
        let bus = Bus::open(&store, clock).await.unwrap();
        for (owner, topic_name, kind) in
            [("orders", "orders", TopicKind::Notify), ("riders", "rider.pings", TopicKind::Stream)]
        {
            let put = bus.put_topic(&scope(), &name(owner), &topic(topic_name), terms(kind)).await.unwrap();
            assert!(put.created);
        }
        Self { directory, bus, clock: hand, store: Some(store) }
    }

    /// Closes everything and opens it again, as after a restart.
    async fn reopen(self) -> Self {
        self.bus.close().await;
        self.crash().await
    }

    /// Drops everything without closing, and opens it again.
    async fn crash(self) -> Self {
        let Self { directory, bus, clock, store } = self;
        let now = bus.clock(&"no/where".parse().unwrap());
        drop((bus, store));
        let (wall, hand) = Clock::manual(now);
        drop(clock);
        // The bus's own tasks let go of the directory within moments.
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let store = loop {
            assert!(tokio::time::Instant::now() < deadline, "something still holds the bus");
            match Store::open(directory.path(), StoreOptions::default()).await {
                Ok(store) => break store,
                Err(hob_store::OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        };
        let bus = Bus::open(&store, wall).await.unwrap();
        Self { directory, bus, clock: hand, store: Some(store) }
    }

    async fn publish(&self, drafts: Vec<Draft>) -> hob_wire::Published {
        self.bus.publish(&publisher("orders"), drafts).await.unwrap()
    }
}

fn terms(kind: TopicKind) -> TopicTerms {
    TopicTerms { kind, ..TopicTerms::default() }
}
