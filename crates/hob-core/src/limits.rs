//! Limits that more than one crate must agree on. A limit that only one crate knows stands with its code.

use std::time::Duration;

/// Letters of a name.
pub const NAME_LENGTH_MAX: usize = 63;
/// Bytes of an event's data on a notify topic: a notice says that something changed, not what.
pub const NOTICE_DATA_BYTES_MAX: usize = 64;
/// Bytes of an event's data on a stream topic.
pub const STREAM_DATA_BYTES_MAX: usize = 64 * 1024;
/// Events in one publish.
pub const PUBLISH_BATCH_MAX: usize = 1000;
/// Bytes of one API request body, packages aside.
pub const REQUEST_BODY_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Bytes of a package.
pub const PACKAGE_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Bytes of an entity's body kept inline in an observation.
pub const OBSERVATION_BODY_BYTES_MAX: usize = 64 * 1024;
/// How long an agent's or a router's lease lasts without a report.
pub const REPORT_LEASE: Duration = Duration::from_secs(10);
/// Items on a page of a list, at most and by default.
pub const PAGE_ITEMS_MAX: usize = 1000;
/// Items on a page when the caller asks for no number.
pub const PAGE_ITEMS_DEFAULT: usize = 100;
