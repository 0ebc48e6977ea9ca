//! What the routers report of a rollout's instances, summed since its present step or bake began. It is stored every few seconds:
//! after a restart of Hob the gates go on from there.

use std::collections::BTreeMap;

use hob_core::Histogram;
use hob_wire::RouterReport;
use serde::{Deserialize, Serialize};

use crate::ServiceScope;
use crate::model::{Stage, State};

/// Requests of one instance, or of several together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    pub(crate) requests: u64,
    /// Those that ended with 5xx or with no answer.
    pub(crate) errors: u64,
    pub(crate) latency: Histogram,
}

impl Tally {
    /// Adds another's requests.
    pub(crate) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.errors += other.errors;
        self.latency.merge(&other.latency);
    }
}

/// The sums, by service and scope.
#[derive(Default)]
pub(crate) struct Traffic {
    windows: BTreeMap<ServiceScope, Window>,
}

/// What was summed for one rollout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Window {
    /// The rollout, and how far it has come.
    of: (String, Stage, u32),
    instances: BTreeMap<String, Tally>,
}

impl Traffic {
    /// Goes on with what was stored, as far as it is of the present steps.
    pub(crate) fn resume(windows: BTreeMap<ServiceScope, Window>) -> Self {
        Self { windows }
    }

    /// What there is to store.
    pub(crate) fn windows(&self) -> &BTreeMap<ServiceScope, Window> {
        &self.windows
    }

    /// Takes in what a router says, as far as a rollout waits for it.
    pub(crate) fn report(&mut self, report: &RouterReport) {
        for traffic in &report.instances {
            let home = ServiceScope { service: traffic.service.clone(), scope: traffic.scope.clone() };
            let Some(window) = self.windows.get_mut(&home) else { continue };
            let tally = window.instances.entry(traffic.instance.clone()).or_default();
            let latency = traffic.latency.clone();
            tally.add(&Tally { requests: traffic.requests, errors: traffic.errors, latency });
        }
    }

    /// Begins to sum anew when the rollout came to another step, and stops when there is nothing to judge.
    pub(crate) fn follow(&mut self, home: &ServiceScope, state: &State) {
        let judged = state.active.as_ref().filter(|active| matches!(active.stage, Stage::Step | Stage::Bake));
        let of = judged.zip(state.rollouts.last());
        let of = of.map(|(active, rollout)| (rollout.id.clone(), active.stage, active.step));
        match of {
            None => drop(self.windows.remove(home)),
            Some(of) if self.windows.get(home).is_some_and(|window| window.of == of) => {}
            Some(of) => drop(self.windows.insert(home.clone(), Window { of, instances: BTreeMap::new() })),
        }
    }

    /// The sums of a service in a scope, by instance.
    pub(crate) fn of(&self, home: &ServiceScope) -> BTreeMap<String, Tally> {
        self.windows.get(home).map(|window| window.instances.clone()).unwrap_or_default()
    }
}
