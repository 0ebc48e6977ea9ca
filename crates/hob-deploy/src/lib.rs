//! Packages, releases, rollouts: which instances of which release are intended where, and which of them take
//! requests.
//!
//! One loop owns all decisions. [`Deploy`] is what others call; `step.rs` decides, without I/O, how one service in one
//! scope moves from a release to the next; everything that follows (what each node should run, the routing snapshot)
//! is derived from that state and from what nodes and routers report, so it may be computed again at any time.
//! Nothing here starts a process or opens a connection. Start at [`Deploy::open`].

mod announce;
mod changes;
mod compose;
mod conditions;
mod declare;
mod environment;
mod error;
mod handle;
mod model;
mod nodes;
mod numbers;
mod package;
mod past;
mod placement;
mod routers;
mod rows;
mod scale;
mod service;
mod shields;
mod step;
mod tokens;
mod traffic;
mod view;
mod world;

pub use announce::{Announce, Silent};
pub use environment::resolve as configuration;
pub use error::Error;
pub use handle::{Applied, Deploy, Identity};
pub use model::{Config, ServiceScope, Timings};
pub use package::{PackageError, Packed, check, pack};
pub use service::Service;
