//! Opening the bus: what publishing must remember is read back from the log.
//!
//! The whole log is read once, of each record its head alone (ids, subject, count), never its data, but for
//! conditions.

use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{Log, ReadLimits, Stored};

use crate::Error;
use crate::conditions::Conditions;
use crate::index::{EntityKey, IdKey, Index, Known};
use crate::model::{hob_topics, limits::DEDUPLICATION_EVENTS};
use crate::positions::Positions;
use crate::read::decode;

/// Records of one read.
const READ_RECORDS_MAX: usize = 16_384;
/// Payload bytes of one read.
const READ_BYTES_MAX: usize = 4 << 20;

/// What was read back.
pub(crate) struct Rebuilt {
    pub(crate) index: Index,
    pub(crate) positions: Arc<Positions>,
    pub(crate) conditions: Conditions,
}

/// Reads the log from its oldest record to its head.
pub(crate) async fn rebuild(log: &dyn Log) -> Result<Rebuilt, Error> {
    let mut index = Index::new(DEDUPLICATION_EVENTS);
    let mut conditions = Conditions::default();
    let positions = Arc::new(Positions::new());
    let head = log.head();
    let ids_after = head.saturating_sub(DEDUPLICATION_EVENTS as u64);
    let limits = ReadLimits { records_max: READ_RECORDS_MAX, bytes_max: READ_BYTES_MAX };
    let mut from = log.oldest();
    while from <= head {
        let batch = log.read(from, limits).await?;
        for gap in &batch.gaps {
            tracing::error!(first = gap.first, last = gap.last, "events are damaged and left out");
        }
        let time = |stored: &Stored| Timestamp::from_micros(stored.time);
        positions.add(batch.records.iter().map(|stored| (&stored.tag, stored.seq, time(stored))));
        for stored in &batch.records {
            recall(stored, stored.seq > ids_after, &mut index, &mut conditions);
        }
        if batch.next <= from {
            break;
        }
        from = batch.next;
    }
    positions.move_head(head);
    Ok(Rebuilt { index, positions, conditions })
}

fn recall(stored: &Stored, is_recent: bool, index: &mut Index, conditions: &mut Conditions) {
    let Some(row) = decode(stored) else { return };
    let Some((scope, topic)) = stored.tag.as_str().rsplit_once('/') else { return };
    if let Some((subject, entityseq)) = row.subject.zip(row.entityseq) {
        index.counted(EntityKey::new(&stored.tag, subject), entityseq);
    }
    if is_recent {
        index.remember(IdKey::new(scope, &row.id_space(), row.id), Known::Durable(stored.seq));
    }
    if topic == hob_topics::CONDITIONS {
        conditions.replay(scope, &row);
    }
}
