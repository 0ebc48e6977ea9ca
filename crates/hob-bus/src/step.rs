//! Decides what a subscription hands out, and what an acknowledgement means: pure, without clock or randomness.
//!
//! A subscription has looked through the log up to `looked`, and what it found there and is not done yet is *pending*.
//! The cursor is the last sequence before the first pending one: it moves over what is done and over what is not the
//! subscription's, never over anything else. So one entity that fails for a day costs one pending event, and holds up
//! nobody: state is `looked`, the pending sequences, and how often those that failed were tried.
//!
//! Pending events stand in *lines* (`lines`): one for each entity; or one for all, or one for each event, as the
//! subscription's order asks. A line is in at most one lease, and an event is handed out only when every earlier one
//! of its line is done or stands before it in the same batch. A line whose first event failed is *parked* until its
//! next attempt. Several leases may be alive at once (`leases`).
//!
//! Beside the log's events there are two more kinds of item: a dead letter on its way once more (`letters`), and a
//! `noop` of a snapshot (`snapshot`). Both stand in the lines of their entities, and neither touches the cursor.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Collapse, DeliveryError, DeliveryOrder, DeliverySpec, EventChange as Change, OnPoison};

use crate::model::limits::{PARKED_MAX, PENDING_MAX};
use crate::rows::PauseRow;

mod leases;
mod letters;
mod lines;
mod look;
mod run;
mod snapshot;

pub(crate) use letters::Letter;
use lines::Lines;
pub(crate) use run::Fresh;
use run::Run;
pub(crate) use snapshot::Page;

/// The lease that readers of a live stream name in their acknowledgements.
pub(crate) const STREAM_LEASE: &str = "stream";
/// Ended leases that are remembered, so that repeating an acknowledgement is fine.
const ENDED_MAX: usize = 64;

/// A subscription's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The log was looked through up to here.
    pub(crate) looked: u64,
    pub(crate) terms: Terms,
    pub(crate) counts: Counts,
    /// Why nothing is handed out at all.
    pub(crate) halt: Option<Halt>,
    slots: BTreeMap<Item, Slot>,
    lines: Lines,
    leases: BTreeMap<String, Lease>,
    /// Stands for events and their lease, while nothing else is pending.
    run: Option<Run>,
    /// The last leases that were done to their end.
    ended: VecDeque<String>,
    failures: HashMap<Item, Failure>,
    /// Pending since before a restart: to be read again before anything is handed out.
    unread: BTreeMap<u64, Option<Failure>>,
    letters: letters::Letters,
    snapshot: Option<snapshot::Snapshot>,
}

/// How a subscription's events are handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Terms {
    pub(crate) order: DeliveryOrder,
    pub(crate) collapse: Collapse,
    pub(crate) attempts: u32,
    pub(crate) backoff_ms: Vec<u64>,
    pub(crate) on_poison: OnPoison,
}

/// What happened since Hob started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Events done.
    pub(crate) delivered: u64,
    /// Attempts that failed.
    pub(crate) failed: u64,
    /// Events passed over, because a newer one of their entity stands for them.
    pub(crate) collapsed: u64,
    /// Events that could no longer be read.
    pub(crate) damaged: u64,
}

/// Why a subscription hands out nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Halt {
    /// Ends by itself then.
    pub(crate) until: Option<Timestamp>,
    /// Its endpoint wanted it, and said so; else somebody paused it.
    pub(crate) gone: Option<String>,
}

impl From<&PauseRow> for Halt {
    fn from(row: &PauseRow) -> Self {
        Self { until: row.until, gone: row.gone.clone() }
    }
}

/// Something to be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Item {
    pub(crate) kind: Kind,
    pub(crate) sequence: u64,
}

/// What kind of thing it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Kind {
    /// An event that the cursor waits for.
    Event,
    /// A dead letter on its way once more.
    Letter,
    /// A snapshot's `noop` about the entity whose last event has the sequence.
    Noop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Slot {
    /// Stands for its entity.
    entity: u64,
    change: Option<Change>,
    place: Place,
    /// How often it was handed out.
    attempts: u32,
    /// How many leases ran out on it.
    expiries: u8,
    /// Not to be handed out before.
    from: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Waiting,
    Leased,
    /// It failed for good and is about to be written as a dead letter.
    Burying,
}

/// That an item failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) attempts: u32,
    pub(crate) first: Timestamp,
    /// When it is tried again.
    pub(crate) until: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    expires: Timestamp,
    /// Every item it was given for with the event's id, in order of the log.
    given: Vec<(Item, String)>,
    /// Those not yet settled.
    open: BTreeSet<Item>,
}

/// An event that was found in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    /// Stands for its entity.
    pub(crate) entity: u64,
    /// What happened to the entity, when it is a notice about one.
    pub(crate) change: Option<Change>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// Time went by.
    Tick,
    /// The log was looked through from `looked + 1` up to here, and these events are the subscription's; so many
    /// that may have been could not be read.
    Looked { events: Vec<Seen>, upto: u64, lost: u64 },
    /// Pending events of before a restart were read again up to here, and these are still the subscription's; so many
    /// could not be read.
    Recalled { events: Vec<Seen>, upto: u64, lost: u64 },
    /// Somebody takes these items, which [`State::choose`] chose, with their events' ids.
    Lease { lease: String, items: Vec<(Item, String)>, expires: Timestamp },
    /// Somebody takes all events that come next, up to here, while [`State::may_run`]: those of `own`.
    Run { lease: String, all: Arc<[Fresh]>, own: Range<usize>, upto: u64, expires: Timestamp },
    /// A puller tells how it went.
    Ack(AckInput),
    /// A pusher tells how it went.
    Settle { lease: String, outcomes: Vec<(u64, Verdict)>, luck: u64 },
    /// The reader of a stream has done everything up to here; `head` is the newest durable sequence.
    AckStream { upto: u64, head: u64 },
    /// A stream whose reader acknowledges nothing has sent everything up to here, so many events.
    Sent { upto: u64, events: u64 },
    /// These can no longer be read and are given up.
    Lost(Vec<Item>),
    /// These are no longer what it asks for.
    Unwanted(Vec<Item>),
    /// It asks to be handed out otherwise now.
    Respecified(Terms),
    /// Its cursor is put here.
    Sought(u64),
    /// It is to hand out nothing, or to go on.
    Halted(Option<Halt>),
    /// These dead letters are to be tried once more.
    Replay(Vec<(Seen, Letter)>),
    /// Dead letters were written, or removed.
    Filed { buried: Vec<Item>, forgotten: Vec<u64> },
    /// These dead letters are dropped.
    Dropped(Vec<u64>),
    /// A snapshot begins at this place of the entities.
    SnapshotBegun { after: String },
    /// A page of it was read.
    SnapshotRead(Page),
}

/// An acknowledgement under a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AckInput {
    pub(crate) lease: String,
    pub(crate) upto: Option<u64>,
    /// By id, or by sequence of 20 digits.
    pub(crate) acked: Vec<String>,
    /// The same, with when to hand it out again (by the back-off when none), and why.
    pub(crate) nacked: Vec<(String, Option<Duration>, DeliveryError)>,
    pub(crate) extend_to: Option<Timestamp>,
    /// Randomness for the back-off.
    pub(crate) luck: u64,
}

/// How the delivery of one event went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Done,
    /// It failed; tried again after the delay, else after the back-off's.
    Failed {
        delay: Option<Duration>,
        error: DeliveryError,
    },
    /// It was not tried.
    Returned,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Something may be ready that was not: pullers may try again.
    Freed,
    /// What must be stored changed: write it.
    Save,
    /// The input was wrong, and changed nothing.
    Refuse(Refusal),
}

/// Why an input is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The lease is not alive.
    NotHeld,
    /// A puller holds a lease, so that a stream's reader cannot acknowledge.
    Leased,
    /// No event of the lease has this id.
    Unknown(String),
    /// Several events of the lease have this id.
    Ambiguous(String),
    /// It acknowledges what it was not given.
    Ahead { upto: u64, last: u64 },
    /// These items may not be handed out now.
    NotReady,
}

/// Takes in what happened.
pub(crate) fn step(mut state: State, input: Input, now: Timestamp) -> (State, Vec<Action>) {
    state.unfold_for(&input, now);
    let mut actions = state.expire(now);
    if state.halt.as_ref().is_some_and(|halt| halt.until.is_some_and(|until| until <= now)) {
        state.halt = None;
        actions.push(Action::Freed);
    }
    let outcome = match input {
        Input::Tick => Ok(Vec::new()),
        Input::Looked { events, upto, lost } => {
            state.counts.damaged += lost;
            Ok(state.look(events, upto))
        }
        Input::Recalled { events, upto, lost } => {
            state.counts.damaged += lost;
            Ok(state.recalled(events, upto))
        }
        Input::Lease { lease, items, expires } => state.lease(lease, items, expires),
        Input::Run { lease, all, own, upto, expires } => state.begin_run(lease, (all, own), upto, expires),
        Input::Ack(ack) => state.ack(ack, now),
        Input::Settle { lease, outcomes, luck } => state.settle(&lease, outcomes, luck, now),
        Input::AckStream { upto, head } => state.ack_stream(upto, head),
        Input::Sent { upto, events } => Ok(state.sent(upto, events)),
        Input::Lost(items) => {
            state.counts.damaged += items.len() as u64;
            Ok(state.give_up(&items))
        }
        Input::Unwanted(items) => Ok(state.give_up(&items)),
        Input::Respecified(terms) => Ok(state.respecify(terms)),
        Input::Sought(to) => Ok(state.seek(to)),
        Input::Halted(halt) => {
            state.halt = halt;
            Ok(vec![Action::Freed])
        }
        Input::Replay(letters) => Ok(state.replay(letters)),
        Input::Filed { buried, forgotten } => Ok(state.filed(&buried, &forgotten)),
        Input::Dropped(sequences) => Ok(state.drop_letters(&sequences)),
        Input::SnapshotBegun { after } => Ok(state.begin_snapshot(after)),
        Input::SnapshotRead(page) => Ok(state.read_snapshot(page)),
    };
    match outcome {
        Ok(more) => actions.extend(more),
        Err(refusal) => actions.push(Action::Refuse(refusal)),
    }
    state.lines.wake(now);
    (state, actions)
}

impl State {
    /// A subscription that begins after this sequence.
    pub(crate) fn begin(looked: u64, terms: Terms) -> Self {
        Self { looked, terms, ..Self::default() }
    }

    /// A subscription that had come this far, with what was pending and how it had failed.
    pub(crate) fn resume(
        looked: u64,
        terms: Terms,
        pending: impl IntoIterator<Item = (u64, Option<Failure>)>,
    ) -> Self {
        let pending = pending.into_iter().filter(|(sequence, _)| *sequence <= looked).take(PENDING_MAX);
        Self { unread: pending.collect(), ..Self::begin(looked, terms) }
    }

    /// The cursor: everything up to here is done.
    pub(crate) fn done(&self) -> u64 {
        let first = self.slots.first_key_value().map(|(item, _)| item);
        let first = first.filter(|item| item.kind == Kind::Event).map(|item| item.sequence);
        let unread = self.unread.first_key_value().map(|(sequence, _)| *sequence);
        let run = self.run.as_ref().and_then(Run::first);
        let first = first.into_iter().chain(unread).chain(run).min();
        first.map_or(self.looked, |first| first - 1)
    }

    /// Lets a snapshot of before a restart go on.
    pub(crate) fn with_snapshot(mut self, place: Option<String>) -> Self {
        if let Some(place) = place {
            self.begin_snapshot(place);
        }
        self
    }

    /// What is pending, with how those that wait after a failure failed: what must be written so that nothing is
    /// skipped.
    pub(crate) fn pending(&self) -> impl Iterator<Item = (u64, Option<Failure>)> + '_ {
        let events = Item::event(0)..=Item::event(u64::MAX);
        let slots =
            self.slots.range(events).map(|(item, _)| (item.sequence, self.failures.get(item).copied()));
        let run = self.run.iter().flat_map(Run::sequences).map(|sequence| (sequence, None));
        // The log is looked through only once all of these were read again, so they come last.
        slots.chain(run).chain(self.unread.iter().map(|(sequence, failure)| (*sequence, *failure)))
    }

    /// How many events of the log are pending.
    pub(crate) fn pending_events(&self) -> usize {
        let others = self.slots.keys().rev().take_while(|item| item.kind != Kind::Event).count();
        self.slots.len() - others + self.unread.len() + self.in_run()
    }

    /// The first pending event.
    pub(crate) fn first_pending(&self) -> Option<u64> {
        let done = self.done();
        (done < self.looked).then_some(done + 1)
    }

    /// Pending since before a restart and not read again yet.
    pub(crate) fn unread(&self) -> Vec<u64> {
        self.unread.keys().copied().collect()
    }

    /// Events under a lease.
    pub(crate) fn in_flight(&self) -> usize {
        self.leases.values().map(|lease| lease.open.len()).sum::<usize>() + self.in_run()
    }

    fn in_run(&self) -> usize {
        self.run.as_ref().map_or(0, Run::len)
    }

    /// Lines that wait for another attempt after a failure.
    pub(crate) fn parked(&self) -> usize {
        self.lines.parked_count() + self.unread.values().flatten().count()
    }

    /// Lines that hold back an event which has failed as often as it may.
    pub(crate) fn poisoned(&self) -> usize {
        let attempts = self.terms.attempts;
        self.failures.values().filter(|failure| failure.attempts >= attempts).count()
    }

    /// How many more events may be looked for.
    pub(crate) fn room(&self) -> usize {
        if self.parked() >= PARKED_MAX {
            return 0;
        }
        PENDING_MAX.saturating_sub(self.slots.len() + self.unread.len() + self.in_run())
    }

    /// When something that cannot be handed out now may be.
    pub(crate) fn due(&self) -> Option<Timestamp> {
        let run = self.run.as_ref().map(|run| run.expires);
        let leased = self.leases.values().map(|lease| lease.expires).chain(run).min();
        let halted = self.halt.as_ref().and_then(|halt| halt.until);
        leased.into_iter().chain(self.next_attempt()).chain(halted).min()
    }

    /// When the first parked line is tried again.
    pub(crate) fn next_attempt(&self) -> Option<Timestamp> {
        self.lines.first_due()
    }

    fn give_up(&mut self, items: &[Item]) -> Vec<Action> {
        items.iter().for_each(|item| self.remove(*item));
        vec![Action::Save, Action::Freed]
    }

    fn seek(&mut self, to: u64) -> Vec<Action> {
        self.leases.clear();
        self.slots.retain(|item, _| item.kind != Kind::Event);
        self.failures.retain(|item, _| item.kind != Kind::Event);
        self.unread.clear();
        self.letters.unbury_events();
        self.looked = to;
        self.rebuild();
        vec![Action::Save, Action::Freed]
    }

    fn respecify(&mut self, terms: Terms) -> Vec<Action> {
        self.leases.clear();
        self.terms = terms;
        self.rebuild();
        vec![Action::Save, Action::Freed]
    }

    /// Forms the lines anew; nothing is leased then.
    fn rebuild(&mut self) {
        self.lines = Lines::default();
        for slot in self.slots.values_mut().filter(|slot| slot.place == Place::Leased) {
            slot.place = Place::Waiting;
        }
        for (item, slot) in &self.slots {
            let line = line_of(self.terms.order, *item, slot.entity);
            self.lines.push(line, *item);
            if slot.place != Place::Waiting {
                self.lines.hold(line);
            }
        }
        let lines: Vec<u64> = self.lines.keys().collect();
        lines.into_iter().for_each(|line| self.lines.place(line, &self.slots));
    }

    fn line(&self, item: Item) -> Option<u64> {
        self.slots.get(&item).map(|slot| line_of(self.terms.order, item, slot.entity))
    }

    fn insert(&mut self, item: Item, slot: Slot) {
        let line = line_of(self.terms.order, item, slot.entity);
        self.slots.insert(item, slot);
        self.lines.push(line, item);
        self.lines.place(line, &self.slots);
    }

    /// Takes an item away for good, wherever it stands.
    fn remove(&mut self, item: Item) {
        self.unread_gone(item);
        let Some(line) = self.line(item) else { return };
        self.set(item, Place::Waiting);
        self.slots.remove(&item);
        self.failures.remove(&item);
        self.lines.remove(line, item);
        self.lines.place(line, &self.slots);
        if item.kind == Kind::Noop {
            self.snapshot_gone(item.sequence);
        }
    }

    /// Moves an item to another place; its line is to be placed afterwards.
    fn set(&mut self, item: Item, place: Place) {
        let Some(slot) = self.slots.get_mut(&item) else { return };
        let line = line_of(self.terms.order, item, slot.entity);
        let before = std::mem::replace(&mut slot.place, place);
        match (before, place) {
            (Place::Waiting, Place::Leased | Place::Burying) => self.lines.hold(line),
            (Place::Leased | Place::Burying, Place::Waiting) => self.lines.release(line),
            _ => {}
        }
        if before == Place::Leased && place != Place::Leased {
            self.leases.values_mut().for_each(|lease| {
                lease.open.remove(&item);
            });
        }
    }

    fn unread_gone(&mut self, item: Item) {
        if item.kind == Kind::Event {
            self.unread.remove(&item.sequence);
        }
    }
}

/// The line in which an item stands.
fn line_of(order: DeliveryOrder, item: Item, entity: u64) -> u64 {
    match order {
        DeliveryOrder::Entity => entity,
        DeliveryOrder::Strict => 0,
        DeliveryOrder::None => item.sequence,
    }
}

impl Item {
    pub(crate) fn event(sequence: u64) -> Self {
        Self { kind: Kind::Event, sequence }
    }

    pub(crate) fn letter(sequence: u64) -> Self {
        Self { kind: Kind::Letter, sequence }
    }

    pub(crate) fn noop(sequence: u64) -> Self {
        Self { kind: Kind::Noop, sequence }
    }

    /// Items are handed out in this order.
    fn rank(self) -> (u64, Kind) {
        (self.sequence, self.kind)
    }
}

impl Slot {
    fn new(entity: u64, change: Option<Change>) -> Self {
        let from = Timestamp::from_micros(i64::MIN);
        Self { entity, change, place: Place::Waiting, attempts: 0, expiries: 0, from }
    }
}

impl Default for Terms {
    fn default() -> Self {
        Self::from(&DeliverySpec::default())
    }
}

impl From<&DeliverySpec> for Terms {
    fn from(spec: &DeliverySpec) -> Self {
        Self {
            order: spec.order,
            collapse: spec.collapse,
            attempts: spec.attempts,
            backoff_ms: spec.backoff_ms.clone(),
            on_poison: spec.on_poison,
        }
    }
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
