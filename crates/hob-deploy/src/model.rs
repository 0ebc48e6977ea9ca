//! The words of this crate: what is remembered of a service in a scope, and what is seen of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use hob_core::{Clock, Digest, Name, Scope, Timestamp};
use hob_wire::{Change, InstanceState, ReleaseState, Rollout, RolloutState, Service, StepTerms, Wanted};
use serde::{Deserialize, Serialize};

use crate::traffic::Tally;

mod plan;

pub(crate) use plan::{Plan, PlannedProcess, Terms};

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

/// How long the parts of a rollout may take where a descriptor does not say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timings {
    /// Until every node has the package.
    pub fetch: Duration,
    /// Until the instances of the target release are ready.
    pub ready: Duration,
    /// Until the routers have acknowledged.
    pub route: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        let minute = Duration::from_secs(60);
        Self { fetch: 5 * minute, ready: minute, route: minute }
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
    /// Names that people gave releases; their packages stay on every node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) names: BTreeMap<u64, String>,
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
    /// When the stage fails, or for steps, bake and draining, ends.
    pub(crate) deadline: Timestamp,
    /// When the stage began.
    #[serde(default)]
    pub(crate) entered: Timestamp,
    /// Milliseconds that are left of the whole rollout's time, as the stage began.
    #[serde(default = "Active::left_default")]
    pub(crate) left_ms: u64,
    /// Which of the release's partial steps it has come to.
    #[serde(default)]
    pub(crate) step: u32,
    /// Why it does not go on although it could.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) hold: Option<Hold>,
    /// When the gates were last looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) judged: Option<Timestamp>,
    /// Why it goes back, while it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<String>,
}

/// A rollout that stands still.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hold {
    pub(crate) since: Timestamp,
    /// Somebody asked for it; otherwise the gates saw too little.
    pub(crate) by_order: bool,
    /// When it becomes a condition.
    pub(crate) until: Timestamp,
    /// Whether it has.
    #[serde(default)]
    pub(crate) told: bool,
}

/// What a rollout does now. A deploy swaps the workers before the routes; a rollback the routes first, because its
/// target is proven and the routes are what hurts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stage {
    /// A migration of another release runs still, or another tenant goes first.
    Queued,
    /// Every live node fetches the package.
    Fetch,
    /// The processes that run once do, one after the other's release.
    PreRelease,
    /// The target's instances of processes that may overlap become ready.
    Web,
    /// The target takes a share of the requests.
    Step,
    /// The exclusive processes of the other releases end, then those of the target become ready.
    Workers,
    /// The routers take in the target.
    Route,
    /// The target takes all requests, and the release before is at hand.
    Bake,
    /// The old instances end their last requests.
    Drain,
    /// The routers take in the release before again.
    Revert,
}

impl Active {
    /// The stage as others see it.
    pub(crate) fn rollout_state(&self) -> RolloutState {
        if self.hold.is_some() {
            return RolloutState::Holding;
        }
        match self.stage {
            Stage::Queued => RolloutState::Queued,
            Stage::Fetch => RolloutState::Prefetching,
            Stage::PreRelease => RolloutState::PreRelease,
            Stage::Web => RolloutState::Starting,
            Stage::Step => RolloutState::Stepping,
            Stage::Workers if self.rollback => RolloutState::Draining,
            Stage::Workers => RolloutState::Starting,
            Stage::Route => RolloutState::Routing,
            Stage::Bake => RolloutState::Baking,
            Stage::Drain => RolloutState::Draining,
            Stage::Revert => RolloutState::Reverting,
        }
    }

    /// The stage after this one, and which step; none when this is the last.
    pub(crate) fn next_stage(&self, plan: &Plan) -> Option<(Stage, u32)> {
        let shares = if self.from.is_some() { plan.shares().count() } else { 0 };
        let step_or_workers = |step: u32| {
            let has_step = usize::try_from(step).is_ok_and(|step| step < shares);
            if has_step { (Stage::Step, step) } else { (Stage::Workers, self.step) }
        };
        let next = match (self.stage, self.rollback) {
            (Stage::Queued, _) => (Stage::Fetch, 0),
            (Stage::Fetch, _) if plan.has_once() => (Stage::PreRelease, 0),
            (Stage::Fetch | Stage::PreRelease, _) => (Stage::Web, 0),
            (Stage::Web, true) => (Stage::Route, 0),
            (Stage::Web, false) => step_or_workers(0),
            (Stage::Step, _) => step_or_workers(self.step + 1),
            (Stage::Route, true) => (Stage::Workers, self.step),
            (Stage::Workers, false) => (Stage::Route, self.step),
            (Stage::Route, false) if self.from.is_some() && plan.bake_ms() > 0 => (Stage::Bake, self.step),
            (Stage::Route | Stage::Bake, false) | (Stage::Workers | Stage::Bake, true) => {
                (Stage::Drain, self.step)
            }
            (Stage::Drain | Stage::Revert, _) => return None,
        };
        Some(next)
    }

    /// The share of the requests that the target takes now, while the release before takes the rest: its step's, and
    /// that of the last step until the routes follow.
    pub(crate) fn present_share<'p>(&self, plan: &'p Plan) -> Option<&'p StepTerms> {
        let is_shared = match self.stage {
            Stage::Step => true,
            Stage::Workers => !self.rollback && self.from.is_some(),
            _ => false,
        };
        if is_shared { plan.share(self.step) } else { None }
    }

    /// Whether the routers have been told of the target, so that going back needs their word.
    pub(crate) fn is_routed(&self, plan: &Plan) -> bool {
        matches!(self.stage, Stage::Route | Stage::Bake) || self.present_share(plan).is_some()
    }

    /// When the present state fails or ends; of one that stands still, when it becomes a condition.
    pub(crate) fn shown_deadline(&self) -> Timestamp {
        self.hold.as_ref().map_or(self.deadline, |hold| hold.until)
    }

    fn left_default() -> u64 {
        Terms::default().release.deadline_ms
    }
}

/// The instances of one release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Set {
    pub(crate) plan: Plan,
    /// Makes the instances' ids.
    pub(crate) seed: String,
    pub(crate) members: Vec<Member>,
    /// Processes that run once and did.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) done: BTreeSet<Name>,
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
    /// It was started beside a newer release's instances, to be compared with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) control: bool,
    /// Since when it is ready, where its share of requests grows slowly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready_since: Option<Timestamp>,
}

impl Member {
    pub(crate) fn new(id: String, process: Name) -> Self {
        let (control, stopped) = (false, false);
        Self { id, process, node: None, leaving: None, stopped, control, ready_since: None }
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
    /// Somebody wants the rollout under way to stand still, to go on, or to go back.
    Order { wanted: Wanted, by: &'a str },
    /// Look at the world and do the next thing.
    Observe(&'a Facts),
}

/// What a rollout begins with.
#[derive(Clone, Debug)]
pub(crate) struct Begin {
    pub(crate) id: String,
    pub(crate) home: ServiceScope,
    pub(crate) to: u64,
    /// How the target differs from what is in use.
    pub(crate) changes: Vec<Change>,
}

/// What nodes and routers report, as far as it is about one service in one scope.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Facts {
    /// Nodes whose agents reported within their lease.
    pub(crate) nodes: BTreeSet<Name>,
    /// Nodes that take nothing new, and whose instances are to run elsewhere.
    pub(crate) cordoned: BTreeSet<Name>,
    /// Nodes on which nothing runs any more, because somebody said so.
    pub(crate) dead: BTreeSet<Name>,
    /// How many instances are meant to run on each node, of all services.
    pub(crate) load: BTreeMap<Name, usize>,
    /// Whether Hob has run for longer than a lease, so that a node that is not live is lost, not late.
    pub(crate) settled: bool,
    /// Whether every live router routes by the present routes and instances of the service.
    pub(crate) acknowledged: bool,
    /// By instance.
    pub(crate) instances: BTreeMap<String, Fact>,
    /// Live nodes that have not got the package of the release under way, each with what keeps it.
    pub(crate) lacking: BTreeMap<Name, Option<String>>,
    /// Tenants of the environment, and since when they run the package of the release under way.
    pub(crate) tenants: BTreeMap<Name, Option<Timestamp>>,
    /// By instance: its requests since the present step or bake began.
    pub(crate) traffic: BTreeMap<String, Tally>,
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
    /// The environment that ran the package before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) promoted_from: Option<Name>,
}
