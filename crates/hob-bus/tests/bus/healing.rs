//! The index is disposable: damaged while Hob runs, it is made anew from the log, and nothing that it knew is forgotten.

use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::time::Duration;

use hob_bus::{Bus, Filter, IndexLimits, hob_topics};
use hob_core::Clock;
use hob_store::{Store, StoreOptions};
use hob_wire::{Draft, TopicTerms};

use crate::losing::open;
use crate::{draft, name, publisher, scope, time, topic};

const ENTITIES: u32 = 60;

async fn bus_on(store: &Store) -> Bus {
    let (clock, _) = Clock::manual(time("2026-01-05T12:00:00Z"));
    let limits = IndexLimits { ids: 50, entities: 20, events: 60 };
    let bus = Bus::open_with(store, clock, limits).await.unwrap();
    bus.put_topic(&scope(), &name("orders"), &topic("orders"), TopicTerms::default()).await.unwrap();
    bus
}

fn event(n: u32) -> Draft {
    let href = format!("http://t/orders/{}", n % ENTITIES);
    draft(serde_json::json!({"topic": "orders", "type": "update", "href": href, "id": format!("id-{n}")}))
}

async fn publish(bus: &Bus, events: std::ops::Range<u32>) {
    for n in events.step_by(20) {
        bus.publish(&publisher("orders"), (n..n + 20).map(event).collect()).await.unwrap();
    }
}

/// Writes over much of every file of the index, under the feet of whoever has it open.
fn damage(directory: &Path) -> usize {
    let runs = std::fs::read_dir(directory.join("index")).unwrap().map(|entry| entry.unwrap().path());
    let runs: Vec<_> = runs.filter(|path| path.extension().is_some_and(|end| end == "run")).collect();
    for path in &runs {
        let mut file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        bytes.iter_mut().step_by(17).for_each(|byte| *byte ^= 0x5a);
        file.seek(SeekFrom::Start(0)).unwrap();
        file.write_all(&bytes).unwrap();
    }
    runs.len()
}

/// Waits until there are this many files, so that most of what the index knows is on disk.
async fn until_flushed(store: &Store, entities: u64) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while store.index.entries("entities") < entities {
        assert!(tokio::time::Instant::now() < deadline, "nothing is flushed");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What was told of the index: whether it is damaged, and why.
async fn told(bus: &Bus) -> Vec<(bool, String)> {
    let filter = Filter::topics(Bus::platform_scope(), vec![topic(hob_topics::CONDITIONS)]);
    let events = bus.events(&filter, 0, 100).await.unwrap().events;
    let of_index = events.into_iter().filter(|event| event.subject.as_deref() == Some("index"));
    let data = of_index.map(|event| event.data.unwrap());
    data.map(|data| (data["active"].as_bool().unwrap(), data["reason"].as_str().unwrap().to_owned()))
        .collect()
}

#[tokio::test]
async fn an_index_that_is_damaged_under_way_is_made_anew_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default()).await;
    let bus = bus_on(&store).await;
    publish(&bus, 0..300).await;
    bus.tend_log().await.unwrap();
    publish(&bus, 300..600).await;
    until_flushed(&store, 50).await;
    assert!(damage(directory.path()) > 0);
    // All at once, so that several find it.
    let again = (0..5).map(|nth| {
        let bus = bus.clone();
        tokio::spawn(async move {
            bus.publish(&publisher("orders"), (nth * 20..nth * 20 + 20).map(event).collect()).await
        })
    });
    for published in futures_util::future::join_all(again).await {
        assert_eq!(published.unwrap().unwrap().deduplicated, 20, "every id is known");
    }
    let entities = bus.entities(&scope(), &topic("orders"), None, None, 1_000).await.unwrap().entities;
    assert_eq!(entities.len() as u32, ENTITIES);
    assert!(entities.iter().all(|entity| entity.entityseq == 10));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while told(&bus).await.len() < 2 {
        assert!(tokio::time::Instant::now() < deadline, "it is told");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let all = told(&bus).await;
    assert!(all[0].0 && all[0].1.contains("made anew from"), "{all:?}");
    assert_eq!(all[1..], [(false, "the index is whole".to_owned())], "made anew once");
    // New events are counted on, and flushed on.
    publish(&bus, 600..900).await;
    let entities = bus.entities(&scope(), &topic("orders"), None, None, 1_000).await.unwrap().entities;
    assert!(entities.iter().all(|entity| entity.entityseq == 15));
}

#[tokio::test]
async fn an_index_that_was_damaged_while_hob_was_down_is_made_anew_too() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default()).await;
    let bus = bus_on(&store).await;
    publish(&bus, 0..600).await;
    until_flushed(&store, 50).await;
    bus.close().await;
    drop((bus, store));
    drop(open(directory.path(), StoreOptions::default()).await);
    assert!(damage(directory.path()) > 0);
    let store = open(directory.path(), StoreOptions::default()).await;
    let bus = bus_on(&store).await;
    let head = bus.head();
    let again = bus.publish(&publisher("orders"), (0..100).map(event).collect()).await.unwrap();
    assert_eq!((again.deduplicated, bus.head()), (100, head));
}
