//! Decides what a subscription hands out, and what an acknowledgement means: pure, without clock or randomness.
//!
//! A subscription has looked through the log up to `looked`. Of that, everything up to `done` is acknowledged, and
//! the window holds each event in between that matters. The cursor is `done`: it moves over acknowledged events and
//! over those that are not the subscription's, never over anything else.
//!
//! One lease is alive at a time, and an event is handed out only when every earlier one about the same entity is
//! acknowledged or in the same batch before it. So a nacked event holds back its own entity and no other.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use hob_core::Timestamp;

use crate::model::limits::{LEASE_MAX, WINDOW_EVENTS_MAX};

/// The lease that readers of a live stream name in their acknowledgements.
pub(crate) const STREAM_LEASE: &str = "stream";

/// A subscription's progress.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// Everything up to here is done.
    pub(crate) done: u64,
    /// The log was looked through up to here; at least `done`.
    pub(crate) looked: u64,
    window: BTreeMap<u64, Slot>,
    lease: Option<Lease>,
    /// The last lease that was done to its end: repeating its acknowledgement is fine.
    ended: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Slot {
    id: String,
    entity: u64,
    place: SlotPlace,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotPlace {
    /// To be handed out, not before this time.
    Waiting(Timestamp),
    Leased,
    Acked,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    id: String,
    expires: Timestamp,
    /// Every event it was given for.
    given: Vec<u64>,
    ids: Vec<String>,
    /// Those not yet acknowledged or nacked.
    open: BTreeSet<u64>,
}

/// An event that was found in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    /// Stands for its entity.
    pub(crate) entity: u64,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// The log was looked through from `looked + 1` up to here, and these events are the subscription's.
    Looked { events: Vec<Seen>, upto: u64 },
    /// Somebody wants at most `max` events until `expires`.
    Pull { lease: String, max: usize, expires: Timestamp },
    /// A puller tells how it went.
    Ack(AckInput),
    /// The reader of a stream has done everything up to here; `head` is the newest durable sequence.
    AckStream { upto: u64, head: u64 },
    /// These can no longer be read and are given up.
    Lost(Vec<u64>),
    /// It asks for something else now: look through the log again from the cursor.
    Respecified,
}

/// An acknowledgement under a lease.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AckInput {
    pub(crate) lease: String,
    pub(crate) upto: Option<u64>,
    /// By id, or by sequence of 20 digits.
    pub(crate) acked: Vec<String>,
    /// The same, with when to hand it out again.
    pub(crate) nacked: Vec<(String, Timestamp)>,
    pub(crate) extend_to: Option<Timestamp>,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Give these events to the puller.
    HandOut { lease: String, expires: Timestamp, sequences: Vec<u64> },
    /// Nothing to hand out; something may be at this time.
    Wait { until: Option<Timestamp> },
    /// The lease is free: pullers may try again.
    Freed,
    /// The cursor or what is acknowledged beyond it changed by an acknowledgement: write it.
    Save,
    /// The input was wrong, and changed nothing.
    Refuse(Refusal),
}

/// Why an acknowledgement is refused.
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
}

/// Takes in what happened.
pub(crate) fn step(mut state: State, input: Input, now: Timestamp) -> (State, Vec<Action>) {
    let mut actions = Vec::new();
    if state.expire(now) {
        actions.push(Action::Freed);
    }
    let outcome = match input {
        Input::Looked { events, upto } => {
            state.look(events, upto);
            Ok(Vec::new())
        }
        Input::Pull { lease, max, expires } => Ok(vec![state.pull(lease, max, expires, now)]),
        Input::Ack(ack) => state.ack(ack, now),
        Input::AckStream { upto, head } => state.ack_stream(upto, head),
        Input::Lost(sequences) => {
            sequences.iter().for_each(|sequence| state.mark(*sequence, SlotPlace::Acked));
            state.advance();
            Ok(vec![Action::Save])
        }
        Input::Respecified => {
            state.respecify();
            Ok(vec![Action::Freed])
        }
    };
    match outcome {
        Ok(more) => actions.extend(more),
        Err(refusal) => actions.push(Action::Refuse(refusal)),
    }
    (state, actions)
}

impl State {
    /// A subscription that was at this cursor, with these acknowledged beyond it.
    pub(crate) fn resume(done: u64, acked: impl IntoIterator<Item = u64>) -> Self {
        let mut state = Self { done, looked: done, ..Self::default() };
        for sequence in acked.into_iter().filter(|sequence| *sequence > done).take(WINDOW_EVENTS_MAX) {
            state.window.insert(sequence, Slot { id: String::new(), entity: 0, place: SlotPlace::Acked });
        }
        state
    }

    /// What must be written so that nothing acknowledged is handed out again.
    pub(crate) fn acked(&self) -> Vec<u64> {
        let acked = self.window.iter().filter(|(_, slot)| slot.place == SlotPlace::Acked);
        acked.map(|(sequence, _)| *sequence).collect()
    }

    /// Events under a lease that is not yet acknowledged.
    pub(crate) fn in_flight(&self) -> usize {
        self.lease.as_ref().map_or(0, |lease| lease.open.len())
    }

    /// When the lease ends, while one is alive.
    pub(crate) fn leased_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.lease.as_ref().map(|lease| lease.expires).filter(|expires| *expires > now)
    }

    /// How many more events may be looked for.
    pub(crate) fn room(&self) -> usize {
        WINDOW_EVENTS_MAX.saturating_sub(self.window.len())
    }

    /// Events that wait until a later time, after a nack.
    pub(crate) fn delayed(&self, now: Timestamp) -> usize {
        let is_delayed = |slot: &&Slot| matches!(slot.place, SlotPlace::Waiting(from) if from > now);
        self.window.values().filter(is_delayed).count()
    }

    /// Whether the event is acknowledged already.
    pub(crate) fn is_done(&self, sequence: u64) -> bool {
        sequence <= self.done || self.window.get(&sequence).is_some_and(|slot| slot.place == SlotPlace::Acked)
    }

    /// The events that a pull would hand out now.
    pub(crate) fn ready(&self, max: usize, now: Timestamp) -> Vec<u64> {
        self.choose(max, now).0
    }

    /// When the first delayed event may be handed out.
    pub(crate) fn due(&self, now: Timestamp) -> Option<Timestamp> {
        self.choose(usize::MAX, now).1
    }

    fn choose(&self, max: usize, now: Timestamp) -> (Vec<u64>, Option<Timestamp>) {
        if let Some(expires) = self.leased_until(now) {
            return (Vec::new(), Some(expires));
        }
        let mut held_back = HashSet::new();
        let mut chosen = Vec::new();
        let mut earliest: Option<Timestamp> = None;
        for (sequence, slot) in &self.window {
            if chosen.len() == max {
                break;
            }
            // A lease that has ended leaves its events to be handed out again.
            let from = match slot.place {
                SlotPlace::Acked => continue,
                SlotPlace::Leased => Timestamp::from_micros(i64::MIN),
                SlotPlace::Waiting(from) => from,
            };
            if held_back.contains(&slot.entity) {
                continue;
            }
            if from > now {
                held_back.insert(slot.entity);
                earliest = Some(earliest.map_or(from, |earliest| earliest.min(from)));
                continue;
            }
            chosen.push(*sequence);
        }
        (chosen, earliest)
    }

    fn look(&mut self, events: Vec<Seen>, upto: u64) {
        for Seen { sequence, id, entity } in events {
            if sequence <= self.looked {
                continue;
            }
            let slot = Slot { id, entity, place: SlotPlace::Waiting(Timestamp::from_micros(i64::MIN)) };
            // One that is here already was acknowledged before the window was looked through again.
            self.window.entry(sequence).or_insert(slot);
        }
        self.looked = upto.max(self.looked);
        self.advance();
    }

    fn pull(&mut self, id: String, max: usize, expires: Timestamp, now: Timestamp) -> Action {
        let (given, until) = self.choose(max, now);
        if given.is_empty() {
            return Action::Wait { until };
        }
        given.iter().for_each(|sequence| self.mark(*sequence, SlotPlace::Leased));
        let ids = given.iter().filter_map(|sequence| self.window.get(sequence)).map(|slot| slot.id.clone());
        let ids = ids.collect();
        let open = given.iter().copied().collect();
        self.lease = Some(Lease { id: id.clone(), expires, given: given.clone(), ids, open });
        Action::HandOut { lease: id, expires, sequences: given }
    }

    fn ack(&mut self, ack: AckInput, now: Timestamp) -> Result<Vec<Action>, Refusal> {
        let Some(lease) = self.lease.as_mut().filter(|lease| lease.id == ack.lease) else {
            let is_repeated = self.ended.as_ref() == Some(&ack.lease);
            return if is_repeated { Ok(Vec::new()) } else { Err(Refusal::NotHeld) };
        };
        let last = lease.given.last().copied().unwrap_or(0);
        if let Some(upto) = ack.upto.filter(|upto| *upto > last) {
            return Err(Refusal::Ahead { upto, last });
        }
        let mut acked = ack.acked.iter().map(|id| lease.find(id)).collect::<Result<BTreeSet<_>, _>>()?;
        let nacked = ack.nacked.iter().map(|(id, from)| Ok((lease.find(id)?, *from)));
        let nacked = nacked.collect::<Result<BTreeMap<_, _>, Refusal>>()?;
        acked.extend(lease.given.iter().filter(|sequence| ack.upto.is_some_and(|upto| **sequence <= upto)));
        // A failure that is told beside a success counts: nothing may be skipped.
        acked.retain(|sequence| lease.open.contains(sequence) && !nacked.contains_key(sequence));
        let nacked: Vec<_> =
            nacked.into_iter().filter(|(sequence, _)| lease.open.contains(sequence)).collect();
        if let Some(extend_to) = ack.extend_to {
            lease.expires = extend_to.min(now.plus(LEASE_MAX)).max(lease.expires);
        }
        lease.open.retain(|sequence| !acked.contains(sequence));
        lease.open.retain(|sequence| !nacked.iter().any(|(nacked, _)| nacked == sequence));
        let is_ended = lease.open.is_empty();
        acked.iter().for_each(|sequence| self.mark(*sequence, SlotPlace::Acked));
        nacked.iter().for_each(|(sequence, from)| self.mark(*sequence, SlotPlace::Waiting(*from)));
        self.advance();
        let mut actions = if acked.is_empty() { Vec::new() } else { vec![Action::Save] };
        if is_ended {
            self.lease = None;
            self.ended = Some(ack.lease);
            actions.push(Action::Freed);
        }
        Ok(actions)
    }

    fn ack_stream(&mut self, upto: u64, head: u64) -> Result<Vec<Action>, Refusal> {
        if self.lease.is_some() {
            return Err(Refusal::Leased);
        }
        if upto > head {
            return Err(Refusal::Ahead { upto, last: head });
        }
        if upto <= self.done {
            return Ok(Vec::new());
        }
        self.window = self.window.split_off(&(upto + 1));
        self.done = upto;
        self.looked = upto.max(self.looked);
        self.advance();
        Ok(vec![Action::Save])
    }

    /// Ends a lease that has run out: its events wait again. Says whether it did.
    fn expire(&mut self, now: Timestamp) -> bool {
        if self.lease.is_none() || self.leased_until(now).is_some() {
            return false;
        }
        self.free();
        true
    }

    fn free(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let again = SlotPlace::Waiting(Timestamp::from_micros(i64::MIN));
        lease.open.iter().for_each(|sequence| self.mark(*sequence, again));
    }

    fn respecify(&mut self) {
        self.free();
        self.window.retain(|_, slot| slot.place == SlotPlace::Acked);
        self.looked = self.done;
    }

    fn mark(&mut self, sequence: u64, place: SlotPlace) {
        if let Some(slot) = self.window.get_mut(&sequence) {
            slot.place = place;
        }
    }

    /// Moves the cursor as far as it may go.
    fn advance(&mut self) {
        while let Some(first) = self.window.first_entry() {
            if first.get().place != SlotPlace::Acked || *first.key() > self.looked {
                break;
            }
            first.remove();
        }
        let next = self.window.first_key_value().map_or(u64::MAX, |(sequence, _)| *sequence);
        self.done = self.looked.min(next - 1).max(self.done);
    }
}

impl Lease {
    /// The one event that an acknowledgement names by id, or by sequence.
    fn find(&self, name: &str) -> Result<u64, Refusal> {
        let mut named = self.given.iter().zip(&self.ids).filter(|(_, id)| *id == name).map(|(seq, _)| *seq);
        match (named.next(), named.next()) {
            (Some(sequence), None) => Ok(sequence),
            (Some(_), Some(_)) => Err(Refusal::Ambiguous(name.to_owned())),
            (None, _) => {
                let sequence = name.parse().ok().filter(|_| name.len() == 20);
                let given = sequence.filter(|sequence| self.given.contains(sequence));
                given.ok_or_else(|| Refusal::Unknown(name.to_owned()))
            }
        }
    }
}

#[cfg(test)]
mod tests;
