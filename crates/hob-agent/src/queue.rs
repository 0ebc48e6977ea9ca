//! A queue between instances, which never wait, and the core, which may be away: bounded, and what is over is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// Bytes that may wait.
const BYTES_MAX: usize = 16 << 20;
/// Items that may wait.
const ITEMS_MAX: usize = 50_000;

/// Items on their way to the core.
pub(crate) struct Queue<T> {
    inner: Mutex<Inner<T>>,
    news: Notify,
    room: Notify,
}

struct Inner<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    dropped: u64,
    is_closed: bool,
}

/// What is sent at once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Batch<T> {
    pub(crate) items: Vec<T>,
    /// How many were dropped since the batch before.
    pub(crate) dropped: u64,
}

/// How large a batch may be, and how long it gathers.
#[derive(Clone, Copy)]
pub(crate) struct BatchLimits {
    pub(crate) items_max: usize,
    pub(crate) bytes_max: usize,
    pub(crate) gather: Duration,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        let inner = Inner { items: VecDeque::new(), bytes: 0, dropped: 0, is_closed: false };
        Self { inner: Mutex::new(inner), news: Notify::new(), room: Notify::new() }
    }

    /// Adds an item of about `bytes`, or counts it as dropped. Never waits.
    pub(crate) fn push(&self, item: T, bytes: usize) {
        let mut inner = self.lock();
        if inner.bytes + bytes > BYTES_MAX || inner.items.len() >= ITEMS_MAX || inner.is_closed {
            inner.dropped += 1;
            return;
        }
        inner.bytes += bytes;
        inner.items.push_back((bytes, item));
        drop(inner);
        self.news.notify_one();
    }

    /// Adds an item of about `bytes` once there is room. What comes after the end is not taken, and not counted: whoever
    /// brought it has it still.
    pub(crate) async fn push_when_room(&self, item: T, bytes: usize) {
        loop {
            let room = self.room.notified();
            {
                let mut inner = self.lock();
                if inner.is_closed {
                    return;
                }
                if inner.items.is_empty()
                    || (inner.bytes + bytes <= BYTES_MAX && inner.items.len() < ITEMS_MAX)
                {
                    inner.bytes += bytes;
                    inner.items.push_back((bytes, item));
                    break;
                }
            }
            room.await;
        }
        self.news.notify_one();
    }

    /// Counts items that were lost after they left the queue.
    pub(crate) fn count_dropped(&self, count: u64) {
        self.lock().dropped += count;
    }

    /// Nothing more is taken; what waits is still given out, without gathering.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.news.notify_one();
        self.room.notify_waiters();
    }

    /// Waits for an item, then a little for more. None when the queue is closed and empty.
    pub(crate) async fn next(&self, limits: BatchLimits) -> Option<Batch<T>> {
        loop {
            let news = self.news.notified();
            let (is_empty, is_closed) = self.state();
            match (is_empty, is_closed) {
                (false, _) => break,
                (true, true) => return None,
                (true, false) => news.await,
            }
        }
        let deadline = tokio::time::Instant::now() + limits.gather;
        while !self.has_batch(limits) {
            if tokio::time::timeout_at(deadline, self.news.notified()).await.is_err() {
                break;
            }
        }
        Some(self.take(limits))
    }

    fn state(&self) -> (bool, bool) {
        let inner = self.lock();
        (inner.items.is_empty(), inner.is_closed)
    }

    fn has_batch(&self, limits: BatchLimits) -> bool {
        let inner = self.lock();
        inner.items.len() >= limits.items_max || inner.bytes >= limits.bytes_max || inner.is_closed
    }

    fn take(&self, limits: BatchLimits) -> Batch<T> {
        let mut inner = self.lock();
        let mut batch = Batch { items: Vec::new(), dropped: std::mem::take(&mut inner.dropped) };
        let mut bytes = 0;
        while batch.items.len() < limits.items_max {
            let Some((size, _)) = inner.items.front() else { break };
            if bytes + size > limits.bytes_max && !batch.items.is_empty() {
                break;
            }
            bytes += size;
            batch.items.extend(inner.items.pop_front().map(|(_, item)| item));
        }
        inner.bytes -= bytes;
        self.room.notify_waiters();
        batch
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: BatchLimits =
        BatchLimits { items_max: 3, bytes_max: 100, gather: Duration::from_millis(200) };

    #[tokio::test(start_paused = true)]
    async fn batches_gather_and_keep_their_limits() {
        let queue = Queue::new();
        for item in 0..5 {
            queue.push(item, 10);
        }
        assert_eq!(queue.next(LIMITS).await, Some(Batch { items: vec![0, 1, 2], dropped: 0 }));
        let begun = tokio::time::Instant::now();
        assert_eq!(queue.next(LIMITS).await, Some(Batch { items: vec![3, 4], dropped: 0 }));
        assert_eq!(begun.elapsed(), LIMITS.gather);
        queue.push(6, 90);
        queue.push(7, 90);
        assert_eq!(queue.next(LIMITS).await.unwrap().items, [6]);
        queue.close();
        queue.push(8, 1);
        assert_eq!(queue.next(LIMITS).await, Some(Batch { items: vec![7], dropped: 1 }));
        assert_eq!(queue.next(LIMITS).await, None);
    }

    #[tokio::test]
    async fn one_that_can_wait_waits_for_room() {
        let queue = Queue::new();
        queue.push(1, BYTES_MAX);
        let mut waiting = std::pin::pin!(queue.push_when_room(2, 1));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(queue.take(LIMITS).items, [1]);
        waiting.await;
        assert_eq!(queue.take(LIMITS), Batch { items: vec![2], dropped: 0 });
    }

    #[test]
    fn what_is_over_is_dropped_and_counted() {
        let queue = Queue::new();
        queue.push("a", BYTES_MAX);
        queue.push("b", 1);
        let batch = queue.take(LIMITS);
        assert_eq!((batch.items, batch.dropped), (vec!["a"], 1));
        queue.push("c", 1);
        assert_eq!(queue.take(LIMITS).items, ["c"]);
    }
}
