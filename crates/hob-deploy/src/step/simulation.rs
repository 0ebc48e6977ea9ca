//! Rollouts in a simulated world: an agent, routers and a core that are slow, are killed, and deploy what does not
//! work, all from one seed. The real books of nodes and routers stand between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Clock, Digest, Name, Timestamp};
use hob_wire::{InstanceReport, InstanceState, Intended, NodeReport, RolloutState, RoutingSnapshot, Service};
use proptest::prelude::*;

use crate::declare::tests::{declarations, service};
use crate::model::{Begin, Input, Plan, ReleaseRow};
use crate::rows::{DeclarationsRow, Rows};
use crate::step::rollback_target;
use crate::tokens::Tokens;
use crate::world::World;
use crate::{Config, ServiceScope, Timings};

const TICK_MS: u64 = 100;
/// Ticks in which things happen, and then ticks in which they must come to rest.
const BUSY_TICKS: u64 = 900;
const CALM_TICKS: u64 = 900;

fn text(is_exclusive_web: bool) -> String {
    let (strategy, replicas) = if is_exclusive_web { ("stop_then_start", 1) } else { ("blue_green", 2) };
    format!(
        "service: orders
kind: domain
package: {{include: [bin]}}
processes:
  web: {{run: [bin/web], port: http, replicas: {replicas}, strategy: {strategy}}}
  worker: {{run: [bin/worker], strategy: stop_then_start}}
routes: [{{path: /orders}}]
"
    )
}

/// xorshift64*, so that a seed tells the whole story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

/// A process on the node.
#[derive(Debug)]
struct Running {
    process: Name,
    release: u64,
    ready_at: u64,
    /// It was told to stop and does so then.
    ends_at: Option<u64>,
}

#[derive(Default)]
struct SimulatedRouter {
    snapshot: Arc<RoutingSnapshot>,
    in_flight: BTreeMap<String, u64>,
    takes_in_at: u64,
}

struct Simulation {
    dice: Dice,
    tick: u64,
    epoch: u64,
    config: Config,
    tokens: Tokens,
    home: ServiceScope,
    descriptor: Service,
    world: World,
    told: Arc<Intended>,
    agent_at: u64,
    revision: u64,
    running: BTreeMap<String, Running>,
    routers: Vec<SimulatedRouter>,
    /// Releases whose web, or whose worker, never becomes ready.
    broken: BTreeMap<u64, &'static str>,
    /// By instance: the latest time at which it may have to go whatever happens.
    deadlines: BTreeMap<String, Timestamp>,
    /// Whether every router has sent requests to a full set of ready instances, and nothing since took them away.
    was_full: bool,
    has_crashed: bool,
    data: tempfile::TempDir,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed | 1);
        let data = tempfile::tempdir().unwrap();
        let (clock, _) = Clock::manual(Timestamp::EPOCH);
        let timings = Timings {
            ready: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            standby: Duration::from_secs(20),
        };
        let config = Config {
            api_url: String::new(),
            router_url: String::new(),
            data: data.path().to_owned(),
            ca_file: None,
            clock,
            timings,
        };
        let text = text(dice.one_in(4));
        let declarations = Arc::new(declarations(&[&text]));
        let rows =
            Rows { declarations: Some(DeclarationsRow { revision: 1, declarations }), ..Rows::default() };
        let routers = (0..dice.below(3)).map(|_| SimulatedRouter::default()).collect();
        Self {
            tokens: Tokens::open(data.path()).unwrap(),
            home: ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() },
            descriptor: service(&text),
            world: World::new(rows, 1 << 32, &timings, Timestamp::EPOCH),
            dice,
            tick: 0,
            epoch: 1,
            config,
            told: Arc::default(),
            agent_at: 0,
            revision: 0,
            running: BTreeMap::new(),
            routers,
            broken: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            was_full: false,
            has_crashed: false,
            data,
        }
    }

    fn replicas(&self) -> usize {
        self.descriptor.processes.values().next().map_or(0, |web| web.replicas as usize)
    }

    fn now(&self) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_millis(self.tick * TICK_MS))
    }

    fn run(&mut self) {
        for _ in 0..BUSY_TICKS {
            match self.dice.below(120) {
                0 | 1 => self.deploy(),
                2 => self.rollback(),
                3 if self.dice.one_in(4) => self.crash(),
                _ => {}
            }
            self.turn();
        }
        for _ in 0..CALM_TICKS {
            self.turn();
        }
        self.check_rest();
    }

    fn turn(&mut self) {
        self.tick += 1;
        self.run_agent();
        self.run_routers();
        self.converge();
        self.check_workers();
        self.check_capacity();
    }

    /// The loop of the core. A kill between any two steps loses what was not stored: nothing.
    fn converge(&mut self) {
        let now = self.now();
        self.derive();
        for _ in 0..16 {
            if self.dice.one_in(200) {
                return;
            }
            let facts = self.world.facts(&self.home, now);
            let decided = self.world.decide(&self.home, Input::Observe(&facts), &self.config.timings, now);
            let Some((state, _)) = decided else { break };
            for member in state.sets.values().flat_map(|set| &set.members) {
                match member.leaving {
                    Some(until) => self.deadlines.insert(member.id.clone(), until),
                    None => self.deadlines.remove(&member.id),
                };
            }
            self.world.accept(&self.home.clone(), state);
            self.derive();
        }
    }

    fn derive(&mut self) {
        let now = self.now();
        self.world.derive(&self.config, &self.tokens, now);
        let intended = self.world.nodes.intended().next().map(|(_, intended)| Arc::clone(intended));
        let Some(intended) = intended.filter(|next| next.revision != self.told.revision) else { return };
        for gone in
            self.told.instances.iter().filter(|old| intended.instances.iter().all(|new| new.id != old.id))
        {
            self.check_release_of(&gone.id);
        }
        self.told = intended;
    }

    fn input(&mut self, make: impl FnOnce(Begin, Plan) -> Input<'static>, to: u64) {
        let rollout = Begin { id: format!("rollout-{}-{to}", self.tick), home: self.home.clone(), to };
        let input = make(rollout, Plan::of(&self.descriptor));
        let now = self.now();
        if let Some((state, _)) = self.world.decide(&self.home, input, &self.config.timings, now) {
            self.world.accept(&self.home.clone(), state);
            self.derive();
        }
    }

    fn deploy(&mut self) {
        let releases = self.world.rows.releases.entry(self.home.clone()).or_default();
        let number = releases.len() as u64 + 1;
        let row = ReleaseRow {
            number,
            package: Digest::of(b"package"),
            config: Digest::of(b"config"),
            git: None,
            created: Timestamp::EPOCH,
            descriptor: self.descriptor.clone(),
            env: BTreeMap::new(),
        };
        releases.insert(number, Arc::new(row));
        match self.dice.below(6) {
            0 => drop(self.broken.insert(number, "web")),
            1 => drop(self.broken.insert(number, "worker")),
            _ => {}
        }
        self.input(|rollout, plan| Input::Deploy { rollout, plan }, number);
    }

    fn rollback(&mut self) {
        let state = self.world.rows.states.get(&self.home).cloned().unwrap_or_default();
        if let Some(to) = rollback_target(&state) {
            self.input(|rollout, plan| Input::Rollback { rollout, plan }, to);
        }
    }

    /// The core is killed, and its instances die with it or (with a shim, one day) do not.
    fn crash(&mut self) {
        self.has_crashed = true;
        self.epoch += 1;
        let rows = std::mem::take(&mut self.world.rows);
        self.world = World::new(rows, self.epoch << 32, &self.config.timings, self.now());
        self.told = Arc::default();
        self.revision = 0;
        if self.dice.one_in(2) {
            self.running.clear();
            self.was_full = false;
        }
    }

    fn run_agent(&mut self) {
        let tick = self.tick;
        self.running.retain(|_, running| running.ends_at.is_none_or(|ends| ends > tick));
        if tick >= self.agent_at {
            self.agent_at = tick + self.dice.below(4);
            self.reconcile();
        }
        let node: Name = "local".parse().unwrap();
        let report = |(id, running): (&String, &Running)| InstanceReport {
            id: id.clone(),
            state: match running.ends_at {
                Some(_) => InstanceState::Draining,
                None if tick >= running.ready_at => InstanceState::Ready,
                None => InstanceState::Starting,
            },
            address: Some("127.0.0.1:1".to_owned()),
            pid: Some(1),
            ..InstanceReport::default()
        };
        let instances = self.running.iter().map(report).collect();
        let report = NodeReport { revision: self.revision, instances, ..NodeReport::default() };
        let now = self.now();
        self.world.nodes.report(&node, report, now);
    }

    fn reconcile(&mut self) {
        let told = Arc::clone(&self.told);
        self.revision = told.revision;
        let wanted: BTreeSet<&String> = told.instances.iter().map(|instance| &instance.id).collect();
        if told.revision == 0 {
            return;
        }
        for (id, running) in &mut self.running {
            if !wanted.contains(id) && running.ends_at.is_none() {
                running.ends_at = Some(self.tick + self.dice.below(10));
            }
        }
        for instance in &told.instances {
            if self.running.contains_key(&instance.id) {
                continue;
            }
            let is_broken = self.broken.get(&instance.release) == Some(&instance.process.as_str());
            let ready_at = if is_broken { u64::MAX } else { self.tick + self.dice.below(30) };
            let (process, release) = (instance.process.clone(), instance.release);
            self.running.insert(instance.id.clone(), Running { process, release, ready_at, ends_at: None });
        }
    }

    fn run_routers(&mut self) {
        let newest = self.world.routers.snapshot();
        let now = self.now();
        for (index, router) in self.routers.iter_mut().enumerate() {
            if router.snapshot.generation != newest.generation && self.tick >= router.takes_in_at {
                router.snapshot = Arc::clone(&newest);
                router.takes_in_at = self.tick + self.dice.below(8);
            }
            router.in_flight.retain(|_, ends| *ends > self.tick);
            let targets = router.snapshot.pools.values().flat_map(|pool| &pool.targets);
            for target in targets {
                if self.dice.below(4) > 0 {
                    continue;
                }
                // Now and then a request outlasts the time to drain.
                let lasts = if self.dice.one_in(50) { 100 } else { self.dice.below(10) };
                let ends = router.in_flight.entry(target.instance.clone()).or_default();
                *ends = (*ends).max(self.tick + lasts);
            }
            let in_flight = router.in_flight.keys().map(|id| (id.clone(), 1)).collect();
            let name = format!("router-{index}").parse().unwrap();
            self.world.routers.report(name, router.snapshot.generation, in_flight, now);
        }
    }

    /// An instance may be told to stop only when no router can send it anything and nothing of its is in flight, or
    /// when its time to drain is up.
    fn check_release_of(&self, id: &str) {
        let is_late = self.deadlines.get(id).is_some_and(|until| self.now() >= *until);
        for router in &self.routers {
            let mut targets = router.snapshot.pools.values().flat_map(|pool| &pool.targets);
            let is_routed = targets.any(|target| target.instance == id);
            let has_requests = router.in_flight.contains_key(id);
            assert!(is_late || !is_routed, "{id} is told to stop while a router sends it requests");
            assert!(is_late || !has_requests, "{id} is told to stop while a request is in flight");
        }
    }

    fn check_workers(&self) {
        for process in self.descriptor.processes.keys() {
            let is_exclusive = Plan::of(&self.descriptor).is_exclusive(process);
            let of_process = self.running.values().filter(|running| running.process == *process);
            let releases: BTreeSet<u64> = of_process.map(|running| running.release).collect();
            assert!(!is_exclusive || releases.len() <= 1, "{process} runs of releases {releases:?} at once");
        }
    }

    /// Once every router has a full set of ready instances, it keeps one through every deploy and rollback.
    fn check_capacity(&mut self) {
        if Plan::of(&self.descriptor).is_exclusive(&"web".parse().unwrap()) || self.routers.is_empty() {
            return;
        }
        let is_up = |id: &str| {
            self.running
                .get(id)
                .is_some_and(|running| running.ends_at.is_none() && self.tick >= running.ready_at)
        };
        let ready = |router: &SimulatedRouter| {
            let targets = router.snapshot.pools.values().flat_map(|pool| &pool.targets);
            targets.filter(|target| is_up(&target.instance)).count()
        };
        let least = self.routers.iter().map(ready).min().unwrap_or(0);
        // A core that starts anew knows nothing of instances until their agent reports: routers keep what they have
        // while it is away, and this simulated router does not.
        if self.has_crashed {
            return;
        }
        let wanted = self.replicas();
        assert!(!self.was_full || least >= wanted, "only {least} of {wanted} are left for some router");
        self.was_full |= least >= wanted;
    }

    /// In the end there is one release in use, whole, alone, and the newest rollout says what became of it.
    fn check_rest(&self) {
        let Some(state) = self.world.rows.states.get(&self.home) else { return };
        assert_eq!(state.active, None, "the rollout still goes on: {:?}", state.rollouts.last());
        let newest = state.rollouts.last().unwrap();
        assert!(matches!(newest.state, RolloutState::Complete | RolloutState::Failed), "{newest:?}");
        let of_routed = self.running.values().filter(|running| Some(running.release) == state.routed).count();
        let expected = if state.routed.is_some() { self.replicas() + 1 } else { 0 };
        assert_eq!((of_routed, self.running.len()), (expected, expected), "{state:?}");
        if newest.state == RolloutState::Complete {
            assert_eq!(state.routed, Some(newest.to));
        }
        assert!(self.data.path().try_exists().unwrap());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rollouts_lose_no_capacity_and_come_to_rest(seed in any::<u64>()) {
        Simulation::new(seed).run();
    }
}
