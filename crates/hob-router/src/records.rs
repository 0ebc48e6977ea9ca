//! Access records on their way to the core: every error and every slow request, of the others so many a second. What is
//! not sent is counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hob_wire::{RecordBatch, RecordIn};
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::Limits;
use crate::core_client::CoreClient;
use crate::gateway::Gateway;

/// How often records are sent.
const PERIOD: Duration = Duration::from_secs(1);
/// Records in one batch.
const BATCH_MAX: usize = 1000;

/// Where requests leave their records.
pub(crate) struct Recorder {
    queue: mpsc::Sender<RecordIn>,
    dropped: AtomicU64,
    /// Ordinary records per second.
    rate: u64,
    origin: Instant,
    /// The second since `origin` in the upper half, how many ordinary records it has had in the lower.
    second: AtomicU64,
}

impl Recorder {
    /// A recorder, and the end of the queue that [`send`] empties.
    pub(crate) fn new(limits: &Limits) -> (Self, mpsc::Receiver<RecordIn>) {
        let (queue, records) = mpsc::channel(limits.records_queued_max);
        let recorder = Self {
            queue,
            dropped: AtomicU64::new(0),
            rate: u64::from(limits.records_per_second),
            origin: Instant::now(),
            second: AtomicU64::new(0),
        };
        (recorder, records)
    }

    /// Takes a record, if there is room for it; `record` is called only then.
    pub(crate) fn offer(&self, is_wanted: bool, now: Instant, record: impl FnOnce() -> RecordIn) {
        let is_taken = (is_wanted || self.is_within_rate(now))
            && self.queue.try_reserve().map(|place| place.send(record())).is_ok();
        if !is_taken {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Records that were not taken, since the router began.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    fn is_within_rate(&self, now: Instant) -> bool {
        let second = now.duration_since(self.origin).as_secs();
        let seen = self.second.load(Ordering::Relaxed);
        if seen >> 32 == second {
            // Past the rate nothing is written, so that the line stays shared between the threads' caches.
            return seen & 0xffff_ffff < self.rate
                && self.second.fetch_add(1, Ordering::Relaxed) & 0xffff_ffff < self.rate;
        }
        // Whoever begins the second may lose a count or two to others who do; the rate is a bound on cost, no promise.
        self.second.store((second << 32) | 1, Ordering::Relaxed);
        self.rate > 0
    }
}

/// Sends records each second until `stop`, and what is left then. A batch that did not arrive is sent again; meanwhile
/// the queue fills, and what finds no room is counted.
pub(crate) async fn send(
    core: Arc<CoreClient>,
    gateway: Arc<Gateway>,
    mut records: mpsc::Receiver<RecordIn>,
    stop: CancellationToken,
) {
    let mut ticks = interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = RecordBatch::default();
    let mut told = 0;
    loop {
        let is_last = tokio::select! {
            _ = ticks.tick() => false,
            () = stop.cancelled() => true,
        };
        loop {
            while batch.records.len() < BATCH_MAX
                && let Ok(record) = records.try_recv()
            {
                batch.records.push(record);
            }
            let dropped = gateway.recorder.dropped();
            batch.dropped = dropped - told;
            if batch.records.is_empty() && batch.dropped == 0 {
                break;
            }
            match core.post("/v1/records", &batch).await {
                Ok(()) => told = dropped,
                Err(error) if error.is_final() => {
                    tracing::error!(records = batch.records.len(), %error, "access records are lost");
                    gateway.recorder.dropped.fetch_add(batch.records.len() as u64, Ordering::Relaxed);
                }
                Err(error) => {
                    tracing::debug!(records = batch.records.len(), %error, "access records wait");
                    break;
                }
            }
            batch.records.clear();
        }
        if is_last {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> RecordIn {
        RecordIn {
            time: hob_core::Timestamp::EPOCH,
            source: hob_wire::RecordSource::Access,
            instance: None,
            service: "orders".parse().unwrap(),
            process: None,
            scope: "qa/uk".parse().unwrap(),
            release: 1,
            line: None,
            access: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ordinary_records_are_bounded_by_rate_and_all_by_room() {
        let limits = Limits { records_per_second: 3, records_queued_max: 10, ..Limits::default() };
        let (recorder, mut records) = Recorder::new(&limits);
        for _ in 0..5 {
            recorder.offer(false, Instant::now(), record);
        }
        assert_eq!((records.len(), recorder.dropped()), (3, 2));
        for _ in 0..9 {
            recorder.offer(true, Instant::now(), record);
        }
        assert_eq!((records.len(), recorder.dropped()), (10, 4));
        while records.try_recv().is_ok() {}
        recorder.offer(false, Instant::now() + Duration::from_secs(1), record);
        assert_eq!(records.len(), 1, "the next second has its own");
    }
}
