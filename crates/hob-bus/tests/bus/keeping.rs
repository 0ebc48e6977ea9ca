//! Sealing, retention and compaction: what is kept reads as before, what is not is never skipped in silence.

use std::collections::BTreeSet;
use std::time::Duration;

use hob_bus::{Bus, Error, Filter, Publisher, TailItem};
use hob_store::{Store, StoreOptions};
use hob_wire::{Draft, Event, Retention, TopicKind, TopicTerms};
use serde_json::json;

use crate::{World, draft, key, name, publisher, pull, scope, time, topic, update};

fn ping(n: u32) -> Draft {
    draft(
        json!({"topic": "rider.pings", "type": "ping", "href": format!("http://t/riders/{}", n % 7), "data": {"n": n}}),
    )
}

/// Publishes 20 orders and 20 pings, a few at a time.
async fn publish_some(world: &World, round: u32) {
    let with_request = |n: u32| Publisher { request_id: Some(format!("r{n}")), ..publisher("orders") };
    for n in (round * 20)..(round * 20 + 20) {
        world.bus.publish(&with_request(n), vec![update(n % 11)]).await.unwrap();
        world.bus.publish(&publisher("riders"), vec![ping(n)]).await.unwrap();
    }
}

/// All pages of a filter, in either order.
async fn walk(bus: &Bus, filter: &Filter, limit: usize) -> Vec<Event> {
    let (mut events, mut after) = (Vec::new(), 0);
    loop {
        let page = bus.events(filter, after, limit).await.unwrap();
        assert!(page.events.len() <= limit);
        events.extend(page.events);
        match page.next {
            Some(next) => after = next,
            None => return events,
        }
    }
}

async fn walk_back(bus: &Bus, filter: &Filter, limit: usize) -> Vec<Event> {
    let (mut events, mut before) = (Vec::new(), None);
    loop {
        let page = bus.events_back(filter, before, limit).await.unwrap();
        assert!(page.events.len() <= limit);
        events.extend(page.events);
        match page.next {
            Some(next) => before = Some(next),
            None => return events,
        }
    }
}

fn filters() -> Vec<Filter> {
    let all = || Filter::all(scope());
    vec![
        all(),
        Filter::topics(scope(), vec![topic("rider.pings")]),
        Filter { subject: Some("http://t/orders/3".to_owned()), ..all() },
        Filter { request_id: Some("r17".to_owned()), ..all() },
        Filter { types: vec!["ping".to_owned()], subject: Some("http://t/riders/2".to_owned()), ..all() },
        Filter { subject: Some("http://t/nobody".to_owned()), ..all() },
        Filter { from: Some(time("2026-01-05T12:00:00Z")), to: Some(time("2026-01-05T12:00:01Z")), ..all() },
        Filter { to: Some(time("2026-01-05T12:00:00Z")), ..all() },
    ]
}

async fn all_reads(bus: &Bus) -> Vec<Vec<Event>> {
    let mut reads = Vec::new();
    for filter in filters() {
        let forward = walk(bus, &filter, 7).await;
        let mut backward = walk_back(bus, &filter, 5).await;
        backward.reverse();
        assert_eq!(forward, backward, "{filter:?}");
        reads.push(forward);
    }
    reads
}

#[tokio::test]
async fn sealed_events_read_as_before() {
    let world = World::new().await;
    publish_some(&world, 0).await;
    let id = walk(&world.bus, &Filter::all(scope()), 100).await[9].id.clone();
    let by_id = Filter { id: Some(id), ..Filter::all(scope()) };
    let before = all_reads(&world.bus).await;
    assert_eq!(before[0].len(), 40);
    assert_eq!(before[3].len(), 1);
    assert_eq!(world.bus.tend_log().await.unwrap(), 40);
    assert_eq!(all_reads(&world.bus).await, before);
    assert_eq!(walk(&world.bus, &by_id, 3).await.len(), 1);
    assert_eq!(world.bus.event(&scope(), 17).await.unwrap(), before[0][16]);
    publish_some(&world, 1).await;
    let before = all_reads(&world.bus).await;
    assert_eq!(before[0].len(), 80);
    world.bus.tend_log().await.unwrap();
    publish_some(&world, 2).await;
    let mixed = all_reads(&world.bus).await;
    assert_eq!(mixed[0][..80], before[0][..]);
    let world = world.reopen().await;
    assert_eq!(all_reads(&world.bus).await, mixed);
    let world = world.crash().await;
    assert_eq!(all_reads(&world.bus).await, mixed);
}

#[tokio::test]
async fn subscriptions_and_tails_go_on_across_sealing() {
    let world = World::new().await;
    let emails = key("emails", "orders");
    let spec = serde_json::from_value(json!({"topics": ["orders"], "from": "start"})).unwrap();
    world.bus.put_subscription(&emails, spec).await.unwrap();
    let mut tail = world.bus.tail(Filter::all(scope()), 0);
    let (mut tailed, mut pulled) = (Vec::new(), Vec::new());
    for round in 0..3 {
        publish_some(&world, round).await;
        world.bus.tend_log().await.unwrap();
        for _ in 0..20 {
            if let TailItem::Event(event) = tail.next().await.unwrap() {
                tailed.push(event.position());
            }
        }
        let batch = world.bus.lease(&emails, pull(10)).await.unwrap().unwrap();
        pulled.extend(batch.events.iter().map(Event::position));
        let ack = json!({"lease": batch.lease, "upto": batch.events[9].sequence});
        world.bus.ack(&emails, serde_json::from_value(ack).unwrap()).await.unwrap();
    }
    assert!(tailed.len() >= 50 && tailed.iter().copied().eq(1..=tailed.len() as u64));
    assert_eq!(pulled, (0..30).map(|n| 2 * n + 1).collect::<Vec<u64>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_lose_and_repeat_nothing_while_the_log_grows_and_is_sealed() {
    let world = World::new().await;
    publish_some(&world, 0).await;
    let bus = world.bus.clone();
    let tending = tokio::spawn(async move {
        for _ in 0..30 {
            bus.tend_log().await.unwrap();
            tokio::task::yield_now().await;
        }
    });
    let bus = world.bus.clone();
    let publishing = tokio::spawn(async move {
        for n in 0..200 {
            bus.publish(&publisher("orders"), vec![update(n), update(n + 1)]).await.unwrap();
        }
    });
    while !(tending.is_finished() && publishing.is_finished()) {
        for filter in [Filter::all(scope()), Filter::topics(scope(), vec![topic("orders")])] {
            let known = world.bus.head();
            let up: Vec<u64> = walk(&world.bus, &filter, 9).await.iter().map(Event::position).collect();
            assert!(up.is_sorted_by(|a, b| a < b), "repeated or out of order: {up:?}");
            let down: Vec<u64> =
                walk_back(&world.bus, &filter, 9).await.iter().map(Event::position).collect();
            assert!(down.is_sorted_by(|a, b| a > b), "repeated or out of order: {down:?}");
            let upto = |found: &[u64]| found.iter().copied().filter(|n| *n <= known).collect::<BTreeSet<_>>();
            assert_eq!(upto(&up), upto(&down));
            if filter.topics.is_empty() {
                assert_eq!(upto(&up).len() as u64, known, "lost");
            }
        }
    }
    tending.await.unwrap();
    publishing.await.unwrap();
    let all = walk(&world.bus, &Filter::all(scope()), 1_000).await;
    assert!(all.iter().map(Event::position).eq(1..=440));
}

async fn keep(world: &World, owner: &str, name_of: &str, kind: TopicKind, retention: Retention) {
    let terms = TopicTerms { kind, retention: Some(retention), ..TopicTerms::default() };
    world.bus.put_topic(&scope(), &name(owner), &topic(name_of), terms).await.unwrap();
}

#[tokio::test]
async fn old_events_go_and_only_their_readers_are_told() {
    let world = World::new().await;
    let hour = Retention { age_seconds: Some(3_600), bytes: None };
    keep(&world, "riders", "rider.pings", TopicKind::Stream, hour).await;
    publish_some(&world, 0).await;
    world.bus.tend_log().await.unwrap();
    world.clock.advance(Duration::from_secs(3_000));
    publish_some(&world, 1).await;
    world.bus.tend_log().await.unwrap();
    let pings = Filter::topics(scope(), vec![topic("rider.pings")]);
    assert_eq!(walk(&world.bus, &pings, 100).await.len(), 40);
    world.clock.advance(Duration::from_secs(700));
    world.bus.tend_log().await.unwrap();
    assert!(walk(&world.bus, &pings, 100).await.iter().map(Event::position).eq((21..=40).map(|n| 2 * n)));
    let orders = Filter::topics(scope(), vec![topic("orders")]);
    for world in [world.crash().await] {
        assert_eq!(walk(&world.bus, &pings, 100).await.len(), 20);
        assert_eq!(walk(&world.bus, &orders, 100).await.len(), 40);
        let gone = world.bus.events(&pings, 5, 100).await.unwrap_err();
        assert!(matches!(gone, Error::CursorExpired { after: 5, oldest: 41 }), "{gone}");
        assert_eq!(world.bus.events(&orders, 5, 100).await.unwrap().events.len(), 37);
        let mut resumed = world.bus.tail(Filter::all(scope()), 5);
        let told = loop {
            match resumed.next().await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert!(matches!(told, Error::CursorExpired { after: 5, oldest: 41 }), "{told}");
        // Who begins with what there is has missed nothing.
        let mut fresh = world.bus.tail(Filter::all(scope()), 0);
        let mut seen = 0;
        while seen < 60 {
            seen += u64::from(matches!(fresh.next().await.unwrap(), TailItem::Event(_)));
        }
        let late = key("emails", "late");
        let spec = json!({"topics": ["orders", "rider.pings"], "from": "start"});
        world.bus.put_subscription(&late, serde_json::from_value(spec).unwrap()).await.unwrap();
        let batch = world.bus.lease(&late, pull(100)).await.unwrap().unwrap();
        assert_eq!(batch.events.len(), 60);
        let all_back = walk_back(&world.bus, &Filter::all(scope()), 9).await;
        assert_eq!(all_back.len(), 60);
    }
}

#[tokio::test]
async fn a_topic_keeps_its_newest_bytes() {
    let world = World::new().await;
    let little = Retention { age_seconds: None, bytes: Some(1_000) };
    keep(&world, "riders", "rider.pings", TopicKind::Stream, little).await;
    for round in 0..5 {
        publish_some(&world, round).await;
        world.bus.tend_log().await.unwrap();
    }
    let pings = Filter::topics(scope(), vec![topic("rider.pings")]);
    let kept = walk(&world.bus, &pings, 100).await;
    assert_eq!((kept.len(), kept[0].position()), (20, 162));
    assert_eq!(walk(&world.bus, &Filter::topics(scope(), vec![topic("orders")]), 100).await.len(), 100);
}

#[tokio::test]
async fn a_retention_that_comes_later_is_applied_to_old_parts() {
    let world = World::new().await;
    publish_some(&world, 0).await;
    world.bus.tend_log().await.unwrap();
    let size = folder_bytes(world.directory.path());
    keep(
        &world,
        "riders",
        "rider.pings",
        TopicKind::Stream,
        Retention { age_seconds: Some(60), bytes: None },
    )
    .await;
    world.clock.advance(Duration::from_secs(100));
    world.bus.tend_log().await.unwrap();
    assert!(folder_bytes(world.directory.path()) < size, "most of the shared part went");
    let left = walk(&world.bus, &Filter::all(scope()), 9).await;
    assert!(left.iter().all(|event| event.topic == topic("orders")) && left.len() == 20);
}

fn folder_bytes(directory: &std::path::Path) -> u64 {
    let parts = std::fs::read_dir(directory.join("blobs/parts/events")).unwrap();
    parts.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_compact_topic_keeps_the_newest_event_of_every_entity() {
    let world = World::new().await;
    let terms = TopicTerms { kind: TopicKind::Compact, ..TopicTerms::default() };
    world.bus.put_topic(&scope(), &name("menus"), &topic("menus"), terms).await.unwrap();
    for round in 0..6 {
        for n in 0..5 {
            // The last entity is written in the first round alone.
            let n = if round > 0 && n == 4 { 0 } else { n };
            let menu = json!({"topic": "menus", "type": "update", "href": format!("http://t/menus/{n}"), "data": {"round": round}});
            world.bus.publish(&publisher("menus"), vec![draft(menu)]).await.unwrap();
        }
        world.bus.tend_log().await.unwrap();
    }
    let left = walk(&world.bus, &Filter::topics(scope(), vec![topic("menus")]), 3).await;
    // A list has the last known state of each; that of a topic that tells of changes alone has none.
    let listed = world.bus.entities(&scope(), &topic("menus"), None, None, 10).await.unwrap().entities;
    let rounds: Vec<_> =
        listed.iter().map(|entity| entity.last.as_ref().unwrap().data.clone().unwrap()).collect();
    assert_eq!(rounds, [5, 5, 5, 5, 0].map(|round| json!({"round": round})));
    world.publish(vec![crate::update(1)]).await;
    let listed = world.bus.entities(&scope(), &topic("orders"), None, None, 10).await.unwrap().entities;
    assert!(listed.iter().all(|entity| entity.last.is_none()));
    let newest = |n: usize| {
        let href = format!("http://t/menus/{n}");
        left.iter().rev().find(|event| event.subject.as_ref() == Some(&href)).unwrap().data.clone().unwrap()
    };
    assert_eq!((newest(3), newest(4)), (json!({"round": 5}), json!({"round": 0})));
    assert!(left.len() <= 8, "{} events are left of 30", left.len());
    // Nobody is told that something is missing: the state of every entity is there.
    assert!(world.bus.events(&Filter::topics(scope(), vec![topic("menus")]), 1, 3).await.is_ok());
}

#[tokio::test]
async fn opening_reads_only_what_is_not_sealed() {
    let world = World::new().await;
    for round in 0..3 {
        publish_some(&world, round).await;
        world.bus.tend_log().await.unwrap();
    }
    let directory = world.directory;
    world.bus.close().await;
    drop((world.bus, world.store));
    let store = loop {
        match Store::open(directory.path(), StoreOptions::default()).await {
            Ok(store) => break store,
            Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
        }
    };
    assert_eq!((store.events.head(), store.events.oldest()), (120, 121));
}

#[tokio::test]
async fn an_entitys_history_is_read_from_the_parts_that_have_it_alone() {
    let directory = tempfile::tempdir().unwrap();
    let store = crate::losing::open(directory.path(), StoreOptions::default()).await;
    let (store, trouble) = crate::losing::Trouble::wrap(&store);
    let (clock, _) = hob_core::Clock::manual(crate::time("2026-01-05T12:00:00Z"));
    let bus = Bus::open(&store, clock).await.unwrap();
    bus.put_topic(&scope(), &name("orders"), &topic("orders"), crate::terms(TopicKind::Notify))
        .await
        .unwrap();
    // Entity 1 is in the parts 2 and 9, entity 2 in the parts 4 and 6; many others are in each.
    for part in 0..12 {
        let others = (0..1_500).map(|n| crate::update(1_000 + part * 2_000 + n));
        let mut drafts: Vec<_> = others.collect();
        match part {
            2 | 9 => drafts.insert(700, crate::update(1)),
            4 | 6 => drafts.insert(700, crate::update(2)),
            _ => {}
        }
        for batch in drafts.chunks(500) {
            bus.publish(&publisher("orders"), batch.to_vec()).await.unwrap();
        }
        bus.tend_log().await.unwrap();
    }
    let of = |n: u32| {
        let subject = Some(format!("http://t/orders/{n}"));
        Filter { subject, ..Filter::topics(scope(), vec![topic("orders")]) }
    };
    // Every filter is read once, and says that nobody has this one.
    let nowhere = bus.events(&of(999_999), 0, 10).await.unwrap();
    assert_eq!((nowhere.events.len(), nowhere.next), (0, None));
    assert_eq!(trouble.take_read().len(), 12);
    // From then on parts are read that have what is looked for, in either direction, in one page; a filter may be wrong
    // about one part in a hundred.
    let found = bus.events(&of(1), 0, 10).await.unwrap();
    assert_eq!((found.events.len(), found.next), (2, None));
    let read = trouble.take_read();
    assert!((2..=3).contains(&read.len()), "{read:?}");
    let found = bus.events_back(&of(2), None, 10).await.unwrap();
    assert_eq!((found.events.len(), found.next), (2, None));
    let read = trouble.take_read();
    assert!((2..=3).contains(&read.len()), "{read:?}");
    assert!(found.events[0].position() > found.events[1].position());
    // By request and by id alike.
    let id = found.events[0].id.clone();
    let by_id = Filter { id: Some(id), ..Filter::topics(scope(), vec![topic("orders")]) };
    assert_eq!(bus.events(&by_id, 0, 10).await.unwrap().events.len(), 1);
    let read = trouble.take_read();
    assert!(read.len() <= 2, "{read:?}");
}
