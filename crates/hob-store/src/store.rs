//! One data directory with its logs, keys and blobs, used by one process at a time.

use std::sync::Arc;

use crate::{Blobs, Kv, Log};

/// Everything durable that a Hob has.
pub struct Store {
    /// Events of every topic.
    pub events: Arc<dyn Log>,
    /// Log lines, samples, spans and other telemetry.
    pub signals: Arc<dyn Log>,
    /// Small keys.
    pub kv: Arc<dyn Kv>,
    /// Immutable files.
    pub blobs: Arc<dyn Blobs>,
}
