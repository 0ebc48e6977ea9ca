//! A run: what somebody gets who keeps up, kept as one thing instead of an item for each event.
//!
//! When nothing is pending, all that comes next may be handed out together. While it is under that one lease, and when
//! it is acknowledged as a whole, nothing needs to be known of each event. Whatever else happens *unfolds* the run into
//! items first and then goes the general way: a run is a short form, and decides nothing of its own.

use std::ops::Range;
use std::sync::Arc;

use hob_core::Timestamp;
use hob_wire::Collapse;

use super::{AckInput, Action, ENDED_MAX, Input, Item, Refusal, Seen, Slot, State};

/// An event that may be handed out in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fresh {
    pub(crate) seen: Seen,
    pub(crate) id: String,
}

/// Events under one lease, in order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    lease: String,
    pub(super) expires: Timestamp,
    /// Shared by all subscriptions that ask for the same.
    all: Arc<[Fresh]>,
    own: Range<usize>,
}

impl Run {
    fn events(&self) -> &[Fresh] {
        self.all.get(self.own.clone()).unwrap_or_default()
    }

    pub(super) fn first(&self) -> Option<u64> {
        self.events().first().map(|fresh| fresh.seen.sequence)
    }

    pub(super) fn sequences(&self) -> impl Iterator<Item = u64> + '_ {
        self.events().iter().map(|fresh| fresh.seen.sequence)
    }

    pub(super) fn len(&self) -> usize {
        self.own.len()
    }

    /// Whether an acknowledgement says that all of it is done, and no more than that.
    fn is_done_by(&self, ack: &AckInput) -> bool {
        let last = self.events().last().map(|fresh| fresh.seen.sequence);
        let is_plain = ack.acked.is_empty() && ack.nacked.is_empty() && ack.extend_to.is_none();
        is_plain && ack.lease == self.lease && ack.upto.is_some() && ack.upto == last
    }
}

impl State {
    /// Whether what comes next may be handed out as a run.
    pub(crate) fn may_run(&self) -> bool {
        self.run.is_none()
            && self.slots.is_empty()
            && self.unread.is_empty()
            && self.leases.is_empty()
            && self.halt.is_none()
            && self.snapshot.is_none()
            && self.terms.collapse == Collapse::None
    }

    /// Hands out these events, which are all that there are after `looked`, up to `upto`.
    pub(super) fn begin_run(
        &mut self,
        lease: String,
        (all, own): (Arc<[Fresh]>, Range<usize>),
        upto: u64,
        expires: Timestamp,
    ) -> Result<Vec<Action>, Refusal> {
        let run = Run { lease, expires, all, own };
        let is_next = run.first().is_some_and(|first| first > self.looked);
        let is_within = run.events().last().is_some_and(|last| last.seen.sequence <= upto);
        if !(self.may_run() && is_next && is_within && run.len() <= self.room()) {
            return Err(Refusal::NotReady);
        }
        self.looked = upto;
        self.run = Some(run);
        Ok(Vec::new())
    }

    /// Prepares for an input: one that concerns single events, or time that ends the lease, unfolds the run.
    pub(super) fn unfold_for(&mut self, input: &Input, now: Timestamp) {
        let Some(run) = &self.run else { return };
        let is_kept = match input {
            Input::Tick => true,
            Input::Ack(ack) => run.is_done_by(ack),
            _ => false,
        };
        if !is_kept || run.expires <= now {
            self.unfold();
        }
    }

    /// Takes an acknowledgement of the whole run.
    pub(super) fn end_run(&mut self, ack: &AckInput) -> Option<Vec<Action>> {
        let run = self.run.take_if(|run| run.is_done_by(ack))?;
        self.counts.delivered += run.len() as u64;
        self.end_lease(run.lease);
        Some(vec![Action::Save, Action::Freed])
    }

    /// Remembers that a lease was done to its end.
    pub(super) fn end_lease(&mut self, lease: String) {
        self.ended.push_back(lease);
        if self.ended.len() > ENDED_MAX {
            self.ended.pop_front();
        }
    }

    fn unfold(&mut self) {
        let Some(run) = self.run.take() else { return };
        let mut items = Vec::with_capacity(run.len());
        for Fresh { seen, id } in run.events() {
            let item = Item::event(seen.sequence);
            self.insert(item, Slot::new(seen.entity, seen.change));
            items.push((item, id.clone()));
        }
        // They wait, since they have just been put there.
        let leased = self.lease(run.lease, items, run.expires);
        debug_assert!(leased.is_ok());
    }
}
