//! Reads the events that are to be handed out.

use std::collections::{BTreeSet, HashMap};

use hob_store::{Stored, Tag};
use hob_wire::Event;

use super::Body;
use super::look::seen;
use crate::error::Error;
use crate::model::limits::{PULL_BYTES_MAX, PULL_EVENTS_MAX};
use crate::read::{Reader, decode};
use crate::step::{Item, Kind};

/// Something that can be handed out.
pub(super) struct Given {
    pub(super) item: Item,
    /// The event's id.
    pub(super) id: String,
    pub(super) what: What,
}

/// What it is.
pub(super) enum What {
    /// A record of the log.
    Stored(Stored),
    /// A snapshot's event, which is in no log.
    Noop(Box<Event>),
}

/// What can be handed out, and what cannot.
#[derive(Default)]
pub(super) struct Gathered {
    /// As far as they fit.
    pub(super) events: Vec<Given>,
    /// Looked for and not there.
    pub(super) lost: Vec<Item>,
    /// No longer asked for.
    pub(super) unwanted: Vec<Item>,
}

/// Gathers the events of these items, with the records that were just found and others read again.
pub(super) async fn gather(
    body: &Body,
    reader: &Reader<'_>,
    items: &[Item],
    fresh: HashMap<u64, Stored>,
) -> Result<Gathered, Error> {
    let missing: BTreeSet<u64> =
        items.iter().filter(|item| item.kind != Kind::Noop).map(|item| item.sequence).collect();
    let missing = missing.into_iter().filter(|sequence| !fresh.contains_key(sequence)).collect();
    let tags = tags(body, reader, items);
    let again = read_again(reader, &tags, &missing).await?;
    let mut gathered = Gathered::default();
    let mut bytes = 0;
    for item in items {
        if item.kind == Kind::Noop {
            match body.noops.get(&item.sequence) {
                Some(noop) => {
                    let (id, what) = (noop.id.clone(), What::Noop(Box::new(noop.clone())));
                    gathered.events.push(Given { item: *item, id, what });
                }
                None => gathered.unwanted.push(*item),
            }
            continue;
        }
        if again.lost.contains(&item.sequence) {
            gathered.lost.push(*item);
            continue;
        }
        let is_read = again.cut.is_none_or(|cut| item.sequence < cut) && bytes < PULL_BYTES_MAX;
        let stored = again.records.get(&item.sequence).or_else(|| fresh.get(&item.sequence));
        let Some(stored) = stored.filter(|_| is_read) else { break };
        let is_again = again.records.contains_key(&item.sequence);
        if is_again && item.kind == Kind::Event && seen(reader, body, stored).is_none() {
            gathered.unwanted.push(*item);
            continue;
        }
        bytes += stored.payload.len();
        match decode(stored).filter(|_| reader.positions.count(&stored.tag).0 > 0) {
            Some(row) => {
                let (id, what) = (row.id.to_owned(), What::Stored(stored.clone()));
                gathered.events.push(Given { item: *item, id, what });
            }
            None => gathered.lost.push(*item),
        }
    }
    Ok(gathered)
}

/// Where the items' events may be found: a dead letter may be of a topic that is no longer asked for.
fn tags(body: &Body, reader: &Reader<'_>, items: &[Item]) -> BTreeSet<Tag> {
    let mut tags = body.tags.clone();
    if items.iter().any(|item| item.kind == Kind::Letter) {
        let scopes = body.tags.iter().filter_map(|tag| reader.positions.place(tag)).map(|(scope, _)| scope);
        tags.extend(scopes.flat_map(|scope| reader.positions.tags_of(&scope)));
    }
    tags
}

/// What came of reading events a second time.
#[derive(Default)]
struct Again {
    records: HashMap<u64, Stored>,
    /// Looked for and not there: damaged.
    lost: BTreeSet<u64>,
    /// From here on nothing was read, because enough was.
    cut: Option<u64>,
}

/// Reads events that were looked at before.
async fn read_again(
    reader: &Reader<'_>,
    tags: &BTreeSet<Tag>,
    missing: &BTreeSet<u64>,
) -> Result<Again, Error> {
    let mut again = Again::default();
    let Some(last) = missing.last().copied() else { return Ok(again) };
    let mut bytes = 0;
    let mut from = missing.first().copied();
    while let Some(first) = from {
        if bytes >= PULL_BYTES_MAX {
            again.cut = Some(first);
            break;
        }
        // Events that lie far apart are not worth what lies between them.
        let near = missing.range(first..).zip(first..).take_while(|(sequence, nth)| **sequence <= nth + NEAR);
        let upto = near.last().map_or(first, |(sequence, _)| *sequence).min(last);
        let found = reader.look(tags, first - 1, upto, PULL_EVENTS_MAX, PULL_BYTES_MAX).await?;
        for stored in found.records.into_iter().filter(|stored| missing.contains(&stored.seq)) {
            bytes += stored.payload.len();
            again.records.insert(stored.seq, stored);
        }
        if found.upto < first {
            again.cut = Some(first);
            break;
        }
        let looked = missing.range(first..=found.upto).copied();
        let lost: Vec<u64> = looked.filter(|sequence| !again.records.contains_key(sequence)).collect();
        again.lost.extend(lost);
        from = missing.range(found.upto + 1..).next().copied();
    }
    Ok(again)
}

/// So many sequences more than there are events to read may be read over at once.
const NEAR: u64 = 256;
