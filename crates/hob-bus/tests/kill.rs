//! A process that publishes is killed at random, many times: every id that it was told of is known again, no entity's
//! number is given twice, and what was held back appears once.
//!
//! The test runs itself as the child, which prints a line for each batch that became durable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use hob_bus::{Bus, Filter, IndexLimits, Publisher};
use hob_core::{Clock, Scope, TopicName};
use hob_store::{OpenError, Store, StoreOptions};
use hob_test::{Luck, Work, acknowledge, kill_a_child, work};
use hob_wire::{Draft, Event, Published, TopicTerms};
use serde_json::json;

const ROUNDS: u64 = 10;
/// A child is killed after it acknowledged fewer batches than this.
const ACKNOWLEDGED_MAX: u64 = 120;
const ENTITIES: u64 = 40;

fn scope() -> Scope {
    "qa/uk".parse().unwrap()
}

fn topic() -> TopicName {
    "orders".parse().unwrap()
}

/// The tasks of a bus that was closed let go of the directory within moments.
async fn open_store(directory: &Path) -> Store {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        match Store::open(directory, StoreOptions::default()).await {
            Err(OpenError::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            opened => return opened.unwrap(),
        }
    }
}

async fn open(directory: &Path) -> Bus {
    let store = open_store(directory).await;
    let limits = IndexLimits { ids: 50, entities: 30, events: 60 };
    let bus = Bus::open_with(&store, Clock::system(), limits).await.unwrap();
    bus.put_topic(&scope(), &"orders".parse().unwrap(), &topic(), TopicTerms::default()).await.unwrap();
    bus
}

/// Batch n of a round: three events with ids of their own.
async fn publish(bus: &Bus, round: u64, batch: u64) -> Published {
    let service = "orders".parse().unwrap();
    let publisher = Publisher { scope: scope(), service, request_id: None, traceparent: None };
    let event = |nth: u64| {
        let href = format!("http://t/orders/{}", (round * 7 + batch * 11 + nth * 3) % ENTITIES);
        let id = format!("{round}-{batch}-{nth}");
        json!({"topic": "orders", "type": "update", "href": href, "id": id})
    };
    let drafts: Vec<Draft> = (0..3).map(|nth| serde_json::from_value(event(nth)).unwrap()).collect();
    bus.publish(&publisher, drafts).await.unwrap()
}

/// Publishes and prints until it is killed; passes at once when it is not run as the child.
#[tokio::test]
async fn child() {
    let Some(Work { directory, round }) = work() else { return };
    let bus = open(&directory).await;
    for batch in 0.. {
        let published = publish(&bus, round, batch).await;
        acknowledge(&format!("{batch} {}", published.first));
    }
}

/// Holds events back for a moment and prints their ids until it is killed; passes at once when it is not run as the child.
#[tokio::test]
async fn child_that_holds_back() {
    let Some(Work { directory, round }) = work() else { return };
    let bus = open(&directory).await;
    for number in 0_u64.. {
        let ids = hold_back(&bus, round, number).await;
        acknowledge(&ids.join(" "));
    }
}

/// Publishes two events that are to appear within the next moments.
async fn hold_back(bus: &Bus, round: u64, number: u64) -> [String; 2] {
    let service = "orders".parse().unwrap();
    let publisher = Publisher { scope: scope(), service, request_id: None, traceparent: None };
    let ids = [0, 1].map(|nth| format!("later-{round}-{number}-{nth}"));
    let drafts = ids.iter().zip([number * 37 % 400, number * 91 % 400]).map(|(id, millis)| {
        let href = format!("http://t/orders/{}", millis % ENTITIES);
        let notbefore = Clock::system().now().plus(Duration::from_millis(millis));
        let event =
            json!({"topic": "orders", "type": "update", "href": href, "id": id, "notbefore": notbefore});
        serde_json::from_value(event).unwrap()
    });
    bus.publish(&publisher, drafts.collect()).await.unwrap();
    ids
}

#[tokio::test]
async fn events_held_back_appear_exactly_once_whatever_is_killed() {
    let luck = Luck::new();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<String> = Vec::new();
    let mut held_at_start = 0;
    for round in 0..ROUNDS {
        let kill_after = luck.number(round, ACKNOWLEDGED_MAX);
        for told in kill_a_child("child_that_holds_back", directory.path(), round, kill_after) {
            acknowledged.extend(told.split(' ').map(str::to_owned));
        }
        // Every other time the next child finds what is still held back, and is killed among it.
        if round % 2 == 0 && round + 1 < ROUNDS {
            continue;
        }
        let bus = open(directory.path()).await;
        let held_back = || bus.topic(&scope(), &topic()).unwrap();
        held_at_start += held_back().delayed;
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        while held_back().delayed > 0 {
            assert!(tokio::time::Instant::now() < deadline, "{} are held back for ever", held_back().delayed);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(held_back().delayed_lost, 0);
        let mut appeared: HashMap<String, u32> = HashMap::new();
        for event in read_all(&bus).await {
            *appeared.entry(event.id).or_default() += 1;
        }
        // What was not acknowledged may be there as well, and that once, too.
        assert!(appeared.values().all(|times| *times == 1), "{appeared:?}");
        let missing: Vec<_> = acknowledged.iter().filter(|id| !appeared.contains_key(*id)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        bus.close().await;
        drop(bus);
        drop(open_store(directory.path()).await);
    }
    assert!(held_at_start > 0 && acknowledged.len() as u64 >= ROUNDS, "{held_at_start} were held back");
}

async fn read_all(bus: &Bus) -> Vec<Event> {
    let filter = Filter::topics(scope(), vec![topic()]);
    let (mut events, mut after) = (Vec::new(), Some(0));
    while let Some(from) = after {
        let page = bus.events(&filter, from, 1_000).await.unwrap();
        events.extend(page.events);
        after = page.next;
    }
    events
}

#[tokio::test]
async fn ids_and_numbers_survive_kill_9() {
    let luck = Luck::new();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, u64, String)> = Vec::new();
    for round in 0..ROUNDS {
        let kill_after = luck.number(round, ACKNOWLEDGED_MAX);
        for told in kill_a_child("child", directory.path(), round, kill_after) {
            let (batch, first) = told.split_once(' ').unwrap();
            acknowledged.push((round, batch.parse().unwrap(), first.to_owned()));
        }
        if round == ROUNDS / 2 {
            std::fs::remove_dir_all(directory.path().join("index")).unwrap();
        }
        let bus = open(directory.path()).await;
        let before = bus.head();
        for (round, batch, first) in &acknowledged {
            let again = publish(&bus, *round, *batch).await;
            assert_eq!((again.deduplicated, &again.first), (3, first), "round {round}, batch {batch}");
        }
        assert_eq!(bus.head(), before, "nothing was published twice");
        let mut entities: HashMap<String, (u64, String)> = HashMap::new();
        for event in read_all(&bus).await {
            let (href, nth) = (event.subject.unwrap(), event.entityseq.unwrap());
            let expect = entities.get(&href).map_or(1, |(before, _)| before + 1);
            assert_eq!(nth, expect, "event {} of {href}", event.sequence);
            entities.insert(href, (nth, event.sequence));
        }
        let found = bus.entities(&scope(), &topic(), None, None, 1_000).await.unwrap().entities;
        let found: HashMap<_, _> =
            found.into_iter().map(|entity| (entity.href, (entity.entityseq, entity.sequence))).collect();
        assert_eq!(found, entities);
        bus.close().await;
        drop(bus);
        drop(open_store(directory.path()).await);
    }
    assert!(acknowledged.len() as u64 >= ROUNDS);
}
