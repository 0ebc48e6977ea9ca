//! One node: starts, probes, watches and stops instances as intended.
//!
//! The agent follows the core's stream of intended instances, compares it with what runs, and does the difference;
//! it takes no other hints, so it may be told the same twice. It reports what it sees at every change and each
//! second, and forwards what instances write. It decides nothing about releases. Start at [`run`].
//!
//! Instances are plain processes of one session each, started through [`exec_instance`], and they end with the
//! process that runs the agent, however that ends.

mod backoff;
mod board;
mod client;
mod config;
mod error;
mod exec;
mod follow;
mod forward;
mod health;
mod instance;
mod leftovers;
mod lines;
mod node;
mod output;
mod packages;
mod plan;
mod probe;
mod process;
mod queue;
mod spawner;
mod statsd;
mod unpack;

pub use config::Config;
pub use error::Error;
pub use exec::exec_instance;
pub use node::run;
pub use unpack::{UnpackError, unpack};
