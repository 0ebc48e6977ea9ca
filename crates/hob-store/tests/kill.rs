//! A process that appends is killed at random, many times: what it acknowledged is there, in order.
//!
//! The test runs itself as the child, which prints a line for each record that became durable.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use hob_store::{Log, LogOptions, ReadLimits, Record, SegmentedLog, Stored, Tag};

const ROUNDS: u64 = 25;
/// A child is killed after it acknowledged fewer records than this.
const ACKNOWLEDGED_MAX: u64 = 600;
const DIRECTORY_VARIABLE: &str = "HOB_STORE_KILL_DIRECTORY";
const ROUND_VARIABLE: &str = "HOB_STORE_KILL_ROUND";

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
    let Some(directory) = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from) else { return };
    let round = std::env::var_os(ROUND_VARIABLE).unwrap().to_str().unwrap().parse().unwrap();
    let log = open(&directory);
    let mut waiting = std::collections::VecDeque::new();
    for number in 0.. {
        let tag = Tag::new("killed").unwrap();
        let record = Record { tag, time: number as i64, payload: payload(round, number).into() };
        waiting.push_back((number, log.append(vec![record]).await.unwrap()));
        if waiting.len() == 16 {
            for (number, appended) in waiting.drain(..8) {
                appended.durable.await.unwrap();
                let line = format!("acknowledged {} {number}\n", appended.first);
                std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
            }
        }
    }
}

/// Runs a child, kills it once it acknowledged `kill_after` records, and returns sequence and number of all that it
/// acknowledged.
fn kill_a_child(directory: &Path, round: u64, kill_after: u64) -> Vec<(u64, u64)> {
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
        if let Some((_, numbers)) = line.split_once("acknowledged ").filter(|_| line.ends_with('\n')) {
            let (seq, number) = numbers.trim().split_once(' ').unwrap();
            acknowledged.push((seq.parse().unwrap(), number.parse().unwrap()));
        }
        if acknowledged.len() as u64 == kill_after {
            child.kill().unwrap();
        }
        line.clear();
    }
    assert!(!child.wait().unwrap().success(), "the child was killed");
    acknowledged
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
    use std::hash::{BuildHasher, RandomState};
    let given = std::env::var_os("HOB_TEST_SEED").map(|seed| seed.to_str().unwrap().parse::<u64>().unwrap());
    let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
    println!("seed {seed}");
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        let kill_after = 1 + (seed.rotate_left(round as u32 * 7) ^ round) % ACKNOWLEDGED_MAX;
        for (seq, number) in kill_a_child(directory.path(), round, kill_after) {
            acknowledged.push((seq, round, number));
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
