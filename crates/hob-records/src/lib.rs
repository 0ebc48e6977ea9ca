//! Log records: kept durably in the signals log, read back by service, level, text, request id and time.
//!
//! First form: correct and bounded. A search walks the log backwards in windows and stops at a budget, giving a cursor
//! to go on from; columns, filters and patterns come with the parts.

mod error;
mod handle;
mod model;
mod rows;

pub use error::Error;
pub use handle::Records;
pub use model::{Found, LINE_BYTES_MAX, NewRecord, PAGE_RECORDS_MAX, Query, SCAN_RECORDS_MAX};
