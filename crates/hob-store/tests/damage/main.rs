//! What is left of a log when its files are cut, flipped, swapped or lost, and when its disk fails.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test that cannot go on has failed, and prints its seed"
)]

mod examined;
mod faults;
mod files;
mod flips;
mod specimen;
mod torn;
