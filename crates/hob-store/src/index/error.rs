//! Why the index could not do what it was asked.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the index could not be read or written. Whatever it holds can be made again from the log.
#[derive(Debug, Clone, thiserror::Error)]
pub enum IndexError {
    /// A file is not as it was written.
    #[error("read the index: {path} is damaged", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("{action} {path} of the index", path = path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: Arc<io::Error>,
    },
}

impl IndexError {
    pub(super) fn damaged(path: &Path) -> Self {
        Self::Damaged { path: path.to_owned() }
    }

    pub(super) fn io(action: &'static str, path: &Path, source: io::Error) -> Self {
        if source.kind() == io::ErrorKind::UnexpectedEof {
            return Self::damaged(path);
        }
        Self::Io { action, path: path.to_owned(), source: Arc::new(source) }
    }
}
