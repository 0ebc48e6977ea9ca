//! Rollouts in a simulated world: nodes, routers and a core that are slow and are killed, and releases that do not
//! work, all from one seed. The real books of nodes and routers stand between them.

mod part;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Clock, Digest, Name, Timestamp};
use hob_wire::{IntendedInstance, RolloutState, RoutingSnapshot, Service, Wanted};
use proptest::prelude::*;

use self::part::{Dice, Flaw, Node, Router};
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
const CALM_TICKS: u64 = 1500;

/// A service whose web may or may not overlap, with or without a migration, steps, gates, a bake and a surge.
fn text(dice: &mut Dice) -> String {
    let is_exclusive = dice.one_in(4);
    let (strategy, replicas) = if is_exclusive { ("stop_then_start", 1) } else { ("blue_green", 2) };
    let migrate = match dice.below(3) {
        0 => "\n  migrate: {run: [bin/migrate], when: pre_release, timeout: 5s}",
        _ => "",
    };
    let mut release = "release: {standby: 20s, deadline: 40s".to_owned();
    if !is_exclusive && dice.one_in(2) {
        release.push_str(", steps: [{weight: 10, for: 1s}, {weight: 50, for: 2s}]");
        release.push_str(", gates: [{rule: http_error_ratio, max: 5%, min_requests: 20}");
        if dice.one_in(2) {
            release.push_str(", {compare: http_latency, tolerance: 50%, min_requests: 20}");
        }
        release.push(']');
    }
    if dice.one_in(2) {
        release.push_str(", bake: 2s");
    }
    if dice.one_in(2) {
        release.push_str(", surge: 1");
    }
    format!(
        "service: orders
kind: domain
package: {{include: [bin]}}
processes:
  web: {{run: [bin/web], port: http, replicas: {replicas}, strategy: {strategy}}}
  worker: {{run: [bin/worker], strategy: stop_then_start}}{migrate}
routes: [{{path: /orders}}]
drain: {{inflight: 5s, websockets: {{spread: 1s}}}}
warmup: {{slow_start: 1s, max: 1s}}
{release}}}
"
    )
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
    /// What the core's stream of routes gave out last; none after it began anew.
    published: Option<Arc<RoutingSnapshot>>,
    nodes: Vec<Node>,
    routers: Vec<Router>,
    flaws: BTreeMap<u64, Flaw>,
    /// Releases whose migration ran to its end.
    migrated: BTreeSet<u64>,
    /// By instance: the latest time at which it may have to go whatever happens.
    deadlines: BTreeMap<String, Timestamp>,
    /// Whether every router has sent requests to a full set of ready instances, and nothing since took them away.
    was_full: bool,
    has_crashed: bool,
    /// Rollouts that somebody sent on although their gates saw too little.
    resumed: BTreeSet<String>,
    data: tempfile::TempDir,
}

impl Simulation {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed | 1);
        let data = tempfile::tempdir().unwrap();
        let (clock, _) = Clock::manual(Timestamp::EPOCH);
        let ten = Duration::from_secs(10);
        let timings = Timings { fetch: ten, ready: ten, route: ten };
        let (api_url, router_url) = (String::new(), String::new());
        let config =
            Config { api_url, router_url, data: data.path().to_owned(), ca_file: None, clock, timings };
        let text = text(&mut dice);
        let declarations = Arc::new(declarations(&[&text]));
        let rows =
            Rows { declarations: Some(DeclarationsRow { revision: 1, declarations }), ..Rows::default() };
        let nodes = (0..=dice.below(3)).map(|count| Node::new(&format!("node-{count}"), dice.one_in(3)));
        let nodes = nodes.collect();
        let routers = (0..dice.below(3)).map(|_| Router::default()).collect();
        Self {
            tokens: Tokens::open(data.path()).unwrap(),
            home: ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() },
            descriptor: service(&text),
            world: World::new(rows, 1 << 32, &timings, Timestamp::EPOCH),
            dice,
            tick: 0,
            epoch: 1,
            config,
            published: None,
            nodes,
            routers,
            flaws: BTreeMap::new(),
            migrated: BTreeSet::new(),
            deadlines: BTreeMap::new(),
            was_full: false,
            has_crashed: false,
            resumed: BTreeSet::new(),
            data,
        }
    }

    fn plan(&self) -> Plan {
        Plan::of(&self.descriptor, Digest::of(b"package"))
    }

    fn replicas(&self) -> usize {
        let web = self.descriptor.processes.iter().find(|(name, _)| name.as_str() == "web");
        web.map_or(0, |(_, web)| web.replicas as usize)
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
                4 if self.dice.one_in(2) => self.crash_agent(),
                5 if self.dice.one_in(4) => self.crash_router(),
                6 => self.order(),
                _ => {}
            }
            self.turn();
        }
        for tick in 0..CALM_TICKS {
            if tick % 100 == 0 {
                self.order_of(Wanted::Resume);
            }
            self.turn();
        }
        self.check_rest();
    }

    fn turn(&mut self) {
        self.tick += 1;
        self.run_nodes();
        self.run_routers();
        self.converge();
        self.check_single();
        self.check_capacity();
        self.check_gates();
        self.check_shares();
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
        if self.world.derive(&self.config, &self.tokens, now) {
            self.published = Some(self.world.routers.snapshot());
        }
        for index in 0..self.nodes.len() {
            let name = self.nodes[index].name.clone();
            let intended = self.world.nodes.intended().find(|(node, _)| **node == name);
            let Some(intended) = intended.map(|(_, intended)| Arc::clone(intended)) else { continue };
            let told = Arc::clone(&self.nodes[index].told);
            if intended.revision == told.revision {
                continue;
            }
            let stays = |id: &str| intended.instances.iter().any(|new| new.id == id);
            for gone in told.instances.iter().filter(|old| old.once_ms.is_none() && !stays(&old.id)) {
                self.check_release_of(&gone.id);
            }
            self.nodes[index].told = intended;
        }
    }

    fn input(&mut self, input: Input<'_>) {
        let now = self.now();
        if let Some((state, _)) = self.world.decide(&self.home, input, &self.config.timings, now) {
            self.world.accept(&self.home.clone(), state);
            self.derive();
        }
    }

    fn begin(&self, to: u64) -> Begin {
        let id = format!("rollout-{}-{to}", self.tick);
        Begin { id, home: self.home.clone(), to, changes: Vec::new() }
    }

    fn deploy(&mut self) {
        let releases = self.world.rows.releases.entry(self.home.clone()).or_default();
        let number = releases.len() as u64 + 1;
        let package = Digest::of(format!("package {number}").as_bytes());
        let row = ReleaseRow {
            number,
            package,
            config: Digest::of(b"config"),
            git: None,
            created: Timestamp::EPOCH,
            descriptor: self.descriptor.clone(),
            env: BTreeMap::new(),
            promoted_from: None,
        };
        releases.insert(number, Arc::new(row));
        let flaw = match self.dice.below(8) {
            0 => Some(Flaw::Web),
            1 => Some(Flaw::Worker),
            2 => Some(Flaw::Migration),
            3 => Some(Flaw::Answers),
            _ => None,
        };
        self.flaws.extend(flaw.map(|flaw| (number, flaw)));
        let (rollout, plan) = (self.begin(number), Plan::of(&self.descriptor, package));
        self.input(Input::Deploy { rollout, plan });
    }

    fn rollback(&mut self) {
        let state = self.world.rows.states.get(&self.home).cloned().unwrap_or_default();
        if let Some(to) = rollback_target(&state) {
            let (rollout, plan) = (self.begin(to), self.plan());
            self.input(Input::Rollback { rollout, plan });
        }
    }

    fn order(&mut self) {
        let wanted = match self.dice.below(4) {
            0 => Wanted::Abort,
            1 | 2 => Wanted::Hold,
            _ => Wanted::Resume,
        };
        self.order_of(wanted);
    }

    fn order_of(&mut self, wanted: Wanted) {
        let state = self.world.rows.states.get(&self.home).cloned().unwrap_or_default();
        let newest = state.rollouts.last().filter(|_| state.active.is_some());
        let Some(newest) = newest.filter(|newest| !crate::step::is_past_orders(newest.state)) else { return };
        if wanted == Wanted::Resume && newest.state == RolloutState::Holding {
            self.resumed.insert(newest.id.clone());
        }
        self.input(Input::Order { wanted, by: "ann" });
    }

    /// The core is killed. Its instances belong to their shims and live on, unless the machine goes down too.
    fn crash(&mut self) {
        self.has_crashed = true;
        self.epoch += 1;
        let rows = std::mem::take(&mut self.world.rows);
        self.world = World::new(rows, self.epoch << 32, &self.config.timings, self.now());
        self.published = None;
        let is_reboot = self.dice.one_in(3);
        self.nodes.iter_mut().for_each(|node| node.forget(is_reboot));
        self.was_full &= !is_reboot;
        self.derive();
        // Agents find the new core in their own time.
        for node in &mut self.nodes {
            node.away_until = node.away_until.max(self.tick + self.dice.below(30));
        }
    }

    /// An agent is killed and comes back within its lease.
    fn crash_agent(&mut self) {
        if self.tick == 0 {
            return; // Nobody has heard of the node yet: it would be none.
        }
        let index = self.dice.below(self.nodes.len() as u64) as usize;
        self.nodes[index].away_until = self.tick + self.dice.below(60);
    }

    fn crash_router(&mut self) {
        if !self.routers.is_empty() {
            let index = self.dice.below(self.routers.len() as u64) as usize;
            let until = self.tick + self.dice.below(150);
            self.routers[index].crash(until);
            self.was_full = false;
        }
    }

    fn run_nodes(&mut self) {
        let now = self.now();
        for index in 0..self.nodes.len() {
            let node = &mut self.nodes[index];
            let (report, started) = node.turn(self.tick, &mut self.dice, &self.flaws);
            let name = node.name.clone();
            if let Some(report) = report {
                self.world.nodes.report(&name, report, now);
            }
            started.iter().for_each(|instance| self.check_start(instance));
        }
    }

    fn run_routers(&mut self) {
        let now = self.now();
        for (index, router) in self.routers.iter_mut().enumerate() {
            let report = router.turn(self.tick, self.published.as_ref(), &mut self.dice, &self.flaws);
            let Some(report) = report else { continue };
            self.world.traffic.report(&report);
            let name = format!("router-{index}").parse().unwrap();
            self.world.routers.report(name, report, now);
        }
    }

    /// Nothing of a release starts before every node has its package and its migration has ended well.
    fn check_start(&mut self, instance: &IntendedInstance) {
        let release = instance.release;
        if !self.has_crashed {
            let has_all = self.nodes.iter().all(|node| node.has(&instance.package, self.tick));
            assert!(has_all, "{} starts before every node has its package", instance.id);
        }
        if instance.once_ms.is_some() {
            self.migrated.insert(release);
        } else if self.plan().has_once() {
            assert!(self.migrated.contains(&release), "{} starts before its migration", instance.id);
            let failed = self.flaws.get(&release) == Some(&Flaw::Migration);
            assert!(!failed, "{} starts although its migration failed", instance.id);
            let mut running = self.nodes.iter().flat_map(|node| node.running.values());
            let still = running.any(|running| running.once && running.release == release);
            assert!(!still, "{} starts while its migration runs", instance.id);
        }
    }

    /// An instance may be told to stop only when no router can send it anything and nothing of its is in flight, or
    /// when its time to drain is up.
    fn check_release_of(&self, id: &str) {
        let is_late = self.deadlines.get(id).is_some_and(|until| self.now() >= *until);
        for router in self.routers.iter().filter(|router| self.tick >= router.away_until) {
            let mut targets = router.snapshot.pools.values().flat_map(|pool| &pool.targets);
            let is_routed = targets.any(|target| target.instance == id);
            let has_requests = router.in_flight.contains_key(id);
            assert!(is_late || !is_routed, "{id} is told to stop while a router sends it requests");
            assert!(is_late || !has_requests, "{id} is told to stop while a request is in flight");
        }
    }

    /// Workers of two releases never run at once, and never two migrations.
    fn check_single(&self) {
        let plan = self.plan();
        for process in self.descriptor.processes.keys().filter(|process| plan.is_single(process)) {
            let running = self.nodes.iter().flat_map(|node| node.running.values());
            let of_process = running.filter(|running| running.process == *process);
            let releases: Vec<u64> = of_process.map(|running| running.release).collect();
            assert!(releases.len() <= 1, "{process} runs of releases {releases:?} at once");
        }
    }

    /// Once every router has a full set of ready instances, it keeps one through every deploy, rollback and restart of
    /// the core.
    fn check_capacity(&mut self) {
        let web: Name = "web".parse().unwrap();
        let routers: Vec<&Router> = self.routers.iter().filter(|r| self.tick >= r.away_until).collect();
        if self.plan().is_exclusive(&web) || routers.is_empty() {
            return;
        }
        let is_up = |id: &str| self.nodes.iter().any(|node| node.is_up(id, self.tick));
        let ready = |router: &&Router| {
            let targets = router.snapshot.pools.values().flat_map(|pool| &pool.targets);
            targets.filter(|target| is_up(&target.instance)).count()
        };
        let least = routers.iter().map(ready).min().unwrap_or(0);
        let wanted = self.replicas();
        assert!(!self.was_full || least >= wanted, "only {least} of {wanted} are left for some router");
        self.was_full |= least >= wanted && routers.len() == self.routers.len();
    }

    /// The routers are told of a share exactly while a step gives one.
    fn check_shares(&self) {
        let (Some(snapshot), Some(state)) = (&self.published, self.world.rows.states.get(&self.home)) else {
            return;
        };
        let active = state.active.as_ref();
        let plan = active.and_then(|active| Some(&state.sets.get(&active.to)?.plan));
        let step = active.zip(plan).and_then(|(active, plan)| active.present_share(plan));
        for pool in snapshot.pools.values() {
            let told: Vec<(u64, Option<u8>)> = pool.shares.iter().map(|s| (s.release, s.weight)).collect();
            let due = step.zip(active).map(|(step, active)| (active.to, step.weight));
            assert_eq!(told, due.into_iter().collect::<Vec<_>>());
        }
    }

    /// A release that answers with errors only does not get past gates that are held.
    fn check_gates(&self) {
        if self.descriptor.release.gates.is_empty() {
            return;
        }
        let Some(state) = self.world.rows.states.get(&self.home) else { return };
        let through = state.rollouts.iter().find(|rollout| {
            let is_bad = self.flaws.get(&rollout.to) == Some(&Flaw::Answers);
            let is_judged =
                rollout.from.is_some() && !rollout.rollback && !self.resumed.contains(&rollout.id);
            is_bad && is_judged && rollout.state == RolloutState::Complete
        });
        assert!(through.is_none(), "a release that only fails got through: {through:?}");
    }

    /// In the end there is one release in use, whole, alone, and the newest rollout says what became of it.
    fn check_rest(&self) {
        let Some(state) = self.world.rows.states.get(&self.home) else { return };
        assert_eq!(state.active, None, "the rollout still goes on: {:?}", state.rollouts.last());
        let Some(newest) = state.rollouts.last() else { return };
        assert!(matches!(newest.state, RolloutState::Complete | RolloutState::Failed), "{newest:?}");
        let running: Vec<u64> =
            self.nodes.iter().flat_map(|node| node.running.values()).map(|running| running.release).collect();
        let of_routed = running.iter().filter(|release| Some(**release) == state.routed).count();
        let expected = if state.routed.is_some() { self.replicas() + 1 } else { 0 };
        assert_eq!((of_routed, running.len()), (expected, expected), "{state:?}");
        if newest.state == RolloutState::Complete {
            assert_eq!(state.routed, Some(newest.to));
        }
        assert!(self.data.path().try_exists().unwrap());
    }
}

/// A world in which something never happens proves nothing about it.
#[test]
fn these_seeds_meet_every_state() {
    let mut met = BTreeSet::new();
    for seed in 1..=12 {
        let mut simulation = Simulation::new(seed * 7919);
        simulation.run();
        let states = simulation.world.rows.states.values();
        let rollouts = states.flat_map(|state| &state.rollouts);
        met.extend(rollouts.flat_map(|rollout| &rollout.steps).map(|step| format!("{:?}", step.state)));
        met.extend(rollouts_with_evidence(&simulation));
    }
    for state in [
        "Queued",
        "Prefetching",
        "PreRelease",
        "Starting",
        "Stepping",
        "Holding",
        "Routing",
        "Baking",
        "Draining",
        "Reverting",
        "Complete",
        "Failed",
        "Superseded",
        "Pass",
        "Fail",
        "NoData",
    ] {
        assert!(met.contains(state), "no rollout was ever {state}: {met:?}");
    }
}

fn rollouts_with_evidence(simulation: &Simulation) -> Vec<String> {
    let rollouts = simulation.world.rows.states.values().flat_map(|state| &state.rollouts);
    rollouts.flat_map(|rollout| &rollout.gates).map(|gate| format!("{:?}", gate.verdict)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, max_shrink_iters: 0, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rollouts_lose_no_capacity_and_come_to_rest(seed in any::<u64>()) {
        Simulation::new(seed).run();
    }
}
