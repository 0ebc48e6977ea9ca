//! Makes what is on disk anew from the log while Hob runs, when a file of it turns out to be damaged: the index is
//! disposable, so nobody need be asked.
//!
//! Whoever finds damage rings, and waits: for as long as the index is not whole nobody reads it and nothing is flushed.
//! What came since the newest flush is in memory, so only what stood in the index is read from the log again.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hob_core::Timestamp;
use hob_store::{IndexError, Log, ReadLimits};

use super::flush::commit;
use super::memory::Memory;
use super::note::Note;
use super::{Index, Remembered};
use crate::Error;

/// Longest that anybody waits for the index to be whole again before he is told to come later.
const WAIT_MAX: Duration = Duration::from_secs(5);
const READ: ReadLimits = ReadLimits { records_max: 8_192, bytes_max: 4 << 20 };

impl Index {
    /// Reads from disk; what is damaged is made anew first.
    pub(super) async fn on_disk<T: Send + 'static>(
        &self,
        read: impl Fn(&hob_store::Index) -> Result<T, IndexError> + Clone + Send + 'static,
    ) -> Result<T, Error> {
        let whole = async {
            loop {
                let mut healed = std::pin::pin!(self.healed.notified());
                healed.as_mut().enable();
                let reading = self.disk.read().await;
                let heals = self.heals.load(Ordering::Acquire);
                let (engine, read) = (Arc::clone(&self.engine), read.clone());
                let outcome = tokio::task::spawn_blocking(move || read(&engine)).await;
                drop(reading);
                match outcome.map_err(|_| Error::Closed)? {
                    Err(IndexError::Damaged { path }) => {
                        tracing::error!(path = %path.display(), "a file of the index is damaged");
                        // Else somebody else has found it, and it is mended already.
                        if self.heals.load(Ordering::Acquire) == heals {
                            self.damaged.notify_one();
                            healed.await;
                        }
                    }
                    outcome => return Ok(outcome?),
                }
            }
        };
        tokio::time::timeout(WAIT_MAX, whole).await.map_err(|_| Error::IndexHealing)?
    }

    /// Makes it anew from the log; says how many events were read for it.
    pub(crate) async fn heal(&self, log: &dyn Log, ids_since: Timestamp) -> Result<u64, Error> {
        let _disk = self.disk.write().await;
        let note = self.engine.note();
        let upto = Note::decode(&note).map_or(0, |note| note.watermark);
        // Until the end its note is empty: were this cut short, the next start would begin again.
        self.on_engine(|engine| engine.clear()).await?;
        let mut memory = Memory::new(self.memory().limits());
        let (mut from, mut events) = (log.oldest(), 0);
        while from <= upto {
            let batch = log.read(from, READ).await?;
            for stored in batch.records.iter().filter(|stored| stored.seq <= upto) {
                let Some(remembered) = Remembered::again(stored, ids_since, &self.keys) else { continue };
                events += 1;
                if memory.recall(stored.seq, remembered) {
                    self.put(&mut memory, Bytes::new()).await?;
                }
            }
            if batch.next <= from {
                break;
            }
            from = batch.next;
        }
        self.put(&mut memory, note).await?;
        self.heals.fetch_add(1, Ordering::AcqRel);
        self.healed.notify_waiters();
        Ok(events)
    }

    async fn put(&self, memory: &mut Memory, note: Bytes) -> Result<(), Error> {
        let tail = memory.seal().unwrap_or_default();
        self.on_engine(move |engine| commit(engine, &tail, note)).await?;
        memory.flushed();
        Ok(())
    }

    async fn on_engine(
        &self,
        act: impl FnOnce(&hob_store::Index) -> Result<(), IndexError> + Send + 'static,
    ) -> Result<(), Error> {
        let engine = Arc::clone(&self.engine);
        Ok(tokio::task::spawn_blocking(move || act(&engine)).await.map_err(|_| Error::Closed)??)
    }
}
