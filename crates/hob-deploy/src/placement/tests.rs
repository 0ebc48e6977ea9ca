//! Instances that move, in a world of a few nodes that do as they are told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Name, Timestamp};
use hob_wire::InstanceState;
use serde_json::json;

use crate::Timings;
use crate::model::{Fact, Facts, Input, Member, State};
use crate::step::step;

/// A service with web instances and one worker, in use for long.
struct Town {
    state: State,
    live: BTreeSet<Name>,
    cordoned: BTreeSet<Name>,
    dead: BTreeSet<Name>,
    /// Nodes on which no instance becomes ready.
    slow: BTreeSet<Name>,
    now: Timestamp,
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> BTreeSet<Name> {
    texts.iter().map(|text| name(text)).collect()
}

impl Town {
    fn new(web: u32, nodes: &[&str]) -> Self {
        let state = json!({
            "sets": {"1": {
                "plan": {"processes": {
                    "web": {"replicas": web, "exclusive": false},
                    "worker": {"replicas": 1, "exclusive": true},
                }},
                "seed": "orders/r1",
                "members": [],
            }},
            "routed": 1,
            "workers": 1,
        });
        let mut town = Self {
            state: serde_json::from_value(state).unwrap(),
            live: names(nodes),
            cordoned: BTreeSet::new(),
            dead: BTreeSet::new(),
            slow: BTreeSet::new(),
            now: Timestamp::EPOCH.plus(Duration::from_secs(1000)),
        };
        town.settle();
        town
    }

    /// Looks until nothing changes. At each look there are enough ready web instances that take requests, and never
    /// two workers that may run.
    fn settle(&mut self) {
        self.now = self.now.plus(Duration::from_secs(1));
        let (enough, mut least) = (self.ready_web(), usize::MAX);
        loop {
            let before = self.state.clone();
            let facts = self.facts();
            let timings = Timings::default();
            self.state = step(before.clone(), Input::Observe(&facts), &timings, self.now).0;
            least = least.min(self.ready_web());
            let workers = self.members("worker").count();
            assert!(workers <= 1, "{workers} workers");
            if self.state == before {
                break;
            }
        }
        let wanted = self.state.sets[&1].plan.processes[&name("web")].replicas as usize;
        assert!(least >= enough.min(wanted), "only {least} of {enough} were left at a time");
    }

    fn facts(&self) -> Facts {
        let mut facts = Facts { settled: true, acknowledged: true, ..Facts::default() };
        facts.nodes = self.live.difference(&self.dead).cloned().collect();
        facts.cordoned = self.cordoned.union(&self.dead).cloned().collect();
        facts.dead = self.dead.clone();
        for member in &self.state.sets[&1].members {
            let is_live = member.node.as_ref().is_some_and(|node| facts.nodes.contains(node));
            let is_dead = member.node.as_ref().is_some_and(|node| self.dead.contains(node));
            let is_worker = member.process.as_str() == "worker";
            let fact = Fact {
                state: (is_live && self.is_ready(member)).then_some(InstanceState::Ready),
                clear: member.leaving.is_some(),
                gone: (member.stopped && is_live) || is_dead || (!is_live && !is_worker),
                ..Fact::default()
            };
            facts.instances.insert(member.id.clone(), fact);
        }
        facts
    }

    fn is_ready(&self, member: &Member) -> bool {
        member.node.as_ref().is_some_and(|node| !self.slow.contains(node))
    }

    fn members(&self, process: &str) -> impl Iterator<Item = &Member> {
        self.state.sets[&1].members.iter().filter(move |member| member.process.as_str() == process)
    }

    fn ready_web(&self) -> usize {
        let takes = |member: &&Member| {
            let is_live = member.node.as_ref().is_some_and(|node| self.live.contains(node));
            is_live && self.is_ready(member) && member.leaving.is_none() && !member.stopped
        };
        self.members("web").filter(takes).count()
    }

    /// How many of a process are on each node.
    fn spread(&self, process: &str) -> BTreeMap<String, usize> {
        let mut spread = BTreeMap::new();
        for member in self.members(process) {
            *spread.entry(member.node.as_ref().map_or("none", Name::as_str).to_owned()).or_default() += 1;
        }
        spread
    }

    fn check(&self, process: &str, expected: &[(&str, usize)]) {
        let expected: BTreeMap<String, usize> =
            expected.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect();
        assert_eq!(self.spread(process), expected, "{process}: {:?}", self.state.sets[&1].members);
    }

    fn want(&mut self, web: u32) {
        let plan = &mut self.state.sets.get_mut(&1).unwrap().plan;
        plan.processes.get_mut(&name("web")).unwrap().replicas = web;
        self.settle();
    }
}

#[test]
fn alike_instances_spread_over_nodes() {
    let town = Town::new(4, &["a", "b"]);
    town.check("web", &[("a", 2), ("b", 2)]);
    let total: usize = town.spread("worker").values().sum();
    assert_eq!(total, 1);
}

#[test]
fn the_number_falls_and_rises_with_what_is_wanted() {
    let mut town = Town::new(3, &["a", "b"]);
    let oldest = town.members("web").next().unwrap().id.clone();
    town.want(1);
    assert_eq!(town.members("web").map(|member| member.id.clone()).collect::<Vec<_>>(), [oldest]);
    town.want(0);
    assert_eq!(town.members("web").count(), 0);
    town.want(350);
    town.check("web", &[("a", 175), ("b", 175)]);
}

#[test]
fn a_drained_node_loses_its_instances_once_others_are_ready_elsewhere() {
    let mut town = Town::new(2, &["a"]);
    town.cordoned = names(&["a"]);
    town.settle();
    town.check("web", &[("a", 2)]);
    town.check("worker", &[("a", 1)]);

    town.live = names(&["a", "b"]);
    town.slow = names(&["b"]);
    town.settle();
    town.check("web", &[("a", 2), ("b", 2)]);
    town.slow.clear();
    town.settle();
    town.check("web", &[("b", 2)]);
    town.check("worker", &[("b", 1)]);

    town.cordoned = names(&["b"]);
    town.settle();
    town.check("web", &[("a", 2)]);
}

#[test]
fn an_end_of_the_drain_keeps_what_is_still_there() {
    let mut town = Town::new(2, &["a"]);
    let before: Vec<String> = town.members("web").map(|member| member.id.clone()).collect();
    town.cordoned = names(&["a"]);
    town.live = names(&["a", "b"]);
    town.slow = names(&["b"]);
    town.settle();
    town.cordoned.clear();
    town.settle();
    assert_eq!(town.members("web").map(|member| member.id.clone()).collect::<Vec<_>>(), before);
}

#[test]
fn a_lost_node_is_replaced_by_others_and_its_worker_only_when_it_is_known_to_be_dead() {
    let mut town = Town::new(2, &["a", "b"]);
    let worker = town.members("worker").next().unwrap().clone();
    let lost = worker.node.clone().unwrap();
    let left = town.live.iter().find(|node| **node != lost).unwrap().clone();
    let known: BTreeSet<String> = town.members("web").map(|member| member.id.clone()).collect();
    town.live.remove(&lost);
    town.settle();
    town.check("web", &[(left.as_str(), 2)]);
    let fresh = town.members("web").filter(|member| !known.contains(&member.id)).count();
    assert_eq!(fresh, 1, "what was on the lost node is another instance, with another token");
    assert_eq!(town.members("worker").next().unwrap(), &worker, "it may still run there");
    town.dead = BTreeSet::from([lost]);
    town.settle();
    town.check("worker", &[(left.as_str(), 1)]);
    assert_ne!(town.members("worker").next().unwrap().id, worker.id);
}

#[test]
fn what_is_alone_stays_where_it_was() {
    let mut town = Town::new(2, &["a"]);
    town.live.clear();
    let before = town.state.clone();
    town.settle();
    assert_eq!(town.state, before, "there is nowhere to go");
}
