//! Forwards what instances write and measure, in batches; while the core is away they wait, bounded.

use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Datagram, RecordBatch, RecordIn, SampleBatch};
use serde::Serialize;

use crate::client::{Client, Refused};
use crate::queue::{Batch, BatchLimits, Queue};

const LIMITS: BatchLimits =
    BatchLimits { items_max: 500, bytes_max: 1 << 20, gather: Duration::from_millis(200) };
/// Waits between tries of the same batch.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Sends records until their queue is closed and empty.
pub(crate) async fn records(client: Client, queue: Arc<Queue<RecordIn>>) {
    let make = |batch: Batch<RecordIn>| RecordBatch { records: batch.items, dropped: batch.dropped };
    send(&client, "/v1/records", &queue, make).await;
}

/// Sends statsd datagrams until their queue is closed and empty.
pub(crate) async fn samples(client: Client, queue: Arc<Queue<Datagram>>) {
    let make = |batch: Batch<Datagram>| SampleBatch { statsd: batch.items, dropped: batch.dropped };
    send(&client, "/v1/samples", &queue, make).await;
}

async fn send<T, B: Serialize + Sync>(
    client: &Client,
    path: &str,
    queue: &Queue<T>,
    make: impl Fn(Batch<T>) -> B,
) {
    while let Some(batch) = queue.next(LIMITS).await {
        let lost = batch.items.len() as u64 + batch.dropped;
        let body = make(batch);
        let mut wait = RETRY_FIRST;
        loop {
            match client.post(path, &body).await {
                Ok(()) => break,
                Err(Refused::Away(why)) => {
                    tracing::debug!(%why, path, "a batch waits for the core");
                    tokio::time::sleep(wait).await;
                    wait = (wait * 2).min(RETRY_LONGEST);
                }
                Err(error @ Refused::Never(_)) => {
                    tracing::warn!(%error, path, lost, "a batch was refused and is dropped");
                    queue.count_dropped(lost);
                    break;
                }
            }
        }
    }
}
