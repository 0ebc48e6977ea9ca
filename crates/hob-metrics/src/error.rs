//! What can go wrong with series.

use hob_store::{AppendError, ReadError};

use crate::model::{POINTS_MAX, SCAN_ROWS_MAX, SERIES_MAX};

/// Why samples could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The log did not take them.
    #[error("append samples to the signals log")]
    Append(#[from] AppendError),
    /// The log could not be read.
    #[error("read samples from the signals log")]
    Read(#[from] ReadError),
    /// The range has too many steps.
    #[error("read {points} points a series, at most {POINTS_MAX}: narrow the range or widen the step")]
    Points {
        /// How many were asked for.
        points: u64,
    },
    /// The query matches too much.
    #[error("read more than {SERIES_MAX} series: name the metric, the service or the instance")]
    Series,
    /// The range holds too much.
    #[error("read more than {SCAN_ROWS_MAX} rows: narrow the range")]
    Rows,
}
