//! One subscription at work: it looks into the log, asks `step` what to do, and does it.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hob_core::{Clock, Id, Timestamp};
use hob_store::{Expected, Kv, Stored, Tag};
use hob_wire::{Ack, Batch, Event};
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;

use crate::error::Error;
use crate::index::EntityKey;
use crate::model::limits::{
    LEASE_MAX, LEASE_MIN, NACK_DELAY_MAX, PULL_BYTES_MAX, PULL_EVENTS_MAX, PULL_WAIT_MAX,
};
use crate::model::{Pull, SubscriptionKey, hob_topics};
use crate::positions::tags_for;
use crate::read::{Reader, decode, event_of, is_of_type};
use crate::rows::{CursorRow, ROW_VERSION, SubscriptionRow, encode_json};
use crate::step::{AckInput, Action, Input, Refusal, STREAM_LEASE, Seen, State, step};

/// Longest sleep of a waiting puller before it looks at the wall clock again.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// A cursor that moved so far over events of others is written, so that these are not looked through again.
const PASSED_EVENTS: u64 = 10_000;

/// A subscription.
pub(crate) struct Subscription {
    pub(crate) key: SubscriptionKey,
    pub(crate) body: Mutex<Body>,
    /// Tells waiting pullers that a lease has ended.
    freed: Notify,
    /// Live streams open now.
    pub(crate) streams: AtomicU64,
    wants_clock: AtomicBool,
    is_gone: AtomicBool,
}

/// What one task at a time may touch.
pub(crate) struct Body {
    pub(crate) row: SubscriptionRow,
    pub(crate) tags: BTreeSet<Tag>,
    pub(crate) state: State,
    /// When somebody last pulled.
    pub(crate) pulled: Option<Timestamp>,
    /// The cursor as it was last written.
    saved: u64,
    is_dirty: bool,
}

impl Body {
    /// Fails when events of its topics after `after` were removed since it began.
    pub(crate) fn check_kept(&self, after: u64, reader: &Reader<'_>) -> Result<(), Error> {
        reader.check_kept_but(after, &self.tags, &self.row.forgone)
    }
}

enum Tried {
    Batch(Batch),
    Wait(Option<Timestamp>),
}

impl Subscription {
    pub(crate) fn new(key: SubscriptionKey, row: SubscriptionRow, state: State) -> Self {
        let tags = tags_for(&key.scope, &row.topics);
        let wants_clock = AtomicBool::new(wants_clock(&row));
        let body = Body { row, tags, saved: state.done, state, pulled: None, is_dirty: false };
        let (freed, streams, is_gone) = (Notify::new(), AtomicU64::new(0), AtomicBool::new(false));
        Self { key, body: Mutex::new(body), freed, streams, wants_clock, is_gone }
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        if !self.is_gone.load(Ordering::Acquire) {
            return Ok(());
        }
        Err(Error::SubscriptionUnknown { key: Box::new(self.key.clone()), nearest: None })
    }

    pub(crate) fn wants_clock(&self) -> bool {
        self.wants_clock.load(Ordering::Relaxed)
    }

    /// Marks it as deleted; its pullers and streams end.
    pub(crate) fn end(&self) {
        self.is_gone.store(true, Ordering::Release);
        self.freed.notify_waiters();
    }

    /// Asks for something else from now on.
    pub(crate) fn respecify(&self, body: &mut Body, row: SubscriptionRow, now: Timestamp) {
        body.tags = tags_for(&self.key.scope, &row.topics);
        self.wants_clock.store(wants_clock(&row), Ordering::Relaxed);
        body.row = row;
        self.step(body, Input::Respecified, now);
    }

    pub(crate) async fn lease(
        &self,
        reader: &Reader<'_>,
        wall: &Clock,
        pull: Pull,
    ) -> Result<Option<Batch>, Error> {
        self.check_pull(pull)?;
        let deadline = Instant::now() + pull.wait;
        let mut head = reader.positions.watch_head();
        loop {
            self.check_alive()?;
            head.borrow_and_update();
            let mut freed = std::pin::pin!(self.freed.notified());
            freed.as_mut().enable();
            let tried = self.try_lease(reader, wall, pull).await?;
            let until = match tried {
                Tried::Batch(batch) => return Ok(Some(batch)),
                Tried::Wait(until) => until,
            };
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            let longest = until.map_or(LOOK_AGAIN, |until| until.since(wall.now()).min(LOOK_AGAIN));
            // A lease that ends this very moment must not make the loop spin.
            let wake = deadline.min(now + longest.max(Duration::from_millis(1)));
            tokio::select! {
                changed = head.changed() => changed.map_err(|_| Error::Closed)?,
                () = freed => {}
                () = tokio::time::sleep_until(wake) => {}
            }
        }
    }

    async fn try_lease(&self, reader: &Reader<'_>, wall: &Clock, pull: Pull) -> Result<Tried, Error> {
        let mut body = self.body.lock().await;
        let body = &mut *body;
        let now = wall.now();
        body.pulled = Some(now);
        if let Some(until) = body.state.leased_until(now) {
            return Ok(Tried::Wait(Some(until)));
        }
        let mut fresh = self.look(body, reader, pull.max, now).await?;
        let ready = body.state.ready(pull.max, now);
        let again = read_again(body, reader, &ready, &mut fresh).await?;
        let (events, lost) = gather(reader, &ready, &fresh, again);
        if !lost.is_empty() {
            tracing::error!(subscription = %self.key, events = lost.len(), "events are damaged and given up");
            self.step(body, Input::Lost(lost), now);
        }
        if events.is_empty() {
            // It has come far over events of others: written, so that these are not looked through again.
            body.is_dirty |= body.state.done >= body.saved + PASSED_EVENTS;
            let until = if ready.is_empty() { body.state.due(now) } else { Some(now) };
            return Ok(Tried::Wait(until));
        }
        // From here on nothing waits, so that a puller who goes away takes no lease with it.
        let (lease, expires) = (Id::generate(now), now.plus(pull.lease_for));
        let input = Input::Pull { lease: lease.clone(), max: events.len(), expires };
        let actions = self.step(body, input, now);
        let is_given = actions.iter().any(|action| matches!(action, Action::HandOut { .. }));
        Ok(if is_given { Tried::Batch(Batch { lease, expires, events }) } else { Tried::Wait(Some(now)) })
    }

    /// Looks through the log until enough events are ready, the head is reached, or a limit is.
    async fn look(
        &self,
        body: &mut Body,
        reader: &Reader<'_>,
        wanted: usize,
        now: Timestamp,
    ) -> Result<HashMap<u64, Stored>, Error> {
        let mut fresh = HashMap::new();
        let mut bytes = 0;
        body.check_kept(body.state.looked, reader)?;
        loop {
            let head = reader.positions.head();
            let ready = body.state.ready(wanted, now).len();
            let records_max = body.state.room().min(wanted - ready);
            if records_max == 0 || body.state.looked >= head || bytes >= PULL_BYTES_MAX {
                return Ok(fresh);
            }
            let found = reader.look(&body.tags, body.state.looked, head, records_max, PULL_BYTES_MAX).await?;
            // Again, since retention may have passed by meanwhile.
            body.check_kept(body.state.looked, reader)?;
            let mut events = Vec::new();
            for stored in found.records {
                let Some(seen) = seen(reader, &body.row.types, &stored) else { continue };
                events.push(seen);
                bytes += stored.payload.len();
                fresh.insert(stored.seq, stored);
            }
            let before = body.state.looked;
            self.step(body, Input::Looked { events, upto: found.upto }, now);
            if body.state.looked == before {
                return Ok(fresh);
            }
        }
    }

    pub(crate) async fn ack(&self, ack: Ack, head: u64, now: Timestamp) -> Result<(), Error> {
        let lease = ack.lease.clone();
        let input = self.ack_input(ack, head, now)?;
        let mut body = self.body.lock().await;
        self.check_alive()?;
        for action in self.step(&mut body, input, now) {
            if let Action::Refuse(refusal) = action {
                return Err(self.refusal(refusal, lease));
            }
        }
        Ok(())
    }

    fn ack_input(&self, ack: Ack, head: u64, now: Timestamp) -> Result<Input, Error> {
        let upto = ack.upto.as_deref().map(|text| {
            text.parse::<u64>()
                .map_err(|_| self.bad_ack(format!("upto is {text:?}; use an event's sequence")))
        });
        let upto = upto.transpose()?;
        if ack.lease == STREAM_LEASE {
            return match (upto, ack.ack.is_empty() && ack.nack.is_empty() && ack.extend_ms.is_none()) {
                (Some(upto), true) => Ok(Input::AckStream { upto, head }),
                _ => {
                    Err(self
                        .bad_ack("a stream's reader acknowledges with upto alone; pull for more".to_owned()))
                }
            };
        }
        if ack.ack.len() + ack.nack.len() > PULL_EVENTS_MAX {
            return Err(
                self.bad_ack(format!("it names more than {PULL_EVENTS_MAX} events, more than one lease has"))
            );
        }
        let delay_max = NACK_DELAY_MAX.as_millis() as u64;
        if let Some(nack) = ack.nack.iter().find(|nack| nack.delay_ms.unwrap_or(0) > delay_max) {
            return Err(self.bad_ack(format!("delay_ms of {} is over the limit of {delay_max}", nack.id)));
        }
        let extend_max = LEASE_MAX.as_millis() as u64;
        if ack.extend_ms.is_some_and(|extend| extend > extend_max) {
            return Err(
                self.bad_ack(format!("extend_ms is over the limit of {extend_max}; extend again in time"))
            );
        }
        let later = |millis| now.plus(Duration::from_millis(millis));
        Ok(Input::Ack(AckInput {
            lease: ack.lease,
            upto,
            acked: ack.ack,
            nacked: ack.nack.into_iter().map(|nack| (nack.id, later(nack.delay_ms.unwrap_or(0)))).collect(),
            extend_to: ack.extend_ms.map(later),
        }))
    }

    fn refusal(&self, refusal: Refusal, lease: String) -> Error {
        let problem = match refusal {
            Refusal::NotHeld => return Error::LeaseNotHeld { name: self.key.name.clone(), lease },
            Refusal::Leased => {
                "a puller holds a lease; a stream's reader waits until that has ended".to_owned()
            }
            Refusal::Unknown(id) => format!("no event of the lease has id {id:?}; use the ids of its batch"),
            Refusal::Ambiguous(id) => {
                format!(
                    "several events of the lease have id {id:?}; name them by their sequence of 20 digits"
                )
            }
            Refusal::Ahead { upto, last } => {
                format!("upto is {upto}, and the last event given is {last}; acknowledge what was given")
            }
        };
        self.bad_ack(problem)
    }

    fn bad_ack(&self, problem: String) -> Error {
        Error::BadAck { name: self.key.name.clone(), problem }
    }

    fn check_pull(&self, pull: Pull) -> Result<(), Error> {
        let problem = if !(1..=PULL_EVENTS_MAX).contains(&pull.max) {
            format!("max is {}; ask for 1 to {PULL_EVENTS_MAX} events", pull.max)
        } else if pull.wait > PULL_WAIT_MAX {
            format!("wait is over the limit of {PULL_WAIT_MAX:?}; pull again instead")
        } else if !(LEASE_MIN..=LEASE_MAX).contains(&pull.lease_for) {
            format!("lease is {:?}; ask for {LEASE_MIN:?} to {LEASE_MAX:?}, and extend it", pull.lease_for)
        } else {
            return Ok(());
        };
        Err(Error::BadPull { name: self.key.name.clone(), problem })
    }

    fn step(&self, body: &mut Body, input: Input, now: Timestamp) -> Vec<Action> {
        let (state, actions) = step(std::mem::take(&mut body.state), input, now);
        body.state = state;
        for action in &actions {
            match action {
                Action::Freed => self.freed.notify_waiters(),
                Action::Save => body.is_dirty = true,
                Action::HandOut { .. } | Action::Wait { .. } | Action::Refuse(_) => {}
            }
        }
        actions
    }

    /// Writes the cursor when it has moved.
    pub(crate) async fn save(&self, kv: &dyn Kv, cursor_key: &str) -> Result<(), Error> {
        let mut body = self.body.lock().await;
        if !body.is_dirty || self.is_gone.load(Ordering::Acquire) {
            return Ok(());
        }
        let (done, acked) = (body.state.done, body.state.acked());
        let row = CursorRow { version: ROW_VERSION, of: body.row.id.clone(), done, acked };
        kv.put(cursor_key, Expected::Any, Bytes::from(encode_json(&row))).await?;
        (body.saved, body.is_dirty) = (done, false);
        Ok(())
    }
}

fn wants_clock(row: &SubscriptionRow) -> bool {
    row.topics.iter().any(|topic| topic.as_str() == hob_topics::CLOCK)
}

fn seen(reader: &Reader<'_>, types: &[String], stored: &Stored) -> Option<Seen> {
    let row = decode(stored)?;
    let (_, topic) = reader.positions.place(&stored.tag)?;
    let entity = EntityKey::new(&stored.tag, row.subject.unwrap_or_default()).number();
    let seen = || Seen { sequence: stored.seq, id: row.id.to_owned(), entity };
    is_of_type(types, topic.as_str(), &row).then(seen)
}

/// What came of reading events a second time.
#[derive(Default)]
struct Again {
    /// Looked for and not there: damaged.
    lost: BTreeSet<u64>,
    /// From here on nothing was read, because enough was.
    cut: Option<u64>,
}

/// Reads events that were looked at before, and are to be handed out now.
async fn read_again(
    body: &Body,
    reader: &Reader<'_>,
    ready: &[u64],
    fresh: &mut HashMap<u64, Stored>,
) -> Result<Again, Error> {
    let missing: BTreeSet<u64> =
        ready.iter().copied().filter(|sequence| !fresh.contains_key(sequence)).collect();
    let mut again = Again::default();
    let Some(last) = missing.last().copied() else { return Ok(again) };
    let mut bytes = 0;
    let mut from = missing.first().copied();
    while let Some(first) = from {
        if bytes >= PULL_BYTES_MAX {
            again.cut = Some(first);
            break;
        }
        let found = reader.look(&body.tags, first - 1, last, PULL_EVENTS_MAX, PULL_BYTES_MAX).await?;
        for stored in found.records.into_iter().filter(|stored| missing.contains(&stored.seq)) {
            bytes += stored.payload.len();
            fresh.insert(stored.seq, stored);
        }
        if found.upto < first {
            again.cut = Some(first);
            break;
        }
        let looked = missing.range(first..=found.upto).copied();
        again.lost.extend(looked.filter(|sequence| !fresh.contains_key(sequence)));
        from = missing.range(found.upto + 1..).next().copied();
    }
    Ok(again)
}

/// The events to hand out, as far as they fit, and those among them that are damaged.
fn gather(
    reader: &Reader<'_>,
    ready: &[u64],
    stored: &HashMap<u64, Stored>,
    again: Again,
) -> (Vec<Event>, Vec<u64>) {
    let (mut events, mut lost, mut bytes) = (Vec::new(), Vec::new(), 0);
    for sequence in ready {
        if again.lost.contains(sequence) {
            lost.push(*sequence);
            continue;
        }
        let is_read = again.cut.is_none_or(|cut| *sequence < cut) && bytes < PULL_BYTES_MAX;
        let Some(stored) = stored.get(sequence).filter(|_| is_read) else { break };
        bytes += stored.payload.len();
        match decode(stored).zip(reader.positions.place(&stored.tag)) {
            Some((row, (scope, topic))) => events.push(event_of(scope, topic, stored, &row)),
            None => lost.push(*sequence),
        }
    }
    (events, lost)
}
