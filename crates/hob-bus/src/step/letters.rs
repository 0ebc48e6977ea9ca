//! Dead letters: which there are, and which are to be written, removed or tried once more.
//!
//! An event that failed for good stays pending until its letter is on disk (`Input::Filed`): a crash in between tries
//! it again, and never loses it.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::Timestamp;
use hob_wire::DeliveryError;

use super::{Action, Item, Kind, Place, Seen, Slot, State};

/// An event that failed for good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Letter {
    pub(crate) sequence: u64,
    pub(crate) attempts: u32,
    pub(crate) first_failed: Timestamp,
    pub(crate) last_failed: Timestamp,
    pub(crate) error: DeliveryError,
}

/// All of a subscription's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Letters {
    /// Those that are stored, or about to be.
    known: BTreeSet<u64>,
    /// To be written.
    burying: BTreeMap<Item, Letter>,
    /// To be removed: they were delivered after all.
    forgetting: BTreeSet<u64>,
    /// Those on their way once more, with when they failed first.
    replaying: BTreeMap<u64, Timestamp>,
}

impl Letters {
    pub(super) fn has_room(&self, sequence: u64, max: usize) -> bool {
        self.known.len() < max || self.known.contains(&sequence)
    }

    pub(super) fn bury(&mut self, item: Item, letter: Letter) {
        self.known.insert(item.sequence);
        self.forgetting.remove(&item.sequence);
        if item.kind == Kind::Letter {
            self.replaying.remove(&item.sequence);
        }
        self.burying.insert(item, letter);
    }

    /// A letter was delivered after all.
    pub(super) fn done(&mut self, sequence: u64) {
        self.replaying.remove(&sequence);
        self.forgetting.insert(sequence);
    }

    /// When an item that is a letter failed first.
    pub(super) fn first_failed(&self, item: Item) -> Option<Timestamp> {
        self.replaying.get(&item.sequence).copied().filter(|_| item.kind == Kind::Letter)
    }

    /// The cursor is put elsewhere: events that were about to be buried are not.
    pub(super) fn unbury_events(&mut self) {
        self.unbury_upto(u64::MAX);
    }

    pub(super) fn unbury_upto(&mut self, upto: u64) {
        let is_event = |item: &Item| item.kind == Kind::Event && item.sequence <= upto;
        let events: Vec<Item> = self.burying.keys().copied().filter(is_event).collect();
        for item in events {
            self.burying.remove(&item);
            self.known.remove(&item.sequence);
        }
    }
}

impl State {
    /// Takes in the letters that are stored.
    pub(crate) fn with_letters(mut self, sequences: impl IntoIterator<Item = u64>) -> Self {
        self.letters.known = sequences.into_iter().collect();
        self
    }

    /// How many dead letters there are.
    pub(crate) fn letters(&self) -> usize {
        self.letters.known.len()
    }

    /// Whether a dead letter is on its way once more.
    pub(crate) fn is_replaying(&self, sequence: u64) -> bool {
        self.letters.replaying.contains_key(&sequence)
    }

    /// The letters to be written, and those to be removed.
    pub(crate) fn to_file(&self) -> (Vec<(Item, Letter)>, Vec<u64>) {
        let burying = self.letters.burying.iter().map(|(item, letter)| (*item, letter.clone()));
        (burying.collect(), self.letters.forgetting.iter().copied().collect())
    }

    /// Lets letters be tried once more, beside the cursor.
    pub(super) fn replay(&mut self, letters: Vec<(Seen, Letter)>) -> Vec<Action> {
        for (seen, letter) in letters {
            let item = Item::letter(seen.sequence);
            if !self.letters.known.contains(&seen.sequence)
                || self.slots.contains_key(&item)
                || self.letters.burying.contains_key(&item)
            {
                continue;
            }
            self.letters.replaying.insert(seen.sequence, letter.first_failed);
            self.insert(item, Slot { attempts: letter.attempts, ..Slot::new(seen.entity, seen.change) });
        }
        vec![Action::Freed]
    }

    /// Letters were written, or removed.
    pub(super) fn filed(&mut self, buried: &[Item], forgotten: &[u64]) -> Vec<Action> {
        for item in buried {
            self.letters.burying.remove(item);
            if self.slots.get(item).is_some_and(|slot| slot.place == Place::Burying) {
                self.remove(*item);
            }
        }
        for sequence in forgotten {
            if self.letters.forgetting.remove(sequence) {
                self.letters.known.remove(sequence);
            }
        }
        vec![Action::Save, Action::Freed]
    }

    /// Drops letters; they must be removed from where they are stored already.
    pub(super) fn drop_letters(&mut self, sequences: &[u64]) -> Vec<Action> {
        for sequence in sequences {
            self.letters.known.remove(sequence);
            self.letters.forgetting.remove(sequence);
            self.letters.replaying.remove(sequence);
            self.letters.burying.remove(&Item::letter(*sequence));
            self.remove(Item::letter(*sequence));
        }
        vec![Action::Freed]
    }
}
