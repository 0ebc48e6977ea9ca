//! How far a subscription is behind, and why it does not move.
//!
//! Lag is exact as far as one look into the log goes (10,000 events or 4 MiB). What lies beyond is counted from the
//! topics' marks, without regard to types, and may be up to 255 events too many for each topic.

use std::time::Duration;

use hob_core::Timestamp;

use crate::model::limits::WINDOW_EVENTS_MAX;
use crate::read::{Reader, decode, is_of_type};
use crate::subscription::Body;
use crate::topics::Topics;
use crate::{Error, SubscriptionKey};

const LOOK_EVENTS_MAX: usize = 10_000;
const LOOK_BYTES_MAX: usize = 4 << 20;
/// A subscription that is behind and was not pulled for so long is told to be abandoned.
const PULL_EXPECTED: Duration = Duration::from_secs(60);

/// How far a subscription is behind.
pub(crate) struct Lag {
    pub(crate) events: u64,
    /// When Hob took the oldest of them.
    pub(crate) oldest: Option<Timestamp>,
}

/// Measures the lag.
pub(crate) async fn measure(body: &Body, reader: &Reader<'_>) -> Result<Lag, Error> {
    let done = body.state.done;
    let mut lag = Lag { events: 0, oldest: None };
    if body.check_kept(done, reader).is_err() {
        return Ok(Lag { events: reader.positions.events_after(&body.tags, done), ..lag });
    }
    let head = reader.positions.head();
    let found = reader.look(&body.tags, done, head, LOOK_EVENTS_MAX, LOOK_BYTES_MAX).await?;
    for stored in found.records.iter().filter(|stored| !body.state.is_done(stored.seq)) {
        let (Some(row), Some((_, topic))) = (decode(stored), reader.positions.place(&stored.tag)) else {
            continue;
        };
        if is_of_type(&body.row.types, topic.as_str(), &row) {
            lag.events += 1;
            lag.oldest.get_or_insert(row.recorded);
        }
    }
    if found.upto < head {
        lag.events += reader.positions.events_after(&body.tags, found.upto);
    }
    Ok(lag)
}

/// Why it does not move, when it does not.
pub(crate) fn stall_reason(
    key: &SubscriptionKey,
    body: &Body,
    reader: &Reader<'_>,
    topics: &Topics,
    lag: &Lag,
    streams: u64,
    now: Timestamp,
) -> Option<String> {
    if let Err(error) = body.check_kept(body.state.done, reader) {
        return Some(format!("failed to {error}; delete and make it again to read on"));
    }
    let delayed = body.state.delayed(now);
    if delayed > 0 && body.state.ready(1, now).is_empty() && body.state.leased_until(now).is_none() {
        let due = body.state.due(now).map(|due| format!(", the first until {due}")).unwrap_or_default();
        let window = if body.state.room() == 0 {
            format!("; no more than {WINDOW_EVENTS_MAX} events are looked at beyond the cursor")
        } else {
            String::new()
        };
        return Some(format!("{delayed} events wait after a nack{due}{window}"));
    }
    let is_abandoned = body.pulled.is_none_or(|pulled| now.since(pulled) > PULL_EXPECTED);
    let is_old = lag.oldest.is_some_and(|oldest| now.since(oldest) > PULL_EXPECTED);
    if lag.events > 0 && is_old && is_abandoned && streams == 0 && body.state.leased_until(now).is_none() {
        let since = body.pulled.map_or("since Hob started".to_owned(), |pulled| format!("since {pulled}"));
        return Some(format!("{} has not pulled {since}", key.service));
    }
    let undeclared = body.row.topics.iter().find(|topic| !topics.is_declared(&key.scope, topic))?;
    let error = topics.unknown(&key.scope, undeclared);
    let Error::TopicUnknown { nearest: Some(nearest), .. } = &error else {
        return Some(format!("topic {undeclared} is not declared in {}", key.scope));
    };
    Some(format!("topic {undeclared} is not declared in {}; did you mean {nearest}?", key.scope))
}
