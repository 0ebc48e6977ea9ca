//! How many instances each service should have now: the scaler's decisions, kept from turn to turn, and put into the
//! plans of the releases in use before each step.

use std::collections::BTreeMap;

use hob_core::{Name, Timestamp};
use hob_wire::{Instance, InstanceState, ProcessScale, ScaleState, Service};

use crate::model::{State, WEB};
use crate::routers::Routers;
use crate::rows::{Rows, ScaleRow};
use crate::scale::{self, Decision, Memory, Seen, Starts};
use crate::{ServiceScope, compose};

/// The numbers, and what is needed to see them change.
pub(crate) struct Numbers {
    started: Timestamp,
    memories: BTreeMap<ServiceScope, Memory>,
    /// By service and process; a process that is not here has as many as its release declares.
    decided: BTreeMap<ServiceScope, BTreeMap<Name, Decision>>,
    starts: Starts,
}

impl Numbers {
    pub(crate) fn new(started: Timestamp, starts: Starts) -> Self {
        Self { started, memories: BTreeMap::new(), decided: BTreeMap::new(), starts }
    }

    /// How long starts took.
    pub(crate) fn starts(&self) -> &Starts {
        &self.starts
    }

    /// Learns from instances how long they take to become ready.
    pub(crate) fn learn(&mut self, all: &BTreeMap<String, Instance>, now: Timestamp) {
        self.starts.look(all, now);
    }

    /// Decides anew about every service.
    pub(crate) fn look(&mut self, rows: &Rows, routers: &Routers, now: Timestamp) {
        self.memories.retain(|home, _| rows.states.contains_key(home));
        self.decided.retain(|home, _| rows.states.contains_key(home));
        for (home, state) in &rows.states {
            let order = rows.scales.get(home);
            let scaled = descriptor(rows, home).filter(|found| found.scale.is_some() || order.is_some());
            let Some(descriptor) = scaled else {
                self.decided.remove(home);
                continue;
            };
            let mut decided = by_hand(descriptor, order);
            if let Some(terms) = &descriptor.scale {
                let web: Name = WEB.parse().expect("web is a name");
                let known = order.and_then(|order| Some(((*order.by_hand.get(&web)?)?, order.since)));
                let before = || Memory::after_start(known.map(|(_, at)| at).filter(|at| *at < self.started));
                let memory = self.memories.entry(home.clone()).or_insert_with(before);
                let declared = descriptor.processes.get(&web).map_or(0, |process| process.replicas);
                let seen = Seen {
                    now,
                    current: current(state).unwrap_or(declared),
                    load: routers.load(&compose::pool_name(home), now),
                    by_hand: known,
                    is_rolling: state.active.is_some(),
                    lead: self.starts.lead(home),
                };
                let decision = scale::decide(memory, terms, &seen);
                if decision.wanted != seen.current {
                    let Decision { wanted, why } = &decision;
                    tracing::info!(service = %home, from = seen.current, to = wanted, why, "scaled");
                }
                decided.insert(web, decision);
            }
            self.decided.insert(home.clone(), decided);
        }
    }

    /// Puts the numbers into the plans of a service's releases.
    pub(crate) fn apply(&self, home: &ServiceScope, state: &mut State) {
        let Some(decided) = self.decided.get(home) else { return };
        for set in state.sets.values_mut() {
            for (process, Decision { wanted, .. }) in decided {
                if let Some(planned) = set.plan.processes.get_mut(process) {
                    planned.replicas = *wanted;
                }
            }
        }
    }

    /// How many there are and should be, and why.
    pub(crate) fn state(
        &self,
        home: &ServiceScope,
        rows: &Rows,
        instances: &BTreeMap<String, Instance>,
    ) -> Option<ScaleState> {
        let descriptor = descriptor(rows, home)?;
        let order = rows.scales.get(home);
        let decided = self.decided.get(home);
        let state = rows.states.get(home);
        let release = state.and_then(|state| shown(state));
        let set = release.and_then(|release| state?.sets.get(&release));
        let is_control =
            |id: &str| set.is_some_and(|set| set.members.iter().any(|m| m.control && m.id == id));
        let ready = |process: &Name| {
            let is_ready = |instance: &&Instance| {
                instance.service == home.service
                    && instance.process == *process
                    && instance.environment == home.scope.environment
                    && instance.tenant == home.scope.tenant
                    && Some(instance.release) == release
                    && instance.state == InstanceState::Ready
                    && !is_control(&instance.id)
            };
            u32::try_from(instances.values().filter(is_ready).count()).unwrap_or(u32::MAX)
        };
        let processes = descriptor.processes.iter().map(|(process, declared)| {
            let decision = decided.and_then(|decided| decided.get(process));
            let by_hand = order.and_then(|order| order.by_hand.get(process).copied().flatten());
            let scale = ProcessScale {
                wanted: decision.map_or(declared.replicas, |decision| decision.wanted),
                ready: ready(process),
                by_hand,
                by: by_hand.and(order).map(|order| order.by.clone()),
                why: decision.map_or_else(|| "as declared".to_owned(), |decision| decision.why.clone()),
            };
            (process.clone(), scale)
        });
        Some(ScaleState {
            service: home.service.clone(),
            environment: home.scope.environment.clone(),
            tenant: home.scope.tenant.clone(),
            terms: descriptor.scale.clone(),
            processes: processes.collect(),
            start_p95_ms: self.starts.p95(home).map(|p95| u64::try_from(p95.as_millis()).unwrap_or(u64::MAX)),
        })
    }
}

/// The descriptor of the release that a service is seen by.
pub(crate) fn descriptor<'r>(rows: &'r Rows, home: &ServiceScope) -> Option<&'r Service> {
    let number = shown(rows.states.get(home)?)?;
    Some(&rows.releases.get(home)?.get(&number)?.descriptor)
}

fn shown(state: &State) -> Option<u64> {
    state.routed.or(state.active.as_ref().map(|active| active.to))
}

/// What people ordered, process by process. Where the order ended it is as declared, told so once more because plans
/// keep their numbers.
fn by_hand(descriptor: &Service, order: Option<&ScaleRow>) -> BTreeMap<Name, Decision> {
    let orders = order.into_iter().flat_map(|order| &order.by_hand);
    let decided = orders.filter_map(|(process, number)| {
        let declared = descriptor.processes.get(process)?;
        let decision = match number {
            Some(wanted) => Decision { wanted: *wanted, why: format!("{wanted} by hand") },
            None => Decision { wanted: declared.replicas, why: "as declared".to_owned() },
        };
        Some((process.clone(), decision))
    });
    decided.collect()
}

/// How many of `web` are wanted until now.
fn current(state: &State) -> Option<u32> {
    let set = state.sets.get(&shown(state)?)?;
    Some(set.plan.processes.get(WEB)?.replicas)
}
