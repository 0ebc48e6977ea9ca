//! What can be seen of the event log as a whole.

use std::sync::atomic::Ordering;

use hob_store::{Gap, Log};

use crate::Bus;

/// Counts and condition of the event log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventLogStats {
    /// The newest durable sequence.
    pub head: u64,
    /// The oldest sequence that is kept.
    pub oldest: u64,
    /// Everything up to here is in sealed parts.
    pub sealed: u64,
    /// Sealed parts.
    pub parts: u64,
    /// Bytes on disk, of log and parts.
    pub bytes: u64,
    /// Events that retention removed, of all topics, ever.
    pub expired_events: u64,
    /// Their bytes as they were published.
    pub expired_bytes: u64,
    /// Superseded events that compaction removed since Hob started.
    pub compacted_events: u64,
    /// Sequences between which events are damaged.
    pub damaged: Vec<Gap>,
    /// Whether events are refused because the disk is full.
    pub is_full: bool,
}

impl Bus {
    /// Counts and condition of the event log now.
    pub fn log_stats(&self) -> EventLogStats {
        let events = &self.inner.events;
        let (view, stats) = (events.view(), events.stats());
        let (expired_events, expired_bytes) = events.expired();
        EventLogStats {
            head: stats.head,
            oldest: stats.oldest,
            sealed: view.sealed(),
            parts: view.ranges.iter().map(|range| range.parts.len() as u64).sum(),
            bytes: stats.bytes,
            expired_events,
            expired_bytes,
            compacted_events: events.compacted.load(Ordering::Relaxed),
            damaged: stats.quarantined,
            is_full: events.is_full(),
        }
    }
}
