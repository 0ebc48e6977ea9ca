//! One input at a time: move the clock, wake what is due, take what happened.

use std::sync::Arc;
use std::time::Duration;

use hob_core::Timestamp;

use super::timers::{Timer, Timers};
use super::{At, Engine, Input, Output, What};
use crate::model::{Changed, Mode, Rules};
use crate::rows::{CellRow, Role};

/// How often the clock must have moved before priorities are made anew.
const RANK_EVERY: Duration = Duration::from_secs(30);
/// A step of the clock that is a jump: nobody can have seen anything meanwhile, so what is absent is waited for anew.
const JUMP: Duration = Duration::from_secs(5 * 60);

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
            What::Overrun { rule, reason } => self.overrun(&rule, &reason, out),
        }
    }

    /// Begins on another clock: times of the one before mean nothing on it.
    fn forget_clock(&mut self) {
        self.state.clock = Timestamp::EPOCH;
        self.state.ranked = Timestamp::EPOCH;
        self.state.jumped = Timestamp::EPOCH;
        self.timers = Timers::default();
        self.state.terms.clear();
        for row in self.state.entities.rows_mut() {
            row.cells.for_each(|_, cell| start_over(cell));
            row.forget_at = None;
            row.reducers.clear();
            row.place = None;
        }
        self.tallies.clear();
    }

    fn move_clock(&mut self, clock: Timestamp, out: &mut Vec<Output>) {
        if clock <= self.state.clock {
            return;
        }
        let was_unset = self.state.clock == Timestamp::EPOCH;
        if clock.since(self.state.clock) >= JUMP {
            self.state.jumped = clock;
        }
        self.state.clock = clock;
        self.evaluator.borrow_mut().set_now(clock);
        if was_unset {
            self.make_topics();
            self.begin_probation();
            self.judge_all(out);
        }
        while let Some((at, timer)) = self.timers.pop(clock) {
            match timer {
                Timer::Cell { rule, role, href } => self.wake_cell(at, rule, role, &href, out),
                Timer::Forget { href } => self.wake_forget(at, &href, out),
            }
        }
        self.wake_desk(out);
        if clock.since(self.state.ranked) >= RANK_EVERY {
            self.state.ranked = clock;
            self.rank_all(out);
        }
    }

    fn wake_cell(&mut self, at: Timestamp, rule: u16, role: Role, href: &Arc<str>, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let Some(cell) = row.cells.get(rule, role) else { return };
        let due = cell.due;
        if cell.wake.0 != Some(at) {
            // An entry of before: the one that counts is still to come.
            return;
        }
        row.cells.get_mut(rule, role).wake.0 = None;
        let Some(due) = due else { return };
        if due > at {
            return self.arm_cell(rule, role, href, Some(due));
        }
        let rules = Arc::clone(&self.rules);
        let Some(plan) = rules.plan.rules.get(usize::from(rule)) else { return };
        match role {
            Role::Member => self.count_member(plan, href, out),
            Role::Subject => self.judge(plan, href, out),
        }
    }

    /// The cell of a rule and the entity that it is about.
    pub(super) fn cell(&self, rule: &str, href: &str) -> Option<&CellRow> {
        self.state.entities.get(href)?.cells.get(self.rules.number(rule)?, Role::Subject)
    }

    /// The cell of a rule and an entity, made when there is none. One that is changed outside of judging keeps its room
    /// until it is judged.
    pub(super) fn cell_mut(&mut self, rule: &str, href: &str) -> &mut CellRow {
        match (self.rules.number(rule), self.state.entities.get_mut(href)) {
            (Some(number), Some(row)) => row.cells.get_mut(number, Role::Subject),
            // An entity or a rule that is gone: what is done to its cell is done to nothing.
            _ => {
                self.nowhere = CellRow::default();
                &mut self.nowhere
            }
        }
    }

    /// Puts other rules in force. Issues of rules that are gone are resolved; a rule that changed forgets what it
    /// waited for; every rule is judged anew.
    fn take_rules(&mut self, rules: Arc<Rules>, out: &mut Vec<Output>) {
        self.let_go_of_rules(&rules, out);
        let before = std::mem::replace(&mut self.rules, Arc::clone(&rules));
        self.state.rules = rules.digest();
        let is_same = |name: &String| {
            let (old, new) = (before.rules.get(name), rules.rules.get(name));
            old.is_some() && old.map(|rule| rule.digest) == new.map(|rule| rule.digest)
        };
        self.fresh = rules.rules.keys().filter(|name| !is_same(name)).cloned().collect();
        self.state.stopped.retain(|name, _| is_same(name));
        self.state.terms.retain(|name, _| is_same(name));
        let numbers: Vec<Option<(u16, bool)>> = before
            .rules
            .keys()
            .map(|name| {
                let about = |rules: &Rules| rules.rules.get(name).map(|rule| rule.about.clone());
                let number = rules.number(name).filter(|_| about(&before) == about(&rules));
                number.map(|number| (number, is_same(name)))
            })
            .collect();
        let number = |old: u16| numbers.get(usize::from(old)).copied().flatten();
        for row in self.state.entities.rows_mut() {
            row.cells.renumber(|old| number(old).map(|(new, _)| new));
            row.reducers.renumber(|old| number(old).filter(|(_, is_same)| *is_same).map(|(new, _)| new));
            let changed: Vec<u16> =
                numbers.iter().flatten().filter(|(_, same)| !same).map(|(new, _)| *new).collect();
            row.cells.for_each(|rule, cell| {
                if changed.contains(&rule) {
                    start_over(cell);
                }
            });
        }
        let gone = |kind: &str| !rules.entities.contains_key(kind);
        let orphans: Vec<Arc<str>> = self
            .state
            .entities
            .iter()
            .filter(|(_, row)| gone(&row.kind))
            .map(|(href, _)| Arc::clone(href))
            .collect();
        for href in orphans {
            self.state.entities.remove(&href);
        }
        self.derive();
        self.make_topics();
        self.make_values(out);
        self.note_rules();
        self.judge_all(out);
    }

    /// Resolves the issues of rules that are gone, are off, or are about something else, and of entities that are no
    /// longer declared, while the rules of before still say what they were about.
    fn let_go_of_rules(&mut self, rules: &Rules, out: &mut Vec<Output>) {
        let before = Arc::clone(&self.rules);
        for plan in &before.plan.rules {
            let new = rules.rules.get(&plan.rule.name);
            let reason = match new {
                None => "the rule is gone",
                Some(new) if new.about != plan.rule.about => "the rule is gone",
                Some(new) if new.mode == Mode::Disabled => "the rule is off",
                Some(new) if new.mode != plan.rule.mode => "its rule runs in another mode now",
                Some(new) if !rules.entities.contains_key(&new.about) => "its entity is no longer declared",
                Some(_) => continue,
            };
            for href in self.state.entities.hrefs() {
                let row = self.state.entities.get(&href);
                if row.is_some_and(|row| row.cells.get(plan.number, Role::Subject).is_some()) {
                    self.let_go(&plan.rule.name, &href, reason, out);
                }
            }
        }
    }

    /// Makes what rules about whole topics are about: there is one of it before its first record, which may be what is
    /// missing.
    fn make_topics(&mut self) {
        let rules = Arc::clone(&self.rules);
        for kind in rules.plan.kinds.values() {
            let is_whole = kind.kind.variable != kind.kind.name && kind.kind.key.is_none();
            if let Some(topic) = kind.kind.stream.as_ref().filter(|_| is_whole) {
                self.entity_mut(topic.as_str(), kind);
            }
        }
    }

    fn judge_all(&mut self, out: &mut Vec<Output>) {
        for href in self.state.entities.hrefs() {
            self.plan_forgetting(&href, &Changed::All);
            self.look_at(&href, &Changed::All, out);
        }
    }

    /// Stops judging a rule that costs too much, until it is changed. Its issues end, because nobody looks whether they
    /// still are so.
    fn overrun(&mut self, rule: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(number) = self.rules.number(rule) else { return };
        if self.state.stopped.insert(rule.to_owned(), reason.to_owned()).is_some() {
            return;
        }
        for href in self.state.entities.hrefs() {
            let row = self.state.entities.get(&href);
            if row.is_some_and(|row| row.cells.get(number, Role::Subject).is_some()) {
                self.let_go(rule, &href, "the rule costs too much and is off", out);
                start_over(self.cell_mut(rule, &href));
            }
        }
    }
}

/// Forgets what a cell waited for; its issue stays.
fn start_over(cell: &mut CellRow) {
    *cell = CellRow { issue: cell.issue.take(), is_suppressed: cell.is_suppressed, ..CellRow::default() };
}
