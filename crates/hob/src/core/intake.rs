//! Telemetry in: decoded by `hob-ingest`, kept by `hob-records` and `hob-metrics`.

use futures_util::future::BoxFuture;
use hob_api::{ApiError, Intake};
use hob_core::Clock;
use hob_metrics::Metrics;
use hob_records::Records;
use hob_wire::{RecordBatch, SampleBatch};

/// Joins the decoders to the stores.
pub(super) struct Telemetry {
    pub(super) records: Records,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
}

impl Intake for Telemetry {
    fn records(&self, batch: RecordBatch) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            if batch.dropped > 0 {
                tracing::info!(dropped = batch.dropped, "a sender of log records kept only a sample");
            }
            let records = batch.records.into_iter().filter_map(hob_ingest::record).collect();
            Ok(self.records.append(records, self.clock.now()).await?)
        })
    }

    fn samples(&self, batch: SampleBatch) -> BoxFuture<'_, Result<(), ApiError>> {
        Box::pin(async move {
            let mut refused = batch.dropped;
            let mut samples = Vec::new();
            for datagram in &batch.statsd {
                let decoded = hob_ingest::datagram(datagram);
                refused += decoded.refused;
                samples.extend(decoded.samples);
            }
            if refused > 0 {
                let service = batch.statsd.first().map(|datagram| datagram.service.to_string());
                tracing::info!(refused, service, "samples were dropped by their sender or not understood");
            }
            Ok(self.metrics.append(samples).await?)
        })
    }
}
