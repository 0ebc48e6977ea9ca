//! What one scope may have on its way through the writer, so that a tenant that floods waits for itself alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Error;

/// Bytes of records that a scope may have between the combiner and the disk, unless one batch alone has more: an
/// eighth of what the log's queue takes.
const BYTES_MAX: usize = 2 << 20;
/// What a batch costs beside its bytes.
const BATCH_COST_BYTES: usize = 256;
/// Batches of a scope that may wait for room; more are refused at once.
const WAITING_MAX: usize = 1_024;
/// Longest wait for room.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// The bound of one scope.
pub(crate) struct Gate {
    bytes: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Room for one batch, until it is dropped.
pub(super) struct Room(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

impl Default for Gate {
    fn default() -> Self {
        Self { bytes: Arc::new(Semaphore::new(BYTES_MAX)), waiting: AtomicUsize::new(0) }
    }
}

impl Gate {
    /// Waits for room for a batch; refuses it when too many wait, or it takes too long.
    pub(super) async fn enter(&self, bytes: usize) -> Result<Room, Error> {
        let cost = (bytes + BATCH_COST_BYTES).min(BYTES_MAX) as u32;
        if let Ok(permit) = Arc::clone(&self.bytes).try_acquire_many_owned(cost) {
            return Ok(Room(permit));
        }
        let _waiting = Waiting::new(&self.waiting).ok_or(Error::ScopeBusy)?;
        let room = Arc::clone(&self.bytes).acquire_many_owned(cost);
        match tokio::time::timeout(WAIT_MAX, room).await {
            Ok(Ok(permit)) => Ok(Room(permit)),
            Ok(Err(_)) => Err(Error::Closed),
            Err(_) => Err(Error::ScopeBusy),
        }
    }
}

/// One of those who wait.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Option<Self> {
        let waiting = Self(count);
        // Counted first, so that the drop of a refused one sets it right.
        (count.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_scope_waits_for_itself_alone() {
        let gate = Arc::new(Gate::default());
        let first = gate.enter(usize::MAX / 2).await.unwrap();
        let waiting = tokio::spawn({
            let gate = Arc::clone(&gate);
            async move { gate.enter(1).await.is_ok() }
        });
        while gate.waiting.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        // Another scope has its own.
        assert!(Gate::default().enter(BYTES_MAX).await.is_ok());
        drop(first);
        assert!(waiting.await.unwrap());
        assert_eq!(gate.waiting.load(Ordering::Relaxed), 0);
    }

    #[tokio::test]
    async fn no_more_than_so_many_wait() {
        let gate = Arc::new(Gate::default());
        let all = gate.enter(BYTES_MAX).await.unwrap();
        let wait = |gate: &Arc<Gate>| {
            let gate = Arc::clone(gate);
            tokio::spawn(async move { gate.enter(1).await.is_ok() })
        };
        let waiting: Vec<_> = (0..WAITING_MAX).map(|_| wait(&gate)).collect();
        while gate.waiting.load(Ordering::Relaxed) < WAITING_MAX {
            tokio::task::yield_now().await;
        }
        assert!(matches!(gate.enter(1).await, Err(Error::ScopeBusy)));
        drop(all);
        for entered in waiting {
            assert!(entered.await.unwrap());
        }
    }
}
