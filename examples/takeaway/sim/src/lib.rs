//! Plays a takeaway's day in simulated time, as fast as it goes, with three ways of running its operations: nobody looks
//! (`none`), people scan the table of open orders (`scan`), or rules open issues and people follow them (`live`).
//!
//! The city, its faults and what can be mended are those of [`takeaway_world`], so that the three see the same day. Start
//! at [`play()`].

mod onset;
mod open_orders;
mod platform;
mod play;
mod report;
mod runs;
mod score;
mod staff;

pub use play::{Mode, Played, Setting, play};
pub use report::{Report, table};
pub use runs::{Run, Runs, run_all};
pub use score::{Percentiles, RuleScore};
