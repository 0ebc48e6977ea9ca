//! How long instances take from the order to ready, so that a schedule can have them ready in time.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use hob_core::{Scope, Timestamp};
use hob_wire::{Instance, InstanceState};

use crate::ServiceScope;
use crate::model::WEB;

/// Starts that are remembered of each service.
const STARTS_MAX: usize = 32;
/// What an instance is thought to take while none was seen to start.
const START_DEFAULT: Duration = Duration::from_secs(30);

/// Starts under way, and how long the last ones took.
#[derive(Default)]
pub(crate) struct Starts {
    begun: BTreeMap<String, Timestamp>,
    took: BTreeMap<ServiceScope, VecDeque<Duration>>,
}

impl Starts {
    /// Looks at all instances. One counts when its process started after it was first seen: others were there before.
    pub(crate) fn look(&mut self, all: &BTreeMap<String, Instance>, now: Timestamp) {
        let web = all.iter().filter(|(_, instance)| instance.process.as_str() == WEB);
        for (id, instance) in web {
            match instance.state {
                InstanceState::Starting => {
                    self.begun.entry(id.clone()).or_insert(now);
                }
                InstanceState::Ready => {
                    let Some(begun) = self.begun.remove(id) else { continue };
                    if instance.restarts == 0 && instance.started.is_some_and(|started| started >= begun) {
                        self.note(instance, now.since(begun));
                    }
                }
                _ => drop(self.begun.remove(id)),
            }
        }
        self.begun.retain(|id, _| all.contains_key(id));
    }

    /// Goes on with what was stored.
    pub(crate) fn resume(took: impl Iterator<Item = (ServiceScope, Vec<u64>)>) -> Self {
        let took = took.map(|(home, all)| (home, all.into_iter().map(Duration::from_millis).collect()));
        Self { begun: BTreeMap::new(), took: took.collect() }
    }

    /// How long the last starts took, in milliseconds.
    pub(crate) fn took_ms(&self, home: &ServiceScope) -> Vec<u64> {
        let millis = |time: &Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.took.get(home).into_iter().flatten().map(millis).collect()
    }

    /// The 95th percentile of the last starts; none while none was seen.
    pub(crate) fn p95(&self, home: &ServiceScope) -> Option<Duration> {
        let mut took: Vec<Duration> = self.took.get(home)?.iter().copied().collect();
        took.sort();
        took.get((took.len() * 95).div_ceil(100).saturating_sub(1)).copied()
    }

    /// How long before an instance must be ready it is to be ordered.
    pub(crate) fn lead(&self, home: &ServiceScope) -> Duration {
        self.p95(home).unwrap_or(START_DEFAULT)
    }

    fn note(&mut self, instance: &Instance, took: Duration) {
        let scope = Scope { environment: instance.environment.clone(), tenant: instance.tenant.clone() };
        let home = ServiceScope { service: instance.service.clone(), scope };
        let known = self.took.entry(home).or_default();
        known.push_back(took);
        if known.len() > STARTS_MAX {
            known.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conditions::tests::instance;

    #[test]
    fn the_percentile_is_of_starts_that_were_seen_whole() {
        let at = |seconds: u64| Timestamp::EPOCH.plus(Duration::from_secs(seconds));
        let mut starts = Starts::default();
        let mut all = instance(0, InstanceState::Starting);
        let home = ServiceScope { service: "orders".parse().unwrap(), scope: "qa/uk".parse().unwrap() };
        assert_eq!(starts.lead(&home), START_DEFAULT);
        let mut start = |starts: &mut Starts, begin: u64, started: u64, ready: u64| {
            let one = all.values_mut().next().unwrap();
            (one.state, one.started) = (InstanceState::Starting, None);
            starts.look(&all, at(begin));
            let one = all.values_mut().next().unwrap();
            (one.state, one.started) = (InstanceState::Ready, Some(at(started)));
            starts.look(&all, at(ready));
        };
        start(&mut starts, 100, 50, 101);
        assert_eq!(starts.p95(&home), None, "it ran before it was seen");
        for n in 0..40 {
            start(&mut starts, 1000 + n * 100, 1001 + n * 100, 1002 + n * 100 + n);
        }
        assert_eq!(starts.p95(&home), Some(Duration::from_secs(40)), "of the last 32: 10 to 41 seconds");
        assert_eq!(starts.took[&home].len(), STARTS_MAX);
        let again = Starts::resume([(home.clone(), starts.took_ms(&home))].into_iter());
        assert_eq!(again.p95(&home), starts.p95(&home), "a restart forgets nothing");
    }
}
