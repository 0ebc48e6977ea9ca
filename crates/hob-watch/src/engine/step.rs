//! One input at a time: move the clock, wake what is due, take what happened.

use std::sync::Arc;
use std::time::Duration;

use hob_core::Timestamp;

use super::timers::{Timer, Timers};
use super::{At, Engine, Input, Output, What};
use crate::model::{Changed, Rules};
use crate::rows::CellRow;

/// How often the clock must have moved before priorities are made anew.
const RANK_EVERY: Duration = Duration::from_secs(30);

impl Engine {
    /// Takes an input and appends what follows from it. An input at or before [`Engine::sequence`] was taken before and
    /// is passed over.
    pub fn step(&mut self, input: Input, out: &mut Vec<Output>) {
        if input.sequence <= self.state.sequence {
            return;
        }
        self.state.sequence = input.sequence;
        self.at = At { sequence: input.sequence, recorded: input.recorded };
        if let What::Rules { is_other_clock: true, .. } = input.what {
            self.forget_clock();
        }
        if let Some(clock) = input.clock {
            self.move_clock(clock, out);
        }
        match input.what {
            What::Observed(observation) => self.observed(*observation, out),
            What::Event(event) => self.event(&event, out),
            What::Clock => {}
            What::Command(command) => self.command(&command, out),
            What::Rules { rules, .. } => self.take_rules(rules, out),
        }
    }

    /// Begins on another clock: times of the one before mean nothing on it.
    fn forget_clock(&mut self) {
        self.state.clock = Timestamp::EPOCH;
        self.state.ranked = Timestamp::EPOCH;
        self.timers = Timers::default();
        self.state.cells.values_mut().flat_map(|cells| cells.values_mut()).for_each(start_over);
        for row in self.state.entities.values_mut() {
            row.forget_at = None;
            row.tracks.clear();
        }
    }

    fn move_clock(&mut self, clock: Timestamp, out: &mut Vec<Output>) {
        if clock <= self.state.clock {
            return;
        }
        let was_unset = self.state.clock == Timestamp::EPOCH;
        self.state.clock = clock;
        self.evaluator.set_now(clock);
        if was_unset {
            self.judge_all(out);
        }
        while let Some((at, timer)) = self.timers.pop(clock) {
            match timer {
                Timer::Cell { rule, href } => self.wake_cell(at, &rule, &href, out),
                Timer::Forget { href } => self.wake_forget(at, &href, out),
            }
        }
        if clock.since(self.state.ranked) >= RANK_EVERY {
            self.state.ranked = clock;
            self.rank_all(out);
        }
    }

    fn wake_cell(&mut self, at: Timestamp, rule: &str, href: &str, out: &mut Vec<Output>) {
        let Some(due) = self.cell(rule, href).and_then(|cell| cell.due) else { return };
        if due > at {
            return self.timers.arm(due, Timer::Cell { rule: rule.to_owned(), href: href.to_owned() });
        }
        self.expire(rule, href, out);
        self.judge(rule, href, out);
    }

    pub(super) fn cell(&self, rule: &str, href: &str) -> Option<&CellRow> {
        self.state.cells.get(rule)?.get(href)
    }

    /// The cell of a rule and an entity, made when there is none.
    pub(super) fn cell_mut(&mut self, rule: &str, href: &str) -> &mut CellRow {
        if self.cell(rule, href).is_none() {
            self.state.cells.entry(rule.to_owned()).or_default().insert(href.to_owned(), CellRow::default());
        }
        self.state.cells.get_mut(rule).and_then(|cells| cells.get_mut(href)).expect("it was made a line ago")
    }

    /// Arms the timer that a cell asks for.
    pub(super) fn arm_cell(&mut self, rule: &str, href: &str) {
        if let Some(due) = self.cell(rule, href).and_then(|cell| cell.due) {
            self.timers.arm(due, Timer::Cell { rule: rule.to_owned(), href: href.to_owned() });
        }
    }

    /// Puts other rules in force. Issues of rules that are gone are resolved; a rule that changed forgets what it
    /// waited for; every rule is judged anew.
    fn take_rules(&mut self, rules: Arc<Rules>, out: &mut Vec<Output>) {
        let before = std::mem::replace(&mut self.rules, Arc::clone(&rules));
        self.state.rules = rules.digest();
        let ruled: Vec<String> = self.state.cells.keys().cloned().collect();
        for name in ruled {
            let (old, new) = (before.rules.get(&name), rules.rules.get(&name));
            let is_same_kind = new.is_some_and(|new| old.is_some_and(|old| old.about == new.about));
            if !is_same_kind {
                self.remove_rule(&name, out);
            } else if old.map(|old| old.digest) != new.map(|new| new.digest) {
                self.state.cells.entry(name).or_default().values_mut().for_each(start_over);
            }
        }
        let gone = |kind: &String| !rules.entities.contains_key(kind);
        let orphans: Vec<String> = self
            .state
            .entities
            .iter()
            .filter(|(_, row)| gone(&row.kind))
            .map(|(href, _)| href.clone())
            .collect();
        for href in orphans {
            self.remove_entity(&href, "its entity is no longer declared", out);
        }
        self.derive();
        self.judge_all(out);
    }

    fn judge_all(&mut self, out: &mut Vec<Output>) {
        let hrefs: Vec<String> = self.state.entities.keys().cloned().collect();
        for href in hrefs {
            self.plan_forgetting(&href);
            self.look_at(&href, &Changed::All, out);
        }
    }

    fn remove_rule(&mut self, name: &str, out: &mut Vec<Output>) {
        let hrefs: Vec<String> =
            self.state.cells.get(name).into_iter().flat_map(|cells| cells.keys().cloned()).collect();
        for href in hrefs {
            self.let_go(name, &href, "the rule is gone", out);
        }
        self.state.cells.remove(name);
    }
}

/// Forgets what a cell waited for; its issue stays.
fn start_over(cell: &mut CellRow) {
    *cell = CellRow { issue: cell.issue.take(), is_suppressed: cell.is_suppressed, ..CellRow::default() };
}
