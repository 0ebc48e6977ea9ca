//! Words that every part of Hob shares: names, ids, time, digests, scopes, error codes, histograms.
//!
//! Nothing here does I/O beyond asking the operating system for the time and for randomness, and nothing here
//! knows tokio. A type lives here once a second crate needs it, never to tidy up.

mod clock;
mod codes;
mod digest;
mod duration;
mod histogram;
mod id;
pub mod limits;
mod name;
mod nearest;
mod scope;
mod secret;
mod size;
mod time;

pub use clock::{Clock, ManualClock};
pub use codes::{CODES, Code, code};
pub use digest::{BadDigest, Digest};
pub use duration::{BadDuration, format_duration, parse_duration};
pub use histogram::Histogram;
pub use id::Id;
pub use name::{BadName, Name, TopicName};
pub use nearest::nearest;
pub use scope::{BadScope, Scope};
pub use secret::{Secret, random_bytes};
pub use size::{BadSize, format_size, parse_size};
pub use time::{BadTimestamp, Timestamp};
