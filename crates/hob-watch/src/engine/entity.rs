//! Entities: what observations, notices and streams make of them, and when they are no longer kept.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::Timestamp;
use hob_wire::{Event, Observation};
use serde_json::{Map, Value};

use super::timers::Timer;
use super::track::{self, Position};
use super::{ENTITIES_MAX, Engine, Output};
use crate::expression::Answer;
use crate::model::{Changed, EntityKind, Rule, Trigger};
use crate::rows::{EntityRow, EventRow};
use crate::value;

/// Events that are kept of one entity, the newest.
const EVENTS_KEPT: usize = 10;
/// Entities whose being forgotten is remembered.
const FORGOTTEN_MAX: usize = 10_000;

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
                self.unknown(&href, "its representation is not a JSON object".to_owned(), out)
            }
            (status, _) => {
                let trouble = error.unwrap_or_else(|| format!("the fetch answered {status}"));
                self.unknown(&href, trouble, out);
            }
        }
    }

    fn kind_of(&self, href: &str, topic: Option<&hob_core::TopicName>) -> Option<String> {
        let by_topic = topic.and_then(|topic| self.rules.by_topic.get(topic)).cloned();
        by_topic.or_else(|| self.state.entities.get(href).map(|row| row.kind.clone()))
    }

    /// The row of an entity, made when there is room for one.
    fn entity_mut(&mut self, href: &str, kind: &str) -> Option<&mut EntityRow> {
        if !self.state.entities.contains_key(href) {
            if self.state.entities.len() >= ENTITIES_MAX {
                self.state.entities_refused += 1;
                return None;
            }
            let row = EntityRow { kind: kind.to_owned(), ..EntityRow::default() };
            self.state.entities.insert(href.to_owned(), row);
        }
        self.state.entities.get_mut(href)
    }

    fn take_fields(&mut self, href: &str, kind: &str, fields: Map<String, Value>, out: &mut Vec<Output>) {
        if self.is_forgotten(href) {
            return;
        }
        let Some(row) = self.entity_mut(href, kind) else { return };
        let changed = match &row.fields {
            Some(before) if row.is_known => changes(before, &fields),
            _ => Changed::All,
        };
        row.fields = Some(fields);
        row.is_known = true;
        row.trouble = None;
        self.derive_entity(href);
        self.plan_forgetting(href);
        self.look_at(href, &changed, out);
    }

    fn known_again(&mut self, href: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        if row.fields.is_some() && !row.is_known {
            row.is_known = true;
            row.trouble = None;
            self.derive_entity(href);
            self.look_at(href, &Changed::All, out);
        }
    }

    fn unknown(&mut self, href: &str, trouble: String, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        row.trouble = Some(trouble);
        if row.is_known {
            row.is_known = false;
            self.derive_entity(href);
            self.look_at(href, &Changed::All, out);
        }
    }

    /// Takes a notice as evidence, or a record of a stream as a position or as the entity itself.
    pub(super) fn event(&mut self, event: &Event, out: &mut Vec<Output>) {
        if let Some(kind) = self.rules.by_topic.get(&event.topic).cloned() {
            let Some(href) = event.subject.as_deref() else { return };
            self.note_event(href, &kind, event);
        }
        for kind in self.rules.by_stream.get(&event.topic).cloned().unwrap_or_default() {
            self.stream_record(&kind, event, out);
        }
    }

    fn note_event(&mut self, href: &str, kind: &str, event: &Event) {
        if self.is_forgotten(href) {
            return;
        }
        let sequence = self.at.sequence;
        let Some(row) = self.entity_mut(href, kind) else { return };
        if row.events.len() >= EVENTS_KEPT {
            row.events.pop_front();
        }
        let (time, recorded) = (event.time, event.recordedtime);
        row.events.push_back(EventRow { time, recorded, kind: event.kind.clone(), sequence });
    }

    fn stream_record(&mut self, kind: &str, event: &Event, out: &mut Vec<Output>) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(declared) = rules.entities.get(kind) else { return };
        let Some(href) = self.stream_href(declared, event) else { return };
        if self.is_forgotten(&href) || self.is_from_the_future(event.time) {
            return;
        }
        if let Some(position) = event.data.as_ref().and_then(Position::read) {
            self.take_position(&href, kind, position, event.time, out);
        }
        if declared.topic.is_none() {
            self.note_event(&href, kind, event);
            if let Some(Value::Object(fields)) = &event.data {
                self.take_fields(&href, kind, fields.clone(), out);
            }
        }
    }

    /// The entity that a stream record is about: its subject, or what its key member names.
    fn stream_href(&self, kind: &EntityKind, event: &Event) -> Option<String> {
        if let Some(subject) = &event.subject {
            return Some(subject.clone());
        }
        let member = event.data.as_ref()?.get(kind.key.as_deref()?)?;
        let id = member.as_str().map_or_else(|| member.to_string(), str::to_owned);
        if id.contains("://") {
            return Some(id);
        }
        match self.ids.get(&(kind.name.clone(), id.clone())) {
            Some(href) => Some(href.clone()),
            None if kind.topic.is_none() => Some(format!("{}/{id}", kind.name)),
            None => None,
        }
    }

    /// A producer whose clock is far ahead would stop the entity's later records from being taken.
    fn is_from_the_future(&self, time: Timestamp) -> bool {
        let clock = self.state.clock;
        clock > Timestamp::EPOCH && time > clock.plus(std::time::Duration::from_secs(3600))
    }

    fn take_position(
        &mut self,
        href: &str,
        kind: &str,
        position: Position,
        time: Timestamp,
        out: &mut Vec<Output>,
    ) {
        let rules = std::sync::Arc::clone(&self.rules);
        let stopped = rules.about(kind).iter().filter_map(|name| Some((name, rules.rules.get(name)?)));
        let stopped: Vec<(&String, &Rule)> =
            stopped.filter(|(_, rule)| matches!(rule.trigger, Trigger::Stopped { .. })).collect();
        let radii: BTreeSet<u32> = stopped.iter().filter_map(|(_, rule)| rule.metres()).collect();
        let Some(row) = self.entity_mut(href, kind) else { return };
        for metres in radii {
            track::moved(&mut row.tracks, metres, position, time);
        }
        for (name, rule) in stopped {
            if self.position_matters(rule, name, href) {
                self.judge(name, href, out);
            }
        }
    }

    /// The entity's value for expressions, its relations, and what counts it, made anew from its fields.
    pub(super) fn derive_entity(&mut self, href: &str) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let Some(kind) = rules.entities.get(&row.kind) else { return };
        let fields = row.fields.as_ref();
        let known = fields.filter(|_| row.is_known);
        row.live.value = known.map(|fields| value::Value::entity(fields, &kind.fields));
        let first = |fields, relation: &String| {
            Some((relation.clone(), targets(fields, relation).into_iter().next()?))
        };
        let links: BTreeMap<String, String> = fields
            .into_iter()
            .flat_map(|fields| kind.links.keys().filter_map(move |key| first(fields, key)))
            .collect();
        let id = fields.and_then(|fields| fields.get("id")).and_then(Value::as_str).map(str::to_owned);
        let before = std::mem::replace(&mut row.live.links, links.clone());
        if let Some(id) = id {
            self.ids.insert((kind.name.clone(), id), href.to_owned());
        }
        for target in before.values() {
            self.unlink(target, href);
        }
        for target in links.values() {
            self.referrers.entry(target.clone()).or_default().insert(href.to_owned());
        }
        self.count(href, kind);
    }

    fn unlink(&mut self, target: &str, referrer: &str) {
        if let Some(referrers) = self.referrers.get_mut(target) {
            referrers.remove(referrer);
            if referrers.is_empty() {
                self.referrers.remove(target);
            }
        }
    }

    /// Judges every rule that reads what changed of an entity: the rules about it, and those about entities that link
    /// to it.
    pub(super) fn look_at(&mut self, href: &str, changed: &Changed, out: &mut Vec<Output>) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(kind) = self.state.entities.get(href).map(|row| row.kind.clone()) else { return };
        for name in rules.about(&kind) {
            let Some(rule) = rules.rules.get(name) else { continue };
            let relations_changed = rule.reads.len() > 1 && touches(changed, "_links");
            if self.cell(name, href).is_none() || rule.reads_any(&kind, changed) || relations_changed {
                self.judge(name, href, out);
            }
        }
        let referrers: Vec<String> = self.referrers.get(href).into_iter().flatten().cloned().collect();
        for referrer in referrers {
            let Some(row) = self.state.entities.get(&referrer) else { continue };
            let relations: Vec<String> = row
                .live
                .links
                .iter()
                .filter(|(_, target)| *target == href)
                .map(|(relation, _)| relation.clone())
                .collect();
            for name in rules.about(&row.kind.clone()) {
                let reads = |rule: &&Rule| relations.iter().any(|relation| rule.reads_any(relation, changed));
                if rules.rules.get(name).filter(reads).is_some() {
                    self.judge(name, &referrer, out);
                }
            }
        }
    }

    pub(super) fn plan_forgetting(&mut self, href: &str) {
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(row) = self.state.entities.get(href).filter(|_| self.state.clock > Timestamp::EPOCH) else {
            return;
        };
        let Some(forget) = rules.entities.get(&row.kind).and_then(|kind| kind.forget.as_ref()) else {
            return;
        };
        self.evaluator.bind(&row.kind, row.live.value.as_ref());
        let answer = self.evaluator.answer(&forget.when);
        let at = self.state.clock.plus(forget.after);
        let Some(row) = self.state.entities.get_mut(href) else { return };
        match answer {
            Answer::True if row.forget_at.is_none() => {
                row.forget_at = Some(at);
                self.timers.arm(at, Timer::Forget { href: href.to_owned() });
            }
            Answer::False => row.forget_at = None,
            _ => {}
        }
    }

    pub(super) fn wake_forget(&mut self, at: Timestamp, href: &str, out: &mut Vec<Output>) {
        let Some(due) = self.state.entities.get(href).and_then(|row| row.forget_at) else { return };
        if due > at {
            return self.timers.arm(due, Timer::Forget { href: href.to_owned() });
        }
        self.keep_counting(href);
        self.remove_entity(href, "the entity is no longer watched", out);
        if self.state.forgotten.len() >= FORGOTTEN_MAX
            && let Some(oldest) = self.state.forgotten.pop_front()
        {
            self.forgotten.remove(&oldest);
        }
        self.state.forgotten.push_back(href.to_owned());
        self.forgotten.insert(href.to_owned());
    }

    fn is_forgotten(&self, href: &str) -> bool {
        self.forgotten.contains(href)
    }

    /// Lets go of an entity and of everything that rules held about it.
    pub(super) fn remove_entity(&mut self, href: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let (kind, links) = (row.kind.clone(), row.live.links.clone());
        let id = row
            .fields
            .as_ref()
            .and_then(|fields| fields.get("id"))
            .and_then(Value::as_str)
            .map(str::to_owned);
        let ruled: Vec<String> = self
            .state
            .cells
            .iter()
            .filter(|(_, cells)| cells.contains_key(href))
            .map(|(rule, _)| rule.clone())
            .collect();
        for rule in ruled {
            self.let_go(&rule, href, reason, out);
            if let Some(cells) = self.state.cells.get_mut(&rule) {
                cells.remove(href);
            }
        }
        self.uncount(href);
        for target in links.values() {
            self.unlink(target, href);
        }
        if let Some(id) = id {
            self.ids.remove(&(kind, id));
        }
        self.state.entities.remove(href);
        // Whoever links to it must be judged anew: what they read there is unknown now.
        let referrers: Vec<String> = self.referrers.get(href).into_iter().flatten().cloned().collect();
        for referrer in referrers {
            let Some(kind) = self.state.entities.get(&referrer).map(|row| row.kind.clone()) else { continue };
            let rules = std::sync::Arc::clone(&self.rules);
            for name in rules.about(&kind) {
                if rules.rules.get(name).is_some_and(|rule| rule.reads.len() > 1) {
                    self.judge(name, &referrer, out);
                }
            }
        }
    }
}

/// The hrefs behind a link relation.
pub(super) fn targets(fields: &Map<String, Value>, relation: &str) -> Vec<String> {
    let link = fields.get("_links").and_then(|links| links.get(relation));
    let href = |link: &Value| link.get("href").and_then(Value::as_str).map(str::to_owned);
    match link {
        Some(Value::Array(links)) => links.iter().filter_map(href).collect(),
        Some(link) => href(link).into_iter().collect(),
        None => Vec::new(),
    }
}

fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Changed {
    let other = |name: &&String| before.get(*name) != after.get(*name);
    let changed = after.keys().filter(other).chain(before.keys().filter(|name| !after.contains_key(*name)));
    Changed::Fields(changed.cloned().collect())
}

fn touches(changed: &Changed, field: &str) -> bool {
    match changed {
        Changed::All => true,
        Changed::Fields(fields) => fields.contains(field),
    }
}
