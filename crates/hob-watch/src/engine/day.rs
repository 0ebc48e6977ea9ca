//! Figures by day: what opened and ended, how long people took, how the entities themselves ended.

use hob_wire::{IssueDay, OutcomeShare, Spread, Transition};

use super::Engine;
use crate::expression::Answer;
use crate::plan::needs_of;
use crate::rows::{DayRow, RuleDay};

/// Days that are kept.
const DAYS_MAX: usize = 90;
/// Days over which the precision of a rule is taken.
const PRECISION_DAYS: usize = 7;

/// How well a rule did on its last days.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RuleFigures {
    pub(crate) last_opened: Option<hob_core::Timestamp>,
    pub(crate) resolved: u64,
    pub(crate) false_alarms: u64,
    pub(crate) by_day: Vec<(String, u64)>,
}

impl Engine {
    /// The day that it is on the scope's clock, in UTC.
    pub(super) fn day(&self) -> String {
        self.state.clock.to_string().chars().take(10).collect()
    }

    pub(super) fn today(&mut self) -> &mut DayRow {
        let day = self.day();
        let days = &mut self.state.desk.days;
        if !days.contains_key(&day) && days.len() >= DAYS_MAX {
            days.pop_first();
        }
        days.entry(day).or_default()
    }

    pub(super) fn count_transition(&mut self, transition: &Transition) {
        let issue = &transition.issue;
        let rule = issue.rule.clone();
        match transition.transition.as_str() {
            "opened" => {
                self.count_opened(&rule);
                let day = self.today();
                day.opened += 1;
                day.rules.entry(rule).or_default().opened += 1;
            }
            "reopened" => self.today().reopened += 1,
            "resolved" => {
                let took = issue.resolved.map(|at| at.since(issue.opened)).unwrap_or_default();
                let day = self.today();
                day.resolved += 1;
                day.resolve.record(took.as_secs_f64());
                day.rules.entry(rule).or_default().resolved += 1;
            }
            _ => {}
        }
    }

    /// Counts an entity that was never seen before.
    pub(super) fn count_seen(&mut self, kind: &str) {
        *self.today().seen.entry(kind.to_owned()).or_default() += 1;
    }

    /// An entity is no longer kept: counts how it ended, as far as that is known.
    pub(super) fn count_outcomes(&mut self, href: &str) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(row) = self.state.entities.get(href).filter(|row| row.is_known) else { return };
        let Some(kind) = rules.entities.get(&*row.kind).filter(|kind| !kind.outcome.is_empty()) else {
            return;
        };
        self.bind(&needs_of(&kind.name, &rules.entities, kind.outcome.values()), href);
        let mut answers: Vec<(String, Answer)> = Vec::new();
        for (name, expression) in &kind.outcome {
            let answer = self.evaluator.borrow().answer(expression);
            answers.push((format!("{}.{name}", kind.name), answer));
        }
        for (name, answer) in answers {
            let is_so = match answer {
                Answer::True => 1,
                Answer::False => 0,
                Answer::Unknown(_) => continue,
            };
            let counted = self.today().outcomes.entry(name).or_default();
            *counted = (counted.0 + is_so, counted.1 + 1);
        }
    }

    /// The days that are kept, the newest first.
    pub fn days(&self) -> Vec<IssueDay> {
        self.state.desk.days.iter().rev().map(|(day, row)| self.figures_of(day, row)).collect()
    }

    fn figures_of(&self, day: &str, row: &DayRow) -> IssueDay {
        let spread = |of: &hob_core::Histogram| Spread {
            count: of.count,
            p50: of.quantile(0.5),
            p90: of.quantile(0.9),
        };
        let has_outcome =
            |kind: &&String| self.rules.entities.get(*kind).is_some_and(|kind| !kind.outcome.is_empty());
        let per = row.seen.iter().filter(|(kind, seen)| has_outcome(kind) && **seen > 0);
        let share = |(count, of): (u64, u64)| OutcomeShare {
            count,
            of,
            share: if of == 0 { 0.0 } else { count as f64 / of as f64 },
        };
        IssueDay {
            day: day.to_owned(),
            opened: row.opened,
            resolved: row.resolved,
            reopened: row.reopened,
            false_alarms: row.rules.values().map(|rule| rule.false_alarms).sum(),
            investigations: row.investigations,
            actions: row.actions,
            acknowledge: spread(&row.acknowledge),
            resolve: spread(&row.resolve),
            entities: row.seen.clone(),
            investigations_per: per
                .map(|(kind, seen)| (kind.clone(), row.investigations as f64 / *seen as f64))
                .collect(),
            outcomes: row.outcomes.iter().map(|(name, counted)| (name.clone(), share(*counted))).collect(),
        }
    }

    /// How a rule did on its last days.
    pub(crate) fn rule_figures(&self, rule: &str) -> RuleFigures {
        let days = self.state.desk.days.iter().rev().take(PRECISION_DAYS);
        let opened = self.issues().filter(|issue| issue.rule == rule).map(|issue| issue.opened);
        let mut figures = RuleFigures { last_opened: opened.max(), ..RuleFigures::default() };
        for (day, row) in days {
            let RuleDay { opened, resolved, false_alarms } = row.rules.get(rule).copied().unwrap_or_default();
            figures.resolved += resolved;
            figures.false_alarms += false_alarms;
            figures.by_day.push((day.clone(), opened));
        }
        figures
    }
}
