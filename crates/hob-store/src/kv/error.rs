//! What can go wrong with a key, in words that name it and the way out.

use std::error::Error;
use std::sync::Arc;

use crate::kv::{KEY_BYTES_MAX, Revision, VALUE_BYTES_MAX};

/// Why a key could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum KvError {
    /// The key is not as expected: read it again and decide anew.
    #[error("write key {key}: it is at revision {current:?}, not as expected; read it again", current = current.map(|revision| revision.0))]
    Conflict {
        /// The key.
        key: String,
        /// Its revision now, if it exists.
        current: Option<Revision>,
    },
    /// The key's name is empty, too long or has control characters.
    #[error("use key {key:?}: it needs 1 to {KEY_BYTES_MAX} bytes without control characters")]
    BadKey {
        /// The beginning of the key.
        key: String,
    },
    /// The value is over [`VALUE_BYTES_MAX`].
    #[error("write key {key}: {size} bytes are over the limit of {VALUE_BYTES_MAX}; keep it as a blob")]
    ValueTooLarge {
        /// The key.
        key: String,
        /// Size of the value in bytes.
        size: usize,
    },
    /// A listing would be over its limit.
    #[error("list keys under {prefix:?}: more than {limit} bytes; list a longer prefix")]
    ListTooLarge {
        /// The prefix.
        prefix: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// The engine failed; nothing was written, or nobody can say.
    #[error("{action} in {place}: check the disk, then restart")]
    Engine {
        /// What was being done.
        action: &'static str,
        /// The file or server.
        place: String,
        /// The engine's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The store is closed.
    #[error("use a key: the store is closed")]
    Closed,
}
