//! The data plane: brings each request to an instance, loses none.
//!
//! The core says which requests go where, as whole snapshots ([`hob_wire::RoutingSnapshot`]); the router compiles each
//! into a `table`, swaps it in, acknowledges it, and goes on with the last one while the core is away. Start reading
//! at `proxy`, the way of one request; `fleet` says why an instance that the core stops has no request left.
//! Nothing here buffers bodies, knows services by name, or keeps anything but the last snapshot.

mod config;
mod error;

mod balance;
mod fleet;
mod instance;
mod limiter;
mod lobby;
mod shares;
mod shield;
mod standing;
mod table;

mod account;
mod answer;
mod check;
mod counts;
mod frames;
mod framing;
mod gateway;
mod headers;
mod hold;
mod link;
mod proxy;
mod random;
mod refusal;
mod relay;
mod tape;
mod trace;
mod tunnel;
mod watchdog;

mod activity;
mod connections;
mod server;

mod control;
mod core_client;
mod records;
mod report;
mod snapshot_file;
mod stream;
mod tls;

pub use config::{Config, Limits};
pub use error::Error;
pub use server::{Doors, Router, Stop, serve};
