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
    /// The conditions that a log left active; what is no condition's key is left out.
    pub(crate) fn of(active: impl IntoIterator<Item = Vec<u8>>) -> Self {
        let active = active.into_iter().filter_map(|key| parse_key(&key)).collect();
        Self { active: Mutex::new(active) }
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

/// What a stored change is about, as bytes that [`Conditions::of`] takes back, and whether it became active.
pub(crate) fn change_of(scope: &str, row: &EventRow<'_>) -> Option<(Vec<u8>, bool)> {
    let condition: Condition = serde_json::from_slice(row.data?.1).ok()?;
    let key = [scope, &condition.subject, &condition.condition].join("\0");
    Some((key.into_bytes(), condition.active))
}

fn parse_key(key: &[u8]) -> Option<Key> {
    let mut parts = std::str::from_utf8(key).ok()?.splitn(3, '\0').map(str::to_owned);
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// The notice that tells a condition.
pub(crate) fn notice(condition: &Condition) -> Notice {
    Notice {
        href: Some(condition.subject.clone()),
        data: Some(serde_json::to_value(condition).expect("a condition is JSON")),
        ..Notice::new(if condition.active { ACTIVE } else { INACTIVE })
    }
}
