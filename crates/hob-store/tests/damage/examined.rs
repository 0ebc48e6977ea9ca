//! A data directory that is looked at from outside: damage is named, and nothing is changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use hob_store::{Gap, PartWriter, Store, StoreOptions, Stored, examine};

use crate::specimen::{append, record};

fn contents(directory: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            contents(&path, found)
        } else {
            drop(found.insert(path.clone(), fs::read(&path).unwrap()))
        }
    }
}

#[tokio::test]
async fn damage_is_named_and_nothing_is_changed() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(examine(directory.path()).unwrap(), [], "an empty directory is sound");
    let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
    for n in 1..=6 {
        append(&store.events, vec![record(n, 100)]).await;
    }
    let mut writer = PartWriter::new();
    for seq in 1..=3_000 {
        let record = record(seq, 60);
        let row = Stored { seq, tag: record.tag, time: record.time, payload: record.payload };
        writer.push(&row, [seq]).unwrap();
    }
    let (bytes, index) = writer.finish();
    store.blobs.put("parts/events/1-3000.keep.0", bytes).await.unwrap();
    drop(store);
    assert_eq!(examine(directory.path()).unwrap(), []);

    let log = directory.path().join("log/events/00000000000000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    let third = bytes.windows(8).position(|bytes| bytes == b"record 3").unwrap();
    bytes[third + 20] ^= 4;
    fs::write(&log, &bytes).unwrap();
    let part = directory.path().join("blobs/parts/events/1-3000.keep.0");
    let mut bytes = fs::read(&part).unwrap();
    let frame = index.frames()[1];
    bytes[frame.offset as usize + 50] ^= 1;
    fs::write(&part, &bytes).unwrap();

    let mut before = BTreeMap::new();
    contents(directory.path(), &mut before);
    let found = examine(directory.path()).unwrap();
    let lost: Vec<_> = found.iter().map(|finding| (finding.path.clone(), finding.lost.clone())).collect();
    let events = directory.path().join("log/events");
    let in_part = Gap { first: frame.first_seq, last: frame.last_seq };
    assert_eq!(lost, [(events, vec![Gap { first: 3, last: 3 }]), (part, vec![in_part])]);
    let mut after = BTreeMap::new();
    contents(directory.path(), &mut after);
    assert!(before == after);
}
