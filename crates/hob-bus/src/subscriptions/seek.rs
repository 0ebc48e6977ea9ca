//! Finds the place in the log that a seek names.

use hob_core::{Timestamp, TopicName};
use hob_store::{Log, ReadLimits};

use crate::read::{Reader, decode};
use crate::{Error, Filter, SubscriptionKey};

/// Pages of the log that are looked through for an event's id.
const ID_PAGES_MAX: usize = 256;

/// Where a cursor is to go.
pub(super) struct Target {
    pub(super) after: u64,
    /// Whether it is the oldest event kept, whatever was removed before.
    pub(super) is_start: bool,
}

/// The place that `at` names.
pub(super) async fn place(
    key: &SubscriptionKey,
    topics: &[TopicName],
    at: &str,
    reader: &Reader<'_>,
    now: Timestamp,
) -> Result<Target, Error> {
    let head = reader.positions.head();
    let unclear = |problem: String| Error::BadSeek { name: key.name.clone(), at: at.to_owned(), problem };
    let to = |after| Ok(Target { after, is_start: false });
    let ahead = || Error::SeekAhead { name: key.name.clone(), at: at.to_owned(), head };
    if at == "start" {
        return Ok(Target { after: reader.log.oldest().saturating_sub(1), is_start: true });
    }
    if at == "end" {
        return to(head);
    }
    match at.split_once(':') {
        Some(("seq", text)) => {
            let sequence: u64 = text.parse().map_err(|_| unclear("this is no sequence".to_owned()))?;
            if sequence > head { Err(ahead()) } else { to(sequence) }
        }
        Some(("time", text)) => {
            let time: Timestamp = text.parse().map_err(|_| {
                unclear("this is no time; write it like time:2026-01-05T12:00:00Z".to_owned())
            })?;
            if time > now { Err(ahead()) } else { to(before(time, reader).await?) }
        }
        Some(("id", id)) => {
            let filter =
                Filter { id: Some(id.to_owned()), ..Filter::topics(key.scope.clone(), topics.to_vec()) };
            let mut place = None;
            for _ in 0..ID_PAGES_MAX {
                let page = reader.page_back(&filter, place, 1).await?;
                if let Some(event) = page.events.first() {
                    return to(event.position());
                }
                place = page.next;
                if place.is_none() {
                    break;
                }
            }
            Err(unclear("its topics keep no event of this id".to_owned()))
        }
        _ => Err(unclear("use start, end, seq:<sequence>, time:<RFC 3339> or id:<event id>".to_owned())),
    }
}

/// The last sequence that Hob took before a time, found by halving.
async fn before(time: Timestamp, reader: &Reader<'_>) -> Result<u64, Error> {
    let (mut low, mut high) = (reader.log.oldest().saturating_sub(1), reader.positions.head());
    // Everything up to `low` is older; everything after `high` is not.
    while low < high {
        let middle = low + (high - low) / 2;
        let batch = reader.log.read(middle + 1, ReadLimits { records_max: 1, bytes_max: 1 }).await?;
        let found = batch.records.first().filter(|stored| stored.seq <= high);
        match found.and_then(|stored| Some((stored.seq, decode(stored)?.recorded))) {
            Some((sequence, recorded)) if recorded < time => low = sequence,
            _ => high = middle,
        }
    }
    Ok(low)
}
