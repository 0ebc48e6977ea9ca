//! Counting: entities of which something is so now, and events within a while.

use std::collections::BTreeSet;
use std::sync::Arc;

use hob_core::Timestamp;
use hob_wire::Event;

use super::cell::{Judgement, advance, held};
use super::entity::word_of;
use super::links::{counted_at, worth};
use super::timers::Timer;
use super::{Engine, Output};
use crate::expression::{Answer, EVENT};
use crate::model::{By, Changed, Count, Trigger};
use crate::plan::{KindPlan, RulePlan};
use crate::reducers::{Rate, Reducer, Ring, Seen, Span};
use crate::rows::{Role, TermsRow, Verdict};
use crate::value::Value;

/// How many are counted for an entity, and how many may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) yes: i64,
    pub(super) unknown: i64,
}

/// Counts that changed: the rule's number and the entity.
pub(super) type Touched = BTreeSet<(u16, Arc<str>)>;

impl Engine {
    /// Looks at whether a rule counts an entity, and judges the rule where that changed.
    pub(super) fn count_member(&mut self, plan: &RulePlan, href: &str, out: &mut Vec<Output>) {
        let Trigger::Count { count: Count::Entities { filter, held: held_for, within, .. }, .. } =
            &plan.rule.trigger
        else {
            return;
        };
        let now = self.state.clock;
        if now == Timestamp::EPOCH || self.is_stopped(plan) {
            return;
        }
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        let judgement = match filter {
            _ if row.fields.is_none() || !row.is_known => {
                Judgement::unknown(format!("`{}` is not known", kind.name))
            }
            None => Judgement::plain(Verdict::True),
            Some(filter) => {
                self.bind(&plan.member_needs, href);
                self.answer(filter, plan.member_needs.reads_now)
            }
        };
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let before = worth(row, plan.number);
        let cell = row.cells.get_mut(plan.number, Role::Member);
        let was_counted = cell.is_counted;
        advance(cell, &judgement, *held_for, std::time::Duration::ZERO, now);
        cell.is_counted = cell.verdict == Verdict::True && held(cell, now) >= *held_for;
        let is_new = cell.is_counted && !was_counted;
        let due = cell.due;
        row.cells.settle(plan.number, Role::Member);
        let after = worth(row, plan.number);
        self.arm_cell(plan.number, Role::Member, href, due);
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(target) = counted_at(plan, &kind, href, &row.live.links) else { return };
        let mut touched = Touched::new();
        self.tally(plan.number, &target, (after.0 - before.0, after.1 - before.1), &mut touched);
        if let Some(within) = within.filter(|_| is_new)
            && let Some(row) = self.state.entities.get_mut(&target)
        {
            if row.reducers.get(plan.number).is_none() {
                row.reducers.set(plan.number, Reducer::Ring(Box::new(Ring::new(within, now))));
            }
            if let Some(Reducer::Ring(ring)) = row.reducers.get_mut(plan.number) {
                ring.add(now);
                touched.insert((plan.number, target));
            }
        }
        self.judge_counts(touched, out);
    }

    /// Adds to what a rule counts for an entity.
    fn tally(&mut self, rule: u16, target: &Arc<str>, by: (i64, i64), touched: &mut Touched) {
        if by == (0, 0) {
            return;
        }
        let tallies = self.tallies.entry(Arc::clone(target)).or_default();
        let tally = tallies.entry(rule).or_default();
        tally.yes += by.0;
        tally.unknown += by.1;
        if *tally == Tally::default() {
            tallies.remove(&rule);
            if tallies.is_empty() {
                self.tallies.remove(target);
            }
        }
        touched.insert((rule, Arc::clone(target)));
    }

    pub(super) fn judge_counts(&mut self, touched: Touched, out: &mut Vec<Output>) {
        let rules = Arc::clone(&self.rules);
        for (number, target) in touched {
            if let Some(plan) = rules.plan.rules.get(usize::from(number)) {
                self.judge(plan, &target, out);
            }
        }
    }

    /// Moves what an entity counts for from one entity to another.
    pub(super) fn move_member(
        &mut self,
        plan: &RulePlan,
        href: &str,
        from: Option<Arc<str>>,
        to: Option<Arc<str>>,
        touched: &mut Touched,
    ) {
        let Some(row) = self.state.entities.get(href) else { return };
        let (yes, unknown) = worth(row, plan.number);
        if let Some(from) = from {
            self.tally(plan.number, &from, (-yes, -unknown), touched);
        }
        if let Some(to) = to {
            self.tally(plan.number, &to, (yes, unknown), touched);
        }
    }

    /// Takes an entity out of all counts; where that mattered.
    pub(super) fn uncount_members(&mut self, href: &str, kind: &KindPlan) -> Touched {
        let mut touched = Touched::new();
        for plan in &kind.counted_by {
            let Some(row) = self.state.entities.get(href) else { continue };
            let target = counted_at(plan, kind, href, &row.live.links);
            self.move_member(plan, href, target, None, &mut touched);
            if let Some(row) = self.state.entities.get_mut(href) {
                let cell = row.cells.get_mut(plan.number, Role::Member);
                (cell.is_counted, cell.verdict) = (false, Verdict::False);
            }
        }
        touched
    }

    /// Adds an entity to all counts as its cells say, when counts are made anew.
    pub(super) fn tally_members(&mut self, href: &str, kind: &KindPlan) {
        let mut touched = Touched::new();
        for plan in &kind.counted_by {
            let Some(row) = self.state.entities.get(href) else { continue };
            let target = counted_at(plan, kind, href, &row.live.links);
            self.move_member(plan, href, None, target, &mut touched);
        }
    }

    /// The entities that a rule counts for an entity.
    pub(super) fn counted(&self, rule: &str, href: &str) -> Vec<String> {
        let Some(number) = self.rules.number(rule) else { return Vec::new() };
        let plan = &self.rules.plan.rules[usize::from(number)];
        let Trigger::Count { count: Count::Entities { kind, .. }, .. } = &plan.rule.trigger else {
            return Vec::new();
        };
        let Some(kind) = self.kind_plan(kind) else { return Vec::new() };
        let counts = |member: &&Arc<str>| {
            self.state.entities.get(member).is_some_and(|row| {
                worth(row, number).0 == 1
                    && counted_at(plan, &kind, member, &row.live.links).is_some_and(|target| *target == *href)
            })
        };
        self.referrers
            .get(href)
            .into_iter()
            .flatten()
            .filter(counts)
            .map(|member| member.to_string())
            .collect()
    }

    /// How many a rule counts for an entity, now or of late.
    pub(super) fn count_of(&self, plan: &RulePlan, href: &str) -> Option<u64> {
        let now = self.state.clock;
        let reducer = || self.state.entities.get(href)?.reducers.get(plan.number);
        let lately = |within| match reducer()? {
            Reducer::Ring(ring) => Some(u64::from(ring.lately(within, now))),
            _ => None,
        };
        match &plan.rule.trigger {
            Trigger::Count { count: Count::Entities { within: None, .. }, .. } => {
                let tally = self.tallies.get(href).and_then(|tallies| tallies.get(&plan.number));
                Some(u64::try_from(tally.map_or(0, |tally| tally.yes)).unwrap_or(0))
            }
            Trigger::Count { count: Count::Entities { within: Some(within), .. }, .. }
            | Trigger::Count { count: Count::Events { within, .. }, .. }
            | Trigger::Flatline { within, .. } => lately(*within),
            Trigger::Spike { window, .. } => lately(*window),
            _ => None,
        }
    }

    pub(super) fn tally_of(&self, rule: u16, href: &str) -> Tally {
        self.tallies.get(href).and_then(|tallies| tallies.get(&rule)).copied().unwrap_or_default()
    }

    /// Counts an event for a rule, and judges the rule when that may have changed what it says.
    pub(super) fn count_event(&mut self, plan: &RulePlan, event: &Event, out: &mut Vec<Output>) {
        let Some(source) = plan.rule.trigger.source() else { return };
        if source.kind.as_ref().is_some_and(|kind| *kind != event.kind) {
            return;
        }
        if let Some(filter) = &source.filter {
            let mut evaluator = self.evaluator.borrow_mut();
            evaluator.bind(EVENT, Some(&event_value(event)));
            if evaluator.answer(filter) != Answer::True {
                return;
            }
        }
        let Some(target) = self.event_target(plan, &source.by, event) else { return };
        let clock = self.state.clock;
        // A producer's clock may be ahead; what it sent was seen when it came.
        let time = if clock == Timestamp::EPOCH { event.time } else { event.time.min(clock) };
        let since = if clock == Timestamp::EPOCH { event.time } else { clock };
        let Some(row) = self.state.entities.get_mut(&target) else { return };
        if row.reducers.get(plan.number).is_none()
            && let Some(fresh) = fresh(&plan.rule.trigger, since)
        {
            row.reducers.set(plan.number, fresh);
        }
        match (row.reducers.get_mut(plan.number), &plan.rule.trigger) {
            (Some(Reducer::Seen(seen)), _) => seen.last = seen.last.max(time),
            (Some(Reducer::Ring(ring)), _) => ring.add(time),
            (Some(Reducer::Rate(rate)), Trigger::Rate { window, .. }) => rate.add(*window, time),
            _ => return,
        }
        if self.event_matters(plan, &target) {
            self.judge(plan, &target, out);
        }
    }

    fn event_matters(&self, plan: &RulePlan, href: &str) -> bool {
        let Some(row) = self.state.entities.get(href) else { return false };
        let Some(cell) = row.cells.get(plan.number, Role::Subject) else { return true };
        match &plan.rule.trigger {
            // What is absent only ends by an event; a timer begins it.
            Trigger::Absent { .. } => cell.verdict != Verdict::False,
            _ => self.judge_counted(plan, href).verdict != cell.verdict,
        }
    }

    /// The entity whose count an event belongs to.
    fn event_target(&self, plan: &RulePlan, by: &By, event: &Event) -> Option<Arc<str>> {
        let about = self.rules.plan.kinds.get(&plan.rule.about)?;
        match by {
            By::Itself if about.kind.variable != about.kind.name => {
                let href = super::entity::topic_href(about, event)?;
                Some(self.share(&href))
            }
            By::Itself => self.stream_href(about, event).map(|href| self.share(&href)),
            By::Relation(relation) => {
                let row = self.state.entities.get(event.subject.as_deref()?)?;
                let number = self.rules.plan.kinds.get(&*row.kind)?.relation(relation)?;
                row.live
                    .links
                    .iter()
                    .find(|(known, _)| *known == number)
                    .map(|(_, target)| Arc::clone(target))
            }
            By::Field(member) => {
                let id = word_of(event.data.as_ref()?.get(member)?)?;
                if about.kind.is_from_fields() {
                    return Some(self.share(&format!("{}/{id}", about.name)));
                }
                self.named(&about.name, &id)
            }
        }
    }

    /// Follows the fields that rules watch: how far a number moved, how often a value changed, which values are new.
    pub(super) fn follow_fields(&mut self, href: &str, kind: &KindPlan, changed: &Changed) {
        let is_first = matches!(changed, Changed::All);
        let now = self.state.clock;
        for plan in &kind.fields {
            match &plan.rule.trigger {
                Trigger::Change { field, within, moved } if changed.has(&field.field) => {
                    let Some(row) = self.state.entities.get_mut(href) else { return };
                    let value = row.fields.as_ref().and_then(|fields| fields.plain(&field.field)).cloned();
                    let counts = matches!(moved, crate::model::Moved::Times(_));
                    if row.reducers.get(plan.number).is_none() {
                        let fresh = match counts {
                            true => Reducer::Ring(Box::new(Ring::new(*within, now))),
                            false => Reducer::Span(Box::new(Span::new(*within))),
                        };
                        row.reducers.set(plan.number, fresh);
                    }
                    match (row.reducers.get_mut(plan.number), value) {
                        (Some(Reducer::Ring(ring)), _) if !is_first => ring.add(now),
                        (Some(Reducer::Span(span)), Some(value)) => {
                            value.as_number().into_iter().for_each(|number| span.take(number, now));
                        }
                        _ => {}
                    }
                }
                Trigger::NewTerm { field, remembered, most, .. } => {
                    let row = self.state.entities.get(href);
                    let value = row.and_then(|row| row.fields.as_ref()?.plain(&field.field)?.as_word());
                    let Some(value) = value else { continue };
                    if self.is_new_term(&plan.rule.name, value, *remembered, *most)
                        && let Some(row) = self.state.entities.get_mut(href)
                    {
                        row.reducers.set(plan.number, Reducer::News(now));
                    }
                }
                _ => {}
            }
        }
    }

    /// Remembers a value; whether it was not seen for as long as values are remembered. In the first seventh of that time
    /// everything would be new, so nothing is.
    fn is_new_term(
        &mut self,
        rule: &str,
        value: String,
        remembered: std::time::Duration,
        most: usize,
    ) -> bool {
        let now = self.state.clock;
        let fresh = || TermsRow { since: now, seen: std::collections::BTreeMap::new() };
        let terms = self.state.terms.entry(rule.to_owned()).or_insert_with(fresh);
        let before = terms.seen.insert(value, now);
        if terms.seen.len() > most {
            // The oldest tenth goes at once, so that this is rare.
            let mut ages: Vec<(Timestamp, String)> =
                terms.seen.iter().map(|(value, last)| (*last, value.clone())).collect();
            ages.sort_unstable();
            for (_, value) in ages.into_iter().take(most / 10 + 1) {
                terms.seen.remove(&value);
            }
        }
        let is_learning = now.since(terms.since) < remembered / 7;
        before.is_none_or(|last| now.since(last) >= remembered) && !is_learning
    }

    /// Arms the wake of a cell, unless an earlier one is armed.
    pub(super) fn arm_cell(&mut self, rule: u16, role: Role, href: &str, due: Option<Timestamp>) {
        let Some(due) = due else { return };
        let Some(href) = self.state.entities.shared(href) else { return };
        let Some(row) = self.state.entities.get_mut(&href) else { return };
        let wake = &mut row.cells.get_mut(rule, role).wake;
        if wake.0.is_none_or(|armed| armed > due) {
            wake.0 = Some(due);
            self.timers.arm(due, Timer::Cell { rule, role, href });
        }
    }
}

/// What a rule keeps of events before it has seen any.
pub(super) fn fresh(trigger: &Trigger, now: Timestamp) -> Option<Reducer> {
    match trigger {
        Trigger::Absent { .. } => Some(Reducer::Seen(Seen { first: now, last: Timestamp::EPOCH })),
        Trigger::Count { count: Count::Events { .. }, .. }
        | Trigger::Flatline { .. }
        | Trigger::Spike { .. } => Some(Reducer::Ring(Box::new(Ring::new(trigger.looks_back(), now)))),
        Trigger::Count { count: Count::Entities { within: Some(within), .. }, .. } => {
            Some(Reducer::Ring(Box::new(Ring::new(*within, now))))
        }
        Trigger::Rate { .. } => Some(Reducer::Rate(Rate::new(now))),
        _ => None,
    }
}

/// An event as expressions see it: its data, its type and its subject.
fn event_value(event: &Event) -> Value {
    let mut data = match &event.data {
        Some(serde_json::Value::Object(data)) => data.clone(),
        _ => serde_json::Map::new(),
    };
    data.entry("type").or_insert_with(|| event.kind.clone().into());
    if let Some(subject) = &event.subject {
        data.entry("subject").or_insert_with(|| subject.clone().into());
    }
    Value::object(&data.into())
}
