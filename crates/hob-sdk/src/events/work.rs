//! Which event a consumer handles next, and what it tells Hob of those that it has: pure, with times counted from its
//! start.
//!
//! Events of one entity are handled one after the other, those of several side by side. What comes after a failed event
//! of its entity is not handled: it stays with its lease, and is handed out again behind the failed one.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use hob_wire::{Ack, Batch, Event, Nack};

use super::Handled;

/// How long results are gathered before they are told.
pub(super) const GATHER: Duration = Duration::from_millis(5);
/// The pause before results are told again that could not be told.
const TELL_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// Letters of a handler's reason that are sent on.
const REASON_LENGTH_MAX: usize = 500;

/// An event's place among a consumer's work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    lease: u64,
    entity: String,
    /// The event's sequence, which names it in acknowledgements as its id does, and is never that of two.
    sequence: String,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Telling {
    /// Hob knows.
    Told,
    /// Hob did not answer.
    Failed,
    /// The lease is no longer ours.
    Lost,
}

#[derive(Debug)]
struct Lease {
    name: String,
    until: Duration,
    /// Events not yet handled.
    open: usize,
    results: Ack,
    /// When the results are to be told.
    due: Option<Duration>,
    telling: Option<Ack>,
    /// Something of it was left for later: it ends by itself.
    is_left: bool,
}

#[derive(Debug, Default)]
struct Entity {
    waiting: VecDeque<(u64, Event)>,
    is_busy: bool,
}

/// What a consumer has in hand.
#[derive(Debug)]
pub(super) struct Work {
    lease_for: Duration,
    next_lease: u64,
    leases: BTreeMap<u64, Lease>,
    entities: HashMap<String, Entity>,
    ready: VecDeque<String>,
}

impl Work {
    pub(super) fn new(lease_for: Duration) -> Self {
        Self {
            lease_for,
            next_lease: 0,
            leases: BTreeMap::new(),
            entities: HashMap::new(),
            ready: VecDeque::new(),
        }
    }

    /// Leases with events that are still to be handled.
    pub(super) fn leases(&self) -> usize {
        self.leases.values().filter(|lease| lease.open > 0).count()
    }

    /// Whether nothing is left to do or to tell.
    pub(super) fn is_done(&self) -> bool {
        self.leases.values().all(|lease| lease.open == 0 && lease.due.is_none() && lease.telling.is_none())
    }

    /// Takes in a batch that was asked for at `asked`.
    pub(super) fn take(&mut self, batch: Batch, asked: Duration) {
        self.next_lease += 1;
        let number = self.next_lease;
        let lease = Lease {
            results: Ack { lease: batch.lease.clone(), ..Ack::default() },
            name: batch.lease,
            until: asked + self.lease_for,
            open: batch.events.len(),
            due: None,
            telling: None,
            is_left: false,
        };
        self.leases.insert(number, lease);
        for event in batch.events {
            // An event about no entity stands for itself.
            let key = event.subject.clone().unwrap_or_else(|| event.sequence.clone());
            let entity = self.entities.entry(key.clone()).or_default();
            if entity.waiting.is_empty() && !entity.is_busy {
                self.ready.push_back(key);
            }
            entity.waiting.push_back((number, event));
        }
    }

    /// The next event to handle. What waited for longer than its lease is no longer ours.
    pub(super) fn next(&mut self, now: Duration) -> Option<(Place, Event)> {
        while let Some(key) = self.ready.pop_front() {
            let Some(entity) = self.entities.get_mut(&key) else { continue };
            while let Some((number, event)) = entity.waiting.pop_front() {
                let Some(lease) = self.leases.get_mut(&number) else { continue };
                if lease.until <= now {
                    lease.open -= 1;
                    lease.is_left = true;
                    continue;
                }
                entity.is_busy = true;
                let place = Place { lease: number, entity: key, sequence: event.sequence.clone() };
                return Some((place, event));
            }
            self.entities.remove(&key);
        }
        self.leases.retain(|_, lease| lease.open > 0 || lease.due.is_some() || lease.telling.is_some());
        None
    }

    /// An event was handled.
    pub(super) fn handled(&mut self, place: Place, handled: Handled, now: Duration) {
        let is_done = handled == Handled::Done;
        if let Some(lease) = self.leases.get_mut(&place.lease) {
            lease.open -= 1;
            lease.due.get_or_insert(now + GATHER);
            match handled {
                Handled::Done => lease.results.ack.push(place.sequence),
                Handled::Failed { reason } => lease.results.nack.push(nack(place.sequence, None, &reason)),
                Handled::Later { delay, reason } => {
                    lease.results.nack.push(nack(place.sequence, Some(delay), &reason));
                }
            }
        }
        let Some(entity) = self.entities.get_mut(&place.entity) else { return };
        entity.is_busy = false;
        if !is_done {
            for (number, _) in entity.waiting.drain(..) {
                if let Some(lease) = self.leases.get_mut(&number) {
                    lease.open -= 1;
                    lease.is_left = true;
                }
            }
        }
        if entity.waiting.is_empty() {
            self.entities.remove(&place.entity);
        } else {
            self.ready.push_back(place.entity);
        }
    }

    /// What is to be told now, with the number of its lease: results, and that a lease is still needed.
    pub(super) fn tell(&mut self, now: Duration) -> Vec<(u64, Ack)> {
        let mut acks = Vec::new();
        for (number, lease) in &mut self.leases {
            let is_due = lease.due.is_some_and(|due| due <= now);
            let wants_more = lease.open > 0 && lease.until <= now + self.lease_for / 2 && lease.until > now;
            if lease.telling.is_some() || !(is_due || wants_more) {
                continue;
            }
            lease.due = None;
            let fresh = Ack { lease: lease.name.clone(), ..Ack::default() };
            let mut ack = std::mem::replace(&mut lease.results, fresh);
            if wants_more {
                ack.extend_ms = u64::try_from(self.lease_for.as_millis()).ok();
            }
            lease.telling = Some(ack.clone());
            acks.push((*number, ack));
        }
        acks
    }

    /// What became of telling it; it was tried at `begun`.
    pub(super) fn told(&mut self, number: u64, telling: Telling, begun: Duration, now: Duration) {
        let Some(lease) = self.leases.get_mut(&number) else { return };
        let Some(ack) = lease.telling.take() else { return };
        match telling {
            Telling::Told if ack.extend_ms.is_some() => lease.until = begun + self.lease_for,
            Telling::Told => {}
            Telling::Failed if now < lease.until => {
                lease.results.ack.splice(0..0, ack.ack);
                lease.results.nack.splice(0..0, ack.nack);
                lease.due = Some(now + TELL_AGAIN_AFTER);
            }
            // What was done is handed out again; what was not begun is not begun any more.
            Telling::Failed | Telling::Lost => {
                lease.until = now;
                lease.due = None;
                lease.results = Ack { lease: lease.name.clone(), ..Ack::default() };
            }
        }
    }

    /// When something is to be told next.
    pub(super) fn due(&self) -> Option<Duration> {
        let each = self.leases.values().filter(|lease| lease.telling.is_none()).filter_map(|lease| {
            let extension = (lease.open > 0).then(|| lease.until.saturating_sub(self.lease_for / 2));
            lease.due.into_iter().chain(extension).min()
        });
        each.min()
    }
}

fn nack(id: String, delay: Option<Duration>, reason: &str) -> Nack {
    let delay_ms = delay.map(|delay| u64::try_from(delay.as_millis()).unwrap_or(u64::MAX));
    Nack { id, delay_ms, reason: Some(reason.chars().take(REASON_LENGTH_MAX).collect()) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(number: u64) -> String {
        hob_wire::sequence_text(number)
    }

    const LEASE: Duration = Duration::from_secs(30);

    fn event(number: u64, entity: &str) -> Event {
        let event = serde_json::json!({
            "specversion": "1.0", "id": format!("e{number}"), "source": "/services/things", "topic": "things",
            "type": "things.update", "subject": entity, "sequence": hob_wire::sequence_text(number),
            "time": "2026-01-05T12:00:00Z", "recordedtime": "2026-01-05T12:00:00Z",
            "environment": "demo", "tenant": "uk",
        });
        serde_json::from_value(event).unwrap()
    }

    fn batch(lease: &str, events: &[(u64, &str)]) -> Batch {
        let events = events.iter().map(|(number, entity)| event(*number, entity)).collect();
        Batch { lease: lease.to_owned(), expires: Default::default(), events }
    }

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn failed() -> Handled {
        Handled::Failed { reason: "no".to_owned() }
    }

    #[test]
    fn entities_go_side_by_side_and_each_in_order() {
        let mut work = Work::new(LEASE);
        work.take(batch("a", &[(1, "x"), (2, "x"), (3, "y")]), ms(0));
        work.take(batch("b", &[(4, "z")]), ms(0));
        let places: Vec<Place> = std::iter::from_fn(|| work.next(ms(0))).map(|(place, _)| place).collect();
        let order: Vec<&str> = places.iter().map(|place| place.sequence.as_str()).collect();
        assert_eq!((order, work.leases()), (vec![name(1).as_str(), &name(3), &name(4)], 2));
        work.handled(places[0].clone(), Handled::Done, ms(1));
        let (second, _) = work.next(ms(1)).unwrap();
        assert_eq!(second.sequence, name(2));
        assert_eq!(work.due(), Some(ms(6)));
        assert!(work.tell(ms(5)).is_empty());
        let told = work.tell(ms(6));
        assert_eq!((told.len(), told[0].1.ack.as_slice()), (1, &[name(1)][..]));
        work.told(told[0].0, Telling::Told, ms(6), ms(7));
        for place in [second, places[1].clone(), places[2].clone()] {
            work.handled(place, Handled::Done, ms(8));
        }
        for (number, _) in work.tell(ms(20)) {
            work.told(number, Telling::Told, ms(20), ms(21));
        }
        assert!(work.is_done() && work.next(ms(21)).is_none() && work.leases.is_empty());
        assert!(work.entities.is_empty());
    }

    #[test]
    fn what_follows_a_failure_is_left_and_nothing_else() {
        let mut work = Work::new(LEASE);
        work.take(batch("a", &[(1, "x"), (2, "x"), (3, "y")]), ms(0));
        let (first, _) = work.next(ms(0)).unwrap();
        work.handled(first, failed(), ms(1));
        let (other, _) = work.next(ms(1)).unwrap();
        assert_eq!((&other.sequence, work.next(ms(1))), (&name(3), None));
        work.handled(other, Handled::Done, ms(2));
        let told = work.tell(ms(10));
        let ack = &told[0].1;
        assert_eq!((ack.ack.as_slice(), &ack.nack[0].id), (&[name(3)][..], &name(1)));
        assert_eq!(ack.nack[0].delay_ms, None);
        work.told(told[0].0, Telling::Told, ms(10), ms(11));
        assert!(work.is_done());
    }

    #[test]
    fn a_lease_is_held_while_its_events_are_handled_and_given_up_when_it_is_lost() {
        let mut work = Work::new(LEASE);
        work.take(batch("a", &[(1, "x"), (2, "x")]), ms(0));
        let (first, _) = work.next(ms(0)).unwrap();
        assert_eq!(work.due(), Some(ms(15_000)));
        let told = work.tell(ms(15_000));
        assert_eq!(told[0].1.extend_ms, Some(30_000));
        work.told(told[0].0, Telling::Told, ms(15_000), ms(15_010));
        assert_eq!(work.due(), Some(ms(30_000)));
        let told = work.tell(ms(30_000));
        work.told(told[0].0, Telling::Lost, ms(30_000), ms(30_001));
        work.handled(first, Handled::Done, ms(30_002));
        assert_eq!(work.next(ms(30_002)), None, "another consumer has it now");
    }

    proptest! {
        #[test]
        fn order_holds_and_each_result_is_told_once(
            entities in proptest::collection::vec(0..4_u8, 1..40),
            choices in proptest::collection::vec((0..8_usize, 0..10_u8), 0..200),
        ) {
            let mut work = Work::new(LEASE);
            let named: Vec<(u64, String)> =
                entities.iter().enumerate().map(|(at, entity)| (at as u64, format!("x{entity}"))).collect();
            let named: Vec<(u64, &str)> = named.iter().map(|(at, name)| (*at, name.as_str())).collect();
            work.take(batch("a", &named), ms(0));
            let (mut running, mut seen, mut told) = (Vec::new(), HashMap::new(), Vec::new());
            let mut choices = choices.into_iter().chain(std::iter::repeat((0, 0)));
            let mut now = ms(0);
            while !work.is_done() {
                now += ms(1);
                while let Some((place, event)) = work.next(now) {
                    let entity = event.subject.clone().unwrap();
                    prop_assert!(running.iter().all(|(_, other): &(Place, Event)| other.subject != event.subject));
                    let before = seen.insert(entity, event.position());
                    prop_assert!(before.is_none_or(|before| before < event.position()));
                    running.push((place, event));
                }
                let (which, outcome) = choices.next().unwrap();
                if !running.is_empty() {
                    let (place, _) = running.swap_remove(which % running.len());
                    work.handled(place, if outcome == 9 { failed() } else { Handled::Done }, now);
                }
                for (number, ack) in work.tell(now) {
                    let telling = if outcome == 8 { Telling::Failed } else { Telling::Told };
                    if telling == Telling::Told {
                        told.extend(ack.ack.into_iter().chain(ack.nack.into_iter().map(|nack| nack.id)));
                    }
                    work.told(number, telling, now, now);
                }
            }
            let count = told.len();
            told.sort();
            told.dedup();
            prop_assert_eq!(told.len(), count);
        }
    }
}
