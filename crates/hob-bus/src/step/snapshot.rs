//! A snapshot: a `noop` for every live entity of a subscription's topics, for it alone.
//!
//! The entities are read in pages, as many as may be on their way at once. What is stored is the place of the first page
//! that is not done: after a crash the snapshot goes on from there.

use std::collections::{BTreeSet, VecDeque};

use super::{Action, Item, Seen, Slot, State};
use crate::model::limits::SNAPSHOT_PENDING_MAX;

/// How far a snapshot has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot {
    /// Where the next page begins; none when all entities were read.
    next: Option<String>,
    /// The pages that are not done: where each began, and what of it is.
    pages: VecDeque<(String, BTreeSet<u64>)>,
}

/// A page of live entities, by the sequences of their last events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// Where it began.
    pub(crate) after: String,
    pub(crate) entities: Vec<Seen>,
    /// Where the next begins; none when this is the last.
    pub(crate) next: Option<String>,
}

impl State {
    /// Where the snapshot must go on after a restart.
    pub(crate) fn snapshot_place(&self) -> Option<&str> {
        let snapshot = self.snapshot.as_ref()?;
        snapshot.pages.front().map(|(after, _)| after.as_str()).or(snapshot.next.as_deref())
    }

    /// Whether a noop is on its way.
    pub(crate) fn has_noop(&self, sequence: u64) -> bool {
        self.slots.contains_key(&Item::noop(sequence))
    }

    /// Where the next page of the snapshot begins, when there is room for it.
    pub(crate) fn snapshot_wants(&self) -> Option<&str> {
        let snapshot = self.snapshot.as_ref()?;
        let pending: usize = snapshot.pages.iter().map(|(_, open)| open.len()).sum();
        snapshot.next.as_deref().filter(|_| pending < SNAPSHOT_PENDING_MAX)
    }

    pub(super) fn begin_snapshot(&mut self, after: String) -> Vec<Action> {
        // One that is under way begins again; what of it is pending is on its way anyhow.
        let noops: Vec<Item> =
            self.slots.keys().rev().take_while(|item| item.kind == super::Kind::Noop).copied().collect();
        noops.into_iter().for_each(|item| self.remove(item));
        self.snapshot = Some(Snapshot { next: Some(after), pages: VecDeque::new() });
        vec![Action::Save, Action::Freed]
    }

    pub(super) fn read_snapshot(&mut self, page: Page) -> Vec<Action> {
        let Some(snapshot) =
            self.snapshot.as_mut().filter(|snapshot| snapshot.next.as_ref() == Some(&page.after))
        else {
            return Vec::new();
        };
        let open: BTreeSet<u64> = page.entities.iter().map(|seen| seen.sequence).collect();
        snapshot.next = page.next;
        snapshot.pages.push_back((page.after, open));
        for seen in page.entities {
            // The event itself is on its way, and says as much.
            if self.slots.contains_key(&Item::event(seen.sequence)) {
                self.snapshot_gone(seen.sequence);
                continue;
            }
            self.insert(Item::noop(seen.sequence), Slot::new(seen.entity, seen.change));
        }
        self.tidy_snapshot();
        vec![Action::Save, Action::Freed]
    }

    /// A noop is done, or given up.
    pub(super) fn snapshot_gone(&mut self, sequence: u64) {
        let Some(snapshot) = &mut self.snapshot else { return };
        snapshot.pages.iter_mut().for_each(|(_, open)| {
            open.remove(&sequence);
        });
        self.tidy_snapshot();
    }

    fn tidy_snapshot(&mut self) {
        let Some(snapshot) = &mut self.snapshot else { return };
        while snapshot.pages.front().is_some_and(|(_, open)| open.is_empty()) {
            snapshot.pages.pop_front();
        }
        if snapshot.pages.is_empty() && snapshot.next.is_none() {
            self.snapshot = None;
        }
    }
}
