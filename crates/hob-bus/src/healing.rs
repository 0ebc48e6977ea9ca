//! Waits for damage of the index, has it made anew from the log, and tells so as a condition.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::Condition;

use crate::Bus;
use crate::handle::Inner;
use crate::model::limits::DEDUPLICATION_WINDOW;

/// Pause after it could not be made anew.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Heals whenever damage is found, until the last handle is gone or the bus is closed.
pub(crate) async fn run(inner: Weak<Inner>) {
    let Some(strong) = inner.upgrade() else { return };
    let (damaged, mut closed) = (Arc::clone(&strong.index.damaged), strong.closed.subscribe());
    drop(strong);
    loop {
        tokio::select! {
            () = damaged.notified() => {}
            // An error means that nobody holds the bus any more.
            _ = closed.wait_for(|closed| *closed) => return,
        }
        let Some(inner) = inner.upgrade() else { return };
        heal(&inner).await;
    }
}

async fn heal(inner: &Arc<Inner>) {
    let begun = inner.clocks.wall.now();
    let ids_since = Timestamp::from_micros(begun.as_micros() - DEDUPLICATION_WINDOW.as_micros() as i64);
    let events = loop {
        match inner.index.heal(inner.events.as_ref(), ids_since).await {
            Ok(events) => break events,
            Err(_) if *inner.closed.borrow() => return,
            Err(error) => tracing::error!(%error, "failed to make the index anew from the log; trying on"),
        }
        tokio::time::sleep(RETRY_AFTER).await;
    };
    let took = inner.clocks.wall.now().since(begun);
    tracing::warn!(events, ?took, "the index was damaged, and was made anew from the log");
    let reason = format!(
        "a file of the index was damaged; it was made anew from {events} events of the log in {:.1} s, and nothing is \
         lost. If this happens again, look at the disk: hob doctor",
        took.as_secs_f64()
    );
    // Told afterwards, since telling needs the index.
    for (active, reason) in [(true, reason), (false, "the index is whole".to_owned())] {
        let condition = Condition {
            subject: "index".to_owned(),
            condition: "damaged".to_owned(),
            active,
            reason,
            environment: None,
            tenant: None,
        };
        let bus = Bus { inner: Arc::clone(inner) };
        if let Err(error) = bus.report_condition(None, condition).await {
            tracing::warn!(%error, "failed to report that the index was made anew");
        }
    }
}
