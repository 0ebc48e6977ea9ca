//! Keeps the signals log within its bound: telemetry is forgotten from its oldest end.

use std::sync::Arc;
use std::time::Duration;

use hob_store::Log;

/// Bytes of log lines and samples that are kept.
const SIGNALS_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const EVERY: Duration = Duration::from_secs(60);
/// Of the records, so many of a hundred are forgotten at once.
const PER_TRIM: u64 = 5;

/// Trims until the process ends.
pub(super) async fn trim(signals: Arc<dyn Log>) {
    loop {
        tokio::time::sleep(EVERY).await;
        let stats = signals.stats();
        if stats.bytes <= SIGNALS_BYTES_MAX {
            continue;
        }
        let before = stats.oldest + (stats.head.saturating_sub(stats.oldest) * PER_TRIM / 100).max(1);
        match signals.trim(before).await {
            Ok(oldest) => tracing::info!(oldest, "old telemetry was forgotten"),
            Err(error) => {
                tracing::warn!(error = hob_api::chain(&error), "old telemetry could not be forgotten")
            }
        }
    }
}
