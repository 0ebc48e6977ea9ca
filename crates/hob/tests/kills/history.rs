//! The checker: what publishers were told, what the log holds, what consumers were given, and whether these agree. Pure,
//! so that it can be shown to find each kind of fault.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// An event as the log gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) id: String,
    pub(crate) entity: String,
    pub(crate) entityseq: u64,
}

/// What a publisher sent: its events of an entity are numbered from 1, and sent in that order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) entity: String,
    pub(crate) number: u64,
}

/// What happened to one subscription.
#[derive(Default)]
struct Consumer {
    /// Events given to it at least once.
    given: HashSet<u64>,
    /// Events that it acknowledged, or tried to.
    acknowledged: HashSet<u64>,
    /// The newest number of each entity that was given first, to see the order of first times.
    newest: HashMap<String, u64>,
    /// Up to here everything was acknowledged.
    passed: u64,
}

/// Everything that happened.
#[derive(Default)]
pub(crate) struct History {
    sent: HashMap<String, Sent>,
    /// How many ids publishers were told are durable.
    acknowledged: usize,
    /// Those of them that the log was not yet seen to hold.
    unseen: BTreeSet<String>,
    /// The log as it was last read, by sequence.
    log: BTreeMap<u64, Stored>,
    places: HashMap<String, u64>,
    entities: HashMap<String, (u64, u64)>,
    consumers: BTreeMap<String, Consumer>,
    faults: Vec<String>,
}

impl History {
    /// How many ids publishers were told are durable.
    pub(crate) fn acknowledged(&self) -> usize {
        self.acknowledged
    }

    /// The event at a sequence.
    pub(crate) fn event(&self, sequence: u64) -> Option<&Stored> {
        self.log.range(..=sequence).next_back().map(|(_, event)| event)
    }

    /// How many events an entity has.
    pub(crate) fn count_of(&self, entity: &str) -> u64 {
        self.entities.get(entity).map_or(0, |(_, counted)| *counted)
    }

    /// Events in the log.
    pub(crate) fn events(&self) -> usize {
        self.log.len()
    }

    /// Deliveries of events, the first times alone.
    pub(crate) fn given(&self) -> usize {
        self.consumers.values().map(|consumer| consumer.given.len()).sum()
    }

    /// The newest sequence that the log was seen to hold.
    pub(crate) fn head(&self) -> u64 {
        self.log.last_key_value().map_or(0, |(sequence, _)| *sequence)
    }

    /// A publisher is about to send an event.
    pub(crate) fn sends(&mut self, id: &str, sent: Sent) {
        self.sent.insert(id.to_owned(), sent);
    }

    /// A publisher was told that an event is durable.
    pub(crate) fn acknowledges(&mut self, id: &str) {
        self.acknowledged += 1;
        if !self.places.contains_key(id) {
            self.unseen.insert(id.to_owned());
        }
    }

    /// The log holds this event after all that were told before it.
    pub(crate) fn holds(&mut self, event: Stored) {
        let Stored { sequence, id, entity, entityseq } = &event;
        if *sequence <= self.head() {
            self.faults.push(format!("{id} at {sequence} comes after {}", self.head()));
        }
        match self.sent.get(id) {
            None => self.faults.push(format!("{id} at {sequence} was never sent")),
            Some(sent) if sent.entity != *entity => {
                self.faults
                    .push(format!("{id} at {sequence} is about {entity}, but was about {}", sent.entity));
            }
            Some(sent) => {
                let (number, counted) = self.entities.entry(entity.clone()).or_default();
                if sent.number <= *number {
                    let fault = format!("{id} at {sequence}: {entity} goes from {number} to {}", sent.number);
                    self.faults.push(fault);
                }
                if *entityseq != *counted + 1 {
                    let fault = format!(
                        "{id} at {sequence}: entityseq of {entity} goes from {counted} to {entityseq}"
                    );
                    self.faults.push(fault);
                }
                (*number, *counted) = (sent.number, *entityseq);
            }
        }
        self.unseen.remove(id);
        if let Some(before) = self.places.insert(id.clone(), *sequence) {
            self.faults.push(format!("{id} stands at {before} and at {sequence}"));
        }
        self.log.insert(*sequence, event);
    }

    /// The log was read to its end.
    pub(crate) fn read_whole(&mut self) {
        if let Some(first) = self.unseen.first() {
            let fault = format!("{} acknowledged events are lost, the first is {first}", self.unseen.len());
            self.faults.push(fault);
        }
    }

    /// The log still holds what it held, and nothing else up to its head then.
    pub(crate) fn still_holds(&mut self, events: &[Stored]) {
        let before: Vec<&Stored> = self.log.values().collect();
        let same = events.iter().zip(&before).take_while(|(now, then)| now == *then).count();
        if same < before.len().min(events.len()) {
            let fault = format!("{:?} stands where {:?} stood", events[same], before[same]);
            self.faults.push(fault);
        } else if events.len() < before.len() {
            self.faults.push(format!("the log held {} events and holds {}", before.len(), events.len()));
        }
    }

    /// A subscription was given an event.
    pub(crate) fn gives(&mut self, subscription: &str, sequence: u64, id: &str) {
        let Some(sent) = self.sent.get(id) else {
            self.faults.push(format!("{subscription} was given {id}, which was never sent"));
            return;
        };
        let consumer = self.consumers.entry(subscription.to_owned()).or_default();
        if !consumer.given.insert(sequence) {
            return;
        }
        let newest = consumer.newest.entry(sent.entity.clone()).or_default();
        if sent.number < *newest {
            let fault = format!("{subscription} was given {} of {} after {newest}", sent.number, sent.entity);
            self.faults.push(fault);
        }
        *newest = sent.number.max(*newest);
    }

    /// A subscription acknowledges an event.
    pub(crate) fn takes(&mut self, subscription: &str, sequence: u64) {
        self.consumers.entry(subscription.to_owned()).or_default().acknowledged.insert(sequence);
    }

    /// A subscription's cursor, when nothing is under way, and where the log of all topics ended. Everything up to it
    /// must have been acknowledged.
    pub(crate) fn stands(&mut self, subscription: &str, cursor: u64, end: u64) {
        if cursor > end {
            self.faults.push(format!("the cursor of {subscription} is {cursor}, and the log ends at {end}"));
        }
        let consumer = self.consumers.entry(subscription.to_owned()).or_default();
        let from = consumer.passed.min(cursor);
        let passed = self.log.range(from..=cursor).map(|(sequence, _)| *sequence);
        let skipped: Vec<u64> = passed.filter(|sequence| !consumer.acknowledged.contains(sequence)).collect();
        consumer.passed = consumer.passed.max(skipped.first().map_or(cursor, |first| first - 1));
        if let Some(first) = skipped.first() {
            let count = skipped.len();
            let fault = format!(
                "{subscription} skipped {count} events up to its cursor {cursor}, the first is {first}"
            );
            self.faults.push(fault);
        }
    }

    /// A subscription has nothing more to be given.
    pub(crate) fn has_everything(&mut self, subscription: &str) {
        let consumer = self.consumers.entry(subscription.to_owned()).or_default();
        let lacking = self.log.keys().filter(|sequence| !consumer.given.contains(sequence));
        let lacking: Vec<&u64> = lacking.collect();
        if let Some(first) = lacking.first() {
            let fault =
                format!("{subscription} was never given {} events, the first is {first}", lacking.len());
            self.faults.push(fault);
        }
    }

    /// What was acknowledged and is not among the events that a damaged log still gives; and whether each of these is
    /// as it was.
    pub(crate) fn lost_of(&self, left: &[Stored]) -> Result<Vec<u64>, String> {
        let mut held = HashSet::new();
        for event in left {
            match self.log.get(&event.sequence) {
                Some(then) if then == event => held.insert(event.sequence),
                Some(then) => return Err(format!("{event:?} is given where {then:?} stood")),
                None => return Err(format!("{event:?} is given and never stood there")),
            };
        }
        Ok(self.log.keys().filter(|sequence| !held.contains(sequence)).copied().collect())
    }

    /// What does not agree; none when all is well.
    pub(crate) fn faults(&self) -> &[String] {
        &self.faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(sequence: u64, id: &str, entity: &str, entityseq: u64) -> Stored {
        Stored { sequence, id: id.to_owned(), entity: entity.to_owned(), entityseq }
    }

    /// Two publishers, an entity each, three events, all well.
    fn history() -> History {
        let mut history = History::default();
        for (id, entity, number) in [("a1", "a", 1), ("a2", "a", 2), ("b1", "b", 1)] {
            history.sends(id, Sent { entity: entity.to_owned(), number });
            history.acknowledges(id);
        }
        history.holds(stored(1, "a1", "a", 1));
        history.holds(stored(2, "b1", "b", 1));
        history.holds(stored(4, "a2", "a", 2));
        history.read_whole();
        for (sequence, id) in [(1, "a1"), (2, "b1"), (4, "a2")] {
            history.gives("s", sequence, id);
            history.takes("s", sequence);
        }
        history.stands("s", 4, 4);
        history.has_everything("s");
        history
    }

    /// Does one thing more, and expects exactly one fault that says so.
    fn finds(expected: &str, does: impl FnOnce(&mut History)) {
        let mut history = history();
        assert_eq!(history.faults(), [] as [String; 0]);
        does(&mut history);
        assert!(history.faults().iter().any(|fault| fault.contains(expected)), "{:?}", history.faults());
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let sent = |entity: &str, number| Sent { entity: entity.to_owned(), number };
        finds("are lost, the first is a3", |history| {
            history.sends("a3", sent("a", 3));
            history.acknowledges("a3");
            history.read_whole();
        });
        finds("never sent", |history| history.holds(stored(5, "x", "a", 3)));
        finds("stands at 2 and at 5", |history| history.holds(stored(5, "b1", "b", 2)));
        finds("entityseq of a goes from 2 to 2", |history| {
            history.sends("a3", sent("a", 3));
            history.holds(stored(5, "a3", "a", 2));
        });
        finds("a goes from 4 to 3", |history| {
            history.sends("a3", sent("a", 3));
            history.sends("a4", sent("a", 4));
            history.holds(stored(5, "a4", "a", 3));
            history.holds(stored(6, "a3", "a", 4));
        });
        finds("comes after 4", |history| {
            history.sends("c1", sent("c", 1));
            history.holds(stored(3, "c1", "c", 1));
        });
        finds("the log ends at 4", |history| history.stands("s", 5, 4));
        finds("skipped 3 events", |history| history.stands("t", 4, 4));
        finds("never given 3 events", |history| history.has_everything("t"));
        finds("given 1 of a after 2", |history| {
            history.gives("t", 4, "a2");
            history.gives("t", 1, "a1");
        });
        finds("held 3 events and holds 1", |history| history.still_holds(&[stored(1, "a1", "a", 1)]));
        finds("stands where", |history| history.still_holds(&[stored(1, "b1", "b", 1)]));
    }

    #[test]
    fn what_damage_took_is_told_from_what_it_made_up() {
        let history = history();
        let lost = history.lost_of(&[stored(1, "a1", "a", 1), stored(4, "a2", "a", 2)]);
        assert_eq!(lost, Ok(vec![2]));
        assert!(history.lost_of(&[stored(1, "a1", "a", 7)]).is_err());
        assert!(history.lost_of(&[stored(3, "a1", "a", 1)]).is_err());
    }
}
