//! A process that publishes, seals and lets events expire is killed at random, many times: what it acknowledged is
//! there, once and in order, and what is gone is gone by retention alone.
//!
//! The test runs itself as the child, which prints a line for each event that was acknowledged.

use hob_bus::{Bus, Filter};
use hob_core::Clock;
use hob_store::{LogOptions, Store, StoreOptions};
use hob_test::{Luck, Work, acknowledge, kill_a_child, work};
use hob_wire::{Event, Retention, TopicTerms};

use crate::losing::open;
use crate::{draft, name, publisher, scope, time, topic};

const ROUNDS: u64 = 8;
/// A child is killed after it acknowledged fewer events than this.
const ACKNOWLEDGED_MAX: u64 = 900;
/// What a topic with a bound keeps, at least, in bytes.
const KEPT_BYTES: u64 = 20_000;

fn options() -> StoreOptions {
    let events = LogOptions { segment_bytes: 8 << 10, ..LogOptions::default() };
    StoreOptions { events, ..StoreOptions::default() }
}

async fn bus_on(store: &Store) -> Bus {
    let (clock, _) = Clock::manual(time("2026-01-05T12:00:00Z"));
    let bus = Bus::open(store, clock).await.unwrap();
    let bounded = Some(Retention { age_seconds: None, bytes: Some(KEPT_BYTES) });
    for (topic_name, retention) in [("orders", None), ("riders", bounded)] {
        let terms = TopicTerms { retention, ..TopicTerms::default() };
        bus.put_topic(&scope(), &name("orders"), &topic(topic_name), terms).await.unwrap();
    }
    bus
}

/// Publishes and prints until it is killed; passes at once when it is not run as the child.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(Work { directory, .. }) = work() else { return };
    let store = open(&directory, options()).await;
    let bus = bus_on(&store).await;
    let tended = bus.clone();
    tokio::spawn(async move {
        loop {
            tended.tend_log().await.unwrap();
        }
    });
    for n in bus.head().. {
        let topic_name = if n % 2 == 0 { "orders" } else { "riders" };
        let href = format!("http://t/{topic_name}/{}", n % 50);
        let notice = serde_json::json!({"topic": topic_name, "type": "update", "href": href});
        let published = bus.publish(&publisher("orders"), vec![draft(notice)]).await.unwrap();
        acknowledge(&format!("{} {topic_name}", published.first));
    }
}

async fn positions(bus: &Bus, topic_name: &str) -> Vec<u64> {
    let filter = Filter::topics(scope(), vec![topic(topic_name)]);
    let (mut found, mut after) = (Vec::new(), 0);
    loop {
        let page = bus.events(&filter, after, 500).await.unwrap();
        found.extend(page.events.iter().map(Event::position));
        match page.next {
            Some(next) => after = next,
            None => return found,
        }
    }
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9_while_it_is_sealed() {
    let luck = Luck::new();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, String)> = Vec::new();
    let (mut sealed, mut expired) = (0, 0);
    for round in 0..ROUNDS {
        let kill_after = luck.number(round, ACKNOWLEDGED_MAX);
        let path = directory.path().to_owned();
        // Beside this thread, on which the last round's bus lets go of the directory.
        let killing =
            tokio::task::spawn_blocking(move || kill_a_child("killing::child", &path, round, kill_after));
        for told in killing.await.unwrap() {
            let (sequence, topic_name) = told.split_once(' ').unwrap();
            acknowledged.push((sequence.parse().unwrap(), topic_name.to_owned()));
        }
        let store = open(directory.path(), options()).await;
        let bus = bus_on(&store).await;
        let of = |topic_name: &str| {
            let own = acknowledged.iter().filter(|(_, of)| of == topic_name);
            own.map(|(sequence, _)| *sequence).collect::<Vec<u64>>()
        };
        let orders = positions(&bus, "orders").await;
        assert!(orders.is_sorted_by(|a, b| a < b), "once and in order");
        assert!(of("orders").iter().all(|sequence| orders.binary_search(sequence).is_ok()));
        let riders = positions(&bus, "riders").await;
        assert!(riders.is_sorted_by(|a, b| a < b), "once and in order");
        let oldest = riders.first().copied().unwrap_or(0);
        let kept = of("riders").into_iter().filter(|sequence| *sequence >= oldest);
        assert!(kept.into_iter().all(|sequence| riders.binary_search(&sequence).is_ok()));
        let stats = bus.log_stats();
        assert_eq!(stats.damaged, []);
        assert!(stats.sealed >= sealed && stats.expired_events >= expired, "{stats:?}");
        (sealed, expired) = (stats.sealed, stats.expired_events);
        assert_eq!(bus.scrub_log().await.unwrap(), 0);
    }
    assert!(sealed > 0 && acknowledged.is_sorted(), "sealed up to {sealed}");
}
