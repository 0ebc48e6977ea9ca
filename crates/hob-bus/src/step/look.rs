//! What a subscription finds in the log, and which of it stands for the rest.

use hob_wire::{Collapse, EventChange as Change};

use super::{Action, Item, Kind, Place, Seen, Slot, State, line_of};

impl State {
    pub(super) fn look(&mut self, events: Vec<Seen>, upto: u64) -> Vec<Action> {
        for seen in events {
            if seen.sequence <= self.looked {
                continue;
            }
            let slot = Slot::new(seen.entity, seen.change);
            match self.terms.collapse {
                Collapse::None => self.insert(Item::event(seen.sequence), slot),
                Collapse::Latest => self.collapse(Item::event(seen.sequence), slot),
            }
        }
        self.looked = upto.max(self.looked);
        Vec::new()
    }

    /// Events that were pending before a restart have been read again: those of the batch stand in their lines, others
    /// up to `upto` can no longer be read or are no longer asked for.
    pub(super) fn recalled(&mut self, events: Vec<Seen>, upto: u64) -> Vec<Action> {
        for seen in events {
            let Some(failure) = self.unread.remove(&seen.sequence) else { continue };
            let mut slot = Slot::new(seen.entity, seen.change);
            let item = Item::event(seen.sequence);
            if let Some(failure) = failure {
                (slot.attempts, slot.from) = (failure.attempts, failure.until);
                self.failures.insert(item, failure);
            }
            self.insert(item, slot);
        }
        let rest = self.unread.split_off(&upto.saturating_add(1));
        let is_lost = !self.unread.is_empty();
        self.unread = rest;
        if is_lost { vec![Action::Save] } else { Vec::new() }
    }

    /// Puts an event where those of its entity wait, and passes over what it stands for, or it itself when another
    /// stands for it.
    fn collapse(&mut self, item: Item, mut slot: Slot) {
        let line = line_of(self.terms.order, item, slot.entity);
        let is_older = |other: &Item| {
            other.kind == Kind::Event
                && self.slots.get(other).is_some_and(|found| {
                    found.place == Place::Waiting && found.entity == slot.entity && found.change.is_some()
                })
        };
        // A line of strict order holds the events of many entities.
        let older: Vec<Item> = match slot.change {
            Some(_) => self.lines.items(line).filter(is_older).collect(),
            None => Vec::new(),
        };
        let change = slot.change;
        let stands =
            |older: &Item| self.slots.get(older).is_some_and(|found| stands_for(found.change, change));
        if older.iter().any(stands) {
            self.counts.collapsed += 1;
            return;
        }
        for older in older {
            // The newer one fails on in its place: it must not dodge the back-off.
            if let Some(failure) = self.failures.get(&older).copied() {
                (slot.attempts, slot.from) = (failure.attempts, failure.until);
                self.failures.insert(item, failure);
            }
            self.counts.collapsed += 1;
            self.remove(older);
        }
        self.insert(item, slot);
    }
}

/// Whether an earlier event of an entity says all that a later one does.
fn stands_for(earlier: Option<Change>, later: Option<Change>) -> bool {
    match (earlier, later) {
        // What is gone comes back by being created; an update of it was late.
        (Some(Change::Delete), Some(Change::Update | Change::Noop)) => true,
        (Some(Change::Create | Change::Update), Some(Change::Noop)) => true,
        _ => false,
    }
}
