//! What the agent sees of each instance: written by their tasks, read by the report.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hob_wire::{InstanceReport, InstanceState};
use tokio::sync::Notify;

#[derive(Default)]
struct Reports {
    all: BTreeMap<String, InstanceReport>,
    /// Those that are over and only have to be told of once more.
    gone: BTreeSet<String>,
    /// Folders of their control groups.
    groups: BTreeMap<String, BTreeMap<String, PathBuf>>,
}

/// Every instance that the agent knows.
#[derive(Default)]
pub(crate) struct Board {
    reports: Mutex<Reports>,
    changed: Notify,
}

impl Board {
    /// Changes what is seen of an instance, and wakes whoever reports when that made a difference.
    pub(crate) fn update(&self, id: &str, change: impl FnOnce(&mut InstanceReport)) {
        let mut reports = self.lock();
        let before = reports.all.get(id).cloned();
        let report = reports.all.entry(id.to_owned()).or_insert_with(|| fresh(id));
        change(report);
        let differs = before.as_ref() != Some(report);
        drop(reports);
        if differs {
            self.changed.notify_one();
        }
    }

    /// An instance begins, from nothing: what was seen of an earlier one of its id is over.
    pub(crate) fn begin(&self, id: &str) {
        let mut reports = self.lock();
        reports.gone.remove(id);
        reports.all.insert(id.to_owned(), fresh(id));
        drop(reports);
        self.changed.notify_one();
    }

    /// Has the next report sent at once.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// Where an instance's use is counted.
    pub(crate) fn set_groups(&self, id: &str, groups: BTreeMap<String, PathBuf>) {
        self.lock().groups.insert(id.to_owned(), groups);
    }

    pub(crate) fn groups(&self, id: &str) -> Option<BTreeMap<String, PathBuf>> {
        self.lock().groups.get(id).cloned()
    }

    /// An instance is over: it ended and is not wanted any more.
    pub(crate) fn end(&self, id: &str) {
        self.lock().gone.insert(id.to_owned());
        self.update(id, |report| {
            report.state = InstanceState::Stopped;
            (report.pid, report.address, report.reason) = (None, None, None);
        });
    }

    /// What is seen of all instances.
    pub(crate) fn all(&self) -> Vec<InstanceReport> {
        self.lock().all.values().cloned().collect()
    }

    /// Forgets instances that are over, once the core has taken in a report that says so.
    pub(crate) fn forget_gone(&self, reported: &[InstanceReport]) {
        let mut reports = self.lock();
        for report in reported.iter().filter(|report| report.state == InstanceState::Stopped) {
            if reports.gone.remove(&report.id) {
                reports.all.remove(&report.id);
                reports.groups.remove(&report.id);
            }
        }
    }

    /// Resolves when something changed since it last resolved.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, Reports> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(id: &str) -> InstanceReport {
    InstanceReport { id: id.to_owned(), ..InstanceReport::default() }
}
