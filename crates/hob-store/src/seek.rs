//! Finds a place in a log by time.

use crate::{Log, ReadError, ReadLimits};

/// The first sequence whose record's time is at or after `time` (microseconds since 1970); `head() + 1` when there is
/// none. Halves the log, so it reads about log2(n) single records; it relies on times that rise with sequences, as
/// arrival times do but for small jitter.
pub async fn seek(log: &dyn Log, time: i64) -> Result<u64, ReadError> {
    let (mut low, mut high) = (log.oldest(), log.head() + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        let batch = log.read(middle, ReadLimits { records_max: 1, bytes_max: 1 }).await?;
        match batch.records.first() {
            Some(record) if record.time < time => low = record.seq + 1,
            Some(_) => high = middle,
            None => return Ok(middle),
        }
    }
    Ok(low)
}
