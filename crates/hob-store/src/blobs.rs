//! Immutable named bytes: packages, sealed parts, checkpoints, exports.
//!
//! A blob is visible whole and durable, or not at all. Writing a name again replaces it atomically; callers who
//! name blobs by content never notice.

mod dir;

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use crate::BoxFuture;
pub(crate) use dir::DirBlobs;

/// Largest blob, in bytes.
pub const BLOB_BYTES_MAX: usize = 512 << 20;
/// Longest name, in bytes.
pub const BLOB_NAME_BYTES_MAX: usize = 512;
/// Most blobs that one listing may return.
pub(crate) const BLOB_LIST_MAX: usize = 1_000_000;

/// A store of immutable named bytes.
///
/// A name is a path such as `packages/sha256/ab12…`: parts of ASCII letters, digits, `.`, `_`, `-`, `=` and `+`
/// joined by `/`, none of them `.` or `..`.
pub trait Blobs: Send + Sync + 'static {
    /// Writes a blob; durable and visible when the future resolves.
    fn put(&self, name: &str, bytes: Bytes) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Reads a whole blob; [`BlobError::NotFound`] when there is none.
    fn get(&self, name: &str) -> BoxFuture<'_, Result<Bytes, BlobError>>;

    /// Reads the bytes of a range, fewer where the blob ends earlier.
    fn get_range(&self, name: &str, range: Range<u64>) -> BoxFuture<'_, Result<Bytes, BlobError>>;

    /// Whether there is such a blob.
    fn exists(&self, name: &str) -> BoxFuture<'_, Result<bool, BlobError>>;

    /// Removes a blob; one that does not exist is fine.
    fn delete(&self, name: &str) -> BoxFuture<'_, Result<(), BlobError>>;

    /// Bytes that may still be written, where the engine has a bound and knows it.
    fn room(&self) -> BoxFuture<'_, Result<Option<u64>, BlobError>>;

    /// All blobs under a folder (whole parts of the name; empty for all), in order of their names.
    fn list(&self, folder: &str) -> BoxFuture<'_, Result<Vec<Blob>, BlobError>>;
}

/// A blob's name and size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// Its name.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
}

/// Why a blob could not be read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BlobError {
    /// There is none of this name.
    #[error("find blob {name}: there is none")]
    NotFound {
        /// The name.
        name: String,
    },
    /// The name is not one that every engine can keep.
    #[error(
        "use blob name {name:?}: it needs 1 to {BLOB_NAME_BYTES_MAX} bytes of a-z A-Z 0-9 . _ - = + in parts joined by /"
    )]
    BadName {
        /// The beginning of the name.
        name: String,
    },
    /// The blob is over [`BLOB_BYTES_MAX`].
    #[error("write blob {name}: {size} bytes are over the limit of {BLOB_BYTES_MAX}; split it")]
    TooLarge {
        /// The name.
        name: String,
        /// Size in bytes.
        size: u64,
    },
    /// A listing would be over its limit.
    #[error("list blobs under {folder:?}: more than {BLOB_LIST_MAX}; list a deeper folder")]
    ListTooLarge {
        /// The folder.
        folder: String,
    },
    /// The disk is full.
    #[error("write blob {name} in {place}: no space left on the disk; free some and try again")]
    Full {
        /// The name.
        name: String,
        /// The directory or bucket.
        place: String,
        /// The engine's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
    /// The engine failed.
    #[error("{action} blob {name} in {place}")]
    Engine {
        /// What was being done.
        action: &'static str,
        /// The name.
        name: String,
        /// The directory or bucket.
        place: String,
        /// The engine's error.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

/// Refuses names that some engine would understand in another way.
pub(crate) fn check_name(name: &str) -> Result<(), BlobError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-=+".contains(&byte);
    let is_part = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_plain);
    if name.len() <= BLOB_NAME_BYTES_MAX && name.split('/').all(is_part) {
        return Ok(());
    }
    Err(BlobError::BadName { name: name.chars().take(64).collect() })
}
