//! Looks through the log for what a subscription asks for.

use std::collections::{BTreeSet, HashMap};

use hob_core::Timestamp;
use hob_store::Stored;
use hob_wire::{Collapse, EventChange as Change};

use super::{Body, Subscription};
use crate::error::Error;
use crate::filter::View;
use crate::index::EntityKey;
use crate::model::limits::{PULL_BYTES_MAX, PULL_EVENTS_MAX};
use crate::read::{Reader, decode, is_of_type};
use crate::step::{Input, Seen};

/// Reads of the log for one pull; each looks through a bounded number of bytes.
const READS_MAX: usize = 16;
/// Records that one read of the log returns when the ones before have shown that few are meant.
const READ_RECORDS_MAX: usize = 8_000;

/// What looking through the log brought.
pub(super) struct Looked {
    /// The records found, by sequence: they need not be read again.
    pub(super) fresh: HashMap<u64, Stored>,
    /// Whether there is more to look at, and room for it.
    pub(super) is_behind: bool,
}

impl Subscription {
    /// Looks through the log until enough events are ready, the head is reached, or a limit is.
    pub(super) async fn look(
        &self,
        body: &mut Body,
        reader: &Reader<'_>,
        wanted: usize,
        now: Timestamp,
    ) -> Result<Looked, Error> {
        let mut fresh = HashMap::new();
        let mut bytes = 0;
        let collapses = body.state.terms.collapse == Collapse::Latest;
        let mut records_max = 0;
        for _ in 0..READS_MAX {
            let head = reader.positions.head();
            let room = body.state.room();
            let missing = wanted - body.state.choose(wanted, now).len();
            // One that collapses looks as far ahead as it may, for what stands for the rest.
            let is_enough = missing == 0 && !collapses;
            if is_enough || room == 0 || body.state.looked >= head || bytes >= PULL_BYTES_MAX {
                return Ok(Looked { fresh, is_behind: room > 0 && body.state.looked < head });
            }
            records_max = if collapses { READ_RECORDS_MAX } else { missing.max(records_max * 4) };
            records_max = records_max.min(READ_RECORDS_MAX).min(room);
            let found = reader.look(&body.tags, body.state.looked, head, records_max, PULL_BYTES_MAX).await?;
            // Again, since retention may have passed by meanwhile.
            body.check_kept(body.state.done(), reader)?;
            let mut events = Vec::new();
            for stored in found.records {
                let Some(seen) = seen(reader, body, &stored) else { continue };
                events.push(seen);
                bytes += stored.payload.len();
                fresh.insert(stored.seq, stored);
            }
            let before = body.state.looked;
            self.step(body, Input::Looked { events, upto: found.upto }, now);
            if body.state.looked == before {
                return Ok(Looked { fresh, is_behind: false });
            }
        }
        Ok(Looked { fresh, is_behind: true })
    }

    /// Reads what was pending before a restart again, so that each event stands in the line of its entity.
    pub(super) async fn recall(
        &self,
        body: &mut Body,
        reader: &Reader<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let unread: BTreeSet<u64> = body.state.unread().into_iter().collect();
        let (Some(first), Some(last)) = (unread.first().copied(), unread.last().copied()) else {
            return Ok(());
        };
        let mut from = Some(first);
        while let Some(first) = from {
            let found = reader.look(&body.tags, first - 1, last, PULL_EVENTS_MAX, PULL_BYTES_MAX).await?;
            let records = found.records.iter().filter(|stored| unread.contains(&stored.seq));
            let read = records.clone().count() as u64;
            let events = records.filter_map(|stored| seen(reader, body, stored)).collect();
            let lost = unread.range(first..=found.upto).count() as u64 - read;
            if lost > 0 {
                tracing::error!(subscription = %self.key, events = lost, "events are damaged and given up");
            }
            if found.upto < first {
                return Ok(());
            }
            self.step(body, Input::Recalled { events, upto: found.upto, lost }, now);
            from = unread.range(found.upto + 1..).next().copied();
        }
        Ok(())
    }
}

impl Body {
    /// Whether a record is what the subscription asks for.
    pub(crate) fn asks_for(&self, reader: &Reader<'_>, stored: &Stored) -> bool {
        seen(reader, self, stored).is_some()
    }
}

/// What a record is to a subscription, when it asks for it.
pub(super) fn seen(reader: &Reader<'_>, body: &Body, stored: &Stored) -> Option<Seen> {
    let row = decode(stored)?;
    let (scope, topic) = reader.positions.place(&stored.tag)?;
    if !is_of_type(&body.row.types, topic.as_str(), &row) {
        return None;
    }
    let time = Timestamp::from_micros(stored.time);
    let view = View { row: &row, scope: &scope, topic: &topic, sequence: stored.seq, time };
    if body.filters.matches(&view) { seen_anyhow(stored) } else { None }
}

/// What a record is to a subscription, whether it asks for it or not.
pub(crate) fn seen_anyhow(stored: &Stored) -> Option<Seen> {
    let row = decode(stored)?;
    let change = row.subject.filter(|_| row.is_notice).and_then(|_| change(row.kind));
    let entity = EntityKey::new(&stored.tag, row.subject.unwrap_or_default()).number();
    Some(Seen { sequence: stored.seq, entity, change })
}

fn change(kind: &str) -> Option<Change> {
    let all = [Change::Create, Change::Update, Change::Delete, Change::Noop];
    all.into_iter().find(|change| change.as_str() == kind)
}
