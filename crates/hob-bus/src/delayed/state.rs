//! Which events are held back, and which are due: pure.

use std::collections::{BTreeMap, HashMap, HashSet};

use hob_core::{Scope, Timestamp, TopicName};

/// An event that is held back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scheduled {
    pub(crate) scope: Scope,
    pub(crate) topic: TopicName,
    pub(crate) notbefore: Timestamp,
}

/// All of them.
#[derive(Default)]
pub(super) struct State {
    /// By scope and time; those whose append is on its way are not among them.
    waiting: HashMap<Scope, BTreeMap<(Timestamp, u64), TopicName>>,
    /// By sequence, until they are done.
    pending: HashMap<(Scope, u64), Scheduled>,
    counts: HashMap<(Scope, TopicName), u64>,
    /// Scopes whose key is written.
    known: HashSet<Scope>,
}

impl State {
    pub(super) fn know(&mut self, scope: &Scope) {
        self.known.insert(scope.clone());
    }

    pub(super) fn knows(&self, scope: &Scope) -> bool {
        self.known.contains(scope)
    }

    pub(super) fn add(&mut self, sequence: u64, event: Scheduled) {
        let waiting = self.waiting.entry(event.scope.clone()).or_default();
        waiting.insert((event.notbefore, sequence), event.topic.clone());
        *self.counts.entry((event.scope.clone(), event.topic.clone())).or_default() += 1;
        self.pending.insert((event.scope.clone(), sequence), event);
    }

    /// Takes those that are due by the scope's clock, earliest first; they are put back when they cannot be appended.
    pub(super) fn take_due(&mut self, scope: &Scope, now: Timestamp, most: usize) -> Vec<u64> {
        let Some(waiting) = self.waiting.get_mut(scope) else { return Vec::new() };
        let due: Vec<_> = waiting.range(..=(now, u64::MAX)).take(most).map(|(key, _)| *key).collect();
        due.iter().for_each(|key| drop(waiting.remove(key)));
        due.into_iter().map(|(_, sequence)| sequence).collect()
    }

    pub(super) fn put_back(&mut self, scope: &Scope, sequences: &[u64]) {
        for sequence in sequences {
            if let Some(event) = self.pending.get(&(scope.clone(), *sequence)) {
                let waiting = self.waiting.entry(scope.clone()).or_default();
                waiting.insert((event.notbefore, *sequence), event.topic.clone());
            }
        }
    }

    pub(super) fn done(&mut self, scope: &Scope, sequence: u64) {
        let Some(event) = self.pending.remove(&(scope.clone(), sequence)) else { return };
        if let Some(waiting) = self.waiting.get_mut(scope) {
            waiting.remove(&(event.notbefore, sequence));
        }
        if let Some(count) = self.counts.get_mut(&(event.scope, event.topic)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Scopes in which something waits.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let waiting = self.waiting.iter().filter(|(_, events)| !events.is_empty());
        waiting.map(|(scope, _)| scope.clone()).collect()
    }

    pub(super) fn count(&self, scope: &Scope, topic: &TopicName) -> u64 {
        self.counts.get(&(scope.clone(), topic.clone())).copied().unwrap_or(0)
    }

    pub(super) fn in_scope(&self, scope: &Scope) -> usize {
        self.waiting.get(scope).map_or(0, BTreeMap::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_micros(second * 1_000_000)
    }

    #[test]
    fn what_is_due_is_taken_once_and_put_back_when_it_failed() {
        let scope: Scope = "qa/uk".parse().unwrap();
        let topic: TopicName = "orders".parse().unwrap();
        let mut state = State::default();
        for (sequence, second) in [(1, 30), (2, 10), (3, 20)] {
            let event = Scheduled { scope: scope.clone(), topic: topic.clone(), notbefore: at(second) };
            state.add(sequence, event);
        }
        assert_eq!((state.count(&scope, &topic), state.in_scope(&scope)), (3, 3));
        assert_eq!(state.take_due(&scope, at(9), 10), [0_u64; 0]);
        assert_eq!(state.take_due(&scope, at(20), 10), [2, 3]);
        assert_eq!(state.take_due(&scope, at(20), 10), [0_u64; 0]);
        state.done(&scope, 2);
        state.put_back(&scope, &[2, 3]);
        assert_eq!(state.take_due(&scope, at(40), 10), [3, 1]);
        state.done(&scope, 3);
        state.done(&scope, 1);
        assert_eq!((state.count(&scope, &topic), state.scopes().len()), (0, 0));
    }
}
