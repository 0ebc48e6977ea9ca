//! What can go wrong with records.

use hob_store::{AppendError, ReadError};

/// Why records could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log did not take them.
    #[error("append {count} records to the signals log")]
    Append {
        /// How many.
        count: usize,
        /// Why.
        source: AppendError,
    },
    /// The log could not be read.
    #[error("read records from the signals log")]
    Read(#[from] ReadError),
}
