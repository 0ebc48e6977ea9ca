//! What rules do by themselves, and what keeps them from it.

use std::time::Duration;

use hob_core::{Timestamp, format_duration};
use hob_wire::{Action, ActionState, IssueState};

use super::act::switch_of;
use super::{Engine, Output};
use crate::expression::Answer;
use crate::model::{self, ActionMode, Quota, Rule};
use crate::plan::needs_of;
use crate::rows::{ActionRow, Since};

/// How old a version of a rule must be before it acts by itself, unless it is trusted.
const PROBATION: Duration = Duration::from_secs(24 * 3600);
/// How many actions may cause one another.
const DEPTH_MAX: u8 = 2;

/// Why an action is not done.
#[derive(Debug, PartialEq, Eq)]
enum Hold {
    /// It may be possible later.
    ForNow(String),
    /// Not for this opening of the issue.
    ForGood(String),
    /// It would be done, were the rule older.
    Rehearsed(String),
}

impl Engine {
    /// Does, or proposes, what an issue's rule wants to be done by itself. Nothing is done by itself about an issue that
    /// a person has taken up, that is snoozed, or of which nothing can be told.
    pub(super) fn consider(&mut self, id: &str, out: &mut Vec<Output>) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(row) = self.state.issues.get(id) else { return };
        let issue = &row.issue;
        let is_idle = issue.state == IssueState::Open
            && issue.assignee.is_none()
            && issue.snoozed.is_none()
            && issue.unknown.is_none()
            && issue.waits.is_none()
            && issue.rule_mode.is_none()
            && !issue.storm;
        let Some(rule) = rules.rules.get(&issue.rule).filter(|_| is_idle) else { return };
        for action in rule.actions.iter().filter(|action| action.mode != ActionMode::Suggest) {
            self.consider_one(id, rule, action, out);
        }
    }

    fn consider_one(&mut self, id: &str, rule: &Rule, action: &model::Action, out: &mut Vec<Output>) {
        let tried = self.newest_try(id, &action.relation).map(|row| (row.action.id.clone(), row.may_pass));
        if tried.as_ref().is_some_and(|(_, may_pass)| !may_pass) {
            return;
        }
        let Some(about) = self.state.issues.get(id).map(|row| row.issue.about.clone()) else { return };
        let Some(way) = self.way(rule, &about, &action.relation) else { return };
        let hold = self.hold_back(id, rule, action, &about);
        let actor = format!("rule/{}", rule.name);
        let name = match tried {
            Some((name, _)) => name,
            None => self.propose(id, rule, &action.relation, way, action.mode.into(), &actor),
        };
        let (state, reason, may_pass) = match hold {
            None if action.mode == ActionMode::Auto => {
                self.set_may_pass(&name, false);
                return self.start(&name, &rule.condition(), out);
            }
            None => {
                self.set_may_pass(&name, false);
                self.wait_for_approval(&name, rule.condition());
                return self.offer(id, out);
            }
            Some(Hold::ForNow(reason)) => (ActionState::Refused, reason, true),
            Some(Hold::ForGood(reason)) => (ActionState::Refused, reason, false),
            Some(Hold::Rehearsed(reason)) => (ActionState::DryRun, reason, false),
        };
        if let Some(row) = self.state.desk.actions.get_mut(&name) {
            (row.action.state, row.action.reason, row.may_pass) = (state, reason, may_pass);
        }
        self.offer(id, out);
    }

    fn set_may_pass(&mut self, action: &str, may_pass: bool) {
        if let Some(row) = self.state.desk.actions.get_mut(action) {
            row.may_pass = may_pass;
        }
    }

    /// What keeps an action from being done now, if anything.
    fn hold_back(&mut self, id: &str, rule: &Rule, action: &model::Action, about: &str) -> Option<Hold> {
        if let Some(paused) = &self.state.desk.paused {
            return Some(Hold::ForNow(format!("{} paused all actions", paused.by)));
        }
        if let Some(reason) = self.state.desk.stopped.get(&switch_of(&rule.name, &action.relation)) {
            return Some(Hold::ForNow(format!("it stopped by itself: {reason}")));
        }
        if let Some(reason) = self.own_cause(id, &rule.name) {
            return Some(Hold::ForGood(reason));
        }
        if let Some(condition) = &action.guard.only_if {
            let needs = needs_of(&rule.about, &self.rules.entities, std::iter::once(condition));
            self.bind(&needs, about);
            let answer = self.evaluator.borrow().answer(condition);
            if answer != Answer::True {
                let why = if answer == Answer::False { "is not so" } else { "cannot be told" };
                return Some(Hold::ForNow(format!("{} {why}", condition.text())));
            }
        }
        if let Some(reason) = self.over_quota(rule, action, about) {
            return Some(Hold::ForNow(reason));
        }
        let is_auto = action.mode == ActionMode::Auto;
        let left = self.probation(rule).filter(|_| is_auto && !action.guard.trusted)?;
        let left = format_duration(Duration::from_secs(left.as_secs()));
        Some(Hold::Rehearsed(format!(
            "the rule changed less than a day ago: it acts in {left}, or when it is trusted"
        )))
    }

    /// How long a rule must wait until it may act by itself.
    fn probation(&self, rule: &Rule) -> Option<Duration> {
        let at = self.state.desk.since.get(&rule.name).and_then(|since| since.at);
        let age = at.map(|at| self.state.clock.since(at)).unwrap_or_default();
        PROBATION.checked_sub(age).filter(|left| !left.is_zero())
    }

    /// Other rules are in force: those that changed are on probation from now on.
    pub(super) fn note_rules(&mut self) {
        let now = Some(self.state.clock).filter(|clock| *clock > Timestamp::EPOCH);
        let known = std::mem::take(&mut self.state.desk.since);
        let rules = self.rules.rules.values();
        let since = rules.map(|rule| {
            let same = known.get(&rule.name).filter(|since| since.digest == rule.digest).cloned();
            (rule.name.clone(), same.unwrap_or(Since { digest: rule.digest, at: now }))
        });
        self.state.desk.since = since.collect();
    }

    /// The clock told its first time: rules that came before it count from there.
    pub(super) fn begin_probation(&mut self) {
        let now = self.state.clock;
        for since in self.state.desk.since.values_mut() {
            since.at.get_or_insert(now);
        }
    }

    /// How many actions led to an issue, one causing the other.
    pub(super) fn depth_of(&self, id: &str) -> u8 {
        let cause = self.state.issues.get(id).and_then(|row| row.issue.caused_by.as_ref());
        let cause = cause.and_then(|cause| self.state.desk.actions.get(cause));
        cause.map_or(0, |row| row.action.depth.saturating_add(1))
    }

    /// Nothing acts on what it caused itself, nor when actions cause actions.
    fn own_cause(&self, id: &str, rule: &str) -> Option<String> {
        let mut issue = id.to_owned();
        for _ in 0..=DEPTH_MAX {
            let cause = self.state.issues.get(&issue)?.issue.caused_by.as_ref()?;
            let action = &self.state.desk.actions.get(cause)?.action;
            if action.rule == rule {
                return Some(format!("its own action {} caused this", action.id));
            }
            issue.clone_from(&action.issue);
        }
        Some(format!("more than {DEPTH_MAX} actions caused one another"))
    }

    fn over_quota(&self, rule: &Rule, action: &model::Action, about: &str) -> Option<String> {
        let desk = &self.state.desk;
        let rows = desk.order.iter().rev().filter_map(|id| desk.actions.get(id));
        let is_of = |row: &&ActionRow| row.action.rule == rule.name && row.action.relation == action.relation;
        let done = |row: &ActionRow| {
            matches!(row.action.state, ActionState::Running | ActionState::Done | ActionState::Failed)
        };
        let started: Vec<&Action> =
            rows.filter(is_of).filter(|row| done(row)).map(|row| &row.action).collect();
        let now = self.state.clock;
        let within = |quota: &Quota, only: Option<&str>| {
            let is_in = |action: &&&Action| {
                now.since(action.asked) < quota.within && only.is_none_or(|about| action.about == about)
            };
            started.iter().filter(is_in).count() >= quota.count as usize
        };
        let told = |quota: &Quota| format!("{} in {}", quota.count, format_duration(quota.within));
        let guard = &action.guard;
        if let Some(quota) = guard.per_entity.as_ref().filter(|quota| within(quota, Some(about))) {
            return Some(format!("{} for one entity were done", told(quota)));
        }
        if let Some(quota) = guard.per_rule.as_ref().filter(|quota| within(quota, None)) {
            return Some(format!("{} were done", told(quota)));
        }
        let last = started.iter().filter(|action| action.about == about).map(|action| action.asked).max();
        if let (Some(cooldown), Some(last)) = (guard.cooldown, last)
            && now.since(last) < cooldown
        {
            return Some(format!("it was done within {}", format_duration(cooldown)));
        }
        let running = started.iter().filter(|action| action.state == ActionState::Running).count();
        let max = guard.max_concurrent.filter(|max| running >= *max as usize)?;
        Some(format!("{max} are being done"))
    }

    /// An action failed, or did not help: after so many in a row it stops by itself.
    pub(super) fn count_failure(&mut self, action: &Action, reason: &str) {
        if action.mode != hob_wire::ActionMode::Auto || !action.actor.starts_with("rule/") {
            return;
        }
        let switch = switch_of(&action.rule, &action.relation);
        let failures = self.state.desk.failures.entry(switch.clone()).or_default();
        *failures += 1;
        let failures = *failures;
        let rule = self.rules.rules.get(&action.rule);
        let of_rule = rule.and_then(|rule| rule.actions.iter().find(|one| one.relation == action.relation));
        let max = of_rule.and_then(|one| one.guard.stop_after_failures);
        if max.is_some_and(|max| failures >= max) {
            let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
            let why = format!("it did not work {times}, last: {reason}");
            self.state.desk.stopped.insert(switch, why);
        }
    }
}
