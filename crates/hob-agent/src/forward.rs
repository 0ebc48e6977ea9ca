//! Forwards what instances write and measure, in batches; while the core is away they wait, bounded.

use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Datagram, RecordBatch, SampleBatch};
use serde::Serialize;

use crate::attached::Door;
use crate::client::{Client, Refused};
use crate::output::Written;
use crate::queue::{BatchLimits, Queue};

const LIMITS: BatchLimits =
    BatchLimits { items_max: 500, bytes_max: 1 << 20, gather: Duration::from_millis(200) };
/// Waits between tries of the same batch.
const RETRY_FIRST: Duration = Duration::from_millis(200);
const RETRY_LONGEST: Duration = Duration::from_secs(2);

/// Sends records until their queue is closed and empty. Shims are told which of their lines have arrived.
pub(crate) async fn records(client: Client, queue: Arc<Queue<Written>>) {
    while let Some(batch) = queue.next(LIMITS).await {
        let mut doors: Vec<(Arc<Door>, u64)> = Vec::new();
        let mut records = Vec::new();
        for Written { record, from } in batch.items {
            records.push(record);
            let Some((door, number)) = from else { continue };
            match doors.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &door)) {
                Some((_, highest)) => *highest = number,
                None => doors.push((door, number)),
            }
        }
        let lost = records.len() as u64 + batch.dropped;
        let body = RecordBatch { records, dropped: batch.dropped };
        if !post(&client, "/v1/records", &body).await {
            queue.count_dropped(lost);
        }
        for (door, number) in doors {
            door.acknowledge(number).await;
        }
    }
}

/// Sends statsd datagrams until their queue is closed and empty.
pub(crate) async fn samples(client: Client, queue: Arc<Queue<Datagram>>) {
    while let Some(batch) = queue.next(LIMITS).await {
        let lost = batch.items.len() as u64 + batch.dropped;
        let body = SampleBatch { statsd: batch.items, dropped: batch.dropped };
        if !post(&client, "/v1/samples", &body).await {
            queue.count_dropped(lost);
        }
    }
}

/// Posts a batch until it arrives; false when it was refused for good.
async fn post<B: Serialize + Sync>(client: &Client, path: &str, body: &B) -> bool {
    let mut wait = RETRY_FIRST;
    loop {
        match client.post(path, body).await {
            Ok(()) => return true,
            Err(why @ (Refused::Away(_) | Refused::Stranger)) => {
                tracing::debug!(%why, path, "a batch waits for the core");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(RETRY_LONGEST);
            }
            Err(error @ Refused::Never(_)) => {
                tracing::warn!(%error, path, "a batch was refused and is dropped");
                return false;
            }
        }
    }
}
