//! The lines in which a subscription's items wait, and which of them may be handed out.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};

use hob_core::Timestamp;

use super::{Item, Kind, Slot, State};
use crate::model::limits::LEASES_MAX;

/// An item on which so many leases ran out is handed out alone, so that one event which kills its consumer does not
/// take others with it.
const SUSPECT_EXPIRIES: u8 = 2;

/// All lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lines {
    lines: HashMap<u64, Line>,
    /// Lines of which the first item may be handed out, by its rank.
    ready: BTreeSet<(u64, Kind, u64)>,
    /// Lines of which the first item waits until a time.
    parked: BTreeSet<(Timestamp, u64)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Line {
    /// By rank.
    items: VecDeque<Item>,
    /// How many of them are in a lease, or wait for a dead letter to be written.
    held: usize,
    standing: Standing,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Standing {
    /// Some of its items are held, or it was not placed yet.
    #[default]
    Held,
    Ready(u64, Kind),
    Parked(Timestamp),
}

impl Lines {
    pub(super) fn push(&mut self, line: u64, item: Item) {
        let items = &mut self.lines.entry(line).or_default().items;
        let place = items.partition_point(|other| other.rank() < item.rank());
        items.insert(place, item);
    }

    pub(super) fn remove(&mut self, line: u64, item: Item) {
        let Some(line) = self.lines.get_mut(&line) else { return };
        if let Ok(place) = line.items.binary_search_by_key(&item.rank(), |other| other.rank()) {
            line.items.remove(place);
        }
    }

    /// One more item of the line is held.
    pub(super) fn hold(&mut self, line: u64) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.held += 1;
        }
    }

    /// One item fewer of the line is held.
    pub(super) fn release(&mut self, line: u64) {
        if let Some(line) = self.lines.get_mut(&line) {
            line.held = line.held.saturating_sub(1);
        }
    }

    pub(super) fn items(&self, line: u64) -> impl Iterator<Item = Item> + '_ {
        self.lines.get(&line).into_iter().flat_map(|line| line.items.iter().copied())
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = u64> + '_ {
        self.lines.keys().copied()
    }

    /// Finds out anew how a line stands.
    pub(super) fn place(&mut self, key: u64, slots: &BTreeMap<Item, Slot>) {
        let Some(line) = self.lines.get_mut(&key) else { return };
        match line.standing {
            Standing::Held => {}
            Standing::Ready(sequence, kind) => {
                self.ready.remove(&(sequence, kind, key));
            }
            Standing::Parked(until) => {
                self.parked.remove(&(until, key));
            }
        }
        let Some(first) = line.items.front() else {
            self.lines.remove(&key);
            return;
        };
        let from = slots.get(first).map_or(Timestamp::from_micros(i64::MIN), |slot| slot.from);
        line.standing = if line.held > 0 {
            Standing::Held
        } else if from > Timestamp::from_micros(i64::MIN) {
            self.parked.insert((from, key));
            Standing::Parked(from)
        } else {
            self.ready.insert((first.sequence, first.kind, key));
            Standing::Ready(first.sequence, first.kind)
        };
    }

    /// Lets parked lines whose time has come be handed out.
    pub(super) fn wake(&mut self, now: Timestamp) {
        while let Some(&(until, key)) = self.parked.first().filter(|(until, _)| *until <= now) {
            self.parked.remove(&(until, key));
            let Some(line) = self.lines.get_mut(&key) else { continue };
            let Some(first) = line.items.front() else { continue };
            self.ready.insert((first.sequence, first.kind, key));
            line.standing = Standing::Ready(first.sequence, first.kind);
        }
    }

    pub(super) fn parked_count(&self) -> usize {
        self.parked.len()
    }

    pub(super) fn first_due(&self) -> Option<Timestamp> {
        self.parked.first().map(|(until, _)| *until)
    }
}

impl State {
    /// The items that may be handed out now, in order of the log; `now` is that of the last input.
    pub(crate) fn choose(&self, max: usize, now: Timestamp) -> Vec<Item> {
        let mut chosen = Vec::new();
        if self.halt.is_some() || self.leases.len() >= LEASES_MAX || !self.unread.is_empty() {
            return chosen;
        }
        let mut ready = self.lines.ready.iter().peekable();
        // The next item of each line that has begun, by rank.
        let mut begun: BinaryHeap<Reverse<(u64, Kind, u64, usize)>> = BinaryHeap::new();
        while chosen.len() < max {
            let next = begun.peek().map(|Reverse((sequence, kind, ..))| (*sequence, *kind));
            let fresh = ready.peek().map(|(sequence, kind, _)| (*sequence, *kind));
            let (line, place) = match (next, fresh) {
                (None, None) => break,
                (Some(next), fresh) if fresh.is_none_or(|fresh| next < fresh) => {
                    let Some(Reverse((_, _, line, place))) = begun.pop() else { break };
                    (line, place)
                }
                _ => match ready.next() {
                    Some((_, _, line)) => (*line, 0),
                    None => break,
                },
            };
            let Some(items) = self.lines.lines.get(&line).map(|line| &line.items) else { continue };
            let Some((item, slot)) = items.get(place).and_then(|item| self.slots.get_key_value(item)) else {
                continue;
            };
            if slot.from > now {
                continue;
            }
            if slot.expiries >= SUSPECT_EXPIRIES {
                if chosen.is_empty() {
                    return vec![*item];
                }
                continue;
            }
            chosen.push(*item);
            if let Some(next) = items.get(place + 1) {
                begun.push(Reverse((next.sequence, next.kind, line, place + 1)));
            }
        }
        chosen
    }
}
