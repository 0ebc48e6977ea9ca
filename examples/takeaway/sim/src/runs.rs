//! Many days with many seeds, on every core: each is a run of its own, and the figures are sums over them.

use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use takeaway_world::{Day, Illegal};

use crate::play::{Played, Setting, play};

/// A day that was played with a seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The day's name.
    pub day: String,
    /// The seed.
    pub seed: u64,
    /// What came of it.
    pub played: Played,
}

/// What is to be played: every day with every seed.
#[derive(Debug, Clone)]
pub struct Runs {
    /// Names and days.
    pub days: Vec<(String, Day)>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// The rest; its seed is not used.
    pub setting: Setting,
}

impl Runs {
    /// How many runs these are.
    pub fn count(&self) -> usize {
        self.days.len() * self.seeds.len()
    }
}

/// Plays everything, on as many threads as there are cores; `done` is told after each run. The result is in the order of
/// seeds and days, whatever finished first.
///
/// # Errors
/// As [`play`].
pub fn run_all(runs: &Runs, done: impl Fn() + Sync) -> Result<Vec<Run>, Illegal> {
    let cases: Vec<(u64, &(String, Day))> =
        runs.seeds.iter().flat_map(|seed| runs.days.iter().map(move |day| (*seed, day))).collect();
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, Result<Run, Illegal>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((seed, (name, day))) = cases.get(index).copied() else { break };
            let played = play(day, &Setting { seed, ..runs.setting.clone() });
            let run = played.map(|played| Run { day: name.clone(), seed, played });
            results.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, run));
            done();
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get).min(cases.len());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(work);
        }
    });
    let mut results = results.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, run)| run).collect()
}
