//! What tests of several crates share: a child that works, says what became durable, and is killed in the middle of it.
//!
//! A test program is its own child: [`kill_a_child`] runs one test of the same program, which asks [`work`] whether it is
//! the child, passes at once when it is not, and else works until it is killed, saying [`acknowledge`] as it goes.

use std::hash::{BuildHasher, RandomState};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const DIRECTORY_VARIABLE: &str = "HOB_TEST_KILL_DIRECTORY";
const ROUND_VARIABLE: &str = "HOB_TEST_KILL_ROUND";
/// Names the seed of a run that is to be repeated.
const SEED_VARIABLE: &str = "HOB_TEST_SEED";
/// What a child writes before what it acknowledges.
const WORD: &str = "acknowledged ";
const SIGKILL: i32 = 9;

/// What a child is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Where it works.
    pub directory: PathBuf,
    /// How many children worked there before.
    pub round: u64,
}

/// What this process is to do, when it is the child.
pub fn work() -> Option<Work> {
    let directory = PathBuf::from(std::env::var_os(DIRECTORY_VARIABLE)?);
    let round = std::env::var_os(ROUND_VARIABLE)?.to_str()?.parse().ok()?;
    Some(Work { directory, round })
}

/// Tells the parent that something became durable.
pub fn acknowledge(what: &str) {
    let line = format!("{WORD}{what}\n");
    std::io::stdout().lock().write_all(line.as_bytes()).expect("the parent reads");
}

/// Runs a test of this program as a child, kills it once it has acknowledged `kill_after` times, and gives back all that
/// it acknowledged.
///
/// # Panics
/// When the child ends by itself.
pub fn kill_a_child(test: &str, directory: &Path, round: u64, kill_after: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().expect("a test program has a path"))
        .args([test, "--exact", "--nocapture", "--test-threads", "1"])
        .env(DIRECTORY_VARIABLE, directory)
        .env(ROUND_VARIABLE, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a test program can be started again");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped"));
    let (mut acknowledged, mut line) = (Vec::new(), String::new());
    while lines.read_line(&mut line).expect("a child writes text") > 0 {
        // What was cut off by the end was not acknowledged.
        let told = line.strip_suffix('\n').and_then(|line| line.split_once(WORD));
        acknowledged.extend(told.map(|(_, what)| what.to_owned()));
        if acknowledged.len() as u64 == kill_after {
            child.kill().expect("a child can be killed");
        }
        line.clear();
    }
    let status = child.wait().expect("a child can be waited for");
    assert_eq!(status.signal(), Some(SIGKILL), "the child ended by itself: {status}");
    acknowledged
}

/// When to kill: numbers from 1 to a limit that look random and come again with the same seed.
#[derive(Clone, Copy, Debug)]
pub struct Luck(u64);

impl Luck {
    /// One from the seed in `HOB_TEST_SEED`, else a new one; it is printed, so that a failure can be repeated.
    ///
    /// # Panics
    /// When the seed is no number.
    pub fn new() -> Self {
        let given = std::env::var_os(SEED_VARIABLE).map(|seed| {
            seed.to_str().and_then(|seed| seed.parse::<u64>().ok()).expect("the seed is a number")
        });
        let seed = given.unwrap_or_else(|| RandomState::new().hash_one(0));
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "seed {seed}");
        Self(seed)
    }

    /// The number of a round.
    pub fn number(self, round: u64, max: u64) -> u64 {
        1 + (self.0.rotate_left((round as u32).wrapping_mul(7)) ^ round) % max
    }
}

impl Default for Luck {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn child() {
        let Some(Work { directory, round }) = work() else { return };
        for number in 0.. {
            std::fs::write(directory.join("newest"), format!("{round} {number}")).unwrap();
            acknowledge(&format!("{round} {number}"));
        }
    }

    #[test]
    fn what_a_child_acknowledged_before_it_was_killed_is_known() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0..3 {
            let acknowledged = kill_a_child("tests::child", directory.path(), round, 5);
            assert!(acknowledged.len() >= 5);
            let expect = (0..).map(|number| format!("{round} {number}"));
            assert!(acknowledged.iter().cloned().eq(expect.take(acknowledged.len())));
        }
    }

    #[test]
    fn luck_is_within_its_limit_and_comes_again() {
        let luck = Luck(0x2545_f491_4f6c_dd1d);
        let numbers: Vec<u64> = (0..50).map(|round| luck.number(round, 7)).collect();
        assert!(numbers.iter().all(|number| (1..=7).contains(number)));
        assert!((1..=7).all(|number| numbers.contains(&number)));
    }
}
