//! A subscription's life, simulated from seeds: whatever happens, nothing is skipped, reordered or forgotten.
//!
//! A model of the world knows what was published, what its consumers hold and what they settled. After every step the
//! promises are checked; in the end the consumers get well, and everything must have been delivered or be a dead letter.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::model::limits::LEASES_MAX;
use crate::rows::CursorRow;

/// Steps of one life.
const STEPS: usize = 300;
/// Entities that are written of; 0 stands for those of others.
const ENTITIES: u64 = 6;

/// SplitMix64: the same seed gives the same life.
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % limit
    }
}

struct World {
    chance: Chance,
    state: State,
    now: i64,
    /// The entity of each event, from sequence 1 on.
    log: Vec<u64>,
    /// What is on disk: the cursor, and the letters.
    saved: CursorRow,
    letters: BTreeSet<u64>,
    /// Leases as their holders know them: what they have not settled.
    held: BTreeMap<String, BTreeSet<u64>>,
    acked: BTreeSet<u64>,
    leases: usize,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut chance = Chance(seed);
        let order =
            [DeliveryOrder::Entity, DeliveryOrder::Strict, DeliveryOrder::None][chance.below(3) as usize];
        let on_poison = [OnPoison::DeadLetter, OnPoison::Block][chance.below(2) as usize];
        let terms =
            Terms { order, on_poison, attempts: 4, backoff_ms: vec![5_000, 20_000], ..Terms::default() };
        Self {
            chance,
            state: State::begin(0, terms),
            now: 0,
            log: Vec::new(),
            saved: CursorRow::new("x", (0, 0), std::iter::empty(), None),
            letters: BTreeSet::new(),
            held: BTreeMap::new(),
            acked: BTreeSet::new(),
            leases: 0,
        }
    }

    fn time(&self) -> Timestamp {
        Timestamp::from_micros(self.now * 1_000_000)
    }

    fn tell(&mut self, input: Input) -> Vec<Action> {
        let (state, actions) = step(std::mem::take(&mut self.state), input, self.time());
        self.state = state;
        actions
    }

    fn seen(&self, sequence: u64) -> Option<Seen> {
        let entity = *self.log.get(sequence as usize - 1)?;
        (entity != 0).then_some(Seen { sequence, entity, change: Some(Change::Update) })
    }

    /// What the shell does before it hands anything out.
    fn look(&mut self) {
        let unread = self.state.unread();
        if let Some(upto) = unread.last().copied() {
            let events = unread.iter().filter_map(|sequence| self.seen(*sequence)).collect();
            self.tell(Input::Recalled { events, upto, lost: 0 });
        }
        let from = self.state.looked + 1;
        let upto = (self.state.looked + self.chance.below(20)).min(self.log.len() as u64);
        let events = (from..=upto).filter_map(|sequence| self.seen(sequence)).collect();
        self.tell(Input::Looked { events, upto, lost: 0 });
    }

    /// A puller who keeps up gets all that comes next.
    fn run(&mut self) {
        self.tell(Input::Tick);
        let from = self.state.looked + 1;
        let upto = (self.state.looked + 1 + self.chance.below(8)).min(self.log.len() as u64);
        let all: Vec<Fresh> = (from..=upto)
            .filter_map(|sequence| self.seen(sequence))
            .map(|seen| Fresh { id: format!("e{}", seen.sequence), seen })
            .collect();
        if !self.state.may_run() || all.is_empty() {
            return self.lease();
        }
        self.leases += 1;
        let lease = format!("l{}", self.leases);
        let given: Vec<u64> = all.iter().map(|fresh| fresh.seen.sequence).collect();
        self.check_order(&given.iter().map(|sequence| Item::event(*sequence)).collect::<Vec<_>>());
        let expires = Timestamp::from_micros((self.now + 30) * 1_000_000);
        let own = 0..all.len();
        let input = Input::Run { lease: lease.clone(), all: all.into(), own, upto, expires };
        assert_eq!(self.tell(input), []);
        assert_eq!((self.state.in_flight(), self.state.done()), (given.len(), given[0] - 1));
        self.held.insert(lease, given.into_iter().collect());
    }

    /// Acknowledges all that is held under a lease.
    fn ack_all(&mut self) {
        let Some((lease, open)) = self.held.pop_first() else { return };
        let ack = AckInput { lease, upto: open.last().copied(), ..AckInput::default() };
        let actions = self.tell(Input::Ack(ack));
        if !actions.iter().any(|action| matches!(action, Action::Refuse(_))) {
            self.acked.extend(open);
        }
    }

    fn lease(&mut self) {
        self.look();
        self.tell(Input::Tick);
        let max = 1 + self.chance.below(6) as usize;
        let items = self.state.choose(max, self.time());
        if items.is_empty() {
            return;
        }
        self.check_order(&items);
        self.leases += 1;
        let lease = format!("l{}", self.leases);
        let named = items.iter().map(|item| (*item, format!("e{}", item.sequence))).collect();
        let expires = Timestamp::from_micros((self.now + 30) * 1_000_000);
        let actions = self.tell(Input::Lease { lease: lease.clone(), items: named, expires });
        assert!(!actions.iter().any(|action| matches!(action, Action::Refuse(_))));
        self.held.insert(lease, items.iter().map(|item| item.sequence).collect());
    }

    /// Nothing comes before an earlier event of its line, unless that is done, a dead letter, or right before it.
    fn check_order(&self, items: &[Item]) {
        let order = self.state.terms.order;
        let mut given = BTreeSet::new();
        for item in items.iter().filter(|item| item.kind == Kind::Event) {
            let entity = self.log[item.sequence as usize - 1];
            let is_before = |earlier: &u64| match order {
                DeliveryOrder::Entity => self.log[*earlier as usize - 1] == entity,
                DeliveryOrder::Strict => self.log[*earlier as usize - 1] != 0,
                DeliveryOrder::None => false,
            };
            for earlier in (1..item.sequence).filter(is_before) {
                let is_over = self.acked.contains(&earlier) || self.letters.contains(&earlier);
                assert!(is_over || given.contains(&earlier), "{} before {earlier}", item.sequence);
            }
            given.insert(item.sequence);
        }
    }

    fn settle(&mut self, heals: bool) {
        let Some(nth) = (!self.held.is_empty()).then(|| self.chance.below(self.held.len() as u64)) else {
            return;
        };
        let Some((lease, open)) = self.held.iter().nth(nth as usize).map(|(l, o)| (l.clone(), o.clone()))
        else {
            return;
        };
        let mut outcomes = Vec::new();
        for sequence in &open {
            let error =
                DeliveryError { time: self.time(), status: None, detail: String::new(), subject: None };
            let delay = [None, Some(Duration::from_secs(3))][self.chance.below(2) as usize];
            // Entity 1 fails most of the time.
            let fails = if self.log[*sequence as usize - 1] == 1 { 8 } else { 1 };
            match self.chance.below(10) {
                roll if roll < fails && !heals => {
                    outcomes.push((*sequence, Verdict::Failed { delay, error }))
                }
                8 if !heals => outcomes.push((*sequence, Verdict::Returned)),
                9 if !heals => {}
                _ => outcomes.push((*sequence, Verdict::Done)),
            }
        }
        let luck = self.chance.below(u64::MAX);
        let actions = self.tell(Input::Settle { lease: lease.clone(), outcomes: outcomes.clone(), luck });
        if actions.iter().any(|action| matches!(action, Action::Refuse(_))) {
            self.held.remove(&lease);
            return;
        }
        for (sequence, verdict) in outcomes {
            if let Some(open) = self.held.get_mut(&lease) {
                open.remove(&sequence);
            }
            if verdict == Verdict::Done {
                self.acked.insert(sequence);
            }
        }
        self.held.retain(|_, open| !open.is_empty());
    }

    fn save(&mut self) {
        let (burying, forgotten) = self.state.to_file();
        self.letters.extend(burying.iter().map(|(item, _)| item.sequence));
        forgotten.iter().for_each(|sequence| {
            self.letters.remove(sequence);
        });
        let buried = burying.into_iter().map(|(item, _)| item).collect();
        self.tell(Input::Filed { buried, forgotten });
        let progress = (self.state.done(), self.state.looked);
        self.saved = CursorRow::new("x", progress, self.state.pending(), None);
    }

    fn crash(&mut self) {
        let pending = self.saved.pending().unwrap();
        let state = State::resume(self.saved.looked, self.state.terms.clone(), pending);
        self.state = state.with_letters(self.letters.iter().copied());
        self.held.clear();
    }

    fn replay(&mut self) {
        let Some(sequence) = self.letters.iter().next().copied() else { return };
        let Some(seen) = self.seen(sequence) else { return };
        let error = DeliveryError { time: self.time(), status: None, detail: String::new(), subject: None };
        let now = self.time();
        let letter = Letter { sequence, attempts: 4, first_failed: now, last_failed: now, error };
        let done = self.state.done();
        self.tell(Input::Replay(vec![(seen, letter)]));
        assert_eq!(self.state.done(), done, "a replay never moves the cursor");
    }

    fn seek_back(&mut self) {
        let to = self.chance.below(self.state.done() + 1);
        self.tell(Input::Sought(to));
        self.acked = self.acked.range(..=to).copied().collect();
        self.letters = self.letters.range(..=to).copied().collect();
        self.state = std::mem::take(&mut self.state).with_letters(self.letters.iter().copied());
        self.held.clear();
        self.save();
    }

    fn step(&mut self) {
        match self.chance.below(40) {
            0..=9 => (0..=self.chance.below(4)).for_each(|_| {
                let entity = self.chance.below(ENTITIES);
                self.log.push(entity);
            }),
            10..=14 => self.lease(),
            15..=19 => self.run(),
            20..=25 => self.settle(false),
            26..=30 => self.ack_all(),
            31..=33 => self.now += self.chance.below(20) as i64,
            34..=35 => self.save(),
            36 => self.crash(),
            37 => self.replay(),
            38 => {
                let until = Timestamp::from_micros((self.now + self.chance.below(30) as i64) * 1_000_000);
                self.tell(Input::Halted(Some(Halt { until: Some(until), gone: None })));
            }
            _ if self.chance.below(8) == 0 => self.seek_back(),
            _ => {
                self.tell(Input::Respecified(self.state.terms.clone()));
                self.held.clear();
            }
        }
        self.check();
    }

    /// The cursor is never ahead of what is done, and never ahead of the log; what is pending is bounded.
    fn check(&self) {
        assert!(self.state.looked <= self.log.len() as u64);
        assert!(self.state.pending_events() <= PENDING_MAX);
        for sequence in (1..=self.state.done()).filter(|sequence| self.seen(*sequence).is_some()) {
            let is_over = self.acked.contains(&sequence) || self.letters.contains(&sequence);
            assert!(is_over, "the cursor passed {sequence}");
        }
        let saved: BTreeSet<u64> =
            self.saved.pending().unwrap().into_iter().map(|(sequence, _)| sequence).collect();
        for sequence in (1..=self.saved.looked).filter(|sequence| self.seen(*sequence).is_some()) {
            let is_over = self.acked.contains(&sequence) || self.letters.contains(&sequence);
            assert!(is_over || saved.contains(&sequence), "a crash would skip {sequence}");
        }
    }

    /// Consumers get well, and everything is delivered.
    fn end(&mut self) {
        for _ in 0..self.log.len() * 8 + 50 {
            self.now += 40;
            self.lease();
            (0..LEASES_MAX).for_each(|_| self.settle(true));
            self.save();
            self.check();
        }
        assert_eq!(
            self.state.done(),
            self.log.len() as u64,
            "{:?}",
            self.state.pending().collect::<Vec<_>>()
        );
    }
}

#[test]
fn nothing_is_skipped_reordered_or_forgotten() {
    for seed in 0..24 {
        let mut world = World::new(seed);
        let life = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            (0..STEPS).for_each(|_| world.step());
            world.end();
        }));
        assert!(life.is_ok(), "seed {seed}");
    }
}
