//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use hob_core::Clock;
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::fleet::Fleet;
use crate::records::Recorder;

/// What all requests share.
pub(crate) struct Gateway {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) limits: Limits,
    pub(crate) clock: Clock,
    pub(crate) recorder: Recorder,
    /// Requests that wait for an instance, of all pools.
    pub(crate) held: AtomicUsize,
    /// The router's time is up: tunnels end.
    pub(crate) stopped: CancellationToken,
}
