//! The port through which the rest of Hob hears of what happens here.

use hob_wire::{Condition, EventChange, Instance, Rollout};

/// Takes news. It must return at once: whoever wires it puts the news in a queue.
pub trait Announce: Send + Sync + 'static {
    /// An instance came to be, changed its state, or is gone.
    fn instance_changed(&self, instance: &Instance, change: EventChange);

    /// A rollout began or came to another state.
    fn rollout_changed(&self, rollout: &Rollout, change: EventChange);

    /// A condition began or ceased to hold.
    fn condition(&self, condition: Condition);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Announce for Silent {
    fn instance_changed(&self, _: &Instance, _: EventChange) {}

    fn rollout_changed(&self, _: &Rollout, _: EventChange) {}

    fn condition(&self, _: Condition) {}
}
