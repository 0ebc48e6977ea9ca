//! Conditions: only their changes are published.

use std::collections::HashSet;

use hob_core::Scope;
use hob_wire::{Condition, Notice};
use tokio::sync::{Mutex, MutexGuard};

use crate::rows::EventRow;

/// Conditions that may be active at one time.
const ACTIVE_MAX: usize = 10_000;
/// The type of the event when a condition becomes active.
const ACTIVE: &str = "active";
/// The type of the event when it no longer is.
const INACTIVE: &str = "inactive";

/// A condition is known by scope, subject and name.
type Key = (String, String, String);

/// The conditions that are active now.
#[derive(Default)]
pub(crate) struct Conditions {
    active: Mutex<HashSet<Key>>,
}

/// A change that is to be published; taken note of when that has succeeded.
pub(crate) struct ChangeOfCondition<'a> {
    active: MutexGuard<'a, HashSet<Key>>,
    key: Key,
    is_active: bool,
}

impl Conditions {
    /// Takes in a stored change.
    pub(crate) fn replay(&mut self, scope: &str, row: &EventRow<'_>) {
        let condition = row.json().and_then(|data| serde_json::from_slice::<Condition>(data).ok());
        let Some(condition) = condition else { return };
        let key = (scope.to_owned(), condition.subject, condition.condition);
        let active = self.active.get_mut();
        if condition.active {
            active.insert(key)
        } else {
            active.remove(&key)
        };
    }

    /// What changes, if anything does. Others wait until it is dropped.
    pub(crate) async fn change(&self, scope: &Scope, condition: &Condition) -> Option<ChangeOfCondition<'_>> {
        let key = (scope.to_string(), condition.subject.clone(), condition.condition.clone());
        let active = self.active.lock().await;
        if active.contains(&key) == condition.active {
            return None;
        }
        if condition.active && active.len() >= ACTIVE_MAX {
            tracing::error!(
                subject = condition.subject,
                condition = condition.condition,
                "too many conditions are active; this one is not published"
            );
            return None;
        }
        Some(ChangeOfCondition { active, key, is_active: condition.active })
    }
}

impl ChangeOfCondition<'_> {
    /// It is published.
    pub(crate) fn done(mut self) {
        if self.is_active {
            self.active.insert(self.key)
        } else {
            self.active.remove(&self.key)
        };
    }
}

/// The notice that tells a condition.
pub(crate) fn notice(condition: &Condition) -> Notice {
    Notice {
        href: Some(condition.subject.clone()),
        data: Some(serde_json::to_value(condition).expect("a condition is JSON")),
        ..Notice::new(if condition.active { ACTIVE } else { INACTIVE })
    }
}
