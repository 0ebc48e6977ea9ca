//! Single walks of the rollout machine, told step by step.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{InstanceState, ReleaseState, RolloutState};

use super::{rollback_target, step};
use crate::model::{Begin, Fact, Facts, Input, Plan, PlannedProcess, State};
use crate::{ServiceScope, Timings};

/// A service with two web instances and a worker, in a world in which everything is as told.
struct Walk {
    state: State,
    now: Timestamp,
    acknowledged: bool,
    /// Instances of this release never become ready, for this reason.
    broken: Option<(u64, &'static str)>,
    count: u32,
}

impl Walk {
    fn new() -> Self {
        let now = Timestamp::EPOCH;
        Self { state: State::default(), now, acknowledged: true, broken: None, count: 0 }
    }

    fn begin(&mut self, to: u64, make: impl FnOnce(Begin, Plan) -> Input<'static>) {
        self.count += 1;
        let home = ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() };
        let planned = |replicas, exclusive| PlannedProcess { replicas, exclusive };
        let processes = BTreeMap::from([
            ("web".parse().unwrap(), planned(2, false)),
            ("worker".parse().unwrap(), planned(1, true)),
        ]);
        let rollout = Begin { id: format!("rollout-{}", self.count), home, to };
        self.take(make(rollout, Plan { processes }));
    }

    fn take(&mut self, input: Input<'_>) -> bool {
        let before = self.state.clone();
        self.state = step(before.clone(), input, &Timings::default(), self.now).0;
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
        for (release, set) in &self.state.sets {
            for member in &set.members {
                let broken = self.broken.filter(|(number, _)| number == release);
                let is_routed = self.state.routed == Some(*release) && member.leaving.is_none();
                let fact = Fact {
                    state: match broken {
                        Some(_) => Some(InstanceState::Failed),
                        None => Some(InstanceState::Ready),
                    },
                    reason: broken.map(|(_, why)| why.to_owned()),
                    clear: member.process.as_str() == "worker" || (!is_routed && self.acknowledged),
                    gone: member.stopped,
                    ..Fact::default()
                };
                facts.instances.insert(member.id.clone(), fact);
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
    assert_eq!((walk.newest().0, walk.state.routed), (RolloutState::Failed, Some(1)));
    assert_eq!(walk.running(), [(1, 2, 1), (2, 2, 0)], "nobody let the new ones go");
    walk.pass(31);
    assert_eq!(walk.running(), [(1, 2, 1)], "their time to drain is up");
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
