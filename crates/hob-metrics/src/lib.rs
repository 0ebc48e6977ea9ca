//! Series of samples: counts, gauges and timings, kept durably in the signals log and read back by step.
//!
//! First form: correct and bounded. What arrives is kept as it arrived, gathered by series; a query reads its range of
//! the log and rolls it up. Heads, parts, roll-ups and query languages come with the series store.

mod error;
mod handle;
mod model;
mod rows;
mod step;

pub use error::Error;
pub use handle::Metrics;
pub use model::{
    LABEL_BYTES_MAX, LABELS_MAX, NAME_BYTES_MAX, POINTS_MAX, Query, SCAN_ROWS_MAX, SERIES_MAX, Sample, Value,
};
