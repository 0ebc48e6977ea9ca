//! Why a data directory could not be opened, in words that name the file and the way out.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};

/// Why a data directory, or a part of it, could not be opened. Nothing in it was changed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it open.
    #[error("open {path}: another Hob uses it{holder}; stop that one or choose another directory", path = path.display(), holder = holder.map(|pid| format!(" (process {pid})")).unwrap_or_default())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other process, if it left its number.
        holder: Option<u32>,
    },
    /// It was written by another version.
    #[error("open {path}: its format is {found:?}, this Hob reads {expected:?}; run the version that wrote it, or choose another directory", path = path.display())]
    OtherFormat {
        /// The file that says so.
        path: PathBuf,
        /// The format found.
        found: String,
        /// The format that this version reads.
        expected: String,
    },
    /// A log's file is not one of this log.
    #[error("open {path}: it belongs to another log; put the right file back, or move the directory away", path = path.display())]
    ForeignSegment {
        /// The file.
        path: PathBuf,
    },
    /// A log's identity is lost, without which its records cannot be checked.
    #[error("open {path}: the log's identity is damaged and so is the beginning of each of its files; restore the file from a copy, or move the directory away", path = path.display())]
    LostIdentity {
        /// The file that held it.
        path: PathBuf,
    },
    /// The engine of the keys refused its file.
    #[error("open keys in {path}: restore the file from a copy, or move it away", path = path.display())]
    Keys {
        /// The file.
        path: PathBuf,
        /// The engine's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The directory of the index cannot be used at all.
    #[error("{0}")]
    Index(#[from] crate::IndexError),
    /// A file could not be read or written.
    #[error("{action} {path}", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl OpenError {
    /// For `map_err`: says what was being done to which file.
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}
