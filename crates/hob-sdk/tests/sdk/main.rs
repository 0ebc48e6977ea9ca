//! The SDK against real servers: a small bus that speaks Hob's API, and services behind it.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bus;
mod cache;
mod client;
mod events;
mod outbox;
mod server;
