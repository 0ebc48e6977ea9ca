//! What a subscription promises, case by case.

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn seen(sequence: u64, entity: u64) -> Seen {
    Seen { sequence, entity, change: Some(Change::Update) }
}

fn terms() -> Terms {
    Terms { attempts: 3, backoff_ms: vec![10_000, 100_000], ..Terms::default() }
}

/// A state that has looked at events 1.. of these entities.
fn state(terms: Terms, entities: &[u64]) -> State {
    let events = (1..).zip(entities).map(|(sequence, entity)| seen(sequence, *entity)).collect();
    told(State::begin(0, terms), Input::Looked { events, upto: entities.len() as u64, lost: 0 }, 0)
}

fn told(state: State, input: Input, now: i64) -> State {
    let (state, actions) = step(state, input, at(now));
    let refused = actions.iter().find(|action| matches!(action, Action::Refuse(_)));
    assert_eq!(refused, None);
    state
}

/// Leases what may be handed out, until 30 seconds from now.
fn lease(state: State, name: &str, max: usize, now: i64) -> (State, Vec<u64>) {
    let state = told(state, Input::Tick, now);
    let items = state.choose(max, at(now));
    if items.is_empty() {
        return (state, Vec::new());
    }
    let named = items.iter().map(|item| (*item, format!("e{}", item.sequence))).collect();
    let input = Input::Lease { lease: name.to_owned(), items: named, expires: at(now + 30) };
    (told(state, input, now), items.iter().map(|item| item.sequence).collect())
}

fn ack(lease: &str) -> AckInput {
    AckInput { lease: lease.to_owned(), ..AckInput::default() }
}

fn acked(lease: &str, sequences: &[u64]) -> Input {
    let acked = sequences.iter().map(|sequence| format!("e{sequence}")).collect();
    Input::Ack(AckInput { acked, ..ack(lease) })
}

fn error() -> DeliveryError {
    DeliveryError { time: at(0), status: Some(500), detail: "no".to_owned(), subject: None }
}

fn failed(lease: &str, sequence: u64) -> Input {
    let outcomes = vec![(sequence, Verdict::Failed { delay: None, error: error() })];
    Input::Settle { lease: lease.to_owned(), outcomes, luck: 0 }
}

fn failed_for(lease: &str, sequence: u64, seconds: u64) -> Input {
    let outcomes =
        vec![(sequence, Verdict::Failed { delay: Some(Duration::from_secs(seconds)), error: error() })];
    Input::Settle { lease: lease.to_owned(), outcomes, luck: 0 }
}

fn refusal(state: &State, input: Input, now: i64) -> Option<Refusal> {
    let (after, actions) = step(state.clone(), input, at(now));
    actions.into_iter().find_map(|action| match action {
        Action::Refuse(refusal) => {
            assert_eq!(after, told(state.clone(), Input::Tick, now), "a refused input changes nothing");
            Some(refusal)
        }
        _ => None,
    })
}

#[test]
fn several_leases_are_alive_and_an_entity_is_in_one_of_them() {
    let state = state(terms(), &[1, 2, 1, 3, 2, 4]);
    let (state, first) = lease(state, "a", 2, 0);
    assert_eq!(first, [1, 2]);
    let (state, second) = lease(state, "b", 10, 0);
    assert_eq!(second, [4, 6], "entities 1 and 2 are with the first");
    assert_eq!(state.in_flight(), 4);
    let state = told(state, acked("a", &[1]), 1);
    let (state, third) = lease(state, "c", 10, 1);
    assert_eq!(third, [3]);
    let state = told(state, acked("b", &[4, 6]), 1);
    assert_eq!((state.done(), state.in_flight()), (1, 2));
}

#[test]
fn what_runs_out_is_handed_out_again_and_its_acknowledgement_refused() {
    let (state, _) = lease(state(terms(), &[1, 2]), "a", 10, 0);
    let (state, none) = lease(state, "b", 10, 29);
    assert!(none.is_empty());
    let (state, again) = lease(state, "c", 10, 30);
    assert_eq!(again, [1, 2]);
    assert_eq!(refusal(&state, acked("a", &[1]), 31), Some(Refusal::NotHeld));
    let upto = Input::Ack(AckInput { upto: Some(2), ..ack("c") });
    let state = told(state, upto.clone(), 31);
    assert_eq!((state.done(), state.counts.delivered, state.counts.failed), (2, 2, 2));
    // The answer to the acknowledgement was lost and it comes again.
    assert_eq!(refusal(&state, upto, 32), None);
}

#[test]
fn an_event_on_which_leases_run_out_is_handed_out_alone() {
    let mut state = state(Terms { attempts: 9, ..terms() }, &[1, 2, 3]);
    for (nth, expected) in [(0, vec![1, 2, 3]), (1, vec![1, 2, 3]), (2, vec![1])] {
        let given;
        (state, given) = lease(state, &format!("l{nth}"), 10, nth * 30);
        assert_eq!(given, expected);
    }
    // The others flow beside it, each alone as well.
    let (state, given) = lease(state, "m", 10, 61);
    assert_eq!(given, [2]);
    let state = told(state, acked("m", &[2]), 61);
    assert_eq!(lease(state, "n", 10, 61).1, [3]);
}

#[test]
fn a_failing_entity_is_parked_while_the_others_flow() {
    let (state, _) = lease(state(terms(), &[1, 2, 1, 2]), "a", 2, 0);
    let state = told(state, failed_for("a", 1, 10), 1);
    let state = told(state, acked("a", &[2]), 1);
    assert_eq!((state.parked(), state.next_attempt()), (1, Some(at(11))));
    let (state, given) = lease(state, "b", 10, 10);
    assert_eq!(given, [4], "event 3 waits behind 1");
    let state = told(state, acked("b", &[4]), 10);
    assert_eq!(state.done(), 0);
    let (state, given) = lease(state, "c", 10, 11);
    assert_eq!(given, [1, 3]);
    let state = told(state, acked("c", &[1, 3]), 12);
    assert_eq!((state.done(), state.parked()), (4, 0));
}

#[test]
fn the_backoff_grows_and_luck_shortens_it_by_up_to_half() {
    let mut state = state(Terms { attempts: 9, ..terms() }, &[1]);
    let mut now = 0;
    for pause in [10, 100, 100] {
        state = lease(state, &format!("l{now}"), 1, now).0;
        state = told(state, failed(&format!("l{now}"), 1), now);
        let shortened = state.next_attempt().unwrap().since(at(now)).as_millis() as i64;
        assert!((pause * 500..=pause * 1_000).contains(&shortened), "{shortened} of {pause} s");
        now += pause;
    }
    let (state, _) = lease(state, "z", 1, now);
    let nacked = vec![("e1".to_owned(), Some(Duration::from_secs(7)), error())];
    let state = told(state, Input::Ack(AckInput { nacked, ..ack("z") }), now);
    assert_eq!(state.next_attempt(), Some(at(now + 7)), "its own delay counts");
}

#[test]
fn after_the_last_attempt_an_event_is_buried_and_later_ones_flow() {
    let mut state = state(terms(), &[1, 1]);
    for now in [0, 100, 200] {
        state = lease(state, &format!("l{now}"), 1, now).0;
        state = told(state, failed(&format!("l{now}"), 1), now);
    }
    let (buried, _) = state.to_file();
    let [(item, letter)] = buried.as_slice() else { panic!("{buried:?}") };
    assert_eq!((letter.sequence, letter.attempts, letter.first_failed), (1, 3, at(0)));
    assert_eq!((state.done(), state.choose(9, at(900)).len()), (0, 0), "not before the letter is written");
    let state = told(state, Input::Filed { buried: vec![*item], forgotten: Vec::new() }, 900);
    assert_eq!((state.done(), state.letters()), (1, 1));
    assert_eq!(lease(state, "z", 9, 900).1, [2]);
}

#[test]
fn one_that_blocks_on_poison_tries_for_ever() {
    let mut state = state(Terms { on_poison: OnPoison::Block, ..terms() }, &[1, 1]);
    for now in [0, 100, 200, 300, 400] {
        state = lease(state, &format!("l{now}"), 1, now).0;
        state = told(state, failed(&format!("l{now}"), 1), now);
    }
    assert_eq!((state.poisoned(), state.parked(), state.letters()), (1, 1, 0));
}

#[test]
fn a_replay_is_delivered_beside_the_cursor() {
    let state = State::begin(50, terms()).with_letters([7, 8]);
    let letter =
        |sequence| Letter { sequence, attempts: 3, first_failed: at(1), last_failed: at(2), error: error() };
    let replay = Input::Replay(vec![(seen(7, 1), letter(7)), (seen(8, 2), letter(8))]);
    let (state, given) = lease(told(state, replay, 60), "a", 9, 60);
    assert_eq!((given, state.done()), (vec![7, 8], 50));
    let state = told(state, acked("a", &[7]), 61);
    assert_eq!(state.to_file().1, [7]);
    let state = told(state, failed("a", 8), 61);
    let (buried, _) = state.to_file();
    assert_eq!((buried[0].1.attempts, buried[0].1.first_failed), (4, at(1)));
    let items = buried.into_iter().map(|(item, _)| item).collect();
    let state = told(state, Input::Filed { buried: items, forgotten: vec![7] }, 62);
    assert_eq!((state.done(), state.letters(), state.in_flight()), (50, 1, 0));
    assert!(state.choose(9, at(9_000)).is_empty(), "one attempt a replay");
}

#[test]
fn strict_order_holds_back_everything_and_none_holds_back_nothing() {
    let strict = Terms { order: DeliveryOrder::Strict, ..terms() };
    let (strict, given) = lease(state(strict, &[1, 2, 3]), "a", 2, 0);
    assert_eq!(given, [1, 2]);
    assert!(strict.choose(9, at(0)).is_empty(), "one batch at a time");
    let strict = told(told(strict, acked("a", &[2]), 0), failed_for("a", 1, 10), 0);
    assert!(strict.choose(9, at(9)).is_empty());
    assert_eq!(lease(strict, "b", 9, 10).1, [1, 3]);
    let none = Terms { order: DeliveryOrder::None, ..terms() };
    let (none, given) = lease(state(none, &[1, 1, 1]), "a", 1, 0);
    assert_eq!(given, [1]);
    assert_eq!(lease(none, "b", 9, 0).1, [2, 3]);
}

#[test]
fn a_failure_beside_a_success_counts() {
    let (state, _) = lease(state(terms(), &[1, 2, 1, 2]), "a", 10, 0);
    let nacked = vec![("e1".to_owned(), None, error())];
    let state = told(state, Input::Ack(AckInput { upto: Some(2), nacked, ..ack("a") }), 1);
    assert_eq!((state.done(), state.in_flight()), (0, 2));
    // Events 3 and 4 stay with the lease; then 3 waits behind 1.
    let state = told(state, acked("a", &[3, 4]), 2);
    assert_eq!(lease(state, "b", 10, 11).1, [1]);
}

#[test]
fn what_was_not_given_cannot_be_acknowledged() {
    let (held, _) = lease(state(terms(), &[1, 2]), "a", 10, 0);
    let upto = Input::Ack(AckInput { upto: Some(3), ..ack("a") });
    assert_eq!(refusal(&held, upto, 1), Some(Refusal::Ahead { upto: 3, last: 2 }));
    assert_eq!(refusal(&held, acked("a", &[9]), 1), Some(Refusal::Unknown("e9".to_owned())));
    assert_eq!(refusal(&held, Input::AckStream { upto: 1, head: 2 }, 1), Some(Refusal::Leased));
    let ahead = Input::AckStream { upto: 2, head: 1 };
    assert_eq!(refusal(&state(terms(), &[1]), ahead, 1), Some(Refusal::Ahead { upto: 2, last: 1 }));
}

#[test]
fn two_events_with_one_id_are_told_apart_by_sequence() {
    let state = state(terms(), &[1, 2]);
    let items = vec![(Item::event(1), "x".to_owned()), (Item::event(2), "x".to_owned())];
    let held = told(state, Input::Lease { lease: "a".to_owned(), items, expires: at(30) }, 0);
    let by_id = Input::Ack(AckInput { acked: vec!["x".to_owned()], ..ack("a") });
    assert_eq!(refusal(&held, by_id, 1), Some(Refusal::Ambiguous("x".to_owned())));
    let by_sequence = Input::Ack(AckInput { acked: vec![format!("{:020}", 1)], ..ack("a") });
    assert_eq!(told(held, by_sequence, 1).done(), 1);
}

#[test]
fn the_cursor_passes_over_what_is_not_the_subscriptions() {
    let looked = Input::Looked { events: vec![seen(5, 1)], upto: 9, lost: 0 };
    let state = told(State::begin(0, terms()), looked, 0);
    assert_eq!((state.done(), state.first_pending()), (4, Some(5)));
    let (state, _) = lease(state, "a", 1, 0);
    assert_eq!(told(state, acked("a", &[5]), 1).done(), 9);
}

#[test]
fn collapsing_hands_out_the_newest_of_each_entity() {
    let latest = Terms { collapse: Collapse::Latest, ..terms() };
    let life = |changes: &[Change]| {
        let events =
            (1..).zip(changes).map(|(sequence, change)| Seen { change: Some(*change), ..seen(sequence, 1) });
        let events: Vec<Seen> = events.collect();
        let upto = events.len() as u64;
        let state = told(State::begin(0, latest.clone()), Input::Looked { events, upto, lost: 0 }, 0);
        assert_eq!(state.counts.collapsed + state.pending_events() as u64, upto);
        state.choose(9, at(0)).into_iter().map(|item| item.sequence).collect::<Vec<_>>()
    };
    use Change::{Create, Delete, Noop, Update};
    for (changes, given) in [
        (vec![Create, Update, Update], vec![3]),
        (vec![Update, Delete], vec![2]),
        (vec![Delete, Update], vec![1]),
        (vec![Delete, Create], vec![2]),
        (vec![Update, Noop, Noop], vec![1]),
        (vec![Noop, Noop], vec![2]),
        (vec![Noop, Update], vec![2]),
        (vec![Delete, Noop], vec![1]),
    ] {
        assert_eq!(life(&changes), given, "{changes:?}");
    }
    // What is in a lease is not taken back, and a newer one must not dodge the back-off.
    let (state, _) = lease(state(latest, &[1]), "a", 1, 0);
    let state = told(state, Input::Looked { events: vec![seen(2, 1)], upto: 2, lost: 0 }, 0);
    let state = told(state, failed_for("a", 1, 10), 1);
    let state = told(state, Input::Looked { events: vec![seen(3, 1)], upto: 3, lost: 0 }, 2);
    assert_eq!(state.pending().map(|(sequence, _)| sequence).collect::<Vec<_>>(), [3]);
    assert_eq!(state.next_attempt(), Some(at(11)));
}

#[test]
fn seeking_forgets_what_was_on_its_way_but_no_dead_letter() {
    let (state, _) = lease(state(terms(), &[1, 2]).with_letters([1]), "a", 1, 0);
    let state = told(state, Input::Sought(1), 1);
    assert_eq!((state.done(), state.looked, state.in_flight(), state.letters()), (1, 1, 0, 1));
    assert_eq!(refusal(&state, acked("a", &[1]), 2), Some(Refusal::NotHeld));
}

#[test]
fn a_pause_hands_out_nothing_and_ends_by_itself() {
    let halt = Halt { until: Some(at(60)), gone: None };
    let state = told(state(terms(), &[1]), Input::Halted(Some(halt)), 0);
    assert_eq!((state.choose(9, at(59)).len(), state.due()), (0, Some(at(60))));
    assert_eq!(lease(state, "a", 9, 60).1, [1]);
}

#[test]
fn after_a_restart_pending_events_are_read_again_before_anything_is_handed_out() {
    let failure = Failure { attempts: 2, first: at(0), until: at(500) };
    let pending = [(3, Some(failure)), (5, None), (6, None)];
    let state = State::resume(9, terms(), pending);
    assert_eq!((state.done(), state.parked(), state.pending_events()), (2, 1, 3));
    assert_eq!(state.pending().collect::<Vec<_>>(), pending);
    let recalled = Input::Recalled { events: vec![seen(3, 1), seen(5, 2)], upto: 6, lost: 1 };
    let state = told(state, recalled, 400);
    assert_eq!((state.counts.damaged, state.pending_events()), (1, 2));
    let (state, given) = lease(state, "a", 9, 400);
    assert_eq!(given, [5]);
    let state = told(state, acked("a", &[5]), 401);
    let (state, given) = lease(state, "b", 9, 500);
    assert_eq!(given, [3]);
    let state = told(state, failed("b", 3), 501);
    assert_eq!(state.to_file().0[0].1.attempts, 3, "attempts of before the restart count");
}

#[test]
fn at_the_limits_it_looks_no_further() {
    let events = |entities: u64, each: u64| -> Vec<Seen> {
        (1..=entities * each).map(|sequence| seen(sequence, sequence % entities)).collect()
    };
    let full = Input::Looked {
        events: events(100, PENDING_MAX as u64 / 100 + 1),
        upto: PENDING_MAX as u64,
        lost: 0,
    };
    assert_eq!(told(State::begin(0, terms()), full, 0).room(), 0);
    let parked = Input::Looked { events: events(PARKED_MAX as u64, 1), upto: PARKED_MAX as u64, lost: 0 };
    let mut state = told(State::begin(0, terms()), parked, 0);
    for nth in 0..PARKED_MAX / 1_000 {
        let name = format!("l{nth}");
        let given;
        (state, given) = lease(state, &name, 1_000, 0);
        let failed = |sequence| (sequence, Verdict::Failed { delay: None, error: error() });
        let outcomes = given.into_iter().map(failed).collect();
        state = told(state, Input::Settle { lease: name, outcomes, luck: 7 }, 0);
    }
    assert_eq!((state.parked(), state.room()), (PARKED_MAX, 0));
    assert!(state.pending_events() <= PENDING_MAX);
}

#[test]
fn a_snapshot_goes_page_by_page_and_goes_on_after_a_restart() {
    let state = told(State::begin(9, terms()), Input::SnapshotBegun { after: String::new() }, 0);
    let page = |after: &str, sequences: &[u64], next: Option<&str>| Page {
        after: after.to_owned(),
        entities: sequences.iter().map(|sequence| seen(*sequence, *sequence)).collect(),
        next: next.map(str::to_owned),
    };
    assert_eq!(state.snapshot_wants(), Some(""));
    let state = told(state, Input::SnapshotRead(page("", &[1, 2], Some("b"))), 0);
    let state = told(state, Input::SnapshotRead(page("b", &[3], None)), 0);
    assert_eq!((state.snapshot_wants(), state.snapshot_place()), (None, Some("")));
    let (state, given) = lease(state, "a", 2, 0);
    assert_eq!((given, state.done()), (vec![1, 2], 9));
    let state = told(state, acked("a", &[1, 2]), 1);
    assert_eq!(state.snapshot_place(), Some("b"));
    let (state, _) = lease(state, "b", 2, 1);
    let state = told(state, acked("b", &[3]), 1);
    assert_eq!((state.snapshot_place(), state.done()), (None, 9));
}

#[test]
fn an_event_on_its_way_spares_its_entity_the_noop() {
    let state = told(state(terms(), &[1, 2]), Input::SnapshotBegun { after: String::new() }, 0);
    let page = Page { after: String::new(), entities: vec![seen(1, 1), seen(2, 2)], next: None };
    let state = told(state, Input::SnapshotRead(page), 0);
    assert_eq!((state.choose(9, at(0)).len(), state.snapshot_place()), (2, None));
}
