//! What the cache must never do, under any interleaving of reads, answers, events that come late, twice or not at all,
//! lost connections and writes of our own: a seeded world around it, checked against what is true.

use std::collections::VecDeque;

use http::HeaderMap;
use proptest::prelude::*;

use super::tests::{HREF, fetched, headers, not_modified, options, secs, version};
use super::*;

const ACCEPTS: [&str; 2] = ["json", "text"];
const ENTITIES: usize = 3;

#[derive(Clone, Debug)]
enum Op {
    Change { entity: usize, tell_tag: bool, early: bool },
    Delete { entity: usize },
    Noop { entity: usize },
    Commit { entity: usize },
    Deliver { again: bool },
    Read { entity: usize, accept: usize },
    Serve { fetch: usize, max_age: u64 },
    Complete { fetch: usize },
    Fail { fetch: usize },
    Cancel { fetch: usize },
    Beat,
    Pass { seconds: u64 },
    Disconnect,
    Resume,
    StartOver,
    Write { entity: usize },
}

fn op() -> impl Strategy<Value = Op> {
    let entity = 0..ENTITIES;
    prop_oneof![
        4 => (entity.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(entity, tell_tag, early)| Op::Change { entity, tell_tag, early }),
        1 => entity.clone().prop_map(|entity| Op::Delete { entity }),
        1 => entity.clone().prop_map(|entity| Op::Noop { entity }),
        2 => entity.clone().prop_map(|entity| Op::Commit { entity }),
        6 => any::<bool>().prop_map(|again| Op::Deliver { again }),
        8 => (entity.clone(), 0..ACCEPTS.len()).prop_map(|(entity, accept)| Op::Read { entity, accept }),
        5 => (0..4_usize, 0..8_u64).prop_map(|(fetch, max_age)| Op::Serve { fetch, max_age }),
        5 => (0..4_usize).prop_map(|fetch| Op::Complete { fetch }),
        1 => (0..4_usize).prop_map(|fetch| Op::Fail { fetch }),
        1 => (0..4_usize).prop_map(|fetch| Op::Cancel { fetch }),
        4 => Just(Op::Beat),
        2 => (0..6_u64).prop_map(|seconds| Op::Pass { seconds }),
        1 => Just(Op::Disconnect),
        2 => Just(Op::Resume),
        1 => Just(Op::StartOver),
        1 => entity.prop_map(|entity| Op::Write { entity }),
    ]
}

#[derive(Clone, Copy, Debug)]
struct Published {
    entity: usize,
    change: EventChange,
    position: u64,
    version: u64,
    tell_tag: bool,
    /// Published before it was committed: all that a cache can do is to ask twice.
    early: bool,
}

/// An entity as its owner has it.
#[derive(Clone, Copy, Debug, Default)]
struct Truth {
    version: u64,
    is_gone: bool,
    /// A change that was published before it is committed.
    pending: Option<u64>,
    /// The version of which the cache has been told, by an event or because it wrote itself.
    told: u64,
    told_gone: bool,
}

struct Fetch {
    entity: usize,
    accept: &'static str,
    ticket: Ticket,
    answer: Option<Answer>,
}

/// The owner, the bus and the readers around a cache.
struct World {
    state: State,
    now: Duration,
    position: u64,
    log: Vec<Published>,
    /// What has been brought over the connection, as an index into the log.
    brought: usize,
    is_connected: bool,
    last: VecDeque<Published>,
    truth: [Truth; ENTITIES],
    fetches: Vec<Fetch>,
}

fn href(entity: usize) -> String {
    format!("{HREF}{entity}")
}

fn asked(accept: &str) -> HeaderMap {
    headers(&[("accept", accept)])
}

impl World {
    fn new(bytes_max: usize) -> Self {
        let mut state = State::new(options(bytes_max));
        state.reset();
        Self {
            state,
            now: secs(0),
            position: 0,
            log: Vec::new(),
            brought: 0,
            is_connected: true,
            last: VecDeque::new(),
            truth: [Truth::default(); ENTITIES],
            fetches: Vec::new(),
        }
    }

    fn publish(&mut self, entity: usize, change: EventChange, version: u64, tell_tag: bool) {
        self.position += 1;
        let early = self.truth[entity].pending == Some(version);
        self.log.push(Published { entity, change, position: self.position, version, tell_tag, early });
    }

    fn run(&mut self, op: &Op) {
        match *op {
            Op::Change { entity, tell_tag, early } => {
                self.commit(entity);
                let truth = &mut self.truth[entity];
                let version = truth.version + 1;
                let change = if truth.is_gone { EventChange::Create } else { EventChange::Update };
                if early {
                    truth.pending = Some(version);
                } else {
                    (truth.version, truth.is_gone) = (version, false);
                }
                self.publish(entity, change, version, tell_tag);
            }
            Op::Delete { entity } => {
                self.commit(entity);
                let truth = &mut self.truth[entity];
                (truth.version, truth.is_gone) = (truth.version + 1, true);
                self.publish(entity, EventChange::Delete, self.truth[entity].version, false);
            }
            Op::Noop { entity } => {
                self.publish(entity, EventChange::Noop, self.truth[entity].version, false);
            }
            Op::Commit { entity } => self.commit(entity),
            Op::Deliver { again } => self.deliver(again),
            Op::Read { entity, accept } => self.read(entity, ACCEPTS[accept]),
            Op::Serve { fetch, max_age } => self.serve(fetch, max_age),
            Op::Complete { fetch } => self.complete(fetch),
            Op::Fail { fetch } if fetch < self.fetches.len() => self.fail(fetch),
            Op::Cancel { fetch } if fetch < self.fetches.len() => {
                let fetch = self.fetches.remove(fetch);
                self.state.unpin(&href(fetch.entity));
            }
            Op::Fail { .. } | Op::Cancel { .. } => {}
            Op::Beat if self.is_connected && self.brought == self.log.len() => {
                self.state.heartbeat(self.now);
            }
            Op::Beat => {}
            Op::Pass { seconds } => self.now += secs(seconds),
            Op::Disconnect => self.is_connected = false,
            Op::Resume => self.is_connected = true,
            // The cursor has expired: what was not brought never will be.
            Op::StartOver => {
                self.is_connected = true;
                self.brought = self.log.len();
                self.last.clear();
                self.state.reset();
                for truth in &mut self.truth {
                    (truth.told, truth.told_gone) = (truth.version, false);
                }
            }
            Op::Write { entity } => {
                self.commit(entity);
                let truth = &mut self.truth[entity];
                (truth.version, truth.is_gone) = (truth.version + 1, false);
                (truth.told, truth.told_gone) = (truth.version, false);
                self.publish(entity, EventChange::Update, self.truth[entity].version, false);
                self.state.wrote(&href(entity));
            }
        }
    }

    fn commit(&mut self, entity: usize) {
        let truth = &mut self.truth[entity];
        if let Some(version) = truth.pending.take() {
            (truth.version, truth.is_gone) = (version, false);
        }
    }

    fn deliver(&mut self, again: bool) {
        if !self.is_connected {
            return;
        }
        let next = if again {
            self.last.pop_front()
        } else {
            let next = self.log.get(self.brought).copied();
            self.brought += usize::from(next.is_some());
            self.last.extend(next);
            next
        };
        let Some(published) = next else { return };
        let tag = published.tell_tag.then(|| format!("\"{}-json\"", published.version));
        let href = href(published.entity);
        let Published { change, position, .. } = published;
        let told = Told { href: &href, change, position, tag: tag.as_deref(), lag: None };
        self.state.event(told, self.now);
        let truth = &mut self.truth[published.entity];
        if published.version > truth.told && change != EventChange::Noop && !published.early {
            truth.told = published.version;
            truth.told_gone = change == EventChange::Delete;
        }
    }

    /// Nobody is served from memory with less than the cache has been told of while events flow, and otherwise with
    /// nothing that is older than its lifetime.
    fn check(&mut self, entity: usize, served: &Served) {
        let evictions = self.state.figures.evictions;
        let truth = &self.truth[entity];
        if self.state.is_live(self.now) {
            // That we wrote is forgotten when there is no room.
            let forgot = evictions > 0;
            let is_tombstone = served.stored.body.is_empty();
            let is_right =
                if is_tombstone { truth.told_gone || forgot } else { version(&served.stored) >= truth.told };
            assert!(is_right, "served {served:?}, told {truth:?}");
        } else if served.source == Source::Hit {
            assert!(served.age < secs(8), "served {served:?}");
        }
    }

    fn read(&mut self, entity: usize, accept: &'static str) {
        let (href, headers) = (href(entity), asked(accept));
        match self.state.look(&Ask::new(&href, &headers), self.now, self.now) {
            Look::Fresh(served) => self.check(entity, &served),
            Look::Fetch(ticket) => {
                self.fetches.push(Fetch { entity, accept, ticket, answer: None });
            }
        }
    }

    fn serve(&mut self, fetch: usize, max_age: u64) {
        let Some(fetch) = self.fetches.get_mut(fetch).filter(|fetch| fetch.answer.is_none()) else { return };
        let truth = &self.truth[fetch.entity];
        let mut answer = fetched(truth.version, fetch.accept);
        if truth.is_gone {
            answer.stored = Stored { body: answer.stored.body, ..Stored::empty(StatusCode::NOT_FOUND) };
        } else if answer.stored.etag == fetch.ticket.etag {
            answer = not_modified(truth.version, fetch.accept);
        }
        answer.policy.lifetime = (max_age > 0).then(|| secs(max_age));
        fetch.answer = Some(answer);
    }

    fn complete(&mut self, index: usize) {
        if self.fetches.get(index).is_none_or(|fetch| fetch.answer.is_none()) {
            return;
        }
        let mut fetch = self.fetches.remove(index);
        let answer = fetch.answer.take().unwrap();
        let (href, headers) = (href(fetch.entity), asked(fetch.accept));
        match self.state.answered(&Ask::new(&href, &headers), fetch.ticket.clone(), answer, self.now) {
            Verdict::Serve(served) => assert_ne!(served.stored.status, StatusCode::NOT_MODIFIED),
            Verdict::AskLater(ticket) | Verdict::AskAnew(ticket) => {
                fetch.ticket = self.state.again(&href, ticket, self.now);
                self.fetches.push(fetch);
                return;
            }
        }
        self.state.unpin(&href);
    }

    fn fail(&mut self, index: usize) {
        let fetch = self.fetches.remove(index);
        let (href, headers) = (href(fetch.entity), asked(fetch.accept));
        if let Some(served) = self.state.stale(&Ask::new(&href, &headers), self.now) {
            assert_eq!(served.source, Source::Stale);
            self.check(fetch.entity, &served);
        }
        self.state.unpin(&href);
    }

    /// Everything is committed, brought, and fetched: every reader sees what is true.
    fn settle(&mut self) {
        while !self.fetches.is_empty() {
            self.run(&Op::Cancel { fetch: 0 });
        }
        self.run(&Op::Resume);
        for entity in 0..ENTITIES {
            self.commit(entity);
        }
        while self.brought < self.log.len() {
            self.deliver(false);
        }
        self.run(&Op::Beat);
        for entity in 0..ENTITIES {
            for accept in ACCEPTS {
                self.read(entity, accept);
                while let Some(fetch) = self.fetches.len().checked_sub(1) {
                    self.serve(fetch, 0);
                    self.complete(fetch);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_read_is_older_than_an_event_that_was_applied(
        ops in proptest::collection::vec(op(), 1..90),
        bytes_max in prop_oneof![Just(0_usize), Just(12_000), Just(1 << 20)],
    ) {
        let mut world = World::new(bytes_max);
        for op in &ops {
            world.run(op);
            let held: usize = world.state.entities.iter().map(|(href, entity)| {
                href.len() + ENTITY_BYTES + entity.variants.iter().map(Variant::cost).sum::<usize>()
            }).sum();
            prop_assert_eq!(held, world.state.bytes);
            let gone = world.state.entities.values().filter(|entity| entity.gone.is_some()).count();
            prop_assert_eq!(gone as u64, world.state.tombstones);
        }
        world.settle();
        prop_assert!(world.state.bytes <= bytes_max);
        // A change that is published too early may have been read too early twice: what outboxes are for.
        let early = |entity| world.log.iter().any(|published| published.early && published.entity == entity);
        let settled: Vec<usize> = (0..ENTITIES).filter(|entity| bytes_max == 1 << 20 && !early(*entity)).collect();
        for entity in settled {
            for accept in ACCEPTS {
                let (href, headers) = (href(entity), asked(accept));
                let served = world.state.hit(&Ask::new(&href, &headers), world.now, world.now).unwrap();
                let truth = &world.truth[entity];
                prop_assert_eq!(served.stored.is_absence(), truth.is_gone);
                prop_assert!(truth.is_gone || version(&served.stored) == truth.version);
            }
        }
    }
}
