//! What the agent sees of each instance: written by their tasks, read by the report.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hob_wire::{InstanceReport, InstanceState};
use tokio::sync::Notify;

/// Every instance that the agent knows.
#[derive(Default)]
pub(crate) struct Board {
    reports: Mutex<BTreeMap<String, InstanceReport>>,
    changed: Notify,
}

impl Board {
    /// Changes what is seen of an instance, and wakes whoever reports when that made a difference.
    pub(crate) fn update(&self, id: &str, change: impl FnOnce(&mut InstanceReport)) {
        let mut reports = self.lock();
        let before = reports.get(id).cloned();
        let report = reports.entry(id.to_owned()).or_insert_with(|| fresh(id));
        change(report);
        let differs = before.as_ref() != Some(report);
        drop(reports);
        if differs {
            self.changed.notify_one();
        }
    }

    /// An instance begins, from nothing: what was seen of an earlier one of its id is over.
    pub(crate) fn begin(&self, id: &str) {
        self.lock().insert(id.to_owned(), fresh(id));
        self.changed.notify_one();
    }

    /// Has the next report sent at once.
    pub(crate) fn wake(&self) {
        self.changed.notify_one();
    }

    /// What is seen of all instances.
    pub(crate) fn all(&self) -> Vec<InstanceReport> {
        self.lock().values().cloned().collect()
    }

    /// Forgets instances that stopped, once the core has taken in a report that says so.
    pub(crate) fn forget_stopped(&self, reported: &[InstanceReport]) {
        let mut reports = self.lock();
        for report in reported.iter().filter(|report| report.state == InstanceState::Stopped) {
            if reports.get(&report.id).is_some_and(|known| known.state == InstanceState::Stopped) {
                reports.remove(&report.id);
            }
        }
    }

    /// Resolves when something changed since it last resolved.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, InstanceReport>> {
        self.reports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn fresh(id: &str) -> InstanceReport {
    InstanceReport { id: id.to_owned(), ..InstanceReport::default() }
}
