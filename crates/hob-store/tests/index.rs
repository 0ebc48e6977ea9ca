//! The index answers like a map through commits, merges, reopening and damage.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use hob_store::{Index, IndexCommit};
use proptest::prelude::*;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

fn commit(index: &Index, family: &str, entries: &Map, note: &'static [u8]) {
    let mut entries = entries.iter().map(|(key, value)| (key.as_slice(), value.as_slice()));
    let note = Bytes::from_static(note);
    index.commit(IndexCommit { puts: vec![(family, &mut entries)], drops: Vec::new(), note }).unwrap();
}

fn check(index: &Index, family: &str, model: &Map) {
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    let values = index.get_many(family, &keys).unwrap();
    assert!(values.iter().zip(model.values()).all(|(found, value)| found.as_ref() == Some(value)));
    let absent: Vec<Vec<u8>> = keys.iter().map(|key| [key.as_slice(), b"!"].concat()).collect();
    let found = index.get_many(family, &absent).unwrap();
    assert!(found.iter().zip(&absent).all(|(found, key)| found.as_ref() == model.get(key)));
    let all: Map = index.scan(family, b"", b"", usize::MAX).unwrap().into_iter().collect();
    assert!(all == *model);
}

fn key(number: u32) -> Vec<u8> {
    format!("qa/uk/orders\0http://t/orders/{number}").into_bytes()
}

fn entries(numbers: impl Iterator<Item = u32>, value: u32) -> Map {
    numbers.map(|number| (key(number), (value, number).0.to_string().into_bytes())).collect()
}

#[derive(Clone, Debug)]
enum Step {
    Commit { family: usize, start: u32, count: u32, stride: u32 },
    Drop { family: usize },
    Reopen,
    Clear,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..2_usize, 0..3_000_u32, 0..700_u32, 1..5_u32)
            .prop_map(|(family, start, count, stride)| Step::Commit { family, start, count, stride }),
        1 => (0..2_usize).prop_map(|family| Step::Drop { family }),
        3 => Just(Step::Reopen),
        1 => Just(Step::Clear),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]
    #[test]
    fn it_answers_like_a_map(steps in proptest::collection::vec(step(), 1..20)) {
        let directory = tempfile::tempdir().unwrap();
        let mut index = Index::open(directory.path()).unwrap();
        let families = ["a", "b"];
        let mut models = [Map::new(), Map::new()];
        for (nth, step) in steps.into_iter().enumerate() {
            match step {
                Step::Commit { family, start, count, stride } => {
                    let new = entries((start..start + count * stride).step_by(stride as usize), nth as u32);
                    commit(&index, families[family], &new, b"n");
                    models[family].extend(new);
                }
                Step::Drop { family } => {
                    let drops = vec![families[family].to_owned()];
                    index.commit(IndexCommit { drops, ..IndexCommit::default() }).unwrap();
                    models[family].clear();
                }
                Step::Reopen => {
                    drop(index);
                    index = Index::open(directory.path()).unwrap();
                }
                Step::Clear => {
                    index.clear().unwrap();
                    models.iter_mut().for_each(Map::clear);
                }
            }
            families.iter().zip(&models).for_each(|(family, model)| check(&index, family, model));
        }
    }
}

#[test]
fn many_runs_become_few_and_old_files_go() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open(directory.path()).unwrap();
    let mut model = Map::new();
    for round in 0..100 {
        let new = entries((round * 37..round * 37 + 500).step_by(3), round);
        commit(&index, "a", &new, b"");
        model.extend(new);
    }
    check(&index, "a", &model);
    drop(index);
    let index = Index::open(directory.path()).unwrap();
    check(&index, "a", &model);
    let runs = runs_of(directory.path());
    assert!(runs.len() <= 33, "{} runs", runs.len());
}

fn runs_of(directory: &Path) -> Vec<std::path::PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut runs: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|ending| ending == "run")).collect();
    runs.sort();
    runs
}

#[test]
fn a_scan_begins_and_ends_where_it_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let index = Index::open(directory.path()).unwrap();
    for round in 0..3 {
        commit(&index, "a", &entries((round..3_000).step_by(3), round), b"");
    }
    let all = entries(0..3_000, 0);
    let from = key(1_500);
    let expect: Vec<&Vec<u8>> = all.keys().filter(|key| **key >= from).take(50).collect();
    let found = index.scan("a", b"qa/uk/orders\0", &from, 50).unwrap();
    assert!(found.iter().map(|(key, _)| key).eq(expect));
    assert_eq!(index.scan("a", b"qa/uk/riders\0", b"", 50).unwrap(), []);
    assert_eq!(index.entries("a"), 3_000);
}

/// Every byte that is flipped is told: by throwing the index away when it is opened, or by an error when it is read.
#[test]
fn no_flipped_byte_gives_a_wrong_answer() {
    let directory = tempfile::tempdir().unwrap();
    let model = entries((0..4_000).step_by(2), 7);
    commit(&Index::open(directory.path()).unwrap(), "a", &model, b"kept");
    let run = runs_of(directory.path()).remove(0);
    let sound = fs::read(&run).unwrap();
    let manifest = fs::read(directory.path().join("manifest")).unwrap();
    let asked: Vec<Vec<u8>> = (0..4_000).map(key).collect();
    let expect: Vec<Option<&Vec<u8>>> = asked.iter().map(|key| model.get(key)).collect();
    let mut told = 0;
    for at in (0..sound.len()).step_by(997).chain(sound.len() - 60..sound.len()) {
        let mut damaged = sound.clone();
        damaged[at] ^= 0x20;
        fs::write(&run, &damaged).unwrap();
        fs::write(directory.path().join("manifest"), &manifest).unwrap();
        let index = Index::open(directory.path()).unwrap();
        if index.note().is_empty() {
            assert_eq!(index.families(), Vec::<String>::new());
            told += 1;
            continue;
        }
        let read = index.get_many("a", &asked).and_then(|values| {
            assert!(values.iter().map(Option::as_ref).eq(expect.iter().copied()));
            index.scan("a", b"", b"", usize::MAX)
        });
        if read.is_err() {
            told += 1;
            drop(index);
            assert_eq!(
                Index::open(directory.path()).unwrap().note(),
                "",
                "found damaged, and believed again"
            );
            assert_eq!(Index::open(directory.path()).unwrap().note(), "");
        }
    }
    assert!(told > 60, "{told}");
}

#[test]
fn what_another_boot_left_is_checked_whole() {
    let directory = tempfile::tempdir().unwrap();
    let model = entries(0..4_000, 7);
    commit(&Index::open(directory.path()).unwrap(), "a", &model, b"kept");
    let run = runs_of(directory.path()).remove(0);
    let manifest = directory.path().join("manifest");
    let text = fs::read(&manifest).unwrap();
    // The boot's id is 36 bytes after the heading and its length; another one, with the checksum that belongs to it.
    let mut other = text[..text.len() - 4].to_vec();
    other[13..49].copy_from_slice(&[b'0'; 36]);
    other.extend(crc32c::crc32c(&other).to_le_bytes());
    fs::write(&manifest, &other).unwrap();
    assert_eq!(Index::open(directory.path()).unwrap().note(), "kept");
    let mut damaged = fs::read(&run).unwrap();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    fs::write(&run, damaged).unwrap();
    let index = Index::open(directory.path()).unwrap();
    assert_eq!(index.note(), "");
    assert_eq!(runs_of(directory.path()).len(), 0);
    commit(&index, "a", &model, b"again");
    check(&index, "a", &model);
}
