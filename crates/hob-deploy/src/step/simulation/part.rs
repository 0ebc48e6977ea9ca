//! The parts around the core: nodes that fetch, start and stop in their own time, and routers that send requests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_core::{Digest, Histogram, Name, Timestamp};
use hob_wire::{
    InstanceReport, InstanceState, InstanceTraffic, Intended, IntendedInstance, NodeFacts, NodeReport,
    RouterReport, RoutingSnapshot,
};

/// xorshift64*, so that a seed tells the whole story.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    pub(super) fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// What is wrong with a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Its web never becomes ready.
    Web,
    /// Its worker never becomes ready.
    Worker,
    /// Its migration fails.
    Migration,
    /// It answers every request with an error.
    Answers,
}

/// A process on a node.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) process: Name,
    pub(super) release: u64,
    pub(super) ready_at: u64,
    /// It was told to stop, or does by itself, and ends then.
    pub(super) ends_at: Option<u64>,
    pub(super) once: bool,
}

/// A machine: its agent may be away, its instances stay.
pub(super) struct Node {
    pub(super) name: Name,
    pub(super) told: Arc<Intended>,
    pub(super) running: BTreeMap<String, Running>,
    /// Processes that run once and have ended, and whether well.
    ended: BTreeMap<String, bool>,
    /// Packages, and when they are here.
    fetched: BTreeMap<Digest, u64>,
    revision: u64,
    acts_at: u64,
    pub(super) away_until: u64,
    is_slow: bool,
}

impl Node {
    pub(super) fn new(name: &str, is_slow: bool) -> Self {
        Self {
            name: name.parse().unwrap(),
            told: Arc::default(),
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            fetched: BTreeMap::new(),
            revision: 0,
            acts_at: 0,
            away_until: 0,
            is_slow,
        }
    }

    /// The core knows nothing of what it told any more; after a reboot nothing runs.
    pub(super) fn forget(&mut self, is_reboot: bool) {
        self.told = Arc::default();
        self.revision = 0;
        if is_reboot {
            self.running.clear();
        }
    }

    pub(super) fn has(&self, package: &Digest, tick: u64) -> bool {
        self.fetched.get(package).is_some_and(|at| *at <= tick)
    }

    /// Processes end; then, unless the agent is away, it acts and says what it sees. Started instances are given back.
    pub(super) fn turn(
        &mut self,
        tick: u64,
        dice: &mut Dice,
        flaws: &BTreeMap<u64, Flaw>,
    ) -> (Option<NodeReport>, Vec<IntendedInstance>) {
        let mut ended = Vec::new();
        self.running.retain(|id, running| {
            let ends = running.ends_at.is_some_and(|ends| ends <= tick);
            if ends && running.once {
                ended.push((id.clone(), flaws.get(&running.release) != Some(&Flaw::Migration)));
            }
            !ends
        });
        self.ended.extend(ended);
        if tick < self.away_until {
            return (None, Vec::new());
        }
        let mut started = Vec::new();
        if tick >= self.acts_at {
            self.acts_at = tick + dice.below(4);
            started = self.reconcile(tick, dice, flaws);
        }
        (Some(self.report(tick)), started)
    }

    fn reconcile(
        &mut self,
        tick: u64,
        dice: &mut Dice,
        flaws: &BTreeMap<u64, Flaw>,
    ) -> Vec<IntendedInstance> {
        let told = Arc::clone(&self.told);
        self.revision = told.revision;
        if told.revision == 0 {
            return Vec::new();
        }
        let wanted: BTreeSet<&String> = told.instances.iter().map(|instance| &instance.id).collect();
        self.ended.retain(|id, _| wanted.contains(id));
        for (id, running) in &mut self.running {
            if !wanted.contains(id) && (running.ends_at.is_none() || running.once) {
                let ends = tick + dice.below(10);
                running.ends_at = Some(running.ends_at.map_or(ends, |at| at.min(ends)));
            }
        }
        let time = if self.is_slow { 60 } else { 10 };
        for package in told.packages.iter().chain(told.instances.iter().map(|instance| &instance.package)) {
            self.fetched.entry(*package).or_insert_with(|| tick + dice.below(time));
        }
        let mut started = Vec::new();
        for instance in &told.instances {
            let is_known = self.running.contains_key(&instance.id) || self.ended.contains_key(&instance.id);
            if is_known || !self.has(&instance.package, tick) {
                continue;
            }
            let flaw = flaws.get(&instance.release).copied();
            let is_broken = match instance.process.as_str() {
                "web" => flaw == Some(Flaw::Web),
                "worker" => flaw == Some(Flaw::Worker),
                _ => false,
            };
            let once = instance.once_ms.is_some();
            let running = Running {
                process: instance.process.clone(),
                release: instance.release,
                ready_at: if is_broken { u64::MAX } else { tick + dice.below(30) },
                ends_at: once.then(|| tick + 1 + dice.below(20)),
                once,
            };
            self.running.insert(instance.id.clone(), running);
            started.push(instance.clone());
        }
        started
    }

    fn report(&self, tick: u64) -> NodeReport {
        let runs = |(id, running): (&String, &Running)| InstanceReport {
            id: id.clone(),
            state: match running.ends_at {
                Some(_) if !running.once => InstanceState::Draining,
                None if tick >= running.ready_at => InstanceState::Ready,
                _ => InstanceState::Starting,
            },
            address: Some("127.0.0.1:1".to_owned()),
            pid: Some(1),
            ..InstanceReport::default()
        };
        let ended = |(id, well): (&String, &bool)| InstanceReport {
            id: id.clone(),
            state: if *well { InstanceState::Stopped } else { InstanceState::Failed },
            ..InstanceReport::default()
        };
        let instances = self.running.iter().map(runs).chain(self.ended.iter().map(ended)).collect();
        let packages = self.fetched.iter().filter(|(_, at)| **at <= tick).map(|(package, _)| *package);
        NodeReport {
            revision: self.revision,
            instances,
            packages: packages.collect(),
            facts: NodeFacts { version: "1".to_owned(), ..NodeFacts::default() },
            ..NodeReport::default()
        }
    }

    pub(super) fn is_up(&self, id: &str, tick: u64) -> bool {
        let running = self.running.get(id);
        running.is_some_and(|running| running.ends_at.is_none() && tick >= running.ready_at)
    }
}

/// A router with what it was last told and the requests that it has under way.
#[derive(Default)]
pub(super) struct Router {
    pub(super) snapshot: Arc<RoutingSnapshot>,
    pub(super) in_flight: BTreeMap<String, u64>,
    takes_in_at: u64,
    pub(super) away_until: u64,
}

impl Router {
    /// It is killed: its requests end with it, and it comes back knowing nothing.
    pub(super) fn crash(&mut self, until: u64) {
        *self = Self { away_until: until, ..Self::default() };
    }

    pub(super) fn turn(
        &mut self,
        tick: u64,
        newest: Option<&Arc<RoutingSnapshot>>,
        dice: &mut Dice,
        flaws: &BTreeMap<u64, Flaw>,
    ) -> Option<RouterReport> {
        if tick < self.away_until {
            return None;
        }
        if let Some(newest) = newest
            && self.snapshot.generation != newest.generation
            && tick >= self.takes_in_at
        {
            self.snapshot = Arc::clone(newest);
            self.takes_in_at = tick + dice.below(8);
        }
        self.in_flight.retain(|_, ends| *ends > tick);
        let mut traffic: BTreeMap<String, InstanceTraffic> = BTreeMap::new();
        for pool in self.snapshot.pools.values() {
            for target in &pool.targets {
                let requests = dice.below(4);
                if requests == 0 {
                    continue;
                }
                // Now and then a request outlasts the time to drain.
                let lasts = if dice.one_in(50) { 100 } else { dice.below(10) };
                let ends = self.in_flight.entry(target.instance.clone()).or_default();
                *ends = (*ends).max(tick + lasts);
                let mut latency = Histogram::default();
                latency.record_many(0.01 + dice.below(10) as f64 / 1000.0, requests);
                let fails = flaws.get(&target.release) == Some(&Flaw::Answers);
                let one = InstanceTraffic {
                    instance: target.instance.clone(),
                    service: pool.service.clone(),
                    scope: pool.scope.clone(),
                    release: target.release,
                    requests,
                    errors: if fails { requests } else { 0 },
                    in_flight: 0,
                    held: 0,
                    latency,
                    retried: 0,
                };
                traffic.insert(target.instance.clone(), one);
            }
        }
        Some(self.report(traffic))
    }

    fn report(&self, mut traffic: BTreeMap<String, InstanceTraffic>) -> RouterReport {
        for id in self.in_flight.keys() {
            let nothing = || InstanceTraffic {
                instance: id.clone(),
                service: "orders".parse().unwrap(),
                scope: "qa/uk".parse().unwrap(),
                release: 0,
                requests: 0,
                errors: 0,
                in_flight: 0,
                held: 0,
                latency: Histogram::default(),
                retried: 0,
            };
            traffic.entry(id.clone()).or_insert_with(nothing).in_flight = 1;
        }
        RouterReport {
            generation: self.snapshot.generation,
            from: Timestamp::EPOCH,
            to: Timestamp::EPOCH,
            instances: traffic.into_values().collect(),
            records_dropped: 0,
            ejected: Vec::new(),
            limited: Vec::new(),
            connections: 0,
            held: BTreeMap::new(),
        }
    }
}
