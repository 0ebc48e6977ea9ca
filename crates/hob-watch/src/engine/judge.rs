//! What a rule says of an entity now, and acting on it.

use std::sync::Arc;
use std::time::Duration;

use hob_core::Timestamp;

use super::bind::Time;
use super::cell::{Judgement, Wish, advance, armed_since, held, look_again};
use super::counts::fresh;
use super::{Engine, Output};
use crate::expression::{Answer, Expression};
use crate::model::{Offset, Path, Rule, Trigger};
use crate::plan::RulePlan;
use crate::reducers::Reducer;
use crate::rows::{CellRow, Role, Verdict};

/// How often an expression that reads `now` is looked at again.
const NOW_EVERY: Duration = Duration::from_secs(10);

impl Engine {
    /// Whether a rule is no longer judged, because it cost too much.
    pub(super) fn is_stopped(&self, plan: &RulePlan) -> bool {
        !self.state.stopped.is_empty() && self.state.stopped.contains_key(&plan.rule.name)
    }

    /// Judges a rule for an entity and does what follows: opens or resolves an issue, or waits.
    pub(super) fn judge(&mut self, plan: &RulePlan, href: &str, out: &mut Vec<Output>) {
        if self.state.clock == Timestamp::EPOCH || self.is_stopped(plan) {
            // Nothing can be said of time before the clock told any; the first time judges everything.
            return;
        }
        if !self.state.entities.contains_key(href) {
            return;
        }
        let rule = &plan.rule;
        self.begin(plan, href);
        if let Some(meter) = &mut self.meter.0 {
            meter.begin();
        }
        let judgement = self.judgement(plan, href);
        if let Some(meter) = &mut self.meter.0 {
            meter.end(&rule.name);
        }
        let now = self.state.clock;
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let cell = row.cells.get_mut(plan.number, Role::Subject);
        let before = cell.verdict;
        let wish = advance(cell, &judgement, rule.held_for(), rule.keep, now);
        if cell.verdict != before {
            self.judged(&rule.name, href, before, out);
        }
        match wish {
            Wish::Nothing => {}
            Wish::Open => self.open_if_gated(plan, href, out),
            Wish::Resolve => self.let_go(&rule.name, href, "the condition is no longer true", out),
        }
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let due = row.cells.get(plan.number, Role::Subject).and_then(|cell| cell.due);
        row.cells.settle(plan.number, Role::Subject);
        self.arm_cell(plan.number, Role::Subject, href, due);
    }

    /// Begins to watch for what a rule counts or misses.
    fn begin(&mut self, plan: &RulePlan, href: &str) {
        if plan.rule.trigger.source().is_none() {
            return;
        }
        let now = self.state.clock;
        let Some(row) = self.state.entities.get_mut(href) else { return };
        if row.reducers.get(plan.number).is_none()
            && let Some(fresh) = fresh(&plan.rule.trigger, now)
        {
            row.reducers.set(plan.number, fresh);
        }
    }

    fn judgement(&mut self, plan: &RulePlan, href: &str) -> Judgement {
        let rule = &plan.rule;
        match &rule.trigger {
            Trigger::When { when, .. } => {
                self.bind(&plan.needs, href);
                self.answer(when, plan.needs.reads_now)
            }
            Trigger::Deadline { field, offset, unless } => match self.time(rule, href, field) {
                Time::At(deadline) => self.judge_deadline(plan, href, deadline, *offset, unless.as_ref()),
                Time::None => Judgement::plain(Verdict::False),
                Time::Unknown(reason) => Judgement::unknown(reason),
            },
            Trigger::Stopped { held, during, from, .. } => {
                self.judge_stopped(plan, href, *held, during.as_ref(), from.as_ref())
            }
            Trigger::Absent { within, during, .. } => self.judge_absent(plan, href, *within, during.as_ref()),
            Trigger::Fence { metres, crossing, .. } => self.judge_fence(plan, href, *metres, *crossing),
            _ => self.judge_counted(plan, href),
        }
    }

    pub(super) fn answer(&self, expression: &Expression, reads_now: bool) -> Judgement {
        let mut judgement = match self.evaluator.borrow().answer(expression) {
            Answer::True => Judgement::plain(Verdict::True),
            Answer::False => Judgement::plain(Verdict::False),
            Answer::Unknown(reason) => Judgement::unknown(reason),
        };
        if reads_now {
            judgement.recheck = Some(self.state.clock.plus(NOW_EVERY));
        }
        judgement
    }

    /// What must be so while something is waited for; true when nothing must.
    fn during(&self, plan: &RulePlan, href: &str, during: Option<&Expression>) -> Judgement {
        let Some(during) = during else { return Judgement::plain(Verdict::True) };
        self.bind(&plan.needs, href);
        self.answer(during, plan.needs.reads_now)
    }

    fn judge_deadline(
        &self,
        plan: &RulePlan,
        href: &str,
        deadline: Timestamp,
        offset: Offset,
        unless: Option<&Expression>,
    ) -> Judgement {
        let at = offset.applied(deadline);
        if self.state.clock < at {
            return Judgement { recheck: Some(at), ..Judgement::plain(Verdict::False) };
        }
        let judgement = match unless {
            None => Judgement::plain(Verdict::True),
            Some(_) => {
                let unless = self.during(plan, href, unless);
                let verdict = match unless.verdict {
                    Verdict::True => Verdict::False,
                    Verdict::False => Verdict::True,
                    Verdict::Unknown => Verdict::Unknown,
                };
                Judgement { verdict, ..unless }
            }
        };
        // What is overdue has been so since its time, not since the rule minds.
        Judgement { begun: Some(at.min(deadline)), ..judgement }
    }

    fn judge_stopped(
        &self,
        plan: &RulePlan,
        href: &str,
        held: Duration,
        during: Option<&Expression>,
        from: Option<&Path>,
    ) -> Judgement {
        let during = self.during(plan, href, during);
        if during.verdict != Verdict::True {
            return during;
        }
        let Some(Reducer::Track(track)) = self.reducer(plan, href) else {
            return Judgement::unknown("no position is known yet".to_owned());
        };
        let from = match from.map(|from| self.time(&plan.rule, href, from)) {
            Some(Time::At(from)) => from,
            Some(Time::Unknown(reason)) => return Judgement::unknown(reason),
            Some(Time::None) | None => Timestamp::from_micros(i64::MIN),
        };
        let since = track.since.max(from);
        let stands = track.last >= since && track.last.since(since) >= held;
        let verdict = if stands { Verdict::True } else { Verdict::False };
        Judgement { begun: stands.then_some(since), recheck: during.recheck, ..Judgement::plain(verdict) }
    }

    pub(super) fn reducer(&self, plan: &RulePlan, href: &str) -> Option<&Reducer> {
        self.state.entities.get(href)?.reducers.get(plan.number)
    }

    /// Nothing was seen since it was last seen, since something else is so, or since the clock jumped.
    fn judge_absent(
        &mut self,
        plan: &RulePlan,
        href: &str,
        within: Duration,
        during: Option<&Expression>,
    ) -> Judgement {
        let during = self.during(plan, href, during);
        let now = self.state.clock;
        let last = match self.reducer(plan, href) {
            Some(Reducer::Seen(seen)) => seen.last,
            _ => Timestamp::EPOCH,
        };
        let jumped = self.state.jumped;
        let Some(row) = self.state.entities.get_mut(href) else { return during };
        let Some(armed) =
            armed_since(row.cells.get_mut(plan.number, Role::Subject), during.verdict, last, now)
        else {
            return during;
        };
        let since = armed.max(jumped);
        let verdict = if now.since(since) >= within { Verdict::True } else { Verdict::False };
        let recheck = [during.recheck, (verdict == Verdict::False).then(|| since.plus(within))];
        let recheck = recheck.into_iter().flatten().min();
        Judgement { begun: Some(since), recheck, ..Judgement::plain(verdict) }
    }

    /// How long the rule's condition has held. Positions run ahead of the clock, which is told after them.
    pub(super) fn held(&self, rule: &Rule, href: &str) -> Duration {
        let Some(number) = self.rules.number(&rule.name) else { return Duration::ZERO };
        let Some(row) = self.state.entities.get(href) else { return Duration::ZERO };
        let last = match row.reducers.get(number) {
            Some(Reducer::Track(track)) => track.last.max(self.state.clock),
            Some(Reducer::Fence(fence)) => fence.last.max(self.state.clock),
            _ => self.state.clock,
        };
        row.cells.get(number, Role::Subject).map(|cell| held(cell, last)).unwrap_or_default()
    }

    fn open_if_gated(&mut self, plan: &RulePlan, href: &str, out: &mut Vec<Output>) {
        let rule: Arc<Rule> = Arc::clone(&plan.rule);
        let gate = match &rule.gate {
            None => Judgement::plain(Verdict::True),
            Some(gate) => {
                self.bind(&plan.needs, href);
                self.answer(gate, plan.needs.reads_now)
            }
        };
        if gate.verdict == Verdict::True {
            return self.open(&rule, href, out);
        }
        let cell: &mut CellRow = self.cell_mut(&rule.name, href);
        cell.reason = gate.reason;
        if let Some(recheck) = gate.recheck {
            look_again(cell, recheck);
        }
    }
}
