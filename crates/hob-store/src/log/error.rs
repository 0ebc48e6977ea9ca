//! What can go wrong with a log, in words that name the file and the way out.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why records were not appended. None of them is durable then, and none will be.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The append carries no record.
    #[error("append an empty batch: give at least one record")]
    Empty,
    /// A record or a batch is over its limit.
    #[error("append {what} of {size}: the limit is {limit}; split it or keep the body elsewhere")]
    TooLarge {
        /// What is too large, with its unit.
        what: &'static str,
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// The queue stayed full: the disk is slower than the publishers. Try again later.
    #[error("append to {path}: the write queue is full, the disk is slower than the publishers; try again", path = path.display())]
    Busy {
        /// The log.
        path: PathBuf,
    },
    /// The disk is full. The log is intact and resumes by itself once there is space.
    #[error("append to {path}: no space left on the disk; free some, the log resumes by itself", path = path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// A write or sync failed earlier; nothing can be promised until the log is opened again.
    #[error("append to {path}: the log is read-only since {reason}; check the disk, then restart", path = path.display())]
    ReadOnly {
        /// The log.
        path: PathBuf,
        /// What failed.
        reason: String,
    },
    /// The log was closed before the records were durable.
    #[error("append: the log is closed")]
    Closed,
}

/// Why records could not be read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// The sequence is no longer kept.
    #[error("read from sequence {from}: the oldest kept is {oldest}; read on from there")]
    Trimmed {
        /// What was asked for.
        from: u64,
        /// The oldest that is kept.
        oldest: u64,
    },
    /// The file could not be read at all.
    #[error("read {path}", path = path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
    /// The log is closed.
    #[error("read: the log is closed")]
    Closed,
}

/// Why a log could not be trimmed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("remove {path}", path = path.display())]
pub struct TrimError {
    /// The file.
    pub path: PathBuf,
    /// The system's error.
    #[source]
    pub source: Arc<io::Error>,
}
