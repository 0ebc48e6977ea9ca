//! What a service links: configuration, HTTP client with the RESN cache, events, outbox, server layer.
//!
//! Start at [`Config::from_env`], which reads what Hob gives an instance; then [`Client`] calls other services by href and
//! Hob's own API, [`Cache`] keeps what it read for as long as events allow, [`Publisher`], [`Stream`] and [`Consumer`]
//! speak of changes. With the feature `outbox`, [`Database`] and [`Outbox`] commit a change and its notice together; with
//! the feature `server`, [`server::serve`] runs an axum router the way Hob expects. Nothing here keeps data of its own.

mod cache;
mod client;
mod config;
mod context;
pub mod events;
#[cfg(feature = "outbox")]
pub mod outbox;
mod pause;
#[cfg(feature = "server")]
pub mod server;
mod statsd;
pub mod tls;

pub use cache::{Cache, CacheOptions, Cached, Figures, Source};
pub use client::{Chunks, Client, Error as ClientError, Request, Response, Streaming};
pub use config::{Config, Error as ConfigError};
pub use context::RequestContext;
pub use events::{Consumer, Message, Publisher, Stream};
#[cfg(feature = "outbox")]
pub use outbox::{Database, Error as OutboxError, Outbox};
pub use statsd::Statsd;
pub use tls::Trust;

#[cfg(feature = "server")]
pub use axum;
pub use hob_core as core;
pub use hob_wire as wire;
#[cfg(feature = "outbox")]
pub use rusqlite;
