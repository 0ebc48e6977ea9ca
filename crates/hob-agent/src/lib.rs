//! One node: starts, probes, watches and stops instances as intended.
//!
//! The agent follows the core's stream of intended instances, compares it with what runs, and does the difference;
//! it takes no other hints, so it may be told the same twice. It reports what it sees at every change and each
//! second, and forwards what instances write. It decides nothing about releases. Start at [`run`].
//!
//! Each instance belongs to a process of its own, its shim ([`run_shim`]): agents come and go, instances stay. The next
//! agent finds the shims by their folders, adopts what they run, and takes in what was written meanwhile.

mod adopt;
mod attached;
mod backoff;
mod board;
mod client;
mod config;
mod confine;
mod error;
mod facts;
mod follow;
mod forward;
mod health;
mod instance;
mod join;
mod lines;
mod node;
mod output;
mod packages;
mod plan;
mod probe;
mod process;
mod queue;
mod running;
mod shim;
mod statsd;
mod unpack;
mod users;
mod warmup;

pub use config::Config;
pub use error::Error;
pub use join::{Join, join};
pub use node::{Shutdown, run};
pub use shim::run_shim;
pub use unpack::{UnpackError, unpack};
