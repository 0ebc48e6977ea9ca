//! Single walks of the rollout machine, told step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Digest, Histogram, Timestamp};
use hob_wire::{InstanceState, ReleaseState, RolloutState, Verdict, Wanted};

use super::{rollback_target, step};
use crate::ServiceScope;
use crate::declare::tests::service;
use crate::model::{Begin, Fact, Facts, Input, Plan, Stage, State};
use crate::step::Action;
use crate::traffic::Tally;

const ORDERS: &str = "service: orders
kind: domain
package: {include: [bin]}
processes:
  web: {run: [bin/web], port: http, replicas: 2}
  worker: {run: [bin/worker], strategy: stop_then_start}
routes: [{path: /orders}]
drain: {inflight: 30s}
";

/// What a release is compared by, when it is.
const GATED: &str = "release:
  steps: [{weight: 5, for: 1m}, {headers: {x-canary: always}, weight: 50, for: 1m}]
  gates: [{rule: http_error_ratio, max: 1%}, {compare: http_latency, tolerance: 25%}]
  bake: 5m
";

/// A service with two web instances and a worker, in a world in which everything is as told.
struct Walk {
    text: String,
    state: State,
    now: Timestamp,
    acknowledged: bool,
    /// Instances of this release never become ready, for this reason.
    broken: Option<(u64, &'static str)>,
    /// What keeps a node from having the package.
    lacking: Option<&'static str>,
    /// How a process that runs once stands.
    once: InstanceState,
    /// Requests, errors and milliseconds of each new instance, and of each other.
    traffic: [(u64, u64, f64); 2],
    /// Since when another tenant runs the package, if it does.
    elsewhere: Option<Timestamp>,
    told: Vec<Action>,
    count: u32,
}

impl Walk {
    fn new() -> Self {
        Self::of(ORDERS)
    }

    fn of(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            state: State::default(),
            now: Timestamp::EPOCH,
            acknowledged: true,
            broken: None,
            lacking: None,
            once: InstanceState::Stopped,
            traffic: [(0, 0, 10.0); 2],
            elsewhere: None,
            told: Vec::new(),
            count: 0,
        }
    }

    fn begin(&mut self, to: u64, make: impl FnOnce(Begin, Plan) -> Input<'static>) {
        self.count += 1;
        let home = ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() };
        let rollout = Begin { id: format!("rollout-{}", self.count), home, to, changes: Vec::new() };
        let plan = Plan::of(&service(&self.text), Digest::of(&to.to_be_bytes()));
        self.take(make(rollout, plan));
    }

    fn take(&mut self, input: Input<'_>) -> bool {
        let before = self.state.clone();
        let (next, actions) = step(before.clone(), input, &crate::Timings::default(), self.now);
        self.state = next;
        self.told.extend(actions);
        self.state != before
    }

    fn deploy(&mut self, to: u64) {
        self.begin(to, |rollout, plan| Input::Deploy { rollout, plan });
    }

    fn rollback(&mut self) {
        let to = rollback_target(&self.state).unwrap();
        self.begin(to, |rollout, plan| Input::Rollback { rollout, plan });
    }

    /// Observes until nothing changes.
    fn settle(&mut self) {
        while self.observe() {}
    }

    fn observe(&mut self) -> bool {
        let mut facts = Facts { acknowledged: self.acknowledged, settled: true, ..Facts::default() };
        facts.nodes.insert("local".parse().unwrap());
        facts.lacking.extend(self.lacking.map(|why| ("local".parse().unwrap(), Some(why.to_owned()))));
        facts.tenants = BTreeMap::from([("ie".parse().unwrap(), self.elsewhere)]);
        let active = self.state.active.clone();
        for (release, set) in &self.state.sets {
            let is_new = active.as_ref().is_some_and(|active| active.to == *release);
            let shares = active.as_ref().is_some_and(|active| is_new && active.stage == Stage::Step);
            for member in &set.members {
                let broken = self.broken.filter(|(number, _)| number == release);
                let is_routed = (self.state.routed == Some(*release) || shares) && member.leaving.is_none();
                let is_once = set.plan.is_once(&member.process);
                let fact = Fact {
                    state: match broken {
                        Some(_) => Some(InstanceState::Failed),
                        None if is_once => Some(self.once),
                        None => Some(InstanceState::Ready),
                    },
                    reason: broken.map(|(_, why)| why.to_owned()),
                    clear: member.process.as_str() == "worker" || (!is_routed && self.acknowledged),
                    gone: member.stopped,
                    ..Fact::default()
                };
                facts.instances.insert(member.id.clone(), fact);
                let (requests, errors, milliseconds) = self.traffic[usize::from(!is_new)];
                let mut latency = Histogram::default();
                for request in 0..requests {
                    latency.record(milliseconds * (1.0 + (request % 9) as f64) / 5000.0);
                }
                facts.traffic.insert(member.id.clone(), Tally { requests, errors, latency });
            }
        }
        self.take(Input::Observe(&facts))
    }

    fn pass(&mut self, seconds: u64) {
        self.now = self.now.plus(Duration::from_secs(seconds));
        self.settle();
    }

    /// What runs, by release: web instances and workers.
    fn running(&self) -> Vec<(u64, usize, usize)> {
        let count = |release: &u64, process: &str| {
            let members = self.state.sets[release].members.iter();
            members.filter(|member| member.process.as_str() == process && !member.stopped).count()
        };
        self.state
            .sets
            .keys()
            .map(|release| (*release, count(release, "web"), count(release, "worker")))
            .collect()
    }

    fn newest(&self) -> (RolloutState, Option<&str>) {
        let rollout = self.state.rollouts.last().unwrap();
        (rollout.state, rollout.reason.as_deref())
    }
}

#[test]
fn a_deploy_keeps_the_release_before_hot_and_a_rollback_starts_nothing() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::Complete, vec![(1, 2, 1)]));
    walk.deploy(2);
    walk.settle();
    assert_eq!(walk.running(), [(1, 2, 0), (2, 2, 1)]);
    assert_eq!(walk.state.marks, BTreeMap::from([(1, ReleaseState::Standby), (2, ReleaseState::Routed)]));

    let before: Vec<String> = walk.state.sets[&1].members.iter().map(|member| member.id.clone()).collect();
    walk.rollback();
    walk.observe();
    assert_eq!(walk.state.routed, Some(1), "the first look flips the routes");
    let after: Vec<String> = walk.state.sets[&1].members.iter().map(|member| member.id.clone()).collect();
    assert_eq!(before, after);
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::Complete, vec![(1, 2, 1), (2, 2, 0)]));
    assert_eq!(rollback_target(&walk.state), None, "what was rolled back from is not gone back to");

    walk.pass(601);
    assert_eq!(walk.running(), [(1, 2, 1)]);
    assert_eq!(walk.state.marks[&2], ReleaseState::Retired);
}

#[test]
fn a_release_that_does_not_become_ready_fails_with_the_reason_and_leaves_the_old_alone() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    walk.broken = Some((2, "ended with status 3"));
    walk.deploy(2);
    walk.settle();
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Starting);
    assert!(reason.unwrap().contains("is not ready: ended with status 3"), "{reason:?}");
    assert_eq!(walk.running(), [(1, 2, 1), (2, 2, 0)], "workers are not touched before the web is ready");
    walk.pass(60);
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Failed);
    assert!(reason.unwrap().starts_with("not ready within 1m: orders-web-"), "{reason:?}");
    assert_eq!((walk.state.routed, walk.running()), (Some(1), vec![(1, 2, 1)]));
    assert_eq!(walk.state.marks[&2], ReleaseState::Failed);
}

#[test]
fn routes_that_a_router_does_not_take_in_go_back() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    walk.acknowledged = false;
    walk.deploy(2);
    walk.settle();
    assert_eq!((walk.newest().0, walk.state.routed), (RolloutState::Routing, Some(2)));
    walk.pass(60);
    assert_eq!((walk.newest().0, walk.state.routed), (RolloutState::Reverting, Some(1)));
    assert_eq!(walk.running(), [(1, 2, 1), (2, 2, 0)], "nobody let the new ones go");
    walk.pass(31);
    assert_eq!(walk.running(), [(1, 2, 1), (2, 0, 0)], "their time to drain is up");
    walk.pass(60);
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Failed);
    assert_eq!(reason, Some("a router did not take in the new routes within 1m"));
}

#[test]
fn the_newest_deploy_wins_and_a_rollback_during_one_ends_it() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    walk.broken = Some((2, "slow"));
    walk.deploy(2);
    walk.settle();
    walk.deploy(3);
    walk.settle();
    let states: Vec<RolloutState> = walk.state.rollouts.iter().map(|rollout| rollout.state).collect();
    assert_eq!(states, [RolloutState::Complete, RolloutState::Superseded, RolloutState::Complete]);
    assert_eq!(walk.running(), [(1, 2, 0), (3, 2, 1)]);
    assert_eq!(rollback_target(&walk.state), Some(1));

    walk.broken = Some((4, "slow"));
    walk.deploy(4);
    walk.settle();
    assert_eq!(rollback_target(&walk.state), Some(3));
    walk.rollback();
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::Complete, vec![(1, 2, 0), (3, 2, 1)]));
}

#[test]
fn what_is_declared_no_more_leaves() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    walk.take(Input::Retire);
    walk.settle();
    assert_eq!(walk.running(), []);
    assert_eq!(walk.state.marks[&1], ReleaseState::Retired);
    assert!(!walk.take(Input::Retire), "once is enough");
}

#[test]
fn nothing_starts_before_every_node_has_the_package() {
    let mut walk = Walk::new();
    walk.deploy(1);
    walk.settle();
    walk.lacking = Some("the core answered 503");
    walk.deploy(2);
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::Prefetching, vec![(1, 2, 1), (2, 0, 0)]));
    walk.pass(300);
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Failed);
    assert_eq!(
        reason,
        Some("not every node has the package after 5m: local could not fetch it: the core answered 503")
    );
    assert_eq!(walk.running(), [(1, 2, 1)]);
}

#[test]
fn a_migration_runs_once_before_anything_else_and_is_let_end_when_a_newer_release_comes() {
    let migrating = ORDERS
        .replace("processes:", "processes:\n  migrate: {run: [bin/migrate], when: pre_release, timeout: 2m}");
    let mut walk = Walk::of(&migrating);
    walk.once = InstanceState::Starting;
    walk.deploy(1);
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::PreRelease, vec![(1, 0, 0)]));
    let once = walk.state.sets[&1].members[0].id.clone();
    walk.deploy(2);
    walk.settle();
    let (state, reason) = walk.newest();
    assert_eq!((state, reason), (RolloutState::Queued, Some("waits until migrate of release 1 has ended")));
    assert!(walk.state.sets[&1].members.iter().all(|member| !member.stopped && member.id == once));
    walk.once = InstanceState::Stopped;
    walk.settle();
    assert_eq!((walk.newest().0, walk.running()), (RolloutState::Complete, vec![(2, 2, 1)]));

    walk.once = InstanceState::Failed;
    walk.deploy(3);
    walk.settle();
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Failed);
    assert!(reason.unwrap().starts_with("migrate failed:"), "{reason:?}");
    assert_eq!(walk.running(), [(2, 2, 1)]);
}

#[test]
fn a_gated_release_takes_its_shares_is_compared_and_bakes() {
    let mut walk = Walk::of(&format!("{ORDERS}{GATED}"));
    walk.deploy(1);
    walk.settle();
    assert_eq!(walk.newest().0, RolloutState::Complete, "the first release is compared with nothing");
    walk.traffic = [(1000, 1, 10.0), (1000, 1, 10.0)];
    walk.deploy(2);
    walk.settle();
    let rollout = walk.state.rollouts.last().unwrap().clone();
    assert_eq!((rollout.state, rollout.share, rollout.weight), (RolloutState::Stepping, Some(0), 5));
    assert_eq!(walk.running(), [(1, 4, 1), (2, 2, 0)], "two fresh instances of the old release run beside");
    assert_eq!(walk.state.routed, Some(1));
    walk.pass(60);
    let rollout = walk.state.rollouts.last().unwrap().clone();
    assert_eq!((rollout.share, rollout.weight, walk.state.workers), (Some(1), 50, Some(1)));
    walk.pass(60);
    assert_eq!((walk.newest().0, walk.state.routed), (RolloutState::Baking, Some(2)));
    assert_eq!(walk.running(), [(1, 2, 0), (2, 2, 1)], "the fresh old ones have left");
    walk.pass(300);
    let rollout = walk.state.rollouts.last().unwrap().clone();
    assert_eq!((rollout.state, rollout.weight), (RolloutState::Complete, 100));
    let verdicts: Vec<(&str, Verdict)> =
        rollout.gates.iter().map(|gate| (gate.gate.as_str(), gate.verdict)).collect();
    assert_eq!(verdicts, [("error_ratio", Verdict::Pass), ("latency", Verdict::Pass)]);
}

#[test]
fn what_fails_a_gate_goes_back_with_the_evidence() {
    for (new, why) in [
        ((1000, 50, 10.0), "the gate error_ratio failed: 5 % of 2,000 requests failed; at most 1 %"),
        ((1000, 0, 30.0), "the gate latency failed: half of 2,000 requests took at most"),
    ] {
        let mut walk = Walk::of(&format!("{ORDERS}{GATED}"));
        walk.deploy(1);
        walk.settle();
        walk.traffic = [new, (1000, 1, 10.0)];
        walk.deploy(2);
        walk.settle();
        walk.pass(60);
        let (state, reason) = walk.newest();
        assert_eq!((state, walk.state.routed), (RolloutState::Failed, Some(1)));
        assert!(reason.unwrap().starts_with(why), "{reason:?}");
        assert!(walk.state.rollouts.last().unwrap().steps.iter().any(|s| s.state == RolloutState::Reverting));
        assert_eq!(walk.running(), [(1, 2, 1)]);
    }
}

#[test]
fn without_data_it_holds_and_says_so_until_somebody_sends_it_on() {
    let mut walk = Walk::of(&format!("{ORDERS}{GATED}"));
    walk.deploy(1);
    walk.settle();
    walk.deploy(2);
    walk.settle();
    walk.pass(60);
    let (state, reason) = walk.newest();
    assert_eq!((state, walk.state.routed), (RolloutState::Holding, Some(1)));
    assert_eq!(reason, Some("0 requests were seen; 100 are needed to say"));
    walk.told.clear();
    walk.pass(600);
    assert_eq!(walk.newest().0, RolloutState::Holding, "no data never goes on or back by itself");
    assert!(matches!(&walk.told[..], [Action::Stalled(Some(_))]), "{:?}", walk.told);
    walk.take(Input::Order { wanted: Wanted::Resume, by: "ann" });
    assert_eq!(walk.told.pop(), Some(Action::Stalled(None)));
    assert_eq!(walk.state.rollouts.last().unwrap().state, RolloutState::Stepping);
    walk.traffic = [(1000, 1, 10.0), (1000, 1, 10.0)];
    walk.pass(60);
    walk.pass(300);
    assert_eq!(walk.newest().0, RolloutState::Complete);
}

#[test]
fn people_hold_resume_and_abort() {
    let mut walk = Walk::of(&format!("{ORDERS}{GATED}"));
    walk.deploy(1);
    walk.settle();
    walk.traffic = [(1000, 1, 10.0), (1000, 1, 10.0)];
    walk.deploy(2);
    walk.settle();
    walk.pass(30);
    walk.take(Input::Order { wanted: Wanted::Hold, by: "ann" });
    walk.pass(500);
    assert_eq!((walk.newest().0, walk.newest().1), (RolloutState::Holding, Some("ann asked for it")));
    walk.take(Input::Order { wanted: Wanted::Resume, by: "ann" });
    walk.pass(29);
    assert_eq!(walk.state.rollouts.last().unwrap().share, Some(0), "the rest of its time is still to come");
    walk.pass(1);
    assert_eq!(walk.state.rollouts.last().unwrap().share, Some(1));
    walk.take(Input::Order { wanted: Wanted::Abort, by: "ann" });
    walk.settle();
    assert_eq!(walk.newest(), (RolloutState::Failed, Some("ann asked for it")));
    assert_eq!((walk.state.routed, walk.running()), (Some(1), vec![(1, 2, 1)]));
}

#[test]
fn a_tenant_goes_first() {
    let text = format!("{ORDERS}release: {{steps: [{{tenant: ie, for: 5m}}]}}\n");
    let mut walk = Walk::of(&text);
    walk.deploy(1);
    walk.settle();
    assert_eq!(walk.newest().0, RolloutState::Complete, "nothing is protected where nothing runs");
    walk.deploy(2);
    walk.settle();
    let (state, reason) = walk.newest();
    assert_eq!(state, RolloutState::Queued);
    assert_eq!(reason, Some("tenant ie goes first, for 5m: deploy the same package there"));
    walk.elsewhere = Some(walk.now);
    walk.pass(299);
    let until = Timestamp::EPOCH.plus(Duration::from_secs(300));
    let why = format!("tenant ie goes first, until {until}");
    assert_eq!(walk.newest(), (RolloutState::Queued, Some(why.as_str())));
    walk.pass(1);
    assert_eq!(walk.newest().0, RolloutState::Complete);
}

#[test]
fn a_surge_bounds_how_many_start_at_once() {
    let text = format!("{ORDERS}release: {{surge: 1}}\n");
    let mut walk = Walk::of(&text);
    walk.deploy(1);
    walk.settle();
    walk.broken = Some((2, "slow"));
    walk.deploy(2);
    walk.settle();
    assert_eq!(walk.running(), [(1, 2, 1), (2, 1, 0)]);
    walk.broken = None;
    walk.settle();
    assert_eq!(walk.running(), [(1, 2, 0), (2, 2, 1)]);
}
