//! The words of this crate: what is remembered of a service in a scope, and what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hob_core::{Clock, Digest, Name, Scope, Timestamp};
use hob_wire::{InstanceState, Process, ReleaseState, Rollout, RolloutState, Service, Strategy};
use serde::{Deserialize, Serialize};

/// Rollouts remembered per service and scope.
pub(crate) const ROLLOUTS_MAX: usize = 50;
/// The process that takes a service's requests.
pub(crate) const WEB: &str = "web";

/// How Hob's own parts are reached from instances, and where this crate keeps its key.
#[derive(Clone, Debug)]
pub struct Config {
    /// The API's origin: `HOB_URL` of instances.
    pub api_url: String,
    /// The router's origin: `HOB_ROUTER_URL`, and `HOB_PUBLIC_URL` where `hob.yml` names none.
    pub router_url: String,
    /// Authorities beside the platform's: `HOB_CA_FILE` of instances.
    pub ca_file: Option<PathBuf>,
    /// The data directory; `instance.key` is made in it.
    pub data: PathBuf,
    /// The wall clock.
    pub clock: Clock,
    /// How long things may take.
    pub timings: Timings,
}

/// How long the parts of a rollout may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Until the instances of the target release are ready, and until the routers have acknowledged.
    pub ready: Duration,
    /// Until the last requests of an old instance end.
    pub drain: Duration,
    /// How long the previous release stays hot.
    pub standby: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        Self {
            ready: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            standby: Duration::from_secs(600),
        }
    }
}

/// A service in a scope: what releases and rollouts belong to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceScope {
    /// The service.
    pub service: Name,
    /// Where and for whom.
    pub scope: Scope,
}

impl fmt::Display for ServiceScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.service, self.scope)
    }
}

/// Everything that is decided about a service in a scope. It is stored as one key.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// What runs, by release number.
    #[serde(default)]
    pub(crate) sets: BTreeMap<u64, Set>,
    /// The release that takes the requests.
    #[serde(default)]
    pub(crate) routed: Option<u64>,
    /// The release whose exclusive processes run.
    #[serde(default)]
    pub(crate) workers: Option<u64>,
    /// The release kept hot.
    #[serde(default)]
    pub(crate) standby: Option<Standby>,
    /// The rollout under way; it is also the last of `rollouts`.
    #[serde(default)]
    pub(crate) active: Option<Active>,
    /// The newest rollouts, oldest first.
    #[serde(default)]
    pub(crate) rollouts: Vec<Rollout>,
    /// Where each release stands.
    #[serde(default)]
    pub(crate) marks: BTreeMap<u64, ReleaseState>,
}

/// A release that runs unrouted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Standby {
    pub(crate) release: u64,
    pub(crate) until: Timestamp,
}

/// A rollout under way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Active {
    pub(crate) to: u64,
    pub(crate) from: Option<u64>,
    pub(crate) rollback: bool,
    pub(crate) stage: Stage,
    /// When the stage fails, or for draining, ends.
    pub(crate) deadline: Timestamp,
}

/// What a rollout does now. A deploy swaps the workers before the routes; a rollback the routes first, because its
/// target is proven and the routes are what hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// The target's instances of processes that may overlap become ready.
    Web,
    /// The exclusive processes of the other releases end, then those of the target become ready.
    Workers,
    /// The routers take in the target.
    Route,
    /// The old instances end their last requests.
    Drain,
}

impl Active {
    /// The stage as others see it.
    pub(crate) fn rollout_state(&self) -> RolloutState {
        match self.stage {
            Stage::Web => RolloutState::Starting,
            Stage::Workers if self.rollback => RolloutState::Draining,
            Stage::Workers => RolloutState::Starting,
            Stage::Route => RolloutState::Routing,
            Stage::Drain => RolloutState::Draining,
        }
    }

    /// The stage after this one; none when this is the last.
    pub(crate) fn next_stage(&self) -> Option<Stage> {
        match (self.stage, self.rollback) {
            (Stage::Web, false) | (Stage::Route, true) => Some(Stage::Workers),
            (Stage::Web, true) | (Stage::Workers, false) => Some(Stage::Route),
            (Stage::Route, false) | (Stage::Workers, true) => Some(Stage::Drain),
            (Stage::Drain, _) => None,
        }
    }
}

/// The instances of one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Set {
    pub(crate) plan: Plan,
    /// Makes the instances' ids.
    pub(crate) seed: String,
    pub(crate) members: Vec<Member>,
}

/// One instance that runs, should run, or has not yet ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) process: Name,
    /// Where it should run; nowhere yet when no node was live.
    pub(crate) node: Option<Name>,
    /// It takes no requests any more; the time is when it is stopped although some have not ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) leaving: Option<Timestamp>,
    /// It should not run any more; it is forgotten once its node says that it does not.
    #[serde(default)]
    pub(crate) stopped: bool,
}

/// Which processes a release has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) processes: BTreeMap<Name, PlannedProcess>,
}

/// How often a process runs, and whether two releases' may overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedProcess {
    pub(crate) replicas: u32,
    /// Never beside one of another release.
    pub(crate) exclusive: bool,
}

impl Plan {
    pub(crate) fn of(service: &Service) -> Self {
        let planned = |process: &Process| PlannedProcess {
            replicas: process.replicas,
            exclusive: process.strategy == Strategy::StopThenStart,
        };
        Self {
            processes: service
                .processes
                .iter()
                .map(|(name, process)| (name.clone(), planned(process)))
                .collect(),
        }
    }

    pub(crate) fn is_exclusive(&self, process: &Name) -> bool {
        self.processes.get(process).is_some_and(|planned| planned.exclusive)
    }

    /// How many instances there should be of the processes that are, or are not, exclusive.
    pub(crate) fn wanted(&self, exclusive: bool) -> u32 {
        self.processes
            .values()
            .filter(|planned| planned.exclusive == exclusive)
            .map(|planned| planned.replicas)
            .sum()
    }
}

/// What moves the state of a service in a scope.
#[derive(Clone, Debug)]
pub(crate) enum Input<'a> {
    /// A new release shall take over.
    Deploy { rollout: Begin, plan: Plan },
    /// An earlier release shall take over again.
    Rollback { rollout: Begin, plan: Plan },
    /// The service is declared no more.
    Retire,
    /// Look at the world and do the next thing.
    Observe(&'a Facts),
}

/// What a rollout begins with.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    pub(crate) id: String,
    pub(crate) home: ServiceScope,
    pub(crate) to: u64,
}

/// What nodes and routers report, as far as it is about one service in one scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Nodes whose agents reported within their lease.
    pub(crate) nodes: BTreeSet<Name>,
    /// Whether Hob has run for longer than a lease, so that a node that is not live is lost, not late.
    pub(crate) settled: bool,
    /// Whether every live router routes by the present routes and instances of the service.
    pub(crate) acknowledged: bool,
    /// By instance.
    pub(crate) instances: BTreeMap<String, Fact>,
}

/// What is known of one instance.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Fact {
    /// What its live node reports.
    pub(crate) state: Option<InstanceState>,
    pub(crate) restarts: u32,
    pub(crate) reason: Option<String>,
    /// No live router sends it requests, and none has one of its requests in flight.
    pub(crate) clear: bool,
    /// Its node knows that it should not run, and it does not.
    pub(crate) gone: bool,
}

/// What was asked for when a release was made. Immutable, one key each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReleaseRow {
    pub(crate) number: u64,
    pub(crate) package: Digest,
    pub(crate) config: Digest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) git: Option<String>,
    pub(crate) created: Timestamp,
    /// The descriptor as it was, so that a rollback restores routes, processes and probes.
    pub(crate) descriptor: Service,
    /// The service's own configuration, overrides included.
    pub(crate) env: BTreeMap<String, String>,
}
