//! A process that publishes is killed at random, many times: every id that it was told of is known again, and no
//! entity's number is given twice.
//!
//! The test runs itself as the child, which prints a line for each batch that became durable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use hob_bus::{Bus, Filter, IndexLimits, Publisher};
use hob_core::{Clock, Scope, TopicName};
use hob_store::{OpenError, Store, StoreOptions};
use hob_wire::{Draft, Event, Published, TopicTerms};
use serde_json::json;

const ROUNDS: u64 = 10;
/// A child is killed after it acknowledged fewer batches than this.
const ACKNOWLEDGED_MAX: u64 = 120;
const ENTITIES: u64 = 40;
const DIRECTORY_VARIABLE: &str = "HOB_BUS_KILL_DIRECTORY";
const ROUND_VARIABLE: &str = "HOB_BUS_KILL_ROUND";

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
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from) else { return };
    let round = std::env::var_os(ROUND_VARIABLE).unwrap().to_str().unwrap().parse().unwrap();
    let bus = open(&directory).await;
    for batch in 0.. {
        let published = publish(&bus, round, batch).await;
        let line = format!("acknowledged {batch} {}\n", published.first);
        std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
    }
}

/// Runs a child, kills it once it acknowledged `kill_after` batches, and returns these with their first sequences.
fn kill_a_child(directory: &Path, round: u64, kill_after: u64) -> Vec<(u64, String)> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY_VARIABLE, directory)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut acknowledged = Vec::new();
    let mut line = String::new();
    while lines.read_line(&mut line).unwrap() > 0 {
        if let Some((_, told)) = line.split_once("acknowledged ").filter(|_| line.ends_with('\n')) {
            let (batch, first) = told.trim().split_once(' ').unwrap();
            acknowledged.push((batch.parse().unwrap(), first.to_owned()));
        }
        if acknowledged.len() as u64 == kill_after {
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success(), "the child was killed");
    acknowledged
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
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var_os("HOB_TEST_SEED").map(|seed| seed.to_str().unwrap().parse::<u64>().unwrap());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let kill_after = 1 + (seed.rotate_left(round as u32 * 7) ^ round) % ACKNOWLEDGED_MAX;
        for (batch, first) in kill_a_child(directory.path(), round, kill_after) {
            acknowledged.push((round, batch, first));
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
