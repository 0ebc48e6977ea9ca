//! Keeps the signals log within its bound: telemetry is forgotten from its oldest end. Forgets nodes that are over, and packages
//! that no release needs.

use std::sync::Arc;
use std::time::Duration;

use hob_api::Tokens;
use hob_deploy::Deploy;
use hob_store::Log;

/// Bytes of log lines and samples that are kept.
const SIGNALS_BYTES_MAX: u64 = 4 * 1024 * 1024 * 1024;
const EVERY: Duration = Duration::from_secs(60);
/// Of the records, so many of a hundred are forgotten at once.
const PER_TRIM: u64 = 5;
/// Time between looks for packages that no release needs.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// Time between looks for nodes that are over.
const BURY_EVERY: Duration = Duration::from_secs(2);

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

/// Removes packages that no release needs, until the process ends.
pub(super) async fn sweep(deploy: Deploy) {
    loop {
        tokio::time::sleep(SWEEP_EVERY).await;
        match deploy.collect_packages().await {
            Ok(gone) if gone.is_empty() => {}
            Ok(gone) => tracing::info!(packages = gone.len(), "packages that no release needs were removed"),
            Err(error) => {
                tracing::warn!(
                    error = hob_api::chain(&error),
                    "packages that no release needs were not removed"
                )
            }
        }
    }
}

/// Takes from nodes that were given up and have nothing left what they could still say, then forgets them.
pub(super) async fn bury(deploy: Deploy, tokens: Tokens) {
    let mut every = tokio::time::interval(BURY_EVERY);
    loop {
        every.tick().await;
        for node in deploy.nodes_over() {
            if let Err(error) = tokens.revoke_node(&node).await {
                tracing::warn!(%node, error = hob_api::chain(&error), "a node's tokens could not be taken back");
                continue;
            }
            match deploy.forget_node(&node).await {
                Ok(()) => tracing::info!(%node, "a node that was given up is forgotten"),
                Err(error) => {
                    tracing::warn!(%node, error = hob_api::chain(&error), "a node was not forgotten")
                }
            }
        }
    }
}
