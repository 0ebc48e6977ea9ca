//! How far a subscription is behind, and why it does not move.
//!
//! What is pending is counted exactly. Beyond what it has looked at, lag is exact as far as one look into the log goes
//! (1,000 events or 1 MiB); the rest is counted from the topics' marks, without regard to types and filters, and may be
//! up to 255 events too many for each topic.

use std::time::Duration;

use hob_core::{Timestamp, format_duration};
use hob_wire::{Stall, SubscriptionState, sequence_text};

use crate::model::limits::{LETTERS_MAX, PARKED_MAX, PENDING_MAX};
use crate::read::{Reader, decode};
use crate::step::Input;
use crate::subscription::{Body, Subscription};
use crate::topics::Topics;
use crate::{Error, SubscriptionKey};

const LOOK_EVENTS_MAX: usize = 1_000;
const LOOK_BYTES_MAX: usize = 1 << 20;
/// A subscription that is behind and was not pulled for so long is told to be abandoned.
const PULL_EXPECTED: Duration = Duration::from_secs(60);

/// How far a subscription is behind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lag {
    pub(crate) events: u64,
    /// When Hob took the oldest of them.
    pub(crate) oldest: Option<Timestamp>,
}

/// Why a subscription does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Standstill {
    pub(crate) stall: Stall,
    pub(crate) reason: String,
}

/// How a subscription is doing.
pub(crate) async fn describe(
    subscription: &Subscription,
    reader: &Reader<'_>,
    topics: &Topics,
    now: Timestamp,
) -> Result<SubscriptionState, Error> {
    let key = &subscription.key;
    let mut body = subscription.body.lock().await;
    let body = &mut *body;
    subscription.step(body, Input::Tick, now);
    subscription.streamed(body, now);
    let lag = measure(body, reader).await?;
    let streams = subscription.streams();
    let standstill = standstill(key, body, reader, topics, &lag, streams, now);
    let state = &body.state;
    let word = match &standstill {
        _ if state.halt.is_some() => "paused",
        _ if state.in_flight() > 0 => "leased",
        Some(_) => "stalled",
        None => "active",
    };
    let (stall, stall_reason) = standstill.map(|found| (found.stall, found.reason)).unzip();
    Ok(SubscriptionState {
        name: key.name.clone(),
        service: key.service.clone(),
        environment: key.scope.environment.clone(),
        tenant: key.scope.tenant.clone(),
        topics: body.row.topics.clone(),
        types: body.row.types.clone(),
        filters: body.row.filters.clone(),
        sink: body.row.sink.clone(),
        delivery: body.row.delivery.clone(),
        state: word.to_owned(),
        paused_until: state.halt.as_ref().and_then(|halt| halt.until),
        cursor: sequence_text(state.done()),
        lag_events: lag.events,
        lag_seconds: lag.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()),
        oldest: lag.oldest,
        in_flight: state.in_flight() as u64,
        parked_keys: state.parked() as u64,
        dead_letters: state.letters() as u64,
        delivered: state.counts.delivered,
        failed: state.counts.failed,
        collapsed: state.counts.collapsed,
        damaged: state.counts.damaged,
        last_error: body.last_error.clone(),
        next_attempt: state.next_attempt(),
        breaker: None,
        streams,
        stall_reason,
        stall,
        secret: None,
    })
}

/// Measures the lag.
pub(crate) async fn measure(body: &mut Body, reader: &Reader<'_>) -> Result<Lag, Error> {
    let (done, looked) = (body.state.done(), body.state.looked);
    let pending = body.state.pending_events() as u64;
    if body.check_kept(done, reader).is_err() {
        let beyond = reader.positions.events_after(&body.tags, looked);
        return Ok(Lag { events: pending + beyond, oldest: None });
    }
    let mut lag = Lag { events: pending, oldest: oldest_pending(body, reader).await? };
    let head = reader.positions.head();
    let beyond = reader.positions.events_after(&body.tags, looked);
    if beyond > LOOK_EVENTS_MAX as u64 + 256 * body.tags.len() as u64 && lag.oldest.is_some() {
        return Ok(Lag { events: pending + beyond, ..lag });
    }
    let found = reader.look(&body.tags, looked, head, LOOK_EVENTS_MAX, LOOK_BYTES_MAX).await?;
    for stored in &found.records {
        if !body.asks_for(reader, stored) {
            continue;
        }
        lag.events += 1;
        lag.oldest = lag.oldest.or_else(|| Some(decode(stored)?.recorded));
    }
    if found.upto < head {
        lag.events += reader.positions.events_after(&body.tags, found.upto);
    }
    Ok(lag)
}

/// When Hob took the first event that is pending; read once for each.
async fn oldest_pending(body: &mut Body, reader: &Reader<'_>) -> Result<Option<Timestamp>, Error> {
    let Some(first) = body.state.first_pending() else { return Ok(None) };
    if let Some((_, recorded)) = body.oldest.filter(|(sequence, _)| *sequence == first) {
        return Ok(Some(recorded));
    }
    let batch = reader.look(&body.tags, first - 1, first, 1, 1).await?;
    let stored = batch.records.iter().find(|stored| stored.seq == first);
    body.oldest = stored.and_then(decode).map(|row| (first, row.recorded));
    Ok(body.oldest.map(|(_, recorded)| recorded))
}

/// Why it does not move, when it does not.
pub(crate) fn standstill(
    key: &SubscriptionKey,
    body: &Body,
    reader: &Reader<'_>,
    topics: &Topics,
    lag: &Lag,
    streams: u64,
    now: Timestamp,
) -> Option<Standstill> {
    let state = &body.state;
    if let Some(halt) = &state.halt {
        let left = halt.until.map(|until| format!(" for another {}", span(now, until))).unwrap_or_default();
        return Some(match &halt.gone {
            Some(said) => {
                Standstill::new(Stall::EndpointGone, format!("{said}{left}; resume it to try again"))
            }
            None => Standstill::new(Stall::Paused, format!("it is paused{left}")),
        });
    }
    if let Err(error) = body.check_kept(state.done(), reader) {
        let reason = format!("failed to {error}; seek to start to read on");
        return Some(Standstill::new(Stall::CursorExpired, reason));
    }
    let is_leased = state.in_flight() > 0;
    if !is_leased && state.parked() > 0 && state.choose(1, now).is_empty() {
        return Some(parked(body, reader, now));
    }
    let is_abandoned = body.pulled.is_none_or(|pulled| now.since(pulled) > PULL_EXPECTED);
    let is_old = lag.oldest.is_some_and(|oldest| now.since(oldest) > PULL_EXPECTED);
    if lag.events > 0 && is_old && is_abandoned && streams == 0 && !is_leased {
        let since =
            body.pulled.map_or("since Hob started".to_owned(), |pulled| format!("for {}", span(pulled, now)));
        return Some(Standstill::new(Stall::NoConsumer, format!("{} has not pulled {since}", key.service)));
    }
    let undeclared = body.row.topics.iter().find(|topic| !topics.is_declared(&key.scope, topic))?;
    let error = topics.unknown(&key.scope, undeclared);
    let guess = match &error {
        Error::TopicUnknown { nearest: Some(nearest), .. } => format!("; did you mean {nearest}?"),
        _ => String::new(),
    };
    let reason = format!("topic {undeclared} is not declared in {}{guess}", key.scope);
    Some(Standstill::new(Stall::TopicUnknown, reason))
}

/// Everything that it has looked at waits after a failure; more may be there to look at.
fn parked(body: &Body, reader: &Reader<'_>, now: Timestamp) -> Standstill {
    let state = &body.state;
    let (parked, poisoned) = (state.parked(), state.poisoned());
    let entities = if parked == 1 { "1 entity waits".to_owned() } else { format!("{parked} entities wait") };
    let due = state.next_attempt().map(|due| format!(", the first for another {}", span(now, due)));
    let due = due.unwrap_or_default();
    let error = body.last_error.as_ref().map(|error| format!("; last: {}", error.detail)).unwrap_or_default();
    let is_more = reader.positions.newest(&body.tags) > state.looked;
    if is_more && state.room() == 0 {
        let limit = if parked >= PARKED_MAX { PARKED_MAX } else { PENDING_MAX };
        let reason = format!("{entities} after a failure{due}, which is as many as may ({limit}){error}");
        return Standstill::new(Stall::WindowFull, reason);
    }
    if poisoned > 0 {
        let full = if state.letters() >= LETTERS_MAX { " and there is no room for dead letters" } else { "" };
        let reason = format!(
            "{entities} after a failure, {poisoned} of them after the last attempt{full}{due}{error}"
        );
        return Standstill::new(Stall::Poisoned, reason);
    }
    Standstill::new(Stall::Retrying, format!("{entities} after a failure{due}{error}"))
}

/// How long it is from one time to another, as people say it. The times themselves are in fields for programs.
pub(crate) fn span(from: Timestamp, to: Timestamp) -> String {
    format_duration(Duration::from_secs(to.since(from).as_secs().max(1)))
}

impl Standstill {
    fn new(stall: Stall, reason: String) -> Self {
        Self { stall, reason }
    }
}
