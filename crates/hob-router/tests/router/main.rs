//! The router over real sockets: a core, instances and clients on loopback.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod cache;
mod control;
mod drain;
mod edge;
mod framing;
mod harness;
mod heads;
mod hold;
mod repeat;
mod secure;
mod stream;
mod terms;
mod websocket;
