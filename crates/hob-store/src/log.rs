//! The log: an append-only sequence of tagged records, durable before it is visible.
//!
//! The trait promises the same of every engine: sequences start at 1 and have no holes, readers see only what
//! is durable, damage is reported as a [`Gap`] and never skipped in silence. What a tag means is the caller's.

mod error;
mod tag;

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::BoxFuture;
pub use error::{AppendError, ReadError, TrimError};
pub use tag::{TAG_BYTES_MAX, Tag, TagError};

/// Largest payload of one record, in bytes.
pub const RECORD_BYTES_MAX: usize = 1 << 20;
/// Most records that one append may carry.
pub const APPEND_RECORDS_MAX: usize = 16_384;
/// Most payload and tag bytes that one append may carry.
pub const APPEND_BYTES_MAX: usize = 4 << 20;
/// Most bytes that one read looks through before it returns, whatever its filter let pass.
pub const READ_SCAN_BYTES_MAX: usize = 8 << 20;

/// An append-only sequence of records.
///
/// Dropping a future that a method returned is safe at any time: an append either reached the queue whole or
/// not at all.
pub trait Log: Send + Sync + 'static {
    /// Queues records for the log, in order and next to each other, and returns their sequences at once;
    /// [`Appended::durable`] resolves when they are on disk. Waits for room in the queue for a named time,
    /// then fails with [`AppendError::Busy`].
    ///
    /// A sequence is a promise only once it is durable: when an append fails, its sequences are given to the
    /// records that come next.
    fn append(&self, records: Vec<Record>) -> BoxFuture<'_, Result<Appended, AppendError>>;

    /// Like [`Log::append`], but never waits: a full queue is [`AppendError::Busy`] at once.
    fn try_append(&self, records: Vec<Record>) -> Result<Appended, AppendError>;

    /// Reads durable records from sequence `from` on. An empty batch means that there are none yet.
    fn read(&self, from: u64, limits: ReadLimits) -> BoxFuture<'_, Result<Batch, ReadError>>;

    /// Like [`Log::read`], but returns only records whose tag is in `tags`. One call looks through at most
    /// [`READ_SCAN_BYTES_MAX`], so an empty batch may still have moved [`Batch::next`] forward: the end is
    /// reached when `next` is past `head`.
    fn read_tagged(
        &self,
        from: u64,
        tags: BTreeSet<Tag>,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Batch, ReadError>>;

    /// The newest durable sequence; 0 when the log is empty.
    fn head(&self) -> u64;

    /// The oldest sequence that is kept; `head() + 1` when none is.
    fn oldest(&self) -> u64;

    /// Resolves with the durable head once it is greater than `after`.
    fn wait(&self, after: u64) -> BoxFuture<'_, Result<u64, ReadError>>;

    /// Forgets records before `before`, as far as whole files allow, and returns the oldest sequence kept.
    fn trim(&self, before: u64) -> BoxFuture<'_, Result<u64, TrimError>>;

    /// The closed files of the log, oldest first, each as the sequences that it holds: what can be trimmed whole.
    /// What is written to now is not among them.
    fn closed(&self) -> Vec<Gap>;

    /// Closes the file that is written to, if it holds any record, so that it can be sealed and trimmed. Resolves
    /// when [`Log::closed`] tells of it.
    fn close_active(&self) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Counts and condition of the log now.
    fn stats(&self) -> LogStats;
}

/// A record to be appended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What the record is filed under.
    pub tag: Tag,
    /// Its time in microseconds since 1970, as the caller sees it; the log does not order by it.
    pub time: i64,
    /// Its content, at most [`RECORD_BYTES_MAX`].
    pub payload: Bytes,
}

/// A durable record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its place in the log, from 1.
    pub seq: u64,
    /// What it is filed under.
    pub tag: Tag,
    /// Its time in microseconds since 1970.
    pub time: i64,
    /// Its content.
    pub payload: Bytes,
}

/// How much one read may return. A single record is returned even when it is larger than `bytes_max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadLimits {
    /// Most records, at least 1.
    pub records_max: usize,
    /// Most payload bytes.
    pub bytes_max: usize,
}

impl Default for ReadLimits {
    fn default() -> Self {
        Self { records_max: 1_000, bytes_max: 1 << 20 }
    }
}

/// What one read found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    /// The records, in order.
    pub records: Vec<Stored>,
    /// Sequences between `from` and `next` that are damaged and cannot be served, in order.
    pub gaps: Vec<Gap>,
    /// Where to read on.
    pub next: u64,
    /// The durable head when the read began.
    pub head: u64,
}

/// A range of sequences; most often one that is quarantined: recorded once, unreadable now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Gap {
    /// First sequence.
    pub first: u64,
    /// Last sequence.
    pub last: u64,
}

/// Records on their way to disk.
#[derive(Debug)]
pub struct Appended {
    /// Sequence of the first record.
    pub first: u64,
    /// Sequence of the last record.
    pub last: u64,
    /// Resolves when all of them are durable, or with the reason why they never will be.
    pub durable: Durable,
}

/// A future that resolves when an append is durable. Dropping it does not cancel the append.
#[derive(Debug)]
pub struct Durable(oneshot::Receiver<Result<(), AppendError>>);

impl Durable {
    pub(crate) fn channel() -> (oneshot::Sender<Result<(), AppendError>>, Self) {
        let (sender, receiver) = oneshot::channel();
        (sender, Self(receiver))
    }
}

impl Future for Durable {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or(Err(AppendError::Closed)))
    }
}

/// Counts and condition of a log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogStats {
    /// Newest durable sequence.
    pub head: u64,
    /// Oldest sequence kept.
    pub oldest: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Files on disk.
    pub segments: u64,
    /// Blocks written since the log was opened.
    pub blocks: u64,
    /// Syncs to disk since the log was opened: fewer than appends when commits gather.
    pub syncs: u64,
    /// Bytes of an unfinished write that were cut off when the log was opened.
    pub torn_bytes: u64,
    /// Damaged ranges that reads skip and report.
    pub quarantined: Vec<Gap>,
    /// Whether it takes appends.
    pub condition: LogCondition,
}

/// Whether a log takes appends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum LogCondition {
    /// Yes.
    #[default]
    Writable,
    /// The disk was full at the last append; the next one tries again.
    Full,
    /// A write or sync failed in a way that only reopening the log can clear.
    ReadOnly {
        /// What failed.
        reason: String,
    },
}
