//! Small revisioned keys: read, compare-and-set, list and watch by prefix.
//!
//! One decision is one key's new revision; there are no transactions over several keys. Revisions come from one
//! counter for the whole store, so a listing's revision is where a watch goes on.

mod error;
mod redb_kv;
mod watch;

use bytes::Bytes;

use crate::BoxFuture;
pub use error::KvError;
pub(crate) use redb_kv::RedbKv;
pub(crate) use watch::Watchers;
pub use watch::{KvChange, KvWatch};

/// Longest key, in bytes.
pub const KEY_BYTES_MAX: usize = 512;
/// Largest value, in bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 20;

/// A store of small keys. Every write is durable when its future resolves.
///
/// Keys are UTF-8 text of 1 to [`KEY_BYTES_MAX`] bytes without control characters; by custom they are paths
/// such as `releases/orders/qa.uk/7`.
pub trait Kv: Send + Sync + 'static {
    /// The newest revision of a key, if it exists.
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, KvError>>;

    /// Writes a key if it is as expected, and returns its new revision; else [`KvError::Conflict`].
    fn put(&self, key: &str, expected: Expected, value: Bytes) -> BoxFuture<'_, Result<Revision, KvError>>;

    /// Deletes a key if it is as expected, and returns the revision of its absence. Deleting an absent key
    /// with [`Expected::Any`] or [`Expected::Absent`] does nothing and returns the store's newest revision.
    fn delete(&self, key: &str, expected: Expected) -> BoxFuture<'_, Result<Revision, KvError>>;

    /// All keys that begin with `prefix`, in order of their bytes, as of one revision.
    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, KvError>>;

    /// Changes to keys that begin with `prefix`, each once and in order, from the first after revision
    /// `after`. When those are no longer remembered, the watch begins with [`KvChange::Relist`] and ends.
    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<KvWatch, KvError>>;
}

/// A point in the history of the whole store; 0 is before the first write.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(pub u64);

/// What a writer believes about a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expected {
    /// Whatever it is.
    Any,
    /// It does not exist.
    Absent,
    /// It exists at exactly this revision.
    Revision(Revision),
}

/// A key as it is at a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub key: String,
    /// When it was written.
    pub revision: Revision,
    /// Its value.
    pub value: Bytes,
}

/// The keys under a prefix as of one revision.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// The store's newest revision when the list was read: watch on from here.
    pub revision: Revision,
    /// The keys, in order.
    pub entries: Vec<Entry>,
}

/// Whether a key that is now at `current` is as `expected`.
pub(crate) fn is_as_expected(expected: Expected, current: Option<Revision>) -> bool {
    match expected {
        Expected::Any => true,
        Expected::Absent => current.is_none(),
        Expected::Revision(revision) => current == Some(revision),
    }
}

/// Refuses keys that no engine could keep.
pub(crate) fn check_key(key: &str) -> Result<(), KvError> {
    let is_sound = !key.is_empty() && key.len() <= KEY_BYTES_MAX && !key.chars().any(char::is_control);
    if is_sound { Ok(()) } else { Err(KvError::BadKey { key: key.chars().take(64).collect() }) }
}

/// Refuses values over the limit.
pub(crate) fn check_value(key: &str, value: &Bytes) -> Result<(), KvError> {
    if value.len() <= VALUE_BYTES_MAX {
        return Ok(());
    }
    Err(KvError::ValueTooLarge { key: key.to_owned(), size: value.len() })
}
