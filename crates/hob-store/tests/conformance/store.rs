//! The data directory: its layout, its lock, its version.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use bytes::Bytes;
use hob_store::{Expected, OpenError, Record, Store, StoreOptions, Tag};

#[tokio::test]
async fn keeps_everything_across_openings() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("new/data");
    for round in 0_u64..3 {
        let store = Store::open(&directory, StoreOptions::default()).await.unwrap();
        assert_eq!((store.events.head(), store.signals.head()), (round, round));
        assert_eq!(store.blobs.list("").await.unwrap().len() as u64, round);
        assert_eq!(store.kv.list("").await.unwrap().entries.len() as u64, round);
        let record = Record { tag: Tag::new("t").unwrap(), time: 1, payload: Bytes::from_static(b"x") };
        for log in [&store.events, &store.signals] {
            log.append(vec![record.clone()]).await.unwrap().durable.await.unwrap();
        }
        store.kv.put(&format!("k{round}"), Expected::Absent, Bytes::new()).await.unwrap();
        store.blobs.put(&format!("b{round}"), Bytes::new()).await.unwrap();
        if round == 0 {
            fs::write(directory.join("blobs/half#1"), "a write that was killed").unwrap();
        }
    }
    let mode = fs::metadata(&directory).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    assert_eq!(fs::read_to_string(directory.join("format")).unwrap(), "1\n");
    assert!(!directory.join("blobs/half#1").try_exists().unwrap());
}

#[tokio::test]
async fn a_second_user_is_refused_and_told_who_holds_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
    let error = Store::open(directory.path(), StoreOptions::default()).await.err().unwrap();
    let pid = std::process::id();
    assert!(matches!(error, OpenError::InUse { holder: Some(holder), .. } if holder == pid), "{error}");
    assert!(error.to_string().contains(&format!("another Hob uses it (process {pid})")), "{error}");
    let events = Arc::clone(&store.events);
    drop(store);
    Store::open(directory.path(), StoreOptions::default()).await.err().unwrap();
    drop(events);
    Store::open(directory.path(), StoreOptions::default()).await.unwrap();
}

#[tokio::test]
async fn another_version_is_refused_with_the_way_out() {
    let directory = tempfile::tempdir().unwrap();
    drop(Store::open(directory.path(), StoreOptions::default()).await.unwrap());
    fs::write(directory.path().join("format"), "2\n").unwrap();
    let error = Store::open(directory.path(), StoreOptions::default()).await.err().unwrap();
    assert!(matches!(&error, OpenError::OtherFormat { found, .. } if found == "2"), "{error}");
    assert!(error.to_string().contains("choose another directory"), "{error}");
    fs::remove_file(directory.path().join("format")).unwrap();
    Store::open(directory.path(), StoreOptions::default()).await.err().unwrap();
}
