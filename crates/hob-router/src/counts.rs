//! Counts what was refused, and why, until the next report. Only requests that are refused come here.

use std::collections::BTreeMap;
use std::sync::Mutex;

use hob_wire::Limited;

use crate::instance::lock;

/// Counts of refusals by pool and reason.
#[derive(Default)]
pub(crate) struct Counts {
    by_reason: Mutex<BTreeMap<(Option<String>, &'static str), u64>>,
}

impl Counts {
    /// Counts one refusal.
    pub(crate) fn add(&self, pool: Option<&str>, reason: &'static str) {
        *lock(&self.by_reason).entry((pool.map(str::to_owned), reason)).or_default() += 1;
    }

    /// What was counted since the last call.
    pub(crate) fn take(&self) -> Vec<Limited> {
        let counts = std::mem::take(&mut *lock(&self.by_reason));
        let limited = |((pool, reason), requests): ((Option<String>, &str), u64)| Limited {
            pool,
            reason: reason.to_owned(),
            requests,
        };
        counts.into_iter().map(limited).collect()
    }
}
