//! Opening the bus: what the index knows already, and the log from there on.
//!
//! The index says up to which sequence it is complete and where the topics stood there; only what came after it is
//! read again. When there is no index, or it belongs to another log, the whole log is read once and a new index made.

use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{IndexError, Kv, Log, ReadLimits, Stored, Tag};

use crate::Error;
use crate::conditions::Conditions;
use crate::index::{Index, IndexLimits, Note, Remembered};
use crate::model::limits::DEDUPLICATION_WINDOW;
use crate::parts::EventLog;
use crate::positions::Positions;

/// Records of one read.
const READ_RECORDS_MAX: usize = 16_384;
/// Payload bytes of one read.
const READ_BYTES_MAX: usize = 4 << 20;

/// What was read back.
pub(crate) struct Rebuilt {
    pub(crate) index: Arc<Index>,
    pub(crate) positions: Arc<Positions>,
    pub(crate) conditions: Conditions,
}

/// Brings the index up to the head of the log.
pub(crate) async fn rebuild(
    log: &dyn Log,
    kv: &dyn Kv,
    engine: &Arc<hob_store::Index>,
    limits: IndexLimits,
    now: Timestamp,
) -> Result<Rebuilt, Error> {
    let index = Arc::new(Index::open(Arc::clone(engine), kv, limits).await?);
    let head = log.head();
    let note = index.note().filter(|note| note.watermark <= head);
    let (positions, watermark) = match note {
        Some(note) => (Positions::restore(note.positions), note.watermark),
        None => {
            index.clear()?;
            (Positions::new(), 0)
        }
    };
    let ids_since = Timestamp::from_micros(now.as_micros() - DEDUPLICATION_WINDOW.as_micros() as i64);
    let mut from = log.oldest().max(watermark + 1);
    let limits = ReadLimits { records_max: READ_RECORDS_MAX, bytes_max: READ_BYTES_MAX };
    while from <= head {
        let batch = log.read(from, limits).await?;
        for gap in &batch.gaps {
            tracing::error!(first = gap.first, last = gap.last, "events are damaged and left out");
        }
        let time = |stored: &Stored| Timestamp::from_micros(stored.time);
        positions.add(batch.records.iter().map(|stored| (&stored.tag, stored.seq, time(stored))));
        let mut is_time_to_flush = false;
        for stored in &batch.records {
            is_time_to_flush |= recall(stored, ids_since, &index);
        }
        if is_time_to_flush {
            index.flush_now(|| Note::of(positions.snapshot())).await;
        }
        if batch.next <= from {
            break;
        }
        from = batch.next;
    }
    positions.move_head(head);
    let active = match index.active_conditions().await {
        Err(Error::Index(IndexError::Damaged { path })) => {
            tracing::warn!(path = %path.display(), "a file of the index is damaged; the index is made anew from the log");
            index.heal(log, ids_since).await?;
            index.active_conditions().await?
        }
        active => active?,
    };
    let conditions = Conditions::of(active);
    Ok(Rebuilt { index, positions: Arc::new(positions), conditions })
}

/// Has positions know of everything that sealed parts have had, also of what cannot be read any more: whoever asks for
/// it is told that it is damaged, where a topic without events would be passed over in silence.
pub(crate) fn know_parts(log: &EventLog, positions: &Positions) {
    for part in log.view().ranges.iter().flat_map(|range| &range.parts) {
        for (tag, count) in &part.tags {
            let Ok(tag) = Tag::new(tag) else { continue };
            if positions.count(&tag).1 < count.last {
                positions.add([(&tag, count.last, Timestamp::from_micros(part.recorded))]);
            }
        }
    }
}

fn recall(stored: &Stored, ids_since: Timestamp, index: &Index) -> bool {
    Remembered::again(stored, ids_since, &index.keys).is_some_and(|event| index.recall(stored.seq, event))
}
