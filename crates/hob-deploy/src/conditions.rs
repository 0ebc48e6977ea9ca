//! What stops moving says why: crash loops, failed rollouts, lost nodes and routers, instances that are fenced, have
//! no node or are sent nothing, drains that wait, and shields in force.
//!
//! At each turn everything that is so now is gathered; what was not so before is told, and so is what is so no more.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Condition, Instance, InstanceState};

use crate::ServiceScope;

mod gather;

pub(crate) use gather::World;

/// This many restarts within [`CRASH_LOOP_TIME`] are a crash loop.
const CRASH_LOOP_RESTARTS: usize = 3;
const CRASH_LOOP_TIME: Duration = Duration::from_secs(60);
/// Letters of an instance's reason that a condition carries.
const REASON_CHARS_MAX: usize = 1000;

/// Which conditions hold, and what is needed to see it.
#[derive(Default)]
pub(crate) struct Conditions {
    restarts: BTreeMap<String, Restarts>,
    /// By subject and name: since when it is so, and whether it was told.
    known: BTreeMap<(String, String), Known>,
    /// Who lifted which shield.
    lifted: BTreeMap<String, String>,
}

struct Known {
    since: Timestamp,
    told: Option<Condition>,
}

/// Something that is so now, and for how long it must be so before it is told.
pub(crate) struct Finding {
    condition: Condition,
    after: Duration,
}

struct Restarts {
    count: u32,
    at: VecDeque<Timestamp>,
    holds: bool,
}

impl Conditions {
    /// What began to be so for long enough, and what ended.
    pub(crate) fn look(&mut self, world: &World<'_>, now: Timestamp) -> Vec<Condition> {
        let mut findings = gather::findings(world, now);
        findings.extend(self.crash_loops(world.instances, now));
        let mut told = Vec::new();
        let mut found = BTreeMap::new();
        for Finding { condition, after } in findings {
            let key = (condition.subject.clone(), condition.condition.clone());
            let known = self.known.remove(&key);
            let mut known = known.unwrap_or(Known { since: now, told: None });
            if known.told.is_none() && now.since(known.since) >= after {
                told.push(condition.clone());
                known.told = Some(condition);
            }
            found.insert(key, known);
        }
        let ended = std::mem::replace(&mut self.known, found);
        for condition in ended.into_values().filter_map(|known| known.told) {
            let reason = self.end_of(&condition);
            told.push(Condition { active: false, reason, ..condition });
        }
        self.lifted.clear();
        told
    }

    /// Notes who lifted a shield, for the condition that ends with it.
    pub(crate) fn lifted(&mut self, shield: &str, by: &str) {
        self.lifted.insert(format!("shield/{shield}"), by.to_owned());
    }

    fn end_of(&self, condition: &Condition) -> String {
        if let Some(by) = self.lifted.get(&condition.subject) {
            return format!("lifted by {by}");
        }
        let words = match condition.condition.as_str() {
            "crash_loop" => "it runs, or is gone",
            "node_lost" | "router_lost" => "it reports, or is forgotten",
            "router_behind" => "it routes by the newest routes",
            "unplaced" => "it has a node, or is gone",
            "fenced" => "its node came back, or is known to be dead",
            "drain_waits" => "nothing is left there, or the node takes instances again",
            "ejected" => "it is sent requests again, or is gone",
            "not_ready" => "it is ready, or is gone",
            _ => "it is so no more",
        };
        words.to_owned()
    }

    fn crash_loops(&mut self, all: &BTreeMap<String, Instance>, now: Timestamp) -> Vec<Finding> {
        self.restarts.retain(|id, _| all.contains_key(id));
        let mut findings = Vec::new();
        for (id, instance) in all {
            let known = self.restarts.entry(id.clone()).or_insert_with(|| Restarts::new(instance));
            known.look(instance, now);
            if known.holds {
                let ended = instance.ended.as_deref().map(|ended| format!(", the last time with {ended}"));
                let reason = instance.reason.as_deref().map(|reason| format!(": {reason}"));
                let restarts = instance.restarts;
                let text = format!(
                    "it ended {restarts} times{}{}",
                    ended.unwrap_or_default(),
                    reason.unwrap_or_default()
                );
                findings.push(of_instance(instance, "crash_loop", text, Duration::ZERO));
            }
        }
        findings
    }
}

fn of_instance(instance: &Instance, name: &str, reason: String, after: Duration) -> Finding {
    let condition = Condition {
        subject: format!("instance/{}", instance.id),
        condition: name.to_owned(),
        active: true,
        reason: reason.chars().take(REASON_CHARS_MAX).collect(),
        environment: Some(instance.environment.clone()),
        tenant: Some(instance.tenant.clone()),
    };
    Finding { condition, after }
}

/// That the newest rollout of a service failed, or that one succeeded since.
pub(crate) fn rollout_failed(home: &ServiceScope, active: bool, reason: String) -> Condition {
    Condition {
        subject: format!("service/{}", home.service),
        condition: "rollout_failed".to_owned(),
        active,
        reason,
        environment: Some(home.scope.environment.clone()),
        tenant: Some(home.scope.tenant.clone()),
    }
}

/// That the newest rollout of a service has stood still for longer than it may, or goes on.
pub(crate) fn rollout_stalled(home: &ServiceScope, active: bool, reason: String) -> Condition {
    Condition { condition: "rollout_stalled".to_owned(), ..rollout_failed(home, active, reason) }
}

impl Restarts {
    fn new(instance: &Instance) -> Self {
        Self { count: instance.restarts, at: VecDeque::new(), holds: false }
    }

    /// Counts the restarts since the last look.
    fn look(&mut self, instance: &Instance, now: Timestamp) {
        for _ in self.count..instance.restarts {
            self.at.push_back(now);
            if self.at.len() > CRASH_LOOP_RESTARTS {
                self.at.pop_front();
            }
        }
        self.count = instance.restarts;
        while self.at.front().is_some_and(|at| now.since(*at) > CRASH_LOOP_TIME) {
            self.at.pop_front();
        }
        let is_looping = self.at.len() >= CRASH_LOOP_RESTARTS;
        let is_calm = self.at.is_empty() && instance.state == InstanceState::Ready;
        self.holds = if self.holds { !is_calm } else { is_looping };
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use hob_core::Name;

    pub(crate) fn instance(restarts: u32, state: InstanceState) -> BTreeMap<String, Instance> {
        let name = |text: &str| text.parse::<Name>().unwrap();
        let instance = Instance {
            id: "orders-web-1".into(),
            service: name("orders"),
            process: name("web"),
            environment: name("qa"),
            tenant: name("uk"),
            release: 1,
            node: name("local"),
            state,
            address: None,
            started: None,
            pid: None,
            restarts,
            reason: None,
            ended: None,
            status: None,
            confinement: hob_wire::Confinement::default(),
            usage: hob_wire::Usage::default(),
        };
        BTreeMap::from([(instance.id.clone(), instance)])
    }

    #[test]
    fn three_restarts_in_a_minute_are_a_crash_loop_until_it_is_calm() {
        let mut conditions = Conditions::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut look = |restarts, state, seconds| -> Vec<bool> {
            let instances = instance(restarts, state);
            let told = conditions.look(&World::of(&instances), at(seconds));
            let crash_loops = told.into_iter().filter(|condition| condition.condition == "crash_loop");
            crash_loops.map(|condition| condition.active).collect()
        };
        assert!(look(0, InstanceState::Starting, 0).is_empty());
        assert!(look(2, InstanceState::Failed, 4).is_empty());
        assert_eq!(look(3, InstanceState::Failed, 8), [true]);
        assert!(look(3, InstanceState::Ready, 60).is_empty(), "too early to say");
        assert!(look(3, InstanceState::Failed, 100).is_empty());
        assert_eq!(look(3, InstanceState::Ready, 101), [false]);
    }
}
