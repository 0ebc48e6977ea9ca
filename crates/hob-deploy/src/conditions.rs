//! What stops moving says why: crash loops, failed rollouts and lost nodes as conditions.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hob_core::{Name, Scope, Timestamp};
use hob_wire::{Condition, Instance, InstanceState, NodeSummary};

use crate::ServiceScope;

/// This many restarts within [`CRASH_LOOP_TIME`] are a crash loop.
const CRASH_LOOP_RESTARTS: usize = 3;
const CRASH_LOOP_TIME: Duration = Duration::from_secs(60);

/// Which conditions hold, and what is needed to see it.
#[derive(Default)]
pub(crate) struct Conditions {
    restarts: BTreeMap<String, Restarts>,
    lost: BTreeMap<Name, ()>,
}

struct Restarts {
    service: ServiceScope,
    count: u32,
    at: VecDeque<Timestamp>,
    holds: bool,
}

impl Conditions {
    /// Looks at all instances and tells the crash loops that began or ended.
    pub(crate) fn instances(&mut self, all: &BTreeMap<String, Instance>, now: Timestamp) -> Vec<Condition> {
        let mut told = Vec::new();
        for (id, instance) in all {
            let known = self.restarts.entry(id.clone()).or_insert_with(|| Restarts::new(instance));
            if let Some(holds) = known.look(instance, now) {
                told.push(crash_loop(id, &known.service, holds, instance.reason.clone()));
            }
        }
        let gone = self.restarts.extract_if(.., |id, _| !all.contains_key(id));
        for (id, known) in gone.filter(|(_, known)| known.holds) {
            told.push(crash_loop(&id, &known.service, false, Some("the instance is gone".to_owned())));
        }
        told
    }

    /// Looks at all nodes and tells those that were lost or came back.
    pub(crate) fn nodes(&mut self, all: &[NodeSummary]) -> Vec<Condition> {
        let mut told = Vec::new();
        for node in all {
            let is_lost = !node.live && node.reported.is_some();
            let was_lost = self.lost.contains_key(&node.name);
            if is_lost == was_lost {
                continue;
            }
            let reason = if is_lost {
                self.lost.insert(node.name.clone(), ());
                "its agent has not reported within its lease"
            } else {
                self.lost.remove(&node.name);
                "its agent reports"
            };
            told.push(Condition {
                subject: format!("node/{}", node.name),
                condition: "node_lost".to_owned(),
                active: is_lost,
                reason: reason.to_owned(),
                environment: None,
                tenant: None,
            });
        }
        told
    }
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

fn crash_loop(instance: &str, home: &ServiceScope, active: bool, reason: Option<String>) -> Condition {
    let calm = if active { "it ends again and again" } else { "it runs" };
    Condition {
        subject: format!("instance/{instance}"),
        condition: "crash_loop".to_owned(),
        active,
        reason: reason.unwrap_or_else(|| calm.to_owned()),
        environment: Some(home.scope.environment.clone()),
        tenant: Some(home.scope.tenant.clone()),
    }
}

impl Restarts {
    fn new(instance: &Instance) -> Self {
        let scope = Scope { environment: instance.environment.clone(), tenant: instance.tenant.clone() };
        let service = ServiceScope { service: instance.service.clone(), scope };
        Self { service, count: instance.restarts, at: VecDeque::new(), holds: false }
    }

    /// Counts the restarts since the last look; says when the condition changes.
    fn look(&mut self, instance: &Instance, now: Timestamp) -> Option<bool> {
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
        let holds = if self.holds { !is_calm } else { is_looping };
        (holds != std::mem::replace(&mut self.holds, holds)).then_some(holds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(restarts: u32, state: InstanceState) -> BTreeMap<String, Instance> {
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
        };
        BTreeMap::from([(instance.id.clone(), instance)])
    }

    #[test]
    fn three_restarts_in_a_minute_are_a_crash_loop_until_it_is_calm() {
        let mut conditions = Conditions::default();
        let at = |seconds: i64| Timestamp::from_micros(seconds * 1_000_000);
        let mut look = |restarts, state, seconds| -> Vec<bool> {
            let told = conditions.instances(&instance(restarts, state), at(seconds));
            told.into_iter().map(|condition| condition.active).collect()
        };
        assert!(look(0, InstanceState::Starting, 0).is_empty());
        assert!(look(2, InstanceState::Failed, 4).is_empty());
        assert_eq!(look(3, InstanceState::Failed, 8), [true]);
        assert!(look(3, InstanceState::Ready, 60).is_empty(), "too early to say");
        assert!(look(3, InstanceState::Failed, 100).is_empty());
        assert_eq!(look(3, InstanceState::Ready, 101), [false]);
    }
}
