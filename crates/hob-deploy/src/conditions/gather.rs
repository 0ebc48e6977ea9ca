//! What is so now. Each finding says how long it must last before it is told: most things pass by themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Name, Timestamp};
use hob_wire::{Condition, Instance, InstanceState, NodeState, NodeSummary, RouterSummary, Shield};

use super::{Finding, of_instance};
use crate::{ServiceScope, shields};

const AT_ONCE: Duration = Duration::ZERO;
/// A router takes in new routes in much less.
const BEHIND_AFTER: Duration = Duration::from_secs(10);
/// An instance has a node at once when there is one.
const UNPLACED_AFTER: Duration = Duration::from_secs(10);
/// A drain whose instances take this long to move is worth a look.
const DRAIN_AFTER: Duration = Duration::from_secs(60);
/// Outside a rollout, which tells by itself.
const NOT_READY_AFTER: Duration = Duration::from_secs(60);

/// What is looked at.
pub(crate) struct World<'w> {
    pub(crate) instances: &'w BTreeMap<String, Instance>,
    pub(crate) nodes: &'w [NodeSummary],
    pub(crate) routers: &'w [RouterSummary],
    pub(crate) shields: &'w BTreeMap<String, Shield>,
    /// Instances of which no second may run.
    pub(crate) exclusive: BTreeSet<&'w str>,
    /// Instances without a node.
    pub(crate) unplaced: BTreeSet<&'w str>,
    /// Releases that a rollout brings up now.
    pub(crate) rolling: BTreeSet<(ServiceScope, u64)>,
    pub(crate) dead: BTreeSet<Name>,
    /// Whether Hob has run for long enough that who is silent is lost, not late.
    pub(crate) settled: bool,
}

#[cfg(test)]
impl<'w> World<'w> {
    /// Instances alone, with nothing around them.
    pub(crate) fn of(instances: &'w BTreeMap<String, Instance>) -> Self {
        static NO_SHIELDS: BTreeMap<String, Shield> = BTreeMap::new();
        Self {
            instances,
            nodes: &[],
            routers: &[],
            shields: &NO_SHIELDS,
            exclusive: BTreeSet::new(),
            unplaced: BTreeSet::new(),
            rolling: BTreeSet::new(),
            dead: BTreeSet::new(),
            settled: true,
        }
    }
}

/// Everything that is so now, but for crash loops, which are seen only over time.
pub(super) fn findings(world: &World<'_>, now: Timestamp) -> Vec<Finding> {
    let mut findings = Vec::new();
    for node in world.nodes {
        findings.extend(lost_node(world, node));
        findings.extend(waiting_drain(world, node));
    }
    for router in world.routers {
        findings.extend(silent_router(router));
        findings.extend(ejections(world, router));
    }
    for instance in world.instances.values() {
        findings.extend(fenced(world, instance));
        findings.extend(unplaced(world, instance));
        findings.extend(not_ready(world, instance, now));
    }
    let shields = world.shields.values().map(shields::condition);
    findings.extend(shields.map(|condition| Finding { condition, after: AT_ONCE }));
    findings
}

fn of_platform(subject: String, name: &str, reason: String, after: Duration) -> Finding {
    let condition = Condition {
        subject,
        condition: name.to_owned(),
        active: true,
        reason,
        environment: None,
        tenant: None,
    };
    Finding { condition, after }
}

/// Whether there is a live node for what is to leave this one.
fn has_other(world: &World<'_>, node: &Name) -> bool {
    world.nodes.iter().any(|other| other.live && other.state == NodeState::Active && other.name != *node)
}

fn on_node<'w>(world: &World<'w>, node: &Name) -> impl Iterator<Item = &'w Instance> {
    world.instances.values().filter(move |instance| instance.node == *node)
}

fn lost_node(world: &World<'_>, node: &NodeSummary) -> Option<Finding> {
    let reported = node.reported.filter(|_| !node.live && node.state != NodeState::Killed)?;
    let what = match (on_node(world, &node.name).count(), has_other(world, &node.name)) {
        (0, _) => "nothing is left there".to_owned(),
        (left, true) => format!("{left} of its instances are not replaced yet"),
        (left, false) => format!("there is no other node for its {left} instances"),
    };
    let reason = format!("its agent has not reported since {reported}; {what}");
    Some(of_platform(format!("node/{}", node.name), "node_lost", reason, AT_ONCE))
}

fn waiting_drain(world: &World<'_>, node: &NodeSummary) -> Option<Finding> {
    if node.state == NodeState::Active {
        return None;
    }
    let left: Vec<&Instance> = on_node(world, &node.name).collect();
    let first = left.first()?;
    let why = match () {
        () if !has_other(world, &node.name) => "there is no other node that takes instances".to_owned(),
        () if first.state == InstanceState::Draining => "its last requests have not ended".to_owned(),
        () => "what takes its place is not ready".to_owned(),
    };
    let reason = format!("{} instances are still there; {}: {why}", left.len(), first.id);
    Some(of_platform(format!("node/{}", node.name), "drain_waits", reason, DRAIN_AFTER))
}

fn silent_router(router: &RouterSummary) -> Option<Finding> {
    let subject = format!("router/{}", router.name);
    if !router.live {
        let reason = format!("it has not reported since {}; nobody waits for it any more", router.reported);
        return Some(of_platform(subject, "router_lost", reason, AT_ONCE));
    }
    let reason = format!("it routes by generation {}, which is not the newest", router.generation);
    (!router.current).then(|| of_platform(subject, "router_behind", reason, BEHIND_AFTER))
}

fn ejections(world: &World<'_>, router: &RouterSummary) -> Vec<Finding> {
    let ejected = router.ejected.iter().filter_map(|ejection| {
        let instance = world.instances.get(&ejection.instance)?;
        let reason =
            format!("{} sends it nothing until {}: {}", router.name, ejection.until, ejection.reason);
        Some(of_instance(instance, "ejected", reason, AT_ONCE))
    });
    ejected.collect()
}

fn fenced(world: &World<'_>, instance: &Instance) -> Option<Finding> {
    let is_lost = |node: &&NodeSummary| node.name == instance.node && !node.live;
    let node = world.nodes.iter().find(is_lost)?;
    let is_fenced =
        world.settled && world.exclusive.contains(instance.id.as_str()) && !world.dead.contains(&node.name);
    let reason = format!(
        "its node {0} is lost and it may still run there, and of {1} no second may run: when {0} is known to be dead, \
         say so with `hob nodes kill {0}`",
        node.name, instance.process
    );
    is_fenced.then(|| of_instance(instance, "fenced", reason, AT_ONCE))
}

fn unplaced(world: &World<'_>, instance: &Instance) -> Option<Finding> {
    let reason = "no live node takes instances: see `hob nodes`".to_owned();
    let is_unplaced = world.unplaced.contains(instance.id.as_str());
    is_unplaced.then(|| of_instance(instance, "unplaced", reason, UNPLACED_AFTER))
}

fn not_ready(world: &World<'_>, instance: &Instance, now: Timestamp) -> Option<Finding> {
    let is_waited_for = matches!(instance.state, InstanceState::Starting | InstanceState::Failed)
        && !world.unplaced.contains(instance.id.as_str());
    if !is_waited_for {
        return None;
    }
    let scope =
        hob_core::Scope { environment: instance.environment.clone(), tenant: instance.tenant.clone() };
    let home = ServiceScope { service: instance.service.clone(), scope };
    if world.rolling.contains(&(home, instance.release)) {
        return None;
    }
    let since = instance.started.map(|started| format!("{} after its start ", told(now.since(started))));
    let why = instance.reason.as_deref().unwrap_or("its agent gave no reason");
    let reason = format!("{}it is not ready: {why}", since.unwrap_or_default());
    Some(of_instance(instance, "not_ready", reason, NOT_READY_AFTER))
}

fn told(time: Duration) -> String {
    hob_core::format_duration(Duration::from_secs(time.as_secs()))
}

#[cfg(test)]
mod tests {
    use super::super::{Conditions, tests::instance};
    use super::*;
    use hob_wire::{NodeFacts, Usage};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    fn node(name: &str, live: bool, state: NodeState) -> NodeSummary {
        NodeSummary {
            name: name.parse().unwrap(),
            live,
            reported: Some(at(1)),
            instances: 1,
            state,
            by: None,
            since: None,
            facts: NodeFacts::default(),
            usage: Usage::default(),
        }
    }

    fn told(conditions: &mut Conditions, world: &World<'_>, seconds: u64) -> Vec<(String, bool)> {
        let told = conditions.look(world, at(seconds)).into_iter();
        told.map(|condition| (format!("{} {}", condition.subject, condition.condition), condition.active))
            .collect()
    }

    fn check(told: &[(String, bool)], expected: &[(&str, bool)]) {
        let expected: Vec<(String, bool)> =
            expected.iter().map(|(text, active)| ((*text).to_owned(), *active)).collect();
        assert_eq!(told, expected);
    }

    #[test]
    fn an_exclusive_instance_of_a_lost_node_is_fenced_until_the_node_is_known_to_be_dead() {
        let instances = instance(0, InstanceState::Ready);
        let nodes = [node("local", false, NodeState::Active), node("other", true, NodeState::Active)];
        let exclusive = BTreeSet::from(["orders-web-1"]);
        let world = World { nodes: &nodes, exclusive, ..World::of(&instances) };
        let mut conditions = Conditions::default();
        check(
            &told(&mut conditions, &world, 20),
            &[("node/local node_lost", true), ("instance/orders-web-1 fenced", true)],
        );
        check(&told(&mut conditions, &world, 21), &[]);
        let world = World { dead: BTreeSet::from(["local".parse().unwrap()]), ..world };
        check(&told(&mut conditions, &world, 22), &[("instance/orders-web-1 fenced", false)]);
    }

    #[test]
    fn a_drain_that_cannot_move_says_so_after_a_minute() {
        let instances = instance(0, InstanceState::Ready);
        let nodes = [node("local", true, NodeState::Draining)];
        let world = World { nodes: &nodes, ..World::of(&instances) };
        let mut conditions = Conditions::default();
        check(&told(&mut conditions, &world, 10), &[]);
        check(&told(&mut conditions, &world, 69), &[]);
        check(&told(&mut conditions, &world, 70), &[("node/local drain_waits", true)]);
        let none = BTreeMap::new();
        let world = World { nodes: &nodes, ..World::of(&none) };
        check(&told(&mut conditions, &world, 71), &[("node/local drain_waits", false)]);
    }

    #[test]
    fn an_instance_that_does_not_become_ready_is_told_unless_a_rollout_waits_for_it() {
        let instances = instance(0, InstanceState::Starting);
        let home = ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() };
        let mut conditions = Conditions::default();
        let world = World { rolling: BTreeSet::from([(home, 1)]), ..World::of(&instances) };
        check(&told(&mut conditions, &world, 0), &[]);
        check(&told(&mut conditions, &world, 100), &[]);
        let world = World::of(&instances);
        check(&told(&mut conditions, &world, 101), &[]);
        check(&told(&mut conditions, &world, 161), &[("instance/orders-web-1 not_ready", true)]);
        let unplaced = BTreeSet::from(["orders-web-1"]);
        let world = World { unplaced, ..World::of(&instances) };
        check(&told(&mut conditions, &world, 162), &[("instance/orders-web-1 not_ready", false)]);
        check(&told(&mut conditions, &world, 172), &[("instance/orders-web-1 unplaced", true)]);
    }

    #[test]
    fn routers_that_are_silent_or_behind_and_instances_that_they_eject_are_told() {
        let instances = instance(0, InstanceState::Ready);
        let router = |live, current, is_ejecting: bool| RouterSummary {
            name: "router".parse().unwrap(),
            live,
            reported: at(1),
            generation: 7,
            current,
            connections: 0,
            in_flight: 0,
            held: BTreeMap::new(),
            ejected: Vec::from_iter(is_ejecting.then(|| hob_wire::Ejection {
                instance: "orders-web-1".into(),
                reason: "5 failures in a row".into(),
                until: at(60),
            })),
            limited: Vec::new(),
            records_dropped: 0,
        };
        let mut conditions = Conditions::default();
        let mut look = |router: RouterSummary, seconds| {
            told(&mut conditions, &World { routers: &[router], ..World::of(&instances) }, seconds)
        };
        check(&look(router(true, false, true), 0), &[("instance/orders-web-1 ejected", true)]);
        check(
            &look(router(true, false, false), 10),
            &[("router/router router_behind", true), ("instance/orders-web-1 ejected", false)],
        );
        check(
            &look(router(false, true, false), 11),
            &[("router/router router_lost", true), ("router/router router_behind", false)],
        );
    }
}
