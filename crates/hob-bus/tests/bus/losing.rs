//! Damage, a full disk and crashes at any point: what was acknowledged stays, and what is lost is told.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use hob_bus::{Bus, Error, Filter, hob_topics};
use hob_core::Clock;
use hob_store::{
    Blob, BlobError, Blobs, BoxFuture, Entry, Expected, Faults, Kv, KvError, KvWatch, Listing, LogOptions,
    Revision, Store, StoreOptions,
};
use hob_wire::{Ack, CursorAt, Event, Retention, SubscriptionSpec, TopicTerms};

use crate::{name, publisher, scope, time, topic, update};

/// Keys and blobs that fail once so many writes were made, and a disk with as much room as it is told.
pub(crate) struct Trouble {
    store: Store,
    writes_left: AtomicI64,
    room: AtomicU64,
    /// The blobs of which pieces were read, in that order.
    read: Mutex<Vec<String>>,
}

impl Trouble {
    /// The blobs of which pieces were read since the last call, each once.
    pub(crate) fn take_read(&self) -> BTreeSet<String> {
        std::mem::take(&mut *self.read.lock().unwrap()).into_iter().collect()
    }

    fn count(&self) -> bool {
        self.writes_left.fetch_sub(1, Ordering::Relaxed) > 0
    }

    /// The same store, through the trouble.
    pub(crate) fn wrap(store: &Store) -> (Store, Arc<Self>) {
        let trouble = Arc::new(Self {
            store: store.clone(),
            writes_left: AtomicI64::new(i64::MAX),
            room: AtomicU64::new(u64::MAX),
            read: Mutex::default(),
        });
        let (kv, blobs): (Arc<dyn Kv>, Arc<dyn Blobs>) = (trouble.clone(), trouble.clone());
        (Store { kv, blobs, ..store.clone() }, trouble)
    }
}

impl Kv for Trouble {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, KvError>> {
        self.store.kv.get(key)
    }
    fn put(&self, key: &str, expected: Expected, value: Bytes) -> BoxFuture<'_, Result<Revision, KvError>> {
        if self.count() {
            self.store.kv.put(key, expected, value)
        } else {
            async { Err(KvError::Closed) }.boxed()
        }
    }
    fn delete(&self, key: &str, expected: Expected) -> BoxFuture<'_, Result<Revision, KvError>> {
        if self.count() {
            self.store.kv.delete(key, expected)
        } else {
            async { Err(KvError::Closed) }.boxed()
        }
    }
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, KvError>> {
        self.store.kv.list(prefix)
    }
    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<KvWatch, KvError>> {
        self.store.kv.watch(prefix, after)
    }
}

impl Blobs for Trouble {
    fn put(&self, name: &str, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>> {
        let refused = BlobError::NotFound { name: name.to_owned() };
        if self.count() { self.store.blobs.put(name, bytes) } else { async { Err(refused) }.boxed() }
    }
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        self.store.blobs.get(name)
    }
    fn get_range(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, BlobError>> {
        self.read.lock().unwrap().push(name.to_owned());
        self.store.blobs.get_range(name, range)
    }
    fn exists(&self, name: &str) -> BoxFuture<'_, Result<bool, BlobError>> {
        self.store.blobs.exists(name)
    }
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), BlobError>> {
        let refused = BlobError::NotFound { name: name.to_owned() };
        if self.count() { self.store.blobs.delete(name) } else { async { Err(refused) }.boxed() }
    }
    fn room(&self) -> BoxFuture<'_, Result<Option<u64>, BlobError>> {
        let room = self.room.load(Ordering::Relaxed);
        async move { Ok(Some(room)) }.boxed()
    }
    fn list(&self, folder: &str) -> BoxFuture<'_, Result<Vec<Blob>, BlobError>> {
        self.store.blobs.list(folder)
    }
}

pub(crate) async fn open(directory: &std::path::Path, options: StoreOptions) -> Store {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        assert!(tokio::time::Instant::now() < deadline, "something still holds the store");
        match Store::open(directory, options.clone()).await {
            Ok(store) => return store,
            Err(hob_store::OpenError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
            Err(error) => panic!("{error}"),
        }
    }
}

async fn bus_on(store: &Store) -> Bus {
    let (clock, _) = Clock::manual(time("2026-01-05T12:00:00Z"));
    let bus = Bus::open(store, clock).await.unwrap();
    let retention = Some(Retention { age_seconds: None, bytes: Some(2_000) });
    for (topic_name, retention) in [("orders", None), ("riders", retention)] {
        let terms = TopicTerms { retention, ..TopicTerms::default() };
        bus.put_topic(&scope(), &name("orders"), &topic(topic_name), terms).await.unwrap();
    }
    bus
}

async fn publish(bus: &Bus, count: u32) {
    for n in 0..count {
        let mut rider = update(n);
        rider.topic = topic("riders");
        bus.publish(&publisher("orders"), vec![update(n), rider]).await.unwrap();
    }
}

async fn positions(bus: &Bus, topic_name: &str) -> Vec<u64> {
    let filter = Filter::topics(scope(), vec![topic(topic_name)]);
    let page = bus.events(&filter, 0, 10_000).await.unwrap();
    page.events.iter().map(Event::position).collect()
}

/// Events on `hob.conditions`: subject and type.
async fn conditions(bus: &Bus) -> Vec<(String, String)> {
    let filter = Filter::topics(Bus::platform_scope(), vec![topic(hob_topics::CONDITIONS)]);
    let events = bus.events(&filter, 0, 100).await.unwrap().events;
    events.into_iter().map(|event| (event.subject.unwrap(), event.kind)).collect()
}

#[tokio::test]
async fn sealing_may_die_at_any_write() {
    for writes in 0..14 {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path(), StoreOptions::default()).await;
        let (troubled, trouble) = Trouble::wrap(&store);
        let bus = bus_on(&troubled).await;
        for _ in 0..2 {
            publish(&bus, 30).await;
            bus.tend_log().await.unwrap();
        }
        publish(&bus, 30).await;
        trouble.writes_left.store(writes, Ordering::Relaxed);
        let outcome = bus.tend_log().await;
        let orders: Vec<u64> = positions(&bus, "orders").await;
        assert_eq!(orders.len(), 90, "{writes} writes: {outcome:?}");
        let riders = positions(&bus, "riders").await;
        drop((bus, troubled, trouble, store));
        let store = open(directory.path(), StoreOptions::default()).await;
        let bus = bus_on(&store).await;
        assert_eq!(positions(&bus, "orders").await, orders, "{writes} writes");
        assert_eq!(positions(&bus, "riders").await, riders, "{writes} writes");
        bus.tend_log().await.unwrap();
        assert_eq!(positions(&bus, "orders").await, orders, "{writes} writes");
        let riders = positions(&bus, "riders").await;
        assert!(riders.len() >= 30 && riders.last() == Some(&180), "{writes} writes: {riders:?}");
    }
}

/// Flips bits all over the parts: what is served is what was published, and what is not served is told.
#[tokio::test]
async fn flipped_bits_in_parts_are_told_and_the_rest_is_served() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default()).await;
    let bus = bus_on(&store).await;
    for _ in 0..15 {
        publish_wide(&bus).await;
    }
    bus.tend_log().await.unwrap();
    let whole = bus.events(&Filter::topics(scope(), vec![topic("orders")]), 0, 10_000).await.unwrap().events;
    drop((bus, store));
    let folder = directory.path().join("blobs/parts/events");
    let part = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(".keep."))
        .unwrap();
    let sound = std::fs::read(&part).unwrap();
    let mut seed = 0x2545_f491_4f6c_dd1d_u64;
    let mut lost_some = 0;
    for round in 0..24 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (seed >> 20) as usize % sound.len();
        let mut bytes = sound.clone();
        if round % 6 == 5 {
            bytes.truncate(at)
        } else {
            bytes[at] ^= 1 << ((seed >> 60) % 8)
        }
        std::fs::write(&part, &bytes).unwrap();
        let copy = tempfile::tempdir().unwrap();
        copy_folder(directory.path(), copy.path());
        let store = open(copy.path(), StoreOptions::default()).await;
        let bus = bus_on(&store).await;
        let (delivered, damaged) = pull_all(&bus).await;
        assert!(bus.scrub_log().await.unwrap() == 1, "byte {at} of {}", sound.len());
        let served =
            bus.events(&Filter::topics(scope(), vec![topic("orders")]), 0, 10_000).await.unwrap().events;
        assert!(served.iter().all(|event| whole.contains(event)) && served.is_sorted_by_key(Event::position));
        let told = conditions(&bus).await.contains(&("log/events".to_owned(), "active".to_owned()));
        assert_eq!(told, served.len() < whole.len(), "byte {at}: {} of {}", served.len(), whole.len());
        lost_some += u32::from(told);
        // A frame may hold a few of Hob's own events beside.
        let missing = whole.len() - served.len();
        assert_eq!(delivered, served.len(), "byte {at}");
        assert!((missing..missing + 10).contains(&damaged), "byte {at}: {damaged} for {missing}");
        if missing > 0 {
            until_told(&bus, "active").await;
            bus.snapshot(&crate::key("emails", "all")).await.unwrap();
            until_told(&bus, "inactive").await;
        } else {
            assert_eq!(damaged, 0, "byte {at}");
        }
    }
    assert!(lost_some > 5);
}

/// Has a new subscription hand out everything there is; says how many events came, and how many it says were damaged.
async fn pull_all(bus: &Bus) -> (usize, usize) {
    let key = crate::key("emails", "all");
    let spec = SubscriptionSpec {
        topics: vec![topic("orders")],
        from: CursorAt::Start,
        ..SubscriptionSpec::default()
    };
    bus.put_subscription(&key, spec).await.unwrap();
    let mut delivered = 0;
    while let Some(batch) = bus.lease(&key, crate::pull(1_000)).await.unwrap() {
        delivered += batch.events.len();
        let upto = batch.events.last().map(|event| event.sequence.clone());
        bus.ack(&key, Ack { lease: batch.lease, upto, ..Ack::default() }).await.unwrap();
    }
    let state = bus.subscription(&key).await.unwrap();
    assert_eq!(state.lag_events, 0);
    (delivered, state.damaged as usize)
}

/// Waits until the subscription's damage is told like this.
async fn until_told(bus: &Bus, kind: &str) {
    let filter = Filter::topics(scope(), vec![topic(hob_topics::CONDITIONS)]);
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    loop {
        let events = bus.events(&filter, 0, 100).await.unwrap().events;
        let mut told = events.iter().filter(|event| {
            let condition = event.data.as_ref().map(|data| data["condition"] == "damaged");
            event.subject.as_deref() == Some("subscription/emails/all") && condition == Some(true)
        });
        if told.next_back().is_some_and(|event| event.kind.ends_with(kind)) {
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "it is never told to be {kind}: {events:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Events that fill several frames.
async fn publish_wide(bus: &Bus) {
    let drafts = (0..100).map(|n| {
        let mut draft = update(n);
        draft.notice.href = Some(format!("http://t/orders/{n}/{}", "x".repeat(400)));
        draft
    });
    bus.publish(&publisher("orders"), drafts.collect()).await.unwrap();
}

fn copy_folder(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

#[tokio::test]
async fn a_disk_without_room_refuses_events_and_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), StoreOptions::default()).await;
    let (troubled, trouble) = Trouble::wrap(&store);
    let bus = bus_on(&troubled).await;
    publish(&bus, 5).await;
    trouble.room.store(1 << 20, Ordering::Relaxed);
    assert_eq!(bus.tend_log().await.unwrap(), 0, "nothing is sealed without room");
    let refused = bus.publish(&publisher("orders"), vec![update(1)]).await.unwrap_err();
    assert_eq!((refused.code().status, matches!(refused, Error::Append(_))), (507, true));
    assert_eq!(positions(&bus, "orders").await.len(), 5);
    assert_eq!(conditions(&bus).await, [("disk".to_owned(), "active".to_owned())]);
    trouble.room.store(1 << 30, Ordering::Relaxed);
    assert!(bus.tend_log().await.unwrap() >= 10);
    publish(&bus, 1).await;
    assert_eq!(conditions(&bus).await.last().unwrap(), &("disk".to_owned(), "inactive".to_owned()));
}

#[tokio::test]
async fn a_disk_that_fills_up_under_a_write_is_told_too() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let events = LogOptions { faults: Some(Arc::clone(&faults)), ..LogOptions::default() };
    let store = open(directory.path(), StoreOptions { events, ..StoreOptions::default() }).await;
    let bus = bus_on(&store).await;
    publish(&bus, 5).await;
    faults.fail_writes(28, 10);
    let refused = bus.publish(&publisher("orders"), vec![update(1)]).await.unwrap_err();
    assert_eq!(refused.code().status, 507);
    faults.heal();
    publish(&bus, 5).await;
    bus.tend_log().await.unwrap();
    assert_eq!(positions(&bus, "orders").await.len(), 10);
}

/// A disk of 40 MiB of its own, where the system lets this process mount one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=40m", "hob-test"])
            .arg(folder.path())
            .output();
        mounted.is_ok_and(|mounted| mounted.status.success()).then_some(Self(folder))
    }

    fn grow(&self) {
        let grown =
            std::process::Command::new("mount").args(["-o", "remount,size=160m"]).arg(self.0.path()).status();
        assert!(grown.unwrap().success());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = std::process::Command::new("umount").arg("-l").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()), "the small disk stays mounted");
    }
}

#[tokio::test]
async fn a_real_disk_that_fills_up_loses_nothing() {
    let Some(disk) = SmallDisk::mount() else {
        println!("not run: this process may mount no disk of its own");
        return;
    };
    let directory = disk.0.path().join("data");
    let events = LogOptions { segment_bytes: 4 << 20, ..LogOptions::default() };
    let options = StoreOptions { events, ..StoreOptions::default() };
    let store = open(&directory, options.clone()).await;
    let bus = bus_on(&store).await;
    let mut acknowledged = 0;
    let refused = loop {
        let drafts: Vec<_> = (0..500).map(|n| wide(acknowledged + n)).collect();
        match bus.publish(&publisher("orders"), drafts).await {
            Ok(_) => acknowledged += 500,
            Err(error) => break error,
        }
    };
    assert_eq!(refused.code().status, 507, "{refused}");
    bus.tend_log().await.ok();
    assert!(bus.log_stats().is_full);
    assert_eq!(conditions(&bus).await, [("disk".to_owned(), "active".to_owned())]);
    assert_eq!(count(&bus).await, acknowledged);
    drop((bus, store));
    let store = open(&directory, options).await;
    let bus = bus_on(&store).await;
    assert_eq!(count(&bus).await, acknowledged);
    disk.grow();
    bus.tend_log().await.unwrap();
    publish(&bus, 1).await;
    assert_eq!(count(&bus).await, acknowledged + 1);
    assert_eq!(conditions(&bus).await.last().unwrap(), &("disk".to_owned(), "inactive".to_owned()));
    let stats = bus.log_stats();
    assert!(stats.sealed as u32 >= acknowledged && stats.damaged.is_empty(), "{stats:?}");
    bus.close().await;
    drop((bus, store));
}

/// An event about an entity with a long name that does not compress well.
fn wide(n: u32) -> hob_wire::Draft {
    let mut draft = update(n);
    let noise: String =
        (0..24).map(|k| format!("{:08x}", (n * 24 + k).wrapping_mul(2_654_435_761))).collect();
    draft.notice.href = Some(format!("http://t/orders/{n}/{noise}"));
    draft
}

async fn count(bus: &Bus) -> u32 {
    let filter = Filter::topics(scope(), vec![topic("orders")]);
    let (mut found, mut after) = (0, 0);
    loop {
        let page = bus.events(&filter, after, 2_000).await.unwrap();
        found += page.events.len() as u32;
        match page.next {
            Some(next) => after = next,
            None => return found,
        }
    }
}
