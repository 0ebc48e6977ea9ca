//! What a rule says of an entity now, and acting on it.

use std::time::Duration;

use hob_core::Timestamp;
use serde_json::{Map, Value as Json};

use super::cell::{Judgement, Wish, advance, held, look_again};
use super::{Engine, Output};
use crate::expression::{Answer, Expression, NOW};
use crate::model::{Offset, Path, Rule, Trigger};
use crate::rows::Verdict;
use crate::value::Value;

/// How often an expression that reads `now` is looked at again.
const NOW_EVERY: Duration = Duration::from_secs(10);

impl Engine {
    /// Judges a rule for an entity and does what follows: opens or resolves an issue, or waits.
    pub(super) fn judge(&mut self, rule_name: &str, href: &str, out: &mut Vec<Output>) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(rule) = rules.rules.get(rule_name) else { return };
        if self.state.clock == Timestamp::EPOCH {
            // Nothing can be said of time before the clock told any; the first time judges everything.
            return;
        }
        self.bind(rule, href);
        let judgement = self.judgement(rule, href);
        let now = self.state.clock;
        let cell = self.cell_mut(rule_name, href);
        let wish = advance(cell, &judgement, rule.held_for(), rule.keep, now);
        match wish {
            Wish::Nothing => {}
            Wish::Open => self.open_if_gated(rule, href, out),
            Wish::Resolve => self.let_go(rule_name, href, "the condition is no longer true", out),
        }
        self.look_at_expiry(rule, href);
        self.arm_cell(rule_name, href);
    }

    /// Gives the variables that the rule reads their values. The entity is unknown while its newest fetch failed; a
    /// relation that it does not have is null.
    fn bind(&mut self, rule: &Rule, href: &str) {
        let Some(row) = self.state.entities.get(href) else { return };
        for variable in rule.reads.keys().filter(|variable| *variable != NOW) {
            let null = Value::null();
            let value = if *variable == rule.variable {
                row.live.value.as_ref()
            } else {
                match row.live.links.get(variable) {
                    Some(target) => {
                        self.state.entities.get(target).and_then(|other| other.live.value.as_ref())
                    }
                    None => row.live.value.as_ref().map(|_| &null),
                }
            };
            self.evaluator.bind(variable, value);
        }
    }

    fn judgement(&self, rule: &Rule, href: &str) -> Judgement {
        match &rule.trigger {
            Trigger::When { when, .. } => self.judge_when(when),
            Trigger::Deadline { field, offset, unless } => match self.time(rule, href, field) {
                Time::At(deadline) => self.judge_deadline(deadline, *offset, unless.as_ref()),
                Time::None => Judgement::plain(Verdict::False),
                Time::Unknown(reason) => Judgement::unknown(reason),
            },
            Trigger::Stopped { metres, held, during, from } => {
                self.judge_stopped(rule, href, *metres, *held, during.as_ref(), from.as_ref())
            }
            other => Judgement::unknown(format!("`{other}` is not judged yet")),
        }
    }

    fn answer(&self, expression: &Expression) -> Judgement {
        let mut judgement = match self.evaluator.answer(expression) {
            Answer::True => Judgement::plain(Verdict::True),
            Answer::False => Judgement::plain(Verdict::False),
            Answer::Unknown(reason) => Judgement::unknown(reason),
        };
        if expression.reads_now() {
            judgement.recheck = Some(self.state.clock.plus(NOW_EVERY));
        }
        judgement
    }

    fn judge_when(&self, when: &Expression) -> Judgement {
        self.answer(when)
    }

    fn judge_deadline(&self, deadline: Timestamp, offset: Offset, unless: Option<&Expression>) -> Judgement {
        let at = offset.applied(deadline);
        if self.state.clock < at {
            return Judgement { recheck: Some(at), ..Judgement::plain(Verdict::False) };
        }
        let judgement = match unless.map(|unless| self.answer(unless)) {
            None => Judgement::plain(Verdict::True),
            Some(unless) => {
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
        rule: &Rule,
        href: &str,
        metres: u32,
        held: Duration,
        during: Option<&Expression>,
        from: Option<&Path>,
    ) -> Judgement {
        let during = during.map_or_else(|| Judgement::plain(Verdict::True), |during| self.answer(during));
        if during.verdict != Verdict::True {
            return during;
        }
        let track = self.state.entities.get(href).and_then(|row| row.tracks.get(&metres));
        let Some(track) = track else { return Judgement::unknown("no position is known yet".to_owned()) };
        let from = match from.map(|from| self.time(rule, href, from)) {
            Some(Time::At(from)) => from,
            Some(Time::Unknown(reason)) => return Judgement::unknown(reason),
            Some(Time::None) | None => Timestamp::from_micros(i64::MIN),
        };
        let since = track.since.max(from);
        let stands = track.last >= since && track.last.since(since) >= held;
        let verdict = if stands { Verdict::True } else { Verdict::False };
        Judgement { begun: stands.then_some(since), recheck: during.recheck, ..Judgement::plain(verdict) }
    }

    /// Whether a new position may change what the rule says: twenty of them come for every other event, so nothing is
    /// evaluated while something moves as it should.
    pub(super) fn position_matters(&self, rule: &Rule, rule_name: &str, href: &str) -> bool {
        let Trigger::Stopped { metres, held, .. } = &rule.trigger else { return false };
        let Some(cell) = self.cell(rule_name, href) else { return true };
        let track = self.state.entities.get(href).and_then(|row| row.tracks.get(metres));
        let may_stand = track.is_some_and(|track| track.last.since(track.since) >= *held);
        match cell.verdict {
            Verdict::True => !may_stand,
            Verdict::False => may_stand,
            Verdict::Unknown => true,
        }
    }

    /// How long the rule's condition has held. Positions run ahead of the clock, which is told after them.
    pub(super) fn held(&self, rule: &Rule, href: &str) -> Duration {
        let last = match rule.metres().and_then(|metres| self.state.entities.get(href)?.tracks.get(&metres)) {
            Some(track) => track.last.max(self.state.clock),
            None => self.state.clock,
        };
        self.cell(&rule.name, href).map(|cell| held(cell, last)).unwrap_or_default()
    }

    /// The fields of a variable as the rule sees it, while they are known.
    pub(super) fn fields(&self, rule: &Rule, href: &str, variable: &str) -> Option<&Map<String, Json>> {
        let row = self.state.entities.get(href)?;
        let row = match variable == rule.variable {
            true => row,
            false => self.state.entities.get(row.live.links.get(variable)?)?,
        };
        row.fields.as_ref().filter(|_| row.is_known)
    }

    pub(super) fn time(&self, rule: &Rule, href: &str, path: &Path) -> Time {
        let Some(fields) = self.fields(rule, href, &path.variable) else {
            return Time::Unknown(format!("`{}` is not known", path.variable));
        };
        match fields.get(&path.field) {
            Some(Json::Null) => Time::None,
            Some(Json::String(text)) => match text.parse() {
                Ok(time) => Time::At(time),
                Err(_) => Time::Unknown(format!("`{path}` is {text:?}, not a time")),
            },
            Some(_) => Time::Unknown(format!("`{path}` is not a time")),
            None => Time::Unknown(format!("there is no field `{}`", path.field)),
        }
    }

    fn open_if_gated(&mut self, rule: &Rule, href: &str, out: &mut Vec<Output>) {
        let gate =
            rule.gate.as_ref().map_or_else(|| Judgement::plain(Verdict::True), |gate| self.answer(gate));
        if gate.verdict == Verdict::True {
            return self.open(rule, href, out);
        }
        let cell = self.cell_mut(&rule.name, href);
        cell.reason = gate.reason;
        if let Some(recheck) = gate.recheck {
            look_again(cell, recheck);
        }
    }
}

/// A time in an entity.
pub(super) enum Time {
    At(Timestamp),
    /// The field says that there is none.
    None,
    Unknown(String),
}
