//! What the cache must never do, under any interleaving of reads, answers, events, lost connections and writes.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;

const HREF: &str = "http://city.test/restaurants/r1";
const VARIANTS: [&str; 2] = ["json", "text"];

fn stored(version: u64, variant: &str) -> Stored {
    Stored {
        status: StatusCode::OK,
        etag: Some(format!("\"{version}-{variant}\"")),
        body: version.to_string().into(),
    }
}

fn fetched(version: u64, variant: &str) -> Answer {
    Answer { not_modified: false, may_store: true, max_age: None, stored: stored(version, variant) }
}

fn version(stored: &Stored) -> u64 {
    std::str::from_utf8(&stored.body).unwrap().parse().unwrap()
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn fetch(state: &mut State, variant: &str, now: Duration) -> Ticket {
    match state.look(HREF, variant, now, now) {
        Look::Fetch(ticket) => ticket,
        Look::Fresh(stored) => panic!("served {stored:?}"),
    }
}

/// A cache that has version 1 of the entity, and events flow.
fn warm() -> State {
    let mut state = State::new(1 << 20);
    state.reset();
    state.heartbeat(secs(0));
    let ticket = fetch(&mut state, "json", secs(0));
    state.answered(HREF, "json", &ticket, fetched(1, "json"), secs(0));
    state.unpin(HREF);
    assert!(state.hit(HREF, "json", secs(1), secs(1)).is_some());
    state
}

#[test]
fn an_event_outdates_every_variant_and_not_only_the_one_read_next() {
    let mut state = warm();
    let ticket = fetch(&mut state, "text", secs(1));
    state.answered(HREF, "text", &ticket, fetched(1, "text"), secs(1));
    state.unpin(HREF);
    state.event(HREF, EventChange::Update, Some(1), None);
    let ticket = fetch(&mut state, "json", secs(1));
    state.answered(HREF, "json", &ticket, fetched(2, "json"), secs(1));
    state.unpin(HREF);
    assert!(state.hit(HREF, "json", secs(1), secs(1)).is_some());
    assert_eq!(state.hit(HREF, "text", secs(1), secs(1)), None);
}

#[test]
fn an_event_that_tells_the_kept_tag_asks_nobody() {
    let mut state = warm();
    state.event(HREF, EventChange::Update, Some(1), Some("\"1-json\""));
    assert!(state.hit(HREF, "json", secs(1), secs(1)).is_some());
    state.event(HREF, EventChange::Update, Some(2), Some("\"2-json\""));
    assert_eq!(state.hit(HREF, "json", secs(1), secs(1)), None);
}

#[test]
fn noop_changes_nothing_and_delete_lasts_until_the_entity_is_there_again() {
    let mut state = warm();
    state.event(HREF, EventChange::Noop, Some(1), None);
    assert!(state.hit(HREF, "json", secs(1), secs(1)).is_some());
    state.event(HREF, EventChange::Delete, Some(2), None);
    assert_eq!(state.hit(HREF, "json", secs(1), secs(1)).unwrap().status, StatusCode::GONE);
    state.event(HREF, EventChange::Noop, Some(3), None);
    assert_eq!(state.hit(HREF, "text", secs(1), secs(1)).unwrap().status, StatusCode::GONE);
    state.event(HREF, EventChange::Create, Some(4), None);
    assert_eq!(state.hit(HREF, "json", secs(1), secs(1)), None);
}

#[test]
fn without_heartbeats_plain_http_caching_decides() {
    let mut state = warm();
    assert!(state.hit(HREF, "json", secs(9), secs(9)).is_some());
    assert_eq!(state.hit(HREF, "json", secs(10), secs(10)), None);
    let ticket = fetch(&mut state, "json", secs(10));
    assert_eq!(ticket.etag.as_deref(), Some("\"1-json\""));
    let answer = Answer { not_modified: true, max_age: Some(secs(5)), ..fetched(1, "json") };
    let verdict = state.answered(HREF, "json", &ticket, answer, secs(10));
    assert!(matches!(verdict, Verdict::Serve(stored, Source::Revalidated) if version(&stored) == 1));
    state.unpin(HREF);
    assert!(state.hit(HREF, "json", secs(14), secs(14)).is_some());
    assert_eq!(state.hit(HREF, "json", secs(15), secs(15)), None);
}

#[test]
fn what_looks_unchanged_after_an_event_is_asked_for_once_more() {
    let mut state = warm();
    state.event(HREF, EventChange::Update, Some(1), None);
    let ticket = fetch(&mut state, "json", secs(1));
    assert_eq!(state.answered(HREF, "json", &ticket, fetched(1, "json"), secs(1)), Verdict::AskAgain);
    let ticket = state.again(HREF, ticket, secs(2));
    state.unpin(HREF);
    let verdict = state.answered(HREF, "json", &ticket, fetched(1, "json"), secs(2));
    assert!(matches!(verdict, Verdict::Serve(_, Source::Fetched)));
    state.unpin(HREF);
    assert!(state.hit(HREF, "json", secs(2), secs(2)).is_some());
}

#[test]
fn bytes_are_bounded_and_what_is_being_fetched_is_not_forgotten() {
    let mut state = State::new(3000);
    state.heartbeat(secs(0));
    for number in 0..100 {
        let href = format!("http://city.test/orders/o{number}");
        let Look::Fetch(ticket) = state.look(&href, "json", secs(0), secs(0)) else {
            panic!("known already")
        };
        state.answered(&href, "json", &ticket, fetched(1, "json"), secs(0));
        state.unpin(&href);
        assert!(state.bytes <= 3000);
    }
    assert!(state.figures().evictions > 90);
    let ticket = fetch(&mut state, "json", secs(0));
    state.bytes_max = 0;
    state.evict();
    state.event(HREF, EventChange::Update, Some(1), None);
    state.bytes_max = 3000;
    state.answered(HREF, "json", &ticket, fetched(1, "json"), secs(0));
    state.unpin(HREF);
    assert_eq!(state.hit(HREF, "json", secs(0), secs(0)), None);
    let hrefs: Vec<_> = state.recency.oldest_first().map(Arc::clone).collect();
    for href in hrefs {
        state.forget(&href);
    }
    assert_eq!(state.bytes, 0);
}

#[derive(Clone, Debug)]
enum Op {
    Change { tell_tag: bool },
    Noop,
    Deliver { again: bool },
    Read { variant: usize },
    Serve { fetch: usize },
    Complete { fetch: usize },
    Cancel { fetch: usize },
    Beat,
    Pass { seconds: u64 },
    Lose,
    Write,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => any::<bool>().prop_map(|tell_tag| Op::Change { tell_tag }),
        1 => Just(Op::Noop),
        4 => any::<bool>().prop_map(|again| Op::Deliver { again }),
        6 => (0..2_usize).prop_map(|variant| Op::Read { variant }),
        4 => (0..4_usize).prop_map(|fetch| Op::Serve { fetch }),
        4 => (0..4_usize).prop_map(|fetch| Op::Complete { fetch }),
        1 => (0..4_usize).prop_map(|fetch| Op::Cancel { fetch }),
        3 => Just(Op::Beat),
        1 => (0..12_u64).prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Lose),
        1 => Just(Op::Write),
    ]
}

struct Fetch {
    variant: &'static str,
    ticket: Ticket,
    answer: Option<Answer>,
}

/// The owner, the bus and the readers around a cache.
#[derive(Default)]
struct World {
    now: Duration,
    version: u64,
    sequence: u64,
    queue: VecDeque<(EventChange, u64, u64, bool)>,
    last: Option<(EventChange, u64, u64, bool)>,
    /// The version of which the cache has been told, by an event or because it must assume so.
    told: u64,
    fetches: Vec<Fetch>,
}

impl World {
    fn publish(&mut self, change: EventChange, tell_tag: bool) {
        self.sequence += 1;
        self.queue.push_back((change, self.sequence, self.version, tell_tag));
    }

    fn run(&mut self, state: &mut State, op: &Op) {
        match op {
            Op::Change { tell_tag } => {
                self.version += 1;
                self.publish(EventChange::Update, *tell_tag);
            }
            Op::Noop => self.publish(EventChange::Noop, false),
            Op::Deliver { again } => {
                let next = if *again { self.last } else { self.queue.pop_front() };
                let Some((change, sequence, version, tell_tag)) = next else { return };
                let tag = tell_tag.then(|| format!("\"{version}-json\""));
                state.event(HREF, change, Some(sequence), tag.as_deref());
                self.told = self.told.max(version);
                self.last = next;
            }
            Op::Read { variant } => {
                let variant = VARIANTS[*variant];
                match state.look(HREF, variant, self.now, self.now) {
                    Look::Fresh(stored) => assert!(version(&stored) >= self.told, "served an old one"),
                    Look::Fetch(ticket) => self.fetches.push(Fetch { variant, ticket, answer: None }),
                }
            }
            Op::Serve { fetch } => {
                let version = self.version;
                let Some(fetch) = self.fetches.get_mut(*fetch) else { return };
                let mut answer = fetched(version, fetch.variant);
                answer.not_modified = answer.stored.etag == fetch.ticket.etag;
                if answer.not_modified {
                    answer.stored =
                        Stored { status: StatusCode::NOT_MODIFIED, etag: None, body: Bytes::new() };
                }
                fetch.answer.get_or_insert(answer);
            }
            Op::Complete { fetch } => self.complete(state, *fetch),
            Op::Cancel { fetch } => {
                if *fetch < self.fetches.len() {
                    self.fetches.remove(*fetch);
                    state.unpin(HREF);
                }
            }
            Op::Beat if self.queue.is_empty() => state.heartbeat(self.now),
            Op::Beat => {}
            Op::Pass { seconds } => self.now += secs(*seconds),
            Op::Lose => {
                self.queue.clear();
                self.last = None;
                self.told = self.version;
                state.reset();
            }
            Op::Write => {
                self.version += 1;
                self.publish(EventChange::Update, false);
                state.wrote(HREF);
                self.told = self.version;
            }
        }
    }

    fn complete(&mut self, state: &mut State, index: usize) {
        if self.fetches.get(index).is_none_or(|fetch| fetch.answer.is_none()) {
            return;
        }
        let mut fetch = self.fetches.remove(index);
        let answer = fetch.answer.take().unwrap();
        let verdict = state.answered(HREF, fetch.variant, &fetch.ticket, answer, self.now);
        if verdict == Verdict::AskAgain {
            fetch.ticket = state.again(HREF, fetch.ticket, self.now);
            self.fetches.push(fetch);
        }
        state.unpin(HREF);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_read_is_older_than_an_event_that_was_processed(
        ops in proptest::collection::vec(op(), 1..60),
        bytes_max in prop_oneof![Just(0_usize), Just(700), Just(1 << 20)],
    ) {
        let mut state = State::new(bytes_max);
        let mut world = World::default();
        for op in &ops {
            world.run(&mut state, op);
        }
        while !world.fetches.is_empty() {
            world.run(&mut state, &Op::Cancel { fetch: 0 });
        }
        prop_assert!(state.bytes <= bytes_max);
    }
}
