//! What a cache has done so far.

use serde::Serialize;

/// Counts since the cache was made, and what it holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Reads from memory that asked nobody.
    pub hits: u64,
    /// Reads that had to ask the entity's owner and got a new representation.
    pub misses: u64,
    /// Reads that asked and learnt that the kept representation is still right.
    pub revalidations: u64,
    /// Reads from memory although it may have been outdated, because the owner did not answer.
    pub stale_served: u64,
    /// Events that changed what is known of a kept entity.
    pub events: u64,
    /// Entities that were forgotten to keep within the limit.
    pub evictions: u64,
    /// Entities known now.
    pub entities: u64,
    /// Bytes held now.
    pub bytes: u64,
}
