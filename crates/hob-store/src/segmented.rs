//! The embedded log: segment files, one writing thread, group commits.
//!
//! Appends go through a bounded queue to a thread that writes what arrived during its last sync as blocks and syncs
//! once for all of them. Reads take the newest records from memory and others from the files, and check every
//! block's checksum. Start at [`SegmentedLog::open`]; `block` has the format, `scan` finds damage in it.

mod block;
mod faults;
mod index;
mod queue;
mod read;
mod recover;
mod scan;
pub(crate) mod segment;
mod tail;
mod writer;

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;

use crate::BoxFuture;
use crate::lock::DirectoryLock;
use crate::log::{
    AppendError, Appended, Batch, Gap, Log, LogStats, ReadError, ReadLimits, Record, Tag, TrimError,
};
use crate::open::OpenError;
pub use faults::Faults;
use index::Index;
use queue::Queue;
use read::Request;
use writer::Writer;

/// When records are synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// As soon as the last sync is done, with all that arrived meanwhile.
    Always,
    /// At most so long after they arrived, with all that arrived meanwhile.
    Every(Duration),
}

impl SyncPolicy {
    fn gather(self) -> Duration {
        match self {
            Self::Always => Duration::ZERO,
            Self::Every(longest) => longest,
        }
    }
}

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A segment is closed once it has this many bytes.
    pub segment_bytes: u64,
    /// The newest records are kept in memory up to this many bytes.
    pub tail_bytes_max: usize,
    /// When records are synced.
    pub sync: SyncPolicy,
    /// Errors on order, for tests.
    #[doc(hidden)]
    pub faults: Option<Arc<Faults>>,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 64 << 20, tail_bytes_max: 4 << 20, sync: SyncPolicy::Always, faults: None }
    }
}

/// A log in a directory of segment files. Dropping it writes what is queued and waits for that.
pub struct SegmentedLog {
    directory: PathBuf,
    salt: u32,
    queue: Arc<Queue>,
    index: Arc<Index>,
    writer: Option<JoinHandle<()>>,
    /// Given back after the writer has ended.
    _lock: Option<Arc<DirectoryLock>>,
}

impl SegmentedLog {
    /// Opens the log in `directory`, or begins one, and recovers it; blocks the thread for as long as reading the
    /// whole log takes. Whoever calls makes sure that nobody else has it open.
    pub fn open(directory: &Path, options: LogOptions) -> Result<Self, OpenError> {
        Self::open_locked(directory, options, None)
    }

    pub(crate) fn open_locked(
        directory: &Path,
        options: LogOptions,
        lock: Option<Arc<DirectoryLock>>,
    ) -> Result<Self, OpenError> {
        let recover::Recovered { id, state, active } = recover::recover(directory, options.tail_bytes_max)?;
        let queue = Arc::new(Queue::new(directory.to_owned(), active.next_seq));
        let index = Arc::new(Index::new(state));
        let writer = Writer {
            id,
            options,
            queue: Arc::clone(&queue),
            index: Arc::clone(&index),
            active,
            buffer: Vec::new(),
        };
        let thread = std::thread::Builder::new().name("hob-log".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(OpenError::io("start the writer of", directory))?;
        let directory = directory.to_owned();
        Ok(Self { directory, salt: id.salt(), queue, index, writer: Some(thread), _lock: lock })
    }

    async fn read_request(&self, request: Request) -> Result<Batch, ReadError> {
        let read = match read::read_memory(&self.index, request)? {
            Ok(batch) => return Ok(batch),
            Err(read) => read,
        };
        let (index, salt) = (Arc::clone(&self.index), self.salt);
        let batch = tokio::task::spawn_blocking(move || read.run(&index, salt)).await;
        batch.unwrap_or(Err(ReadError::Closed))
    }
}

impl Log for SegmentedLog {
    fn append(&self, records: Vec<Record>) -> BoxFuture<'_, Result<Appended, AppendError>> {
        self.queue.push(records).boxed()
    }

    fn try_append(&self, records: Vec<Record>) -> Result<Appended, AppendError> {
        self.queue.try_push(records)
    }

    fn read(&self, from: u64, limits: ReadLimits) -> BoxFuture<'_, Result<Batch, ReadError>> {
        self.read_request(Request { from: from.max(1), tags: None, limits }).boxed()
    }

    fn read_tagged(
        &self,
        from: u64,
        tags: BTreeSet<Tag>,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Batch, ReadError>> {
        self.read_request(Request { from: from.max(1), tags: Some(tags), limits }).boxed()
    }

    fn head(&self) -> u64 {
        self.index.read().head
    }

    fn oldest(&self) -> u64 {
        self.index.read().oldest()
    }

    fn wait(&self, after: u64) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.index.wait(after).boxed()
    }

    fn trim(&self, before: u64) -> BoxFuture<'_, Result<u64, TrimError>> {
        let index = Arc::clone(&self.index);
        let directory = self.directory.clone();
        async move {
            let removing = tokio::task::spawn_blocking(move || {
                let removed = index.trim(before);
                removed.iter().try_for_each(|path| remove_segment(&index, path))?;
                if !removed.is_empty() {
                    segment::sync_directory(&directory).map_err(|source| trim_error(&directory, source))?;
                }
                Ok(index.read().oldest())
            });
            let stopped =
                |_| Err(trim_error(&self.directory, io::Error::other("the runtime is shutting down")));
            removing.await.unwrap_or_else(stopped)
        }
        .boxed()
    }

    fn closed(&self) -> Vec<Gap> {
        self.index.read().closed()
    }

    fn close_active(&self) -> BoxFuture<'_, Result<(), AppendError>> {
        let closing = self.queue.close_active();
        async move { closing?.await }.boxed()
    }

    fn stats(&self) -> LogStats {
        self.index.stats()
    }
}

impl Drop for SegmentedLog {
    fn drop(&mut self) {
        self.queue.close(AppendError::Closed);
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

/// What is damaged in the log in a directory, without changing anything there.
pub(crate) fn examine(directory: &Path) -> Result<Vec<Gap>, OpenError> {
    recover::examine(directory)
}

fn remove_segment(index: &Index, path: &Path) -> Result<(), TrimError> {
    let bytes = fs::metadata(path).map(|metadata| metadata.len()).unwrap_or(0);
    fs::remove_file(path).map_err(|source| trim_error(path, source))?;
    index.forget_bytes(bytes);
    segment::remove_torn(path).map_err(|source| trim_error(path, source))
}

fn trim_error(path: &Path, source: io::Error) -> TrimError {
    TrimError { path: path.to_owned(), source: Arc::new(source) }
}

/// Feeds arbitrary bytes to everything that decodes them; must return whatever they are.
#[doc(hidden)]
pub fn fuzz_decode_block(bytes: &[u8]) {
    segment::read_header(bytes);
    let bytes = Bytes::copy_from_slice(bytes);
    let mut records = Vec::new();
    for piece in scan::scan(&bytes, 0, 1, None, 0).pieces {
        if let scan::Piece::Block { offset, header } = piece {
            block::decode(&bytes, offset, &header, &mut records);
        }
    }
    scan::salvage(&bytes, 0, bytes.len(), Gap { first: 1, last: u64::MAX }, 0);
}
