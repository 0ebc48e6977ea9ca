//! Entities: what observations, notices and streams make of them, and when they are no longer kept.

use std::sync::Arc;
use std::time::Duration;

use hob_core::{Timestamp, TopicName};
use hob_wire::{Event, Observation};
use serde_json::{Map, Value};

use super::timers::Timer;
use super::{ENTITIES_MAX, Engine, Output};
use crate::expression::Answer;
use crate::fields::Fields;
use crate::model::Changed;
use crate::plan::KindPlan;
use crate::reducers::Position;
use crate::rows::{EntityRow, EventRow, Role, Word};

/// Events that are kept of one entity, the newest.
const EVENTS_KEPT: usize = 10;
/// Entities whose being forgotten is remembered.
const FORGOTTEN_MAX: usize = 10_000;
/// How far ahead of the clock a record may be. A producer whose clock is further ahead would stop the entity's later
/// records from being taken.
const AHEAD_MAX: Duration = Duration::from_secs(3600);
/// How long the newest record of a topic's key is kept beyond what rules look back at.
const RECORD_KEPT: Duration = Duration::from_secs(3600);

impl Engine {
    /// Takes what a fetch returned.
    pub(super) fn observed(&mut self, observation: Observation, out: &mut Vec<Output>) {
        let Observation { href, status, body, error, topic, .. } = observation;
        let Some(kind) = self.kind_of(&href, topic.as_ref()) else { return };
        match (status, body) {
            (404 | 410, _) => self.remove_entity(&href, "the entity is gone", out),
            (304, _) => self.known_again(&href, out),
            (200..=299, Some(Value::Object(fields))) => self.take_fields(&href, &kind, fields, out),
            (200..=299, Some(_)) => {
                self.unknown(&href, "its representation is not a JSON object".to_owned(), out);
            }
            (status, _) => {
                let trouble = error.unwrap_or_else(|| format!("the fetch answered {status}"));
                self.unknown(&href, trouble, out);
            }
        }
    }

    fn kind_of(&self, href: &str, topic: Option<&TopicName>) -> Option<Arc<KindPlan>> {
        let by_topic = topic.and_then(|topic| self.rules.by_topic.get(topic)).map(String::as_str);
        let kind = by_topic.or_else(|| self.state.entities.get(href).map(|row| &*row.kind))?;
        self.kind_plan(kind)
    }

    /// The row of an entity, made when there is room for one.
    pub(super) fn entity_mut(&mut self, href: &str, kind: &KindPlan) -> Option<&mut EntityRow> {
        if !self.state.entities.contains_key(href) {
            if self.state.entities.len() >= ENTITIES_MAX {
                self.state.entities_refused += 1;
                return None;
            }
            let row = EntityRow { kind: Word(Arc::clone(&kind.name)), ..EntityRow::default() };
            let href = self.share(href);
            self.state.entities.insert(href, row);
        }
        self.state.entities.get_mut(href)
    }

    fn take_fields(
        &mut self,
        href: &str,
        kind: &KindPlan,
        fields: Map<String, Value>,
        out: &mut Vec<Output>,
    ) {
        if self.is_forgotten(href) {
            return;
        }
        let fields = Fields::new(fields, &mut self.shapes);
        let Some(row) = self.entity_mut(href, kind) else { return };
        let is_new = row.fields.is_none();
        let changed = match &row.fields {
            Some(before) if row.is_known => Changed::Fields(fields.changes(before)),
            _ => Changed::All,
        };
        let moved =
            row.fields.as_ref().map_or(Changed::All, |before| Changed::Fields(fields.changes(before)));
        row.fields = Some(fields);
        row.is_known = true;
        row.trouble = None;
        if is_new {
            self.count_seen(&kind.name);
        }
        self.follow_fields(href, kind, &moved);
        self.derive_entity(href, &changed, out);
        self.plan_forgetting(href, &changed);
        self.look_at(href, &changed, out);
        self.entity_changed(href, out);
    }

    fn known_again(&mut self, href: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        if row.fields.is_some() && !row.is_known {
            row.is_known = true;
            row.trouble = None;
            self.derive_entity(href, &Changed::All, out);
            self.look_at(href, &Changed::All, out);
            self.entity_changed(href, out);
        }
    }

    fn unknown(&mut self, href: &str, trouble: String, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        row.trouble = Some(trouble.into());
        if row.is_known {
            row.is_known = false;
            self.look_at(href, &Changed::All, out);
            self.entity_changed(href, out);
        }
    }

    /// Takes a notice as evidence, or a record of a stream as a position or as the entity itself; and counts it.
    pub(super) fn event(&mut self, event: &Event, out: &mut Vec<Output>) {
        if self.is_from_the_future(event.time) {
            self.state.strays += 1;
            return;
        }
        let rules = Arc::clone(&self.rules);
        if let Some(kind) = rules.by_topic.get(&event.topic).and_then(|kind| rules.plan.kinds.get(kind))
            && let Some(href) = event.subject.as_deref()
        {
            self.note_event(href, kind, event);
        }
        for kind in rules.plan.streams.get(&event.topic).into_iter().flatten() {
            self.stream_record(kind, event, out);
        }
        for plan in rules.plan.events.get(&event.topic).into_iter().flatten() {
            self.count_event(plan, event, out);
        }
    }

    fn note_event(&mut self, href: &str, kind: &KindPlan, event: &Event) {
        if self.is_forgotten(href) {
            return;
        }
        let sequence = self.at.sequence;
        let word = self.word(&event.kind);
        let Some(row) = self.entity_mut(href, kind) else { return };
        if row.events.len() >= EVENTS_KEPT {
            row.events.pop_front();
        }
        let (time, recorded) = (event.time, event.recordedtime);
        let request = event.requestid.as_deref().map(Box::from);
        row.events.push_back(EventRow { time, recorded, kind: word, sequence, request });
    }

    fn stream_record(&mut self, kind: &KindPlan, event: &Event, out: &mut Vec<Output>) {
        let is_own = kind.kind.variable != kind.kind.name;
        let href = match is_own {
            true => topic_href(kind, event),
            false => self.stream_href(kind, event),
        };
        let Some(href) = href.filter(|href| !self.is_forgotten(href)) else { return };
        if !is_own && let Some(position) = event.data.as_ref().and_then(Position::read) {
            self.take_position(&href, kind, position, event.time, out);
        }
        if kind.kind.topic.is_some() {
            return;
        }
        if is_own
            && !kind.minds_fields
            && self.state.entities.get(&href).is_some_and(|row| row.fields.is_some())
        {
            self.keep_record(&href, kind);
        } else if is_own {
            let mut data = match &event.data {
                Some(Value::Object(data)) => data.clone(),
                _ => Map::new(),
            };
            data.entry("type").or_insert_with(|| event.kind.clone().into());
            if let Some(subject) = &event.subject {
                data.entry("subject").or_insert_with(|| subject.clone().into());
            }
            self.take_fields(&href, kind, data, out);
            self.keep_record(&href, kind);
        } else {
            self.note_event(&href, kind, event);
            if let Some(Value::Object(fields)) = &event.data {
                self.take_fields(&href, kind, fields.clone(), out);
            }
        }
    }

    /// The entity that a stream record is about: its subject, or what its key member names.
    pub(super) fn stream_href(&self, kind: &KindPlan, event: &Event) -> Option<String> {
        if let Some(subject) = &event.subject {
            return Some(subject.clone());
        }
        let member = event.data.as_ref()?.get(kind.kind.key.as_deref()?)?;
        let id = word_of(member)?;
        match self.named(&kind.name, &id) {
            None if kind.kind.topic.is_none() => Some(format!("{}/{id}", kind.name)),
            href => href.map(|href| href.to_string()),
        }
    }

    /// The entity of a kind that an id names, where it is known.
    pub(super) fn named(&self, kind: &str, id: &str) -> Option<Arc<str>> {
        if id.contains("://") {
            return Some(self.share(id));
        }
        self.ids.get(kind).and_then(|ids| ids.get(id)).cloned()
    }

    fn is_from_the_future(&self, time: Timestamp) -> bool {
        let clock = self.state.clock;
        clock > Timestamp::EPOCH && time > clock.plus(AHEAD_MAX)
    }

    /// Goes on keeping the newest record of a topic's key for as long as rules look back.
    fn keep_record(&mut self, href: &str, kind: &KindPlan) {
        if kind.kind.key.is_none() || self.state.clock == Timestamp::EPOCH {
            return;
        }
        let longest = kind.about.iter().map(|plan| plan.rule.trigger.looks_back()).max().unwrap_or_default();
        let at = self.state.clock.plus(longest).plus(RECORD_KEPT);
        let href = self.share(href);
        let Some(row) = self.state.entities.get_mut(&href) else { return };
        if row.forget_at.replace(at).is_none() {
            self.timers.arm(at, Timer::Forget { href });
        }
    }

    /// Judges every rule that reads what changed of an entity: the rules about it, those that count it, and those about
    /// entities that link to it.
    pub(super) fn look_at(&mut self, href: &str, changed: &Changed, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        for plan in &kind.about {
            let has_cell = self
                .state
                .entities
                .get(href)
                .is_some_and(|row| row.cells.get(plan.number, Role::Subject).is_some());
            if !has_cell || plan.needs.reads_own(changed) || follows(plan, changed) {
                self.judge(plan, href, out);
            }
        }
        for plan in &kind.counted_by {
            let has_cell = self
                .state
                .entities
                .get(href)
                .is_some_and(|row| row.cells.get(plan.number, Role::Member).is_some());
            if !has_cell || plan.member_needs.reads_own(changed) {
                self.count_member(plan, href, out);
            }
        }
        self.look_at_values(href, &kind, changed, out);
        self.look_at_referrers(href, changed, out);
    }

    /// Judges rules about the values that an entity's fields have, which read the entities that have them.
    fn look_at_values(&mut self, href: &str, kind: &KindPlan, changed: &Changed, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let targets: Vec<Arc<str>> = row.live.links.iter().map(|(_, target)| Arc::clone(target)).collect();
        for target in targets {
            let Some(value) = self.state.entities.get(&target).and_then(|row| self.kind_plan(&row.kind))
            else {
                continue;
            };
            if !value.kind.is_from_fields() {
                continue;
            }
            for plan in &value.about {
                let reads = plan.needs.binds.iter().any(|bind| {
                    bind.is_many
                        && bind.kind.as_ref().is_some_and(|of| *of.name == *kind.name)
                        && bind.reads(changed)
                });
                if reads {
                    self.judge(plan, &target, out);
                }
            }
        }
    }

    pub(super) fn look_at_referrers(&mut self, href: &str, changed: &Changed, out: &mut Vec<Output>) {
        let referrers: Vec<Arc<str>> = self.referrers.get(href).into_iter().flatten().cloned().collect();
        for referrer in referrers {
            let Some(row) = self.state.entities.get(&referrer) else { continue };
            let Some(kind) = self.kind_plan(&row.kind) else { continue };
            let here = row.live.links.iter().filter(|(_, target)| **target == *href);
            let relations: Vec<u8> = here.map(|(relation, _)| *relation).collect();
            let reads = |needs: &crate::plan::Needs| {
                relations.iter().any(|relation| needs.reads_across(*relation, changed))
            };
            for plan in kind.about.iter().filter(|plan| reads(&plan.needs)) {
                self.judge(plan, &referrer, out);
            }
            for plan in kind.counted_by.iter().filter(|plan| reads(&plan.member_needs)) {
                self.count_member(plan, &referrer, out);
            }
        }
    }

    pub(super) fn plan_forgetting(&mut self, href: &str, changed: &Changed) {
        let Some(row) = self.state.entities.get(href).filter(|_| self.state.clock > Timestamp::EPOCH) else {
            return;
        };
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        let Some(forget) = kind.kind.forget.as_ref().filter(|_| kind.forget.reads_own(changed)) else {
            return;
        };
        self.bind(&kind.forget, href);
        let answer = self.evaluator.borrow().answer(&forget.when);
        let at = self.state.clock.plus(forget.after);
        let href = self.share(href);
        let Some(row) = self.state.entities.get_mut(&href) else { return };
        match answer {
            Answer::True if row.forget_at.is_none() => {
                row.forget_at = Some(at);
                self.timers.arm(at, Timer::Forget { href });
            }
            Answer::False => row.forget_at = None,
            _ => {}
        }
    }

    pub(super) fn wake_forget(&mut self, at: Timestamp, href: &Arc<str>, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(due) = row.forget_at else { return };
        if due > at {
            return self.timers.arm(due, Timer::Forget { href: Arc::clone(href) });
        }
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        if kind.kind.variable != kind.kind.name {
            // A topic's key that comes again is there again; while it has an issue it is kept.
            if row.cells.iter().any(|(.., cell)| cell.issue.is_some()) {
                return self.keep_record(href, &kind);
            }
            return self.remove_entity(href, "the entity is no longer watched", out);
        }
        self.keep_counting(href);
        self.count_outcomes(href);
        self.remove_entity(href, "the entity is no longer watched", out);
        if self.state.forgotten.len() >= FORGOTTEN_MAX
            && let Some(oldest) = self.state.forgotten.pop_front()
        {
            self.forgotten.remove(&oldest);
        }
        self.state.forgotten.push_back(href.to_string());
        self.forgotten.insert(href.to_string());
    }

    fn is_forgotten(&self, href: &str) -> bool {
        !self.forgotten.is_empty() && self.forgotten.contains(href)
    }

    /// Lets go of an entity and of everything that rules held about it.
    pub(super) fn remove_entity(&mut self, href: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(kind) = self.kind_plan(&row.kind) else { return self.drop_orphan(href) };
        let ruled: Vec<u16> =
            row.cells.iter().filter(|(_, role, _)| *role == Role::Subject).map(|(rule, ..)| rule).collect();
        let rules = Arc::clone(&self.rules);
        for number in ruled {
            if let Some(plan) = rules.plan.rules.get(usize::from(number)) {
                self.let_go(&plan.rule.name, href, reason, out);
            }
        }
        let touched = self.uncount_members(href, &kind);
        self.uncount(href);
        self.forget_id(href, &kind);
        self.relink(href, &kind, Box::default(), out);
        self.state.entities.remove(href);
        self.judge_counts(touched, out);
        // Whoever links to it must be judged anew: what they read there is unknown now.
        self.look_at_referrers(href, &Changed::All, out);
    }

    /// Forgets an entity whose kind is no longer declared.
    fn drop_orphan(&mut self, href: &str) {
        self.state.entities.remove(href);
    }
}

/// What a record of a topic is to a rule about the topic: one of those with its key, or the topic.
pub(super) fn topic_href(kind: &KindPlan, event: &Event) -> Option<String> {
    match &kind.kind.key {
        None => Some(event.topic.to_string()),
        Some(key) => Some(format!("{}/{}", event.topic, word_of(event.data.as_ref()?.get(key)?)?)),
    }
}

pub(super) fn word_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// Whether a rule follows a field that changed.
fn follows(plan: &crate::plan::RulePlan, changed: &Changed) -> bool {
    use crate::model::Trigger;
    match &plan.rule.trigger {
        Trigger::Change { field, .. } | Trigger::NewTerm { field, .. } => changed.has(&field.field),
        _ => false,
    }
}

/// The hrefs behind a link relation.
pub(super) fn targets(fields: &Fields, relation: &str) -> Vec<String> {
    fields.links().map(|links| hrefs_of(&links, relation)).unwrap_or_default()
}

pub(super) fn hrefs_of(links: &Map<String, Value>, relation: &str) -> Vec<String> {
    let href = |link: &Value| link.get("href").and_then(Value::as_str).map(str::to_owned);
    match links.get(relation) {
        Some(Value::Array(links)) => links.iter().filter_map(href).collect(),
        Some(link) => href(link).into_iter().collect(),
        None => Vec::new(),
    }
}
