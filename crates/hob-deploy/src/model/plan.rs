//! What a release is meant to run and on what terms it takes over, as far as decisions need to know.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Digest, Name};
use hob_wire::{Gate, Process, ReleaseTerms, Service, StepTerms, Strategy, When};
use serde::{Deserialize, Serialize};

use super::WEB;
use crate::Timings;

/// What a process that runs once gets beside its own time, until it is taken for lost.
const ONCE_GRACE: Duration = Duration::from_secs(15);

/// Which processes a release has, and on what terms it takes over.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) processes: BTreeMap<Name, PlannedProcess>,
    #[serde(default)]
    pub(crate) terms: Terms,
}

/// How often a process runs, and whether two releases' may overlap.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PlannedProcess {
    pub(crate) replicas: u32,
    /// Never beside one of another release.
    pub(crate) exclusive: bool,
    /// It runs once, to its end, within so many milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) once_ms: Option<u64>,
}

/// How a release takes over.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Terms {
    pub(crate) release: ReleaseTerms,
    /// Until the last requests of one of its instances end.
    pub(crate) drain_ms: u64,
    /// Until an instance has started and is warm, when the descriptor says so.
    pub(crate) start_ms: u64,
    /// Until an instance that was asked to end has ended.
    pub(crate) stop_ms: u64,
    /// Over which an instance's share of requests grows.
    pub(crate) slow_start_ms: u64,
    /// Its package.
    pub(crate) package: Option<Digest>,
}

impl Default for Terms {
    fn default() -> Self {
        let drain_ms = hob_wire::Drain::default().in_flight_ms;
        let (release, stop_ms) = (ReleaseTerms::default(), hob_wire::Stop::default().timeout_ms);
        Self { release, drain_ms, start_ms: 0, stop_ms, slow_start_ms: 0, package: None }
    }
}

impl Plan {
    pub(crate) fn of(service: &Service, package: Digest) -> Self {
        let planned = |process: &Process| PlannedProcess {
            replicas: if process.when == When::PreRelease { 1 } else { process.replicas },
            exclusive: process.strategy == Strategy::StopThenStart,
            once_ms: process.timeout_ms.filter(|_| process.when == When::PreRelease),
        };
        let processes = &service.processes;
        let startup = service.health.startup.as_ref().map_or(0, |startup| startup.deadline_ms);
        let warmup = service.warmup.as_ref();
        let terms = Terms {
            release: service.release.clone(),
            drain_ms: service.drain.in_flight_ms.max(service.drain.spread_ms),
            start_ms: startup.saturating_add(warmup.map_or(0, |warmup| warmup.max_ms)),
            stop_ms: processes.values().map(|process| process.stop.timeout_ms).max().unwrap_or(0),
            slow_start_ms: warmup.map_or(0, |warmup| warmup.slow_start_ms),
            package: Some(package),
        };
        let processes = processes.iter().map(|(name, process)| (name.clone(), planned(process)));
        Self { processes: processes.collect(), terms }
    }

    pub(crate) fn is_exclusive(&self, process: &Name) -> bool {
        self.processes.get(process).is_some_and(|planned| planned.exclusive)
    }

    pub(crate) fn is_once(&self, process: &Name) -> bool {
        self.processes.get(process).is_some_and(|planned| planned.once_ms.is_some())
    }

    /// Whether nobody may start a second one while the first may still run.
    pub(crate) fn is_single(&self, process: &Name) -> bool {
        self.is_exclusive(process) || self.is_once(process)
    }

    pub(crate) fn has_once(&self) -> bool {
        self.processes.values().any(|planned| planned.once_ms.is_some())
    }

    /// How many instances there should be of the processes that stay and are, or are not, exclusive.
    pub(crate) fn wanted(&self, exclusive: bool) -> u32 {
        let stays = |planned: &&PlannedProcess| planned.exclusive == exclusive && planned.once_ms.is_none();
        self.processes.values().filter(stays).map(|planned| planned.replicas).sum()
    }

    /// The steps in which it shares the requests with the release before.
    pub(crate) fn shares(&self) -> impl Iterator<Item = &StepTerms> {
        let may_overlap = self.web().is_some_and(|web| !web.exclusive);
        self.terms.release.steps.iter().filter(move |step| may_overlap && step.is_partial())
    }

    /// The step at `index` of [`Self::shares`].
    pub(crate) fn share(&self, index: u32) -> Option<&StepTerms> {
        self.shares().nth(usize::try_from(index).unwrap_or(usize::MAX))
    }

    /// Milliseconds for which it is watched once it takes all requests: the bake, and steps that give it all.
    pub(crate) fn bake_ms(&self) -> u64 {
        let release = &self.terms.release;
        let whole = release.steps.iter().filter(|step| step.weight == Some(100));
        whole.map(|step| step.for_ms).fold(release.bake_ms, u64::saturating_add)
    }

    /// Fresh instances of the release before that it is compared with.
    pub(crate) fn controls(&self) -> usize {
        let compares = self.terms.release.gates.iter().any(|gate| matches!(gate, Gate::Latency { .. }));
        let is_shared = self.shares().next().is_some();
        self.web().filter(|_| compares && is_shared).map_or(0, |web| web.replicas as usize)
    }

    /// Until all instances that start are ready, batch by batch.
    pub(crate) fn start_time(&self, timings: &Timings) -> Duration {
        let one = timings.ready.max(Duration::from_millis(self.terms.start_ms));
        let batch = self.terms.release.surge.unwrap_or(u32::MAX).max(1);
        one.saturating_mul(self.wanted(false).div_ceil(batch).max(1))
    }

    /// Until every process that runs once has ended.
    pub(crate) fn once_time(&self) -> Duration {
        let longest = self.processes.values().filter_map(|planned| planned.once_ms).max().unwrap_or(0);
        Duration::from_millis(longest) + ONCE_GRACE
    }

    fn web(&self) -> Option<&PlannedProcess> {
        self.processes.iter().find(|(name, _)| name.as_str() == WEB).map(|(_, web)| web)
    }
}
