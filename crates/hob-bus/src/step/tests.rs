//! What a subscription promises, tried by cases and by random interleavings against a simple model.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seen(sequence: u64, entity: u64) -> Seen {
    Seen { sequence, id: format!("e{sequence}"), entity }
}

/// A state that has looked at events 1.. with these entities.
fn state(entities: &[u64]) -> State {
    let events = (1..).zip(entities).map(|(sequence, entity)| seen(sequence, *entity)).collect();
    step(State::default(), Input::Looked { events, upto: entities.len() as u64 }, at(0)).0
}

fn pull(state: State, now: i64) -> (State, Vec<u64>) {
    let input = Input::Pull { lease: format!("l{now}"), max: 10, expires: at(now + 30) };
    let (state, actions) = step(state, input, at(now));
    let given = actions.iter().find_map(|action| match action {
        Action::HandOut { sequences, .. } => Some(sequences.clone()),
        _ => None,
    });
    (state, given.unwrap_or_default())
}

fn ack(lease: &str) -> AckInput {
    AckInput { lease: lease.to_owned(), ..AckInput::default() }
}

fn refusal(state: &State, ack: AckInput, now: i64) -> Option<Refusal> {
    let (after, actions) = step(state.clone(), Input::Ack(ack), at(now));
    actions.into_iter().find_map(|action| match action {
        Action::Refuse(refusal) => {
            assert_eq!(after.window, state.window, "a refused input changes nothing");
            Some(refusal)
        }
        _ => None,
    })
}

#[test]
fn one_lease_is_alive_and_is_handed_out_again_when_it_ends() {
    let (held, given) = pull(state(&[1, 2, 1]), 0);
    assert_eq!(given, [1, 2, 3]);
    let (held, nothing) = pull(held, 29);
    assert!(nothing.is_empty());
    let (again, given) = pull(held, 30);
    assert_eq!(given, [1, 2, 3]);
    assert_eq!(refusal(&again, AckInput { upto: Some(3), ..ack("l0") }, 31), Some(Refusal::NotHeld));
    let (done, actions) = step(again, Input::Ack(AckInput { upto: Some(3), ..ack("l30") }), at(31));
    assert_eq!((done.done, actions), (3, vec![Action::Save, Action::Freed]));
    // The answer to the acknowledgement was lost and it comes again.
    assert_eq!(refusal(&done, AckInput { upto: Some(3), ..ack("l30") }, 32), None);
}

#[test]
fn acknowledgements_out_of_order_wait_for_the_first() {
    let (held, _) = pull(state(&[1, 2, 3]), 0);
    let acked = vec!["e2".to_owned(), format!("{:020}", 3)];
    let (held, _) = step(held, Input::Ack(AckInput { acked, ..ack("l0") }), at(1));
    assert_eq!((held.done, held.acked(), held.in_flight()), (0, vec![2, 3], 1));
    let resumed = step(
        State::resume(held.done, held.acked()),
        Input::Looked { events: vec![seen(1, 1), seen(2, 2), seen(3, 3)], upto: 3 },
        at(2),
    )
    .0;
    assert_eq!(pull(resumed, 3).1, [1]);
}

#[test]
fn a_nack_holds_back_its_entity_only_and_beats_upto() {
    let (held, _) = pull(state(&[1, 2, 1, 2]), 0);
    let nacked = vec![("e1".to_owned(), at(100))];
    let (held, actions) = step(held, Input::Ack(AckInput { upto: Some(2), nacked, ..ack("l0") }), at(1));
    assert_eq!((held.done, actions), (0, vec![Action::Save]));
    // e3 and e4 stay with the lease until it ends; then e3 waits behind e1.
    let (held, given) = pull(held, 30);
    assert_eq!(given, [4]);
    let (held, _) = step(held, Input::Ack(AckInput { upto: Some(4), ..ack("l30") }), at(31));
    assert!(pull(held.clone(), 99).1.is_empty());
    assert_eq!(pull(held, 100).1, [1, 3]);
}

#[test]
fn what_was_not_given_cannot_be_acknowledged() {
    let (held, _) = pull(state(&[1, 2]), 0);
    let ahead = Refusal::Ahead { upto: 3, last: 2 };
    assert_eq!(refusal(&held, AckInput { upto: Some(3), ..ack("l0") }, 1), Some(ahead));
    let unknown = Refusal::Unknown("e9".to_owned());
    assert_eq!(refusal(&held, AckInput { acked: vec!["e9".to_owned()], ..ack("l0") }, 1), Some(unknown));
    let stream = step(held, Input::AckStream { upto: 1, head: 2 }, at(1)).1;
    assert_eq!(stream, [Action::Refuse(Refusal::Leased)]);
    let stream = step(state(&[1]), Input::AckStream { upto: 2, head: 1 }, at(1)).1;
    assert_eq!(stream, [Action::Refuse(Refusal::Ahead { upto: 2, last: 1 })]);
}

#[test]
fn two_events_with_one_id_are_told_apart_by_sequence() {
    let twins = vec![Seen { id: "x".to_owned(), ..seen(1, 1) }, Seen { id: "x".to_owned(), ..seen(2, 2) }];
    let state = step(State::default(), Input::Looked { events: twins, upto: 2 }, at(0)).0;
    let (held, _) = pull(state, 0);
    let by_id = AckInput { acked: vec!["x".to_owned()], ..ack("l0") };
    assert_eq!(refusal(&held, by_id, 1), Some(Refusal::Ambiguous("x".to_owned())));
    let by_sequence = AckInput { acked: vec![format!("{:020}", 1)], ..ack("l0") };
    assert_eq!(step(held, Input::Ack(by_sequence), at(1)).0.done, 1);
}

#[test]
fn the_cursor_passes_over_what_is_not_the_subscriptions() {
    let (state, _) = step(State::default(), Input::Looked { events: vec![seen(5, 1)], upto: 9 }, at(0));
    assert_eq!(state.done, 4);
    let (held, _) = pull(state, 0);
    let (done, _) = step(held, Input::Ack(AckInput { upto: Some(5), ..ack("l0") }), at(1));
    assert_eq!(done.done, 9);
}

#[test]
fn a_lease_can_be_extended_and_asking_for_something_else_ends_it() {
    let (held, _) = pull(state(&[1]), 0);
    let (held, _) = step(held, Input::Ack(AckInput { extend_to: Some(at(90)), ..ack("l0") }), at(20));
    assert_eq!(held.leased_until(at(60)), Some(at(90)));
    let (asked, _) = step(held, Input::Respecified, at(61));
    assert_eq!((asked.done, asked.looked, asked.in_flight()), (0, 0, 0));
}

/// What may happen in a simulated life.
#[derive(Clone, Debug)]
enum Doing {
    Publish(u64),
    Look,
    Pull(usize),
    Ack(usize),
    AckUpto(usize),
    Nack(usize, i64),
    Extend(i64),
    Wait(i64),
    Restart,
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        5 => (0_u64..4).prop_map(Doing::Publish),
        3 => Just(Doing::Look),
        4 => (1_usize..6).prop_map(Doing::Pull),
        4 => (0_usize..6).prop_map(Doing::Ack),
        2 => (0_usize..6).prop_map(Doing::AckUpto),
        2 => (0_usize..6, 0_i64..50).prop_map(|(nth, delay)| Doing::Nack(nth, delay)),
        1 => (0_i64..60).prop_map(Doing::Extend),
        2 => (1_i64..40).prop_map(Doing::Wait),
        1 => Just(Doing::Restart),
    ]
}

/// The world around one subscription; entity 0 stands for events that are not its concern.
#[derive(Default)]
struct World {
    state: State,
    now: i64,
    log: Vec<u64>,
    /// The live lease as its holder knows it: name, end, events not settled.
    lease: Option<(String, i64, Vec<u64>)>,
    acked: BTreeSet<u64>,
    leases: usize,
}

impl World {
    fn step(&mut self, input: Input) -> Vec<Action> {
        let (state, actions) = step(std::mem::take(&mut self.state), input, at(self.now));
        self.state = state;
        actions
    }

    fn look(&mut self) {
        let from = self.state.looked;
        let found = (1..).zip(&self.log).filter(|(sequence, entity)| *sequence > from && **entity != 0);
        let events = found.map(|(sequence, entity)| seen(sequence, *entity)).collect();
        self.step(Input::Looked { events, upto: self.log.len() as u64 });
    }

    fn pull(&mut self, max: usize) {
        self.leases += 1;
        let (lease, expires) = (format!("l{}", self.leases), at(self.now + 30));
        for action in self.step(Input::Pull { lease: lease.clone(), max, expires }) {
            let Action::HandOut { sequences, .. } = action else { continue };
            let is_alive =
                self.lease.as_ref().is_some_and(|(_, end, open)| *end > self.now && !open.is_empty());
            assert!(!is_alive, "two leases are alive");
            self.check_order(&sequences);
            self.lease = Some((lease.clone(), self.now + 30, sequences));
        }
    }

    /// Nothing acknowledged comes again, and nothing comes before an earlier event of its entity.
    fn check_order(&self, given: &[u64]) {
        let mut newest = BTreeMap::new();
        for sequence in given {
            assert!(!self.acked.contains(sequence), "{sequence} was acknowledged");
            let entity = self.log[*sequence as usize - 1];
            let before = (1..*sequence).filter(|earlier| self.log[*earlier as usize - 1] == entity);
            for earlier in before {
                assert!(
                    self.acked.contains(&earlier) || given.contains(&earlier),
                    "{earlier} before {sequence}"
                );
            }
            assert!(newest.insert(entity, *sequence).is_none_or(|earlier| earlier < *sequence));
        }
    }

    fn ack(&mut self, choose: impl Fn(&[u64]) -> (Vec<u64>, AckInput)) {
        let Some((lease, end, open)) = self.lease.clone() else { return };
        let (settled, ack) = choose(&open);
        let is_nack = !ack.nacked.is_empty();
        let extended = ack.extend_to;
        let actions = self.step(Input::Ack(AckInput { lease: lease.clone(), ..ack }));
        let is_refused = actions.iter().any(|action| matches!(action, Action::Refuse(_)));
        if end <= self.now && !open.is_empty() {
            assert!(is_refused, "a lease that ended was acknowledged");
            return;
        }
        assert!(!is_refused, "{actions:?}");
        let open: Vec<u64> = open.into_iter().filter(|sequence| !settled.contains(sequence)).collect();
        if !is_nack {
            self.acked.extend(settled);
        }
        let end = extended.map_or(end, |to| end.max(to.as_micros() / 1_000_000));
        self.lease = (!open.is_empty()).then_some((lease, end, open));
    }

    fn do_it(&mut self, doing: Doing) {
        let id = |sequence: u64| format!("e{sequence}");
        match doing {
            Doing::Publish(entity) => self.log.push(entity),
            Doing::Look => self.look(),
            Doing::Pull(max) => self.pull(max),
            Doing::Ack(nth) => self.ack(|open| {
                let chosen: Vec<u64> = open.get(nth % open.len()).copied().into_iter().collect();
                let acked = chosen.iter().map(|sequence| id(*sequence)).collect();
                (chosen, AckInput { acked, ..AckInput::default() })
            }),
            Doing::AckUpto(nth) => self.ack(|open| {
                let upto = open[nth % open.len()];
                let chosen = open.iter().copied().filter(|sequence| *sequence <= upto).collect();
                (chosen, AckInput { upto: Some(upto), ..AckInput::default() })
            }),
            Doing::Nack(nth, delay) => {
                let from = at(self.now + delay);
                self.ack(|open| {
                    let chosen = open[nth % open.len()];
                    (vec![chosen], AckInput { nacked: vec![(id(chosen), from)], ..AckInput::default() })
                });
            }
            Doing::Extend(by) => {
                let to = at(self.now + by);
                self.ack(|_| (Vec::new(), AckInput { extend_to: Some(to), ..AckInput::default() }));
            }
            Doing::Wait(seconds) => self.now += seconds,
            Doing::Restart => {
                self.state = State::resume(self.state.done, self.state.acked());
                self.lease = None;
            }
        }
        let is_mine = |sequence: &u64| self.log[*sequence as usize - 1] != 0;
        for sequence in (1..=self.state.done).filter(is_mine) {
            assert!(self.acked.contains(&sequence), "the cursor passed {sequence}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn nothing_is_skipped_repeated_or_reordered(life in proptest::collection::vec(doing(), 1..120)) {
        let mut world = World::default();
        life.into_iter().for_each(|doing| world.do_it(doing));
        // In the end everything is delivered.
        for _ in 0..world.log.len() + 2 {
            world.now += 100;
            world.look();
            world.pull(4);
            world.ack(|open| (open.to_vec(), AckInput { upto: open.last().copied(), ..AckInput::default() }));
        }
        prop_assert_eq!(world.state.done, world.log.len() as u64);
    }
}
