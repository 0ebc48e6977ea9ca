//! Foreign telemetry at the border: pure decoders that turn what clients already send into Hob's samples and records.
//!
//! Decoders take bytes or texts and give back what they understood and how much they refused; they never fail and
//! never panic. Nothing here does I/O.

mod line;
mod statsd;

pub use line::{access, line, record};
pub use statsd::{Decoded, datagram};
