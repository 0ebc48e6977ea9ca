//! The cache's figures as metrics, for whoever watches the service.

use std::sync::Weak;
use std::time::Duration;

use super::{Cache, Figures, Inner};
use crate::Statsd;

/// How often figures are sent.
const EVERY: Duration = Duration::from_secs(1);

/// Sends figures for as long as the cache lives: counts as counters, the others as gauges, named `<name>.hits` and so on.
pub(super) async fn run(cache: Weak<Inner>, statsd: Statsd, name: String) {
    let mut before = Figures::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(cache) = cache.upgrade().map(Cache) else { return };
        let figures = cache.figures();
        for (what, count) in counts(&before, &figures) {
            if count > 0 {
                statsd.count(&format!("{name}.{what}"), count);
            }
        }
        for (what, value) in gauges(&figures) {
            statsd.gauge(&format!("{name}.{what}"), value);
        }
        statsd.gauge(&format!("{name}.live"), if cache.is_live() { 1.0 } else { 0.0 });
        before = figures;
    }
}

fn counts(before: &Figures, now: &Figures) -> [(&'static str, u64); 8] {
    [
        ("hits", now.hits - before.hits),
        ("misses", now.misses - before.misses),
        ("revalidations", now.revalidations - before.revalidations),
        ("stale_served", now.stale_served - before.stale_served),
        ("events", now.events - before.events),
        ("spared", now.spared - before.spared),
        ("asked_again", now.asked_again - before.asked_again),
        ("evictions", now.evictions - before.evictions),
    ]
}

fn gauges(now: &Figures) -> [(&'static str, f64); 7] {
    [
        ("entities", now.entities as f64),
        ("tombstones", now.tombstones as f64),
        ("bytes", now.bytes as f64),
        ("age_ms_p50", now.age_ms_p50),
        ("age_ms_p99", now.age_ms_p99),
        ("lag_ms_p50", now.lag_ms_p50),
        ("lag_ms_p99", now.lag_ms_p99),
    ]
}
