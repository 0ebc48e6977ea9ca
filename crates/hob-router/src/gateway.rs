//! What all requests share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use hob_core::Clock;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::Limits;
use crate::counts::Counts;
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
    /// Connections of clients that are open.
    pub(crate) connections: AtomicU64,
    /// Requests that were refused, by reason.
    pub(crate) counts: Counts,
    /// The tasks of websockets, which outlive the connections that they began on.
    pub(crate) tunnels: TaskTracker,
    /// The router hands over to another: tunnels and endless answers end, each in its time.
    pub(crate) leaving: CancellationToken,
    is_leaving: AtomicBool,
    /// The router's time is up: tunnels end.
    pub(crate) stopped: CancellationToken,
}

impl Gateway {
    pub(crate) fn new(limits: Limits, clock: Clock, recorder: Recorder) -> Self {
        Self {
            fleet: Arc::new(Fleet::new(clock.clone())),
            limits,
            clock,
            recorder,
            held: AtomicUsize::new(0),
            connections: AtomicU64::new(0),
            counts: Counts::default(),
            tunnels: TaskTracker::new(),
            leaving: CancellationToken::new(),
            is_leaving: AtomicBool::new(false),
            stopped: CancellationToken::new(),
        }
    }

    /// From now on every answer is the last of its connection.
    pub(crate) fn leave(&self) {
        self.is_leaving.store(true, Ordering::Relaxed);
        self.leaving.cancel();
    }

    /// Whether answers are the last of their connections.
    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving.load(Ordering::Relaxed)
    }
}
