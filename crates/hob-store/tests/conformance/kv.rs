//! What every key store promises.

use std::sync::Arc;

use bytes::Bytes;
use hob_store::{
    Entry, Expected, KEY_BYTES_MAX, Kv, KvChange, KvError, Lease, LeaseError, Revision, Store, StoreOptions,
    VALUE_BYTES_MAX,
};

fn value(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn entry(key: &str, revision: Revision, text: &str) -> Entry {
    Entry { key: key.to_owned(), revision, value: value(text) }
}

async fn writes_only_what_is_as_expected(kv: Arc<dyn Kv>) {
    assert_eq!(kv.get("a").await.unwrap(), None);
    let first = kv.put("a", Expected::Absent, value("1")).await.unwrap();
    let error = kv.put("a", Expected::Absent, value("2")).await.unwrap_err();
    assert!(matches!(error, KvError::Conflict { current, .. } if current == Some(first)));
    let second = kv.put("a", Expected::Revision(first), value("2")).await.unwrap();
    assert!(second > first);
    kv.put("a", Expected::Revision(first), value("3")).await.unwrap_err();
    assert_eq!(kv.get("a").await.unwrap(), Some(entry("a", second, "2")));
    kv.delete("a", Expected::Revision(first)).await.unwrap_err();
    let gone = kv.delete("a", Expected::Revision(second)).await.unwrap();
    assert!(gone > second);
    assert_eq!(kv.get("a").await.unwrap(), None);
    assert_eq!(kv.delete("a", Expected::Any).await.unwrap(), gone);
    let error = kv.put("a", Expected::Revision(second), value("4")).await.unwrap_err();
    assert!(matches!(error, KvError::Conflict { current: None, .. }));
    assert!(kv.put("a", Expected::Any, value("5")).await.unwrap() > gone);
}

async fn refuses_bad_keys_and_large_values(kv: Arc<dyn Kv>) {
    for key in [String::new(), "x".repeat(KEY_BYTES_MAX + 1), "a\nb".to_owned()] {
        assert!(matches!(kv.get(&key).await.unwrap_err(), KvError::BadKey { .. }));
        let error = kv.put(&key, Expected::Any, Bytes::new()).await.unwrap_err();
        assert!(matches!(error, KvError::BadKey { .. }));
    }
    let large = Bytes::from(vec![0; VALUE_BYTES_MAX + 1]);
    let error = kv.put("a", Expected::Any, large.clone()).await.unwrap_err();
    assert!(matches!(error, KvError::ValueTooLarge { .. }));
    kv.put("a", Expected::Any, large.slice(1..)).await.unwrap();
}

async fn lists_a_prefix_in_order(kv: Arc<dyn Kv>) {
    for key in ["b/2", "a", "b/10", "c", "b", "b/é"] {
        kv.put(key, Expected::Any, value(key)).await.unwrap();
    }
    let listing = kv.list("b/").await.unwrap();
    assert_eq!(listing.revision, Revision(6));
    assert!(listing.entries.iter().map(|entry| entry.key.as_str()).eq(["b/10", "b/2", "b/é"]));
    assert_eq!(kv.list("").await.unwrap().entries.len(), 6);
    assert_eq!(kv.list("x").await.unwrap().entries.len(), 0);
}

async fn watches_each_change_once(kv: Arc<dyn Kv>) {
    let first = kv.put("b/1", Expected::Any, value("1")).await.unwrap();
    let second = kv.put("b/1", Expected::Any, value("2")).await.unwrap();
    kv.put("c", Expected::Any, value("unseen")).await.unwrap();
    let mut watch = kv.watch("b/", first).await.unwrap();
    let third = kv.put("b/2", Expected::Any, value("3")).await.unwrap();
    let gone = kv.delete("b/1", Expected::Any).await.unwrap();
    assert_eq!(watch.next().await, Some(KvChange::Put(entry("b/1", second, "2"))));
    assert_eq!(watch.next().await, Some(KvChange::Put(entry("b/2", third, "3"))));
    assert_eq!(watch.next().await, Some(KvChange::Deleted { key: "b/1".to_owned(), revision: gone }));
    drop(kv);
}

async fn tells_a_lagging_watch_to_list_again(kv: Arc<dyn Kv>) {
    let start = kv.put("a", Expected::Any, value("0")).await.unwrap();
    let mut watch = kv.watch("a", start).await.unwrap();
    let writes = (0..1200).map(|_| kv.put("a", Expected::Any, value("1")));
    for outcome in futures_util::future::join_all(writes).await {
        outcome.unwrap();
    }
    let mut seen = start;
    while let Some(change) = watch.next().await {
        match change {
            KvChange::Put(entry) => {
                assert_eq!(entry.revision, Revision(seen.0 + 1));
                seen = entry.revision;
            }
            KvChange::Relist => break,
            KvChange::Deleted { .. } => panic!("nothing was deleted"),
        }
    }
    assert_eq!(watch.next().await, None);
    let mut late = kv.watch("a", start).await.unwrap();
    assert_eq!((late.next().await, late.next().await), (Some(KvChange::Relist), None));
    let newest = kv.list("a").await.unwrap().revision;
    let mut fresh = kv.watch("a", newest).await.unwrap();
    kv.put("a", Expected::Any, value("2")).await.unwrap();
    assert!(matches!(fresh.next().await, Some(KvChange::Put(entry)) if entry.value == value("2")));
}

async fn one_of_many_writers_wins(kv: Arc<dyn Kv>) {
    let writers = (0..20).map(|n| kv.put("a", Expected::Absent, value(&n.to_string())));
    let outcomes = futures_util::future::join_all(writers).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
}

async fn leases_have_one_holder(kv: Arc<dyn Kv>) {
    let kv = kv.as_ref();
    let mut lease = Lease::acquire(kv, "lease/x", "one", 10, 100).await.unwrap();
    assert_eq!((lease.epoch, lease.expires), (1, 110));
    let error = Lease::acquire(kv, "lease/x", "two", 10, 109).await.unwrap_err();
    assert!(matches!(error, LeaseError::Held { holder, expires: 110, .. } if holder == "one"));
    lease.renew(kv, 10, 105).await.unwrap();
    assert_eq!((lease.epoch, lease.expires), (1, 115));
    let again = Lease::acquire(kv, "lease/x", "one", 10, 106).await.unwrap();
    assert_eq!((again.epoch, again.expires), (1, 116));
    let other = Lease::acquire(kv, "lease/x", "two", 10, 116).await.unwrap();
    assert_eq!(other.epoch, 2);
    assert!(matches!(lease.renew(kv, 10, 107).await.unwrap_err(), LeaseError::Lost { .. }));
    assert!(matches!(again.release(kv).await.unwrap_err(), LeaseError::Lost { .. }));
    other.release(kv).await.unwrap();
    assert_eq!(Lease::acquire(kv, "lease/x", "one", 10, 117).await.unwrap().epoch, 3);
    let error = Lease::acquire(kv, "lease/x", "", 10, 117).await.unwrap_err();
    assert!(matches!(error, LeaseError::Bad { .. }));
    kv.put("lease/y", Expected::Any, value("?")).await.unwrap();
    let error = Lease::acquire(kv, "lease/y", "one", 10, 117).await.unwrap_err();
    assert!(matches!(error, LeaseError::NotALease { .. }));
}

macro_rules! promises {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test]
        async fn $promise() {
            let directory = tempfile::tempdir().unwrap();
            let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
            super::$promise(Arc::clone(&store.kv)).await;
        }
    )*};
}

mod embedded {
    use super::*;

    promises!(
        writes_only_what_is_as_expected,
        refuses_bad_keys_and_large_values,
        lists_a_prefix_in_order,
        watches_each_change_once,
        tells_a_lagging_watch_to_list_again,
        one_of_many_writers_wins,
        leases_have_one_holder,
    );
}
