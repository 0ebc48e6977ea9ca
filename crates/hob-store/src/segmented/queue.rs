//! The bounded queue between those who append and the thread that writes.
//!
//! Sequences are given out under the queue's lock, so their order is the order of writing. When a write fails,
//! everything queued behind it fails too, and its sequences are given out again.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, TryAcquireError, oneshot};

use crate::log::{
    APPEND_BYTES_MAX, APPEND_RECORDS_MAX, AppendError, Appended, Durable, RECORD_BYTES_MAX, Record,
};

/// Bytes that may wait to be written, or be written now.
const QUEUE_BYTES_MAX: usize = 16 << 20;
/// What a record costs in the queue beside its tag and payload, in bytes; this bounds their number.
const RECORD_COST_BYTES: usize = 64;
/// Longest wait for room in the queue.
const ROOM_WAIT_MAX: Duration = Duration::from_secs(5);
/// Most bytes that one commit gathers, unless a single append has more.
const COMMIT_BYTES_MAX: usize = 8 << 20;

/// Records of one append, waiting for the disk.
pub(super) struct Pending {
    pub(super) first_seq: u64,
    pub(super) records: Vec<Record>,
    cost: usize,
    done: oneshot::Sender<Result<(), AppendError>>,
    _room: OwnedSemaphorePermit,
}

impl Pending {
    /// Tells whoever waits; that nobody does any more is fine.
    pub(super) fn finish(self, outcome: Result<(), AppendError>) {
        let _ = self.done.send(outcome);
    }
}

pub(super) struct Queue {
    path: PathBuf,
    inner: Mutex<Inner>,
    arrived: Condvar,
    room: Arc<Semaphore>,
}

/// What the thread that writes has to do next.
pub(super) struct Taken {
    pub(super) batch: Vec<Pending>,
    /// Who wants the active segment to be closed before that.
    pub(super) closings: Vec<oneshot::Sender<Result<(), AppendError>>>,
}

struct Inner {
    pending: VecDeque<Pending>,
    closings: Vec<oneshot::Sender<Result<(), AppendError>>>,
    cost: usize,
    next_seq: u64,
    closed: Option<AppendError>,
}

impl Queue {
    pub(super) fn new(path: PathBuf, next_seq: u64) -> Self {
        let inner = Inner { pending: VecDeque::new(), closings: Vec::new(), cost: 0, next_seq, closed: None };
        let room = Arc::new(Semaphore::new(QUEUE_BYTES_MAX));
        Self { path, inner: Mutex::new(inner), arrived: Condvar::new(), room }
    }

    pub(super) async fn push(&self, records: Vec<Record>) -> Result<Appended, AppendError> {
        let cost = check(&records)?;
        let room = Arc::clone(&self.room).acquire_many_owned(cost as u32);
        match tokio::time::timeout(ROOM_WAIT_MAX, room).await {
            Ok(Ok(room)) => self.enqueue(records, cost, room),
            Ok(Err(_)) => Err(self.closed()),
            Err(_) => Err(self.busy()),
        }
    }

    pub(super) fn try_push(&self, records: Vec<Record>) -> Result<Appended, AppendError> {
        let cost = check(&records)?;
        match Arc::clone(&self.room).try_acquire_many_owned(cost as u32) {
            Ok(room) => self.enqueue(records, cost, room),
            Err(TryAcquireError::Closed) => Err(self.closed()),
            Err(TryAcquireError::NoPermits) => Err(self.busy()),
        }
    }

    fn enqueue(
        &self,
        records: Vec<Record>,
        cost: usize,
        room: OwnedSemaphorePermit,
    ) -> Result<Appended, AppendError> {
        let mut inner = self.lock();
        if let Some(error) = &inner.closed {
            return Err(error.clone());
        }
        let first = inner.next_seq;
        let last = first + records.len() as u64 - 1;
        let (done, durable) = Durable::channel();
        inner.next_seq = last + 1;
        inner.cost += cost;
        inner.pending.push_back(Pending { first_seq: first, records, cost, done, _room: room });
        drop(inner);
        self.arrived.notify_one();
        Ok(Appended { first, last, durable })
    }

    /// Asks for the active segment to be closed.
    pub(super) fn close_active(&self) -> Result<Durable, AppendError> {
        let mut inner = self.lock();
        if let Some(error) = &inner.closed {
            return Err(error.clone());
        }
        let (done, closed) = Durable::channel();
        inner.closings.push(done);
        drop(inner);
        self.arrived.notify_one();
        Ok(closed)
    }

    /// Waits for something to do and takes what has arrived, after gathering for `gather` if that is not zero.
    /// `None` once the queue is closed and empty.
    pub(super) fn take(&self, gather: Duration) -> Option<Taken> {
        let mut inner = self.lock();
        while inner.pending.is_empty() {
            if !inner.closings.is_empty() {
                let closings = std::mem::take(&mut inner.closings);
                return Some(Taken { batch: Vec::new(), closings });
            }
            if inner.closed.is_some() {
                return None;
            }
            inner = self.arrived.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        if !gather.is_zero() {
            let is_gathering = |inner: &mut Inner| inner.cost < COMMIT_BYTES_MAX && inner.closed.is_none();
            let waited = self.arrived.wait_timeout_while(inner, gather, is_gathering);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        let mut taken = Vec::new();
        let mut cost = 0;
        while cost < COMMIT_BYTES_MAX {
            let Some(pending) = inner.pending.pop_front() else { break };
            cost += pending.cost;
            taken.push(pending);
        }
        inner.cost -= cost;
        Some(Taken { batch: taken, closings: std::mem::take(&mut inner.closings) })
    }

    /// Fails everything that is queued and gives its sequences out again, from `next_seq`.
    pub(super) fn fail(&self, error: &AppendError, next_seq: u64) {
        let mut inner = self.lock();
        inner.next_seq = next_seq;
        let failed = inner.drain();
        drop(inner);
        failed.into_iter().for_each(|pending| pending.finish(Err(error.clone())));
    }

    /// Refuses further appends with `error`; what is queued is still taken.
    pub(super) fn close(&self, error: AppendError) {
        self.lock().closed.get_or_insert(error);
        self.room.close();
        self.arrived.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn closed(&self) -> AppendError {
        self.lock().closed.clone().unwrap_or(AppendError::Closed)
    }

    fn busy(&self) -> AppendError {
        AppendError::Busy { path: self.path.clone() }
    }
}

impl Inner {
    fn drain(&mut self) -> Vec<Pending> {
        self.cost = 0;
        self.pending.drain(..).collect()
    }
}

/// Refuses what is over a limit, and says what the rest costs.
fn check(records: &[Record]) -> Result<usize, AppendError> {
    if records.is_empty() {
        return Err(AppendError::Empty);
    }
    let too_large = |what, size, limit| Err(AppendError::TooLarge { what, size, limit });
    if records.len() > APPEND_RECORDS_MAX {
        return too_large("a batch (records)", records.len(), APPEND_RECORDS_MAX);
    }
    let largest = records.iter().map(|record| record.payload.len()).max().unwrap_or(0);
    if largest > RECORD_BYTES_MAX {
        return too_large("a record (bytes)", largest, RECORD_BYTES_MAX);
    }
    let bytes: usize = records.iter().map(|record| record.payload.len() + record.tag.as_str().len()).sum();
    if bytes > APPEND_BYTES_MAX {
        return too_large("a batch (bytes)", bytes, APPEND_BYTES_MAX);
    }
    Ok(bytes + records.len() * RECORD_COST_BYTES)
}
