//! Leases: what is handed out, and how it went.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{DeliveryError, OnPoison};

use super::{AckInput, Action, Failure, Item, Kind, Lease, Letter, Place, Refusal, State, Verdict};
use crate::model::limits::{LEASE_MAX, LETTERS_MAX};

impl State {
    pub(super) fn lease(
        &mut self,
        id: String,
        items: Vec<(Item, String)>,
        expires: Timestamp,
    ) -> Result<Vec<Action>, Refusal> {
        let is_ready = |item: &Item| self.slots.get(item).is_some_and(|slot| slot.place == Place::Waiting);
        if items.is_empty() || !items.iter().all(|(item, _)| is_ready(item)) {
            return Err(Refusal::NotReady);
        }
        for (item, _) in &items {
            self.set(*item, Place::Leased);
            if let Some(slot) = self.slots.get_mut(item) {
                slot.attempts = slot.attempts.saturating_add(1);
            }
        }
        items.iter().for_each(|(item, _)| self.place(*item));
        let open = items.iter().map(|(item, _)| *item).collect();
        self.leases.insert(id, Lease { expires, given: items, open });
        Ok(Vec::new())
    }

    /// How often an item was handed out.
    pub(crate) fn attempts(&self, item: Item) -> u32 {
        self.slots.get(&item).map_or(0, |slot| slot.attempts)
    }

    pub(super) fn ack(&mut self, ack: AckInput, now: Timestamp) -> Result<Vec<Action>, Refusal> {
        if let Some(actions) = self.end_run(&ack) {
            return Ok(actions);
        }
        let Some(lease) = self.leases.get_mut(&ack.lease) else { return self.ended(&ack.lease) };
        let last = lease.given.iter().map(|(item, _)| item.sequence).max().unwrap_or(0);
        if let Some(upto) = ack.upto.filter(|upto| *upto > last) {
            return Err(Refusal::Ahead { upto, last });
        }
        let given = lease.given.iter().map(|(item, _)| item.sequence);
        let upto = given.filter(|sequence| ack.upto.is_some_and(|upto| *sequence <= upto));
        let mut outcomes: BTreeMap<u64, Verdict> = upto.map(|sequence| (sequence, Verdict::Done)).collect();
        for id in &ack.acked {
            outcomes.insert(lease.find(id)?, Verdict::Done);
        }
        // A failure that is told beside a success counts: nothing may be skipped.
        for (id, delay, error) in ack.nacked {
            outcomes.insert(lease.find(&id)?, Verdict::Failed { delay, error });
        }
        if let Some(extend_to) = ack.extend_to {
            lease.expires = extend_to.min(now.plus(LEASE_MAX)).max(lease.expires);
        }
        self.settle(&ack.lease, outcomes.into_iter().collect(), ack.luck, now)
    }

    pub(super) fn settle(
        &mut self,
        id: &str,
        outcomes: Vec<(u64, Verdict)>,
        luck: u64,
        now: Timestamp,
    ) -> Result<Vec<Action>, Refusal> {
        let Some(lease) = self.leases.get(id) else { return self.ended(id) };
        let open = lease.open.clone();
        let item = |kind, sequence| Item { kind, sequence };
        let mut kinds = vec![Kind::Event, Kind::Letter, Kind::Noop];
        kinds.retain(|kind| open.range(item(*kind, 0)..=item(*kind, u64::MAX)).next().is_some());
        let mut actions = Vec::new();
        for (sequence, verdict) in outcomes {
            for kind in &kinds {
                let item = item(*kind, sequence);
                if open.contains(&item) {
                    self.settle_one(item, &verdict, luck, now);
                    actions = vec![Action::Save, Action::Freed];
                }
            }
        }
        if self.leases.get(id).is_some_and(|lease| lease.open.is_empty()) {
            self.leases.remove(id);
            self.end_lease(id.to_owned());
            actions = vec![Action::Save, Action::Freed];
        }
        Ok(actions)
    }

    fn settle_one(&mut self, item: Item, verdict: &Verdict, luck: u64, now: Timestamp) {
        match verdict {
            Verdict::Done => {
                self.counts.delivered += 1;
                self.remove(item);
                if item.kind == Kind::Letter {
                    self.letters.done(item.sequence);
                }
            }
            Verdict::Failed { delay, error } => self.fail(item, *delay, error, luck, now),
            Verdict::Returned => {
                if let Some(slot) = self.slots.get_mut(&item) {
                    slot.attempts = slot.attempts.saturating_sub(1);
                }
                self.set(item, Place::Waiting);
                self.place(item);
            }
        }
    }

    /// An attempt failed: the item waits for the next one, or becomes a dead letter after the last.
    fn fail(
        &mut self,
        item: Item,
        delay: Option<Duration>,
        error: &DeliveryError,
        luck: u64,
        now: Timestamp,
    ) {
        self.counts.failed += 1;
        self.set(item, Place::Waiting);
        let Some(slot) = self.slots.get(&item).copied() else { return };
        let first = self.failures.get(&item).map_or(now, |failure| failure.first);
        let first = self.letters.first_failed(item).unwrap_or(first);
        let letter = Letter {
            sequence: item.sequence,
            attempts: slot.attempts,
            first_failed: first,
            last_failed: now,
            error: error.clone(),
        };
        if item.kind == Kind::Letter {
            // It was tried once more, and stays what it was.
            self.remove(item);
            self.letters.bury(item, letter);
            return;
        }
        let is_last = slot.attempts >= self.terms.attempts && self.terms.on_poison == OnPoison::DeadLetter;
        if is_last && self.letters.has_room(item.sequence, LETTERS_MAX) {
            self.set(item, Place::Burying);
            self.letters.bury(item, letter);
            self.place(item);
            return;
        }
        let until = now.plus(delay.unwrap_or_else(|| self.backoff(slot.attempts, mix(luck, item.sequence))));
        self.failures.insert(item, Failure { attempts: slot.attempts, first, until });
        if let Some(slot) = self.slots.get_mut(&item) {
            slot.from = until;
        }
        self.place(item);
    }

    /// The pause after so many attempts, shortened at random by up to half.
    fn backoff(&self, attempts: u32, luck: u64) -> Duration {
        let pauses = &self.terms.backoff_ms;
        let nth = (attempts.max(1) as usize - 1).min(pauses.len().saturating_sub(1));
        let pause = pauses.get(nth).copied().unwrap_or(0);
        let shortened = u128::from(pause / 2) * u128::from(luck) / u128::from(u64::MAX);
        Duration::from_millis(pause - shortened as u64)
    }

    pub(super) fn place(&mut self, item: Item) {
        if let Some(line) = self.line(item) {
            self.lines.place(line, &self.slots);
        }
    }

    /// Repeating the acknowledgement of a lease that was done to its end is fine.
    fn ended(&self, lease: &str) -> Result<Vec<Action>, Refusal> {
        if self.ended.iter().any(|ended| ended == lease) { Ok(Vec::new()) } else { Err(Refusal::NotHeld) }
    }

    pub(super) fn ack_stream(&mut self, upto: u64, head: u64) -> Result<Vec<Action>, Refusal> {
        if !self.leases.is_empty() {
            return Err(Refusal::Leased);
        }
        if upto > head {
            return Err(Refusal::Ahead { upto, last: head });
        }
        if upto <= self.done() {
            return Ok(Vec::new());
        }
        self.counts.delivered += self.pass(upto);
        Ok(vec![Action::Save])
    }

    /// A stream's progress moves the cursor like an acknowledgement; while a puller holds a lease it moves nothing.
    pub(super) fn sent(&mut self, upto: u64, events: u64) -> Vec<Action> {
        if !self.leases.is_empty() || upto <= self.done() {
            return Vec::new();
        }
        self.pass(upto);
        self.counts.delivered += events;
        vec![Action::Save]
    }

    /// Everything up to here is done; says how many events that were pending are among it.
    fn pass(&mut self, upto: u64) -> u64 {
        self.unread = self.unread.split_off(&(upto + 1));
        let done: Vec<Item> =
            self.slots.range(Item::event(0)..=Item::event(upto)).map(|(item, _)| *item).collect();
        let count = done.len() as u64;
        done.into_iter().for_each(|item| self.remove(item));
        self.letters.unbury_upto(upto);
        self.looked = upto.max(self.looked);
        count
    }

    /// Ends the leases that have run out: what was not settled under them has failed once more.
    pub(super) fn expire(&mut self, now: Timestamp) -> Vec<Action> {
        let ended = self.leases.iter().filter(|(_, lease)| lease.expires <= now);
        let ended: Vec<String> = ended.map(|(id, _)| id.clone()).collect();
        if ended.is_empty() {
            return Vec::new();
        }
        for id in ended {
            let Some(lease) = self.leases.remove(&id) else { continue };
            for item in lease.open {
                let Some(slot) = self.slots.get_mut(&item) else { continue };
                slot.expiries = slot.expiries.saturating_add(1);
                let error = DeliveryError {
                    time: now,
                    status: None,
                    detail: "its lease ran out without an acknowledgement".to_owned(),
                    subject: None,
                };
                self.fail(item, Some(Duration::ZERO), &error, 0, now);
            }
        }
        vec![Action::Save, Action::Freed]
    }
}

impl Lease {
    /// The one event that an acknowledgement names by id, or by sequence.
    fn find(&self, name: &str) -> Result<u64, Refusal> {
        let mut named = self.given.iter().filter(|(_, id)| *id == name).map(|(item, _)| item.sequence);
        match (named.next(), named.next()) {
            (Some(sequence), other) if other.is_none_or(|other| other == sequence) => Ok(sequence),
            (Some(_), _) => Err(Refusal::Ambiguous(name.to_owned())),
            (None, _) => {
                let sequence = name.parse().ok().filter(|_| name.len() == 20);
                let given = |sequence: &u64| self.given.iter().any(|(item, _)| item.sequence == *sequence);
                sequence.filter(given).ok_or_else(|| Refusal::Unknown(name.to_owned()))
            }
        }
    }
}

/// Randomness for one item of many (the finaliser of SplitMix64).
fn mix(luck: u64, sequence: u64) -> u64 {
    let mut bits = luck.wrapping_add(sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}
