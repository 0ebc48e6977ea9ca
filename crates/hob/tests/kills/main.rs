//! The core is killed at random moments, again and again, while services publish and consume through its doors: what it
//! acknowledged is there, in order, counted right, and no subscription skips anything. Then its files are damaged. Issues in every state are what they were
//! before, and no action is called twice.
//!
//! `HOB_TEST_KILLS` and `HOB_TEST_DAMAGES` say how often, `HOB_TEST_SEED` repeats a run, `HOB_TEST_HOB` names the program.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on should stop, and says its seed"
)]

mod core;
mod damage;
mod harm;
mod history;
mod issues;
mod loops;
mod traffic;

/// A number that the environment gives.
fn number(name: &str) -> Option<u64> {
    std::env::var_os(name).map(|value| value.to_str().unwrap().parse().unwrap())
}

/// The seed of this run, told so that it can be repeated.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    let seed = number("HOB_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(0) % 1_000_000);
    println!("seed {seed}");
    seed
}
