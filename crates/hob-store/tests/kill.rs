//! A process that appends is killed at random, many times: what it acknowledged is there, in order.
//!
//! The test runs itself as the child, which prints a line for each record that became durable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;
use std::sync::Arc;

use hob_store::{Log, LogOptions, ReadLimits, Record, SegmentedLog, Stored, Tag};
use hob_test::{Luck, Work, acknowledge, kill_a_child, work};

const ROUNDS: u64 = 25;
/// A child is killed after it acknowledged fewer records than this.
const ACKNOWLEDGED_MAX: u64 = 600;

fn open(directory: &Path) -> Arc<dyn Log> {
    let options = LogOptions { segment_bytes: 32 << 10, ..LogOptions::default() };
    Arc::new(SegmentedLog::open(directory, options).unwrap())
}

fn payload(round: u64, number: u64) -> Vec<u8> {
    let mut payload = format!("{round} {number} ").into_bytes();
    payload.resize(payload.len() + (number * 37 % 900) as usize, b'.');
    payload
}

/// Appends and prints until it is killed; passes at once when it is not run as the child.
#[tokio::test]
async fn child() {
    let Some(Work { directory, round }) = work() else { return };
    let log = open(&directory);
    let mut waiting = std::collections::VecDeque::new();
    for number in 0.. {
        let tag = Tag::new("killed").unwrap();
        let record = Record { tag, time: number as i64, payload: payload(round, number).into() };
        waiting.push_back((number, log.append(vec![record]).await.unwrap()));
        if waiting.len() == 16 {
            for (number, appended) in waiting.drain(..8) {
                appended.durable.await.unwrap();
                acknowledge(&format!("{} {number}", appended.first));
            }
        }
    }
}

async fn read_all(log: &Arc<dyn Log>) -> Vec<Stored> {
    let mut records = Vec::new();
    while (records.len() as u64) < log.head() {
        let batch = log.read(records.len() as u64 + 1, ReadLimits::default()).await.unwrap();
        assert_eq!(batch.gaps, []);
        records.extend(batch.records);
    }
    records
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let luck = Luck::new();
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged: Vec<(u64, u64, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let kill_after = luck.number(round, ACKNOWLEDGED_MAX);
        for told in kill_a_child("child", directory.path(), round, kill_after) {
            let (seq, number) = told.split_once(' ').unwrap();
            acknowledged.push((seq.parse().unwrap(), round, number.parse().unwrap()));
        }
        let log = open(directory.path());
        assert_eq!(log.stats().quarantined, []);
        let records = read_all(&log).await;
        assert!(records.iter().map(|stored| stored.seq).eq(1..=log.head()));
        for (seq, round, number) in &acknowledged {
            let stored = records.get(*seq as usize - 1).expect("an acknowledged record is there");
            assert!(
                stored.payload == payload(*round, *number),
                "record {seq} is number {number} of round {round}"
            );
        }
    }
    assert!(acknowledged.is_sorted(), "sequences, rounds and numbers rise together");
    assert!(acknowledged.len() as u64 >= ROUNDS);
}
