//! What nodes were told to run and what their agents report.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use hob_core::limits::REPORT_LEASE;
use hob_core::{Digest, Name, Timestamp};
use hob_wire::{
    InstanceReport, InstanceState, Intended, IntendedInstance, NodeReport, NodeSummary, Shot, Usage,
};

use crate::rows::NodeRow;

/// Nodes that were silent for this many leases are forgotten when nothing is meant to run on them.
const FORGOTTEN_LEASES: u32 = 60;

/// Every node that was heard of, or that something is meant to run on.
pub(crate) struct Nodes {
    first: u64,
    known: BTreeMap<Name, Node>,
}

struct Node {
    intended: Arc<Intended>,
    report: Option<(Timestamp, NodeReport)>,
    /// By instance: the revision from which on it should not run.
    excluded_since: BTreeMap<String, u64>,
}

impl Nodes {
    /// `first` is a revision above all that were ever given out.
    pub(crate) fn new(first: u64) -> Self {
        Self { first, known: BTreeMap::new() }
    }

    /// Takes in what an agent says, and ends the orders to shoot that were carried out.
    pub(crate) fn report(&mut self, name: &Name, report: NodeReport, now: Timestamp) {
        let first = self.first;
        let node = self.known.entry(name.clone()).or_insert_with(|| Node::new(first));
        let is_aim = |shot: &Shot| {
            let mut instances = report.instances.iter();
            instances.any(|instance| instance.id == shot.instance && instance.pid == Some(shot.pid))
        };
        if !node.intended.shoot.iter().all(is_aim) {
            let mut next = Intended::clone(&node.intended);
            next.shoot.retain(is_aim);
            next.revision += 1;
            node.intended = Arc::new(next);
        }
        node.report = Some((now, report));
    }

    /// Makes a new revision for each node whose instances, or the packages that all keep, differ from the present ones.
    pub(crate) fn intend(
        &mut self,
        mut instances: BTreeMap<Name, Vec<IntendedInstance>>,
        packages: &[Digest],
    ) {
        let first = self.first;
        for name in instances.keys() {
            self.known.entry(name.clone()).or_insert_with(|| Node::new(first));
        }
        for (name, node) in &mut self.known {
            let wanted = instances.remove(name).unwrap_or_default();
            if wanted == node.intended.instances && packages == node.intended.packages {
                continue;
            }
            let revision = node.intended.revision + 1;
            for instance in &node.intended.instances {
                node.excluded_since.entry(instance.id.clone()).or_insert(revision);
            }
            for instance in &wanted {
                node.excluded_since.remove(&instance.id);
            }
            let shoot = node.intended.shoot.clone();
            node.intended =
                Arc::new(Intended { revision, instances: wanted, shoot, packages: packages.to_vec() });
        }
    }

    /// Orders an instance's present process to be killed; false when it has none.
    pub(crate) fn shoot(&mut self, instance: &str) -> bool {
        for node in self.known.values_mut() {
            let reports = node.report.iter().flat_map(|(_, report)| &report.instances);
            let Some(pid) = reports.filter(|report| report.id == instance).find_map(|report| report.pid)
            else {
                continue;
            };
            let mut next = Intended::clone(&node.intended);
            let shot = Shot { instance: instance.to_owned(), pid };
            if !next.shoot.contains(&shot) {
                next.shoot.push(shot);
                next.revision += 1;
                node.intended = Arc::new(next);
            }
            return true;
        }
        false
    }

    /// What each node should run.
    pub(crate) fn intended(&self) -> impl Iterator<Item = (&Name, &Arc<Intended>)> {
        self.known.iter().map(|(name, node)| (name, &node.intended))
    }

    /// What the live node of an instance last reported of it.
    pub(crate) fn instance(&self, node: &Name, id: &str, now: Timestamp) -> Option<&InstanceReport> {
        self.live_report(node, now)?.instances.iter().find(|report| report.id == id)
    }

    /// Whether a node knows that an instance should not run, and it does not.
    pub(crate) fn is_gone(&self, name: &Name, id: &str, now: Timestamp) -> bool {
        let (Some(node), Some(report)) = (self.known.get(name), self.live_report(name, now)) else {
            return false;
        };
        let since = node.excluded_since.get(id).copied().unwrap_or(self.first);
        let is_running = report.instances.iter().any(|instance| instance.id == id && runs(instance));
        let is_intended = node.intended.instances.iter().any(|instance| instance.id == id);
        report.revision >= since && !is_running && !is_intended
    }

    /// Whether a live node has taken in what this Hob told it, so that what it does not report does not run.
    pub(crate) fn has_taken_in(&self, name: &Name, now: Timestamp) -> bool {
        self.live_report(name, now).is_some_and(|report| report.revision >= self.first)
    }

    /// Nodes whose agents reported within their lease.
    pub(crate) fn live(&self, now: Timestamp) -> BTreeSet<Name> {
        self.known.keys().filter(|name| self.live_report(name, now).is_some()).cloned().collect()
    }

    /// Live nodes that have not got a package, each with what keeps it. Agents that do not say what they have are not
    /// waited for.
    pub(crate) fn lacking(&self, package: &Digest, now: Timestamp) -> BTreeMap<Name, Option<String>> {
        let mut lacking = BTreeMap::new();
        for name in self.known.keys() {
            let Some(report) = self.live_report(name, now) else { continue };
            if !report.facts.version.is_empty() && !report.packages.contains(package) {
                lacking.insert(name.clone(), report.unfetched.get(package).cloned());
            }
        }
        lacking
    }

    /// Whether a node of this name was heard of.
    pub(crate) fn is_known(&self, name: &Name) -> bool {
        self.known.contains_key(name)
    }

    /// Forgets a node.
    pub(crate) fn remove(&mut self, name: &Name) {
        self.known.remove(name);
    }

    /// Nodes as others see them.
    pub(crate) fn summaries(&self, rows: &BTreeMap<Name, NodeRow>, now: Timestamp) -> Vec<NodeSummary> {
        let names: BTreeSet<&Name> = self.known.keys().chain(rows.keys()).collect();
        names.into_iter().map(|name| self.summary(name, rows.get(name), now)).collect()
    }

    fn summary(&self, name: &Name, row: Option<&NodeRow>, now: Timestamp) -> NodeSummary {
        let node = self.known.get(name);
        let report = node.and_then(|node| node.report.as_ref());
        let intended = node.map_or(0, |node| node.intended.instances.len());
        let mut usage = Usage::default();
        for instance in report.into_iter().flat_map(|(_, report)| &report.instances).filter(|one| runs(one)) {
            usage.cpu_seconds += instance.usage.cpu_seconds;
            usage.memory_bytes += instance.usage.memory_bytes;
            usage.pids += instance.usage.pids;
        }
        NodeSummary {
            name: name.clone(),
            live: self.live_report(name, now).is_some(),
            reported: report.map(|(at, _)| *at),
            instances: u32::try_from(intended).unwrap_or(u32::MAX),
            state: row.map(|row| row.state).unwrap_or_default(),
            by: row.map(|row| row.by.clone()),
            since: row.map(|row| row.since),
            facts: report.map(|(_, report)| report.facts.clone()).unwrap_or_default(),
            usage,
        }
    }

    /// Forgets what is known of instances that are gone, and nodes that have been silent for long.
    pub(crate) fn forget(&mut self, is_known: impl Fn(&str) -> bool, now: Timestamp) {
        for node in self.known.values_mut() {
            node.excluded_since.retain(|id, _| is_known(id));
        }
        let is_recent = |at: &Timestamp| now.since(*at) < FORGOTTEN_LEASES * REPORT_LEASE;
        self.known.retain(|_, node| {
            !node.intended.instances.is_empty() || node.report.as_ref().is_none_or(|(at, _)| is_recent(at))
        });
    }

    fn live_report(&self, name: &Name, now: Timestamp) -> Option<&NodeReport> {
        let (at, report) = self.known.get(name)?.report.as_ref()?;
        (now.since(*at) < REPORT_LEASE).then_some(report)
    }
}

impl Node {
    fn new(first: u64) -> Self {
        let intended = Arc::new(Intended { revision: first, ..Intended::default() });
        Self { intended, report: None, excluded_since: BTreeMap::new() }
    }
}

/// Whether an instance has a process now.
fn runs(report: &InstanceReport) -> bool {
    matches!(report.state, InstanceState::Starting | InstanceState::Ready | InstanceState::Draining)
}
