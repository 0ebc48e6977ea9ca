//! Which events are held back, and which are due: pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use hob_core::{Scope, Timestamp, TopicName};

use super::FORWARD_AFTER;

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
    scopes: HashMap<Scope, Held>,
    counts: HashMap<(Scope, TopicName), Counts>,
}

/// Those of a scope.
#[derive(Default)]
struct Held {
    /// Where the next start reads on, as it is written; none while no key is.
    from: Option<u64>,
    /// By time; those whose append is on its way are not among them.
    waiting: BTreeSet<(Timestamp, u64)>,
    /// By sequence, until they are done.
    pending: BTreeMap<u64, Scheduled>,
}

#[derive(Default)]
struct Counts {
    held: u64,
    lost: u64,
}

impl State {
    /// The key of a scope says that the next start reads on from here.
    pub(super) fn know(&mut self, scope: &Scope, from: u64) {
        self.scopes.entry(scope.clone()).or_default().from = Some(from);
    }

    pub(super) fn knows(&self, scope: &Scope) -> bool {
        self.scopes.get(scope).is_some_and(|held| held.from.is_some())
    }

    /// The scopes whose key lies far behind the first event still held back, or behind the newest event settled when
    /// there is none, and where it may stand.
    pub(super) fn outdated(&self, settled: u64) -> Vec<(Scope, u64)> {
        let outdated = |(scope, held): (&Scope, &Held)| {
            let first = held.pending.keys().next().copied().unwrap_or(settled).min(settled);
            (first >= held.from?.saturating_add(FORWARD_AFTER)).then(|| (scope.clone(), first))
        };
        self.scopes.iter().filter_map(outdated).collect()
    }

    pub(super) fn add(&mut self, sequence: u64, event: Scheduled) {
        self.counts.entry((event.scope.clone(), event.topic.clone())).or_default().held += 1;
        let held = self.scopes.entry(event.scope.clone()).or_default();
        held.waiting.insert((event.notbefore, sequence));
        held.pending.insert(sequence, event);
    }

    /// Takes those that are due by the scope's clock, earliest first; they are put back when they cannot be appended.
    pub(super) fn take_due(&mut self, scope: &Scope, now: Timestamp, most: usize) -> Vec<u64> {
        let Some(Held { waiting, .. }) = self.scopes.get_mut(scope) else { return Vec::new() };
        let due: Vec<_> = waiting.range(..=(now, u64::MAX)).take(most).copied().collect();
        for key in &due {
            waiting.remove(key);
        }
        due.into_iter().map(|(_, sequence)| sequence).collect()
    }

    pub(super) fn put_back(&mut self, scope: &Scope, sequences: &[u64]) {
        let Some(Held { waiting, pending, .. }) = self.scopes.get_mut(scope) else { return };
        let known =
            sequences.iter().filter_map(|sequence| Some((pending.get(sequence)?.notbefore, *sequence)));
        waiting.extend(known);
    }

    pub(super) fn done(&mut self, scope: &Scope, sequence: u64) {
        self.end(scope, sequence);
    }

    /// It cannot be read; nothing becomes of it.
    pub(super) fn lost(&mut self, scope: &Scope, sequence: u64) {
        if let Some(counts) = self.end(scope, sequence) {
            counts.lost += 1;
        }
    }

    fn end(&mut self, scope: &Scope, sequence: u64) -> Option<&mut Counts> {
        let held = self.scopes.get_mut(scope)?;
        let event = held.pending.remove(&sequence)?;
        held.waiting.remove(&(event.notbefore, sequence));
        let counts = self.counts.get_mut(&(event.scope, event.topic))?;
        counts.held = counts.held.saturating_sub(1);
        Some(counts)
    }

    /// Scopes in which something waits.
    pub(super) fn scopes(&self) -> Vec<Scope> {
        let waiting = self.scopes.iter().filter(|(_, held)| !held.waiting.is_empty());
        waiting.map(|(scope, _)| scope.clone()).collect()
    }

    pub(super) fn count(&self, scope: &Scope, topic: &TopicName) -> u64 {
        self.counts.get(&(scope.clone(), topic.clone())).map_or(0, |counts| counts.held)
    }

    pub(super) fn lost_of(&self, scope: &Scope, topic: &TopicName) -> u64 {
        self.counts.get(&(scope.clone(), topic.clone())).map_or(0, |counts| counts.lost)
    }

    pub(super) fn in_scope(&self, scope: &Scope) -> usize {
        self.scopes.get(scope).map_or(0, |held| held.pending.len())
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

    #[test]
    fn the_place_to_read_on_from_follows_what_is_still_held_back() {
        let scope: Scope = "qa/uk".parse().unwrap();
        let topic: TopicName = "orders".parse().unwrap();
        let mut state = State::default();
        let event = |second| Scheduled { scope: scope.clone(), topic: topic.clone(), notbefore: at(second) };
        state.add(5, event(30));
        assert_eq!(state.outdated(1_000_000), [], "its key is not written yet");
        state.know(&scope, 1);
        state.add(FORWARD_AFTER + 1, event(20));
        state.add(FORWARD_AFTER + 100, event(10));
        assert_eq!(state.outdated(1_000_000), [], "the first is held back still");
        state.done(&scope, 5);
        assert_eq!(state.outdated(FORWARD_AFTER), [], "events behind what is settled may not be known yet");
        assert_eq!(state.outdated(1_000_000), [(scope.clone(), FORWARD_AFTER + 1)]);
        // One whose append is on its way counts still.
        assert_eq!(state.take_due(&scope, at(30), 10), [FORWARD_AFTER + 100, FORWARD_AFTER + 1]);
        assert_eq!(state.outdated(1_000_000), [(scope.clone(), FORWARD_AFTER + 1)]);
        state.done(&scope, FORWARD_AFTER + 1);
        state.lost(&scope, FORWARD_AFTER + 100);
        assert_eq!((state.count(&scope, &topic), state.lost_of(&scope, &topic)), (0, 1));
        assert_eq!(state.outdated(1_000_000), [(scope.clone(), 1_000_000)]);
        state.know(&scope, 1_000_000);
        assert_eq!(state.outdated(1_000_000), []);
    }
}
