//! Looks through the log for what a subscription asks for.

use std::collections::{BTreeSet, HashMap};

use hob_core::Timestamp;
use hob_store::Stored;
use hob_wire::{Collapse, EventChange as Change};

use super::damage::Damage;
use super::{Body, Subscription};
use crate::error::Error;
use crate::filter::View;
use crate::index::EntityKey;
use crate::model::limits::{PULL_BYTES_MAX, PULL_EVENTS_MAX};
use crate::read::{Reader, decode, is_of_type};
use crate::rows::EventRow;
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
            let mut damage = Damage::of(&found.lost);
            for stored in found.records {
                let Some(row) = decode(&stored) else {
                    damage.add(stored.seq);
                    continue;
                };
                let Some(seen) = asked_for(reader, body, &stored, &row) else { continue };
                events.push(seen);
                bytes += stored.payload.len();
                fresh.insert(stored.seq, stored);
            }
            let before = body.state.looked;
            self.tell_damage(&damage);
            self.step(body, Input::Looked { events, upto: found.upto, lost: damage.events }, now);
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
            let readable: BTreeSet<u64> =
                records.clone().filter(|stored| decode(stored).is_some()).map(|stored| stored.seq).collect();
            let events = records.filter_map(|stored| seen(reader, body, stored)).collect();
            if found.upto < first {
                return Ok(());
            }
            let mut damage = Damage::default();
            let lost = unread.range(first..=found.upto).filter(|sequence| !readable.contains(sequence));
            lost.for_each(|sequence| damage.add(*sequence));
            self.tell_damage(&damage);
            self.step(body, Input::Recalled { events, upto: found.upto, lost: damage.events }, now);
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
    asked_for(reader, body, stored, &decode(stored)?)
}

fn asked_for(reader: &Reader<'_>, body: &Body, stored: &Stored, row: &EventRow<'_>) -> Option<Seen> {
    let (scope, topic) = reader.positions.place(&stored.tag)?;
    if !is_of_type(&body.row.types, topic.as_str(), row) {
        return None;
    }
    let time = Timestamp::from_micros(stored.time);
    let view = View { row, scope: &scope, topic: &topic, sequence: stored.seq, time };
    body.filters.matches(&view).then(|| seen_of(stored, row))
}

/// What a record is to a subscription, whether it asks for it or not.
pub(crate) fn seen_anyhow(stored: &Stored) -> Option<Seen> {
    Some(seen_of(stored, &decode(stored)?))
}

/// The same, of a row that is decoded.
pub(crate) fn seen_of(stored: &Stored, row: &EventRow<'_>) -> Seen {
    let change = row.subject.filter(|_| row.is_notice).and_then(|_| change(row.kind));
    let entity = EntityKey::new(&stored.tag, row.subject.unwrap_or_default()).number();
    Seen { sequence: stored.seq, entity, change }
}

fn change(kind: &str) -> Option<Change> {
    let all = [Change::Create, Change::Update, Change::Delete, Change::Noop];
    all.into_iter().find(|change| change.as_str() == kind)
}
