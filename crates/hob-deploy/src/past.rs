//! Whose an instance was that is no more: its last lines come after it.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Clock, Name, Scope, Timestamp};
use hob_wire::Instance;

/// How long lines of an instance that is no more are taken in.
const LATE_MAX: Duration = Duration::from_secs(3600);
/// Instances that are remembered; of more the oldest are forgotten first.
const REMEMBERED_MAX: usize = 10_000;
/// After a start nothing is remembered: for so long nobody is taken for a stranger.
const FRESH: Duration = Duration::from_secs(300);

/// Whose an instance is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) node: Name,
    pub(crate) service: Name,
    pub(crate) scope: Scope,
}

impl Owner {
    pub(crate) fn of(instance: &Instance) -> Self {
        let scope = Scope { environment: instance.environment.clone(), tenant: instance.tenant.clone() };
        Self { node: instance.node.clone(), service: instance.service.clone(), scope }
    }
}

/// Instances that are no more.
pub(crate) struct Past {
    clock: Clock,
    started: Timestamp,
    gone: BTreeMap<String, (Timestamp, Owner)>,
}

impl Past {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { started: clock.now(), clock, gone: BTreeMap::new() }
    }

    /// Remembers an instance that is gone now.
    pub(crate) fn remember(&mut self, id: &str, owner: Owner) {
        let now = self.clock.now();
        self.gone.retain(|_, (since, _)| now.since(*since) < LATE_MAX);
        if self.gone.len() >= REMEMBERED_MAX {
            let oldest = self.gone.iter().min_by_key(|(_, (since, _))| *since).map(|(id, _)| id.clone());
            oldest.map(|id| self.gone.remove(&id));
        }
        self.gone.insert(id.to_owned(), (now, owner));
    }

    /// Whose it was, if it is remembered.
    pub(crate) fn find(&self, id: &str) -> Option<Owner> {
        self.gone.get(id).map(|(_, owner)| owner.clone())
    }

    /// Whether an instance that nobody remembers may have been one before Hob started.
    pub(crate) fn is_fresh(&self) -> bool {
        self.clock.now().since(self.started) < FRESH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dead_are_remembered_for_an_hour_and_never_too_many() {
        let (clock, hand) = Clock::manual(Timestamp::EPOCH);
        let mut past = Past::new(clock);
        let (node, service) = ("a".parse().unwrap(), "orders".parse().unwrap());
        let owner = Owner { node, service, scope: "qa/uk".parse().unwrap() };
        past.remember("i0", owner.clone());
        assert!(past.is_fresh() && past.find("i0").is_some());
        hand.advance(FRESH);
        assert!(!past.is_fresh());
        for number in 1..=REMEMBERED_MAX {
            hand.advance(Duration::from_micros(1));
            past.remember(&format!("i{number}"), owner.clone());
        }
        assert_eq!((past.gone.len(), past.find("i0").is_some()), (REMEMBERED_MAX, false));
        hand.advance(LATE_MAX);
        past.remember("i0", owner);
        assert_eq!(past.gone.len(), 1);
    }
}
