//! When there are too few occurrences for an issue, and when there are too many issues for people.

use std::time::Duration;

use super::issue::New;
use super::{Engine, Output};
use crate::model::Rule;
use crate::rows::Hit;
use hob_wire::IssueState;

/// Open issues of one rule when it does not say: beyond them there is a storm.
pub(crate) const OPEN_MAX: u32 = 1_000;
/// How many times its usual rate makes a storm of a rule.
const STORM_FACTOR: u64 = 10;
/// Issues of one rule within [`STORM_WINDOW`] that are never a storm.
const STORM_LEAST: usize = 20;
/// The time over which a rule's rate is taken.
const STORM_WINDOW: Duration = Duration::from_secs(3600);
/// Days that make up a rule's usual rate.
const USUAL_DAYS: usize = 7;
/// Issues of one day that a rule may have whatever its budget for each entity is.
const BUDGET_LEAST: u64 = 20;
/// Occurrences that are remembered of one key.
const HITS_MAX: usize = 1_000;

/// Why a rule's next issue is part of a storm.
pub(super) struct Storm {
    why: String,
}

impl Engine {
    /// Whether there were enough occurrences for an issue; the entities of the others then. One that is not enough stays
    /// silent until its condition was false once.
    pub(super) fn has_enough(&mut self, rule: &Rule, key: &str, href: &str) -> Option<Vec<String>> {
        let Some(at_least) = rule.at_least else { return Some(Vec::new()) };
        let now = self.state.clock;
        let hits = self.state.desk.hits.entry(rule.name.clone()).or_default();
        let of_key = hits.entry(key.to_owned()).or_default();
        of_key.retain(|hit| now.since(hit.at) < at_least.within);
        of_key.push(Hit { at: now, href: href.to_owned() });
        if of_key.len() > HITS_MAX {
            of_key.remove(0);
        }
        if of_key.len() < at_least.count as usize {
            self.cell_mut(&rule.name, href).is_suppressed = true;
            return None;
        }
        let hits = hits.remove(key).unwrap_or_default();
        let mut others: Vec<String> = hits.into_iter().map(|hit| hit.href).collect();
        others.sort();
        others.dedup();
        let waits = |other: &String| {
            let cell = self.cell(&rule.name, other);
            cell.is_some_and(|cell| cell.is_suppressed && cell.verdict == crate::rows::Verdict::True)
        };
        Some(others.into_iter().filter(|other| other != href).filter(waits).collect())
    }

    /// Whether the next issue of a rule is one too many, and why.
    pub(super) fn storm(&self, rule: &Rule) -> Option<Storm> {
        if self.is_trial {
            return None;
        }
        let open = self.desk.of_rule.get(&rule.name).map_or(0, |open| open.len());
        let max = rule.budget.max_open.unwrap_or(OPEN_MAX);
        if open >= max as usize {
            return Some(Storm { why: format!("{max} are open at once") });
        }
        let days = &self.state.desk.days;
        let today = days.get(&self.day());
        if let (Some(budget), Some(today)) = (rule.budget.per_entity, today) {
            let opened = today.rules.get(&rule.name).map_or(0, |day| day.opened);
            let seen = today.seen.get(&rule.variable).copied().unwrap_or(0);
            if opened >= BUDGET_LEAST && opened as f64 >= budget * seen as f64 {
                return Some(Storm {
                    why: format!("{opened} today are more than {budget} for each {}", rule.about),
                });
            }
        }
        let lately = self.state.desk.opened.get(&rule.name);
        let since = self.state.clock.minus(STORM_WINDOW);
        let lately = lately.map_or(0, |opened| opened.iter().filter(|at| **at > since).count());
        let before = days.iter().rev().filter(|(day, _)| **day != self.day()).take(USUAL_DAYS);
        let opened: Vec<u64> =
            before.map(|(_, day)| day.rules.get(&rule.name).map_or(0, |day| day.opened)).collect();
        let usual = opened.iter().sum::<u64>();
        let hours = 24 * opened.len() as u64;
        let is_storm = lately >= STORM_LEAST && usual > 0 && lately as u64 * hours > STORM_FACTOR * usual;
        is_storm.then(|| Storm { why: format!("{lately} in an hour are ten times as many as usual") })
    }

    /// A cell holds the one issue that stands for all that are too many.
    pub(super) fn join_storm(&mut self, rule: &Rule, href: &str, storm: Storm, out: &mut Vec<Output>) {
        let key = format!("storm/{}", rule.name);
        let open = self.newest.get(&(rule.name.clone(), key.clone())).cloned();
        let is_open = |id: &String| {
            self.state.issues.get(id).is_some_and(|row| row.issue.state != IssueState::Resolved)
        };
        if let Some(id) = open.filter(is_open) {
            return self.join(&id, rule, href, out);
        }
        let title = format!("storm: rule {} has more than it should; {}", rule.name, storm.why);
        self.open_new(rule, New { key, title, storm: true }, href, out);
    }

    /// Counts an issue that opened, for the rate of its rule.
    pub(super) fn count_opened(&mut self, rule: &str) {
        let (now, since) = (self.state.clock, self.state.clock.minus(STORM_WINDOW));
        let opened = self.state.desk.opened.entry(rule.to_owned()).or_default();
        opened.push_back(now);
        while opened.len() > OPEN_MAX as usize || opened.front().is_some_and(|at| *at <= since) {
            opened.pop_front();
        }
    }
}
