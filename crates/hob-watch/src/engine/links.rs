//! What entities have to do with one another: relations, ids, and entities that are the values of others' fields.
//! Everything here is derived from the entities' fields and the rules.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Map;

use super::entity::hrefs_of;
use super::{Engine, Output};
use crate::fields::{Fields, Plain, Shapes};
use crate::model::{By, Changed, Count, Trigger};
use crate::plan::{KindPlan, RulePlan};
use crate::rows::{EntityRow, Role, Word};

type Links = Box<[(u8, Arc<str>)]>;

impl Engine {
    /// An href to be kept, shared with whoever keeps it already.
    pub(super) fn share(&self, href: &str) -> Arc<str> {
        if let Some(href) = self.state.entities.shared(href) {
            return href;
        }
        self.referrers.get_key_value(href).map_or_else(|| href.into(), |(href, _)| Arc::clone(href))
    }

    pub(super) fn word(&mut self, text: &str) -> Word {
        if let Some(word) = self.words.get(text) {
            return Word(Arc::clone(word));
        }
        let word: Arc<str> = text.into();
        if self.words.len() < super::WORDS_MAX {
            self.words.insert(Arc::clone(&word));
        }
        Word(word)
    }

    /// The entity's id, its relations, and what counts it, made anew from its fields.
    pub(super) fn derive_entity(&mut self, href: &str, changed: &Changed, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        if kind.has_ids && changed.has("id") {
            self.learn_id(href, &kind, out);
        }
        let has_field = |(_, link): &(String, crate::model::Link)| {
            link.field.as_ref().is_some_and(|field| changed.has(field))
        };
        if changed.has("_links") || kind.relations.iter().any(has_field) {
            let links = self.links_of(href, &kind);
            self.relink(href, &kind, links, out);
        }
        self.count(href, &kind, changed);
    }

    /// Where an entity's relations lead.
    pub(super) fn links_of(&self, href: &str, kind: &KindPlan) -> Links {
        let Some(fields) = self.state.entities.get(href).and_then(|row| row.fields.as_ref()) else {
            return Box::default();
        };
        let by_link = kind.relations.iter().any(|(_, link)| link.field.is_none());
        let links = by_link.then(|| fields.links()).flatten().unwrap_or_default();
        let mut found = Vec::new();
        for ((relation, link), number) in kind.relations.iter().zip(0_u8..) {
            let hrefs: Vec<Arc<str>> = match &link.field {
                Some(field) => self.value_of(fields, field, &link.kind).into_iter().collect(),
                None => hrefs_of(&links, relation).iter().map(|href| self.share(href)).collect(),
            };
            let most = if link.is_many { usize::MAX } else { 1 };
            found.extend(hrefs.into_iter().take(most).map(|href| (number, href)));
        }
        found.into()
    }

    /// The entity that a field's value names: of a kind that comes from fields, of its href, or by its id. An id that
    /// nobody has yet leads to where somebody with it will be looked for.
    fn value_of(&self, fields: &Fields, field: &str, kind: &str) -> Option<Arc<str>> {
        let word = fields.plain(field).and_then(Plain::as_word).filter(|word| !word.is_empty())?;
        let is_value = self.rules.plan.kinds.get(kind).is_some_and(|plan| plan.kind.is_from_fields());
        if is_value {
            return Some(self.share(&format!("{kind}/{word}")));
        }
        Some(self.named(kind, &word).unwrap_or_else(|| self.share(&format!("{kind}/{word}"))))
    }

    /// Replaces where an entity's relations lead, moves what it counts for, and makes or removes values of fields.
    pub(super) fn relink(&mut self, href: &str, kind: &KindPlan, links: Links, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        if row.live.links == links {
            return;
        }
        let before = std::mem::replace(&mut row.live.links, links.clone());
        let mut touched = BTreeSet::new();
        for plan in &kind.counted_by {
            let (old, new) = (counted_at(plan, kind, href, &before), counted_at(plan, kind, href, &links));
            if old != new {
                self.move_member(plan, href, old, new, &mut touched);
            }
        }
        let me = self.share(href);
        for (_, target) in links.iter() {
            self.referrers.entry(Arc::clone(target)).or_default().insert(Arc::clone(&me));
        }
        let mut left = Vec::new();
        for (_, target) in before.iter().filter(|(_, target)| !links.iter().any(|(_, other)| other == target))
        {
            if let Some(referrers) = self.referrers.get_mut(target) {
                referrers.remove(href);
                if referrers.is_empty() {
                    self.referrers.remove(target);
                }
            }
            left.push(Arc::clone(target));
        }
        for (number, target) in links.iter() {
            self.make_value(kind, *number, target, out);
        }
        self.judge_counts(touched, out);
        for target in left {
            self.left(&target, out);
        }
    }

    /// Makes the entity of a field's value when there is none.
    fn make_value(&mut self, kind: &KindPlan, number: u8, target: &Arc<str>, out: &mut Vec<Output>) {
        let Some((_, link)) = kind.relations.get(usize::from(number)) else { return };
        let Some(plan) = self.kind_plan(&link.kind).filter(|plan| plan.kind.is_from_fields()) else { return };
        if self.state.entities.contains_key(target) || link.field.is_none() {
            return;
        }
        let id = target.strip_prefix(&format!("{}/", plan.name)).unwrap_or(target).to_owned();
        let fields = Fields::new(Map::from_iter([("id".to_owned(), id.into())]), &mut Shapes::default());
        let Some(row) = self.entity_mut(target, &plan) else { return };
        row.fields = Some(fields);
        row.is_known = true;
        self.derive_entity(target, &Changed::All, out);
        self.look_at(target, &Changed::All, out);
    }

    /// An entity no longer links here: a value that no field has goes, and what read the one that left is judged.
    fn left(&mut self, target: &Arc<str>, out: &mut Vec<Output>) {
        let Some(row) = self.state.entities.get(target) else { return };
        let Some(kind) = self.kind_plan(&row.kind).filter(|kind| kind.kind.is_from_fields()) else { return };
        if !self.referrers.contains_key(target) {
            return self.remove_entity(target, "nothing is there any more", out);
        }
        for plan in kind.about.iter().filter(|plan| plan.needs.binds.iter().any(|bind| bind.is_many)) {
            self.judge(plan, target, out);
        }
    }

    /// Registers an entity's id, and joins those that named it before it was known.
    fn learn_id(&mut self, href: &str, kind: &KindPlan, out: &mut Vec<Output>) {
        let Some(id) = self.id_of(href) else { return };
        let me = self.share(href);
        let ids = self.ids.entry(Arc::clone(&kind.name)).or_default();
        if ids.insert(id.clone().into(), me).is_some_and(|before| *before == *href) {
            return;
        }
        let waiting = self.referrers.get(&*format!("{}/{id}", kind.name)).cloned().unwrap_or_default();
        for referrer in waiting {
            let row = self.state.entities.get(&referrer);
            let Some(plan) = row.and_then(|row| self.kind_plan(&row.kind)) else { continue };
            let links = self.links_of(&referrer, &plan);
            self.relink(&referrer, &plan, links, out);
        }
    }

    fn id_of(&self, href: &str) -> Option<String> {
        self.state.entities.get(href)?.fields.as_ref()?.plain("id").and_then(Plain::as_word)
    }

    pub(super) fn forget_id(&mut self, href: &str, kind: &KindPlan) {
        let Some(id) = self.id_of(href).filter(|_| kind.has_ids) else { return };
        if let Some(ids) = self.ids.get_mut(&kind.name)
            && ids.get(&*id).is_some_and(|known| **known == *href)
        {
            ids.remove(&*id);
        }
    }

    /// Makes all relations and counts anew, when the rules or the engine are new. Ids first: fields name entities by them.
    pub(super) fn derive_all(&mut self) {
        let hrefs = self.state.entities.hrefs();
        for row in self.state.entities.rows_mut() {
            if let Some(fields) = &mut row.fields {
                self.shapes.adopt(fields);
            }
        }
        let mut nothing = Vec::new();
        for href in &hrefs {
            let row = self.state.entities.get(href);
            if let Some(kind) = row.and_then(|row| self.kind_plan(&row.kind)).filter(|kind| kind.has_ids) {
                self.learn_id(href, &kind, &mut nothing);
            }
        }
        for href in &hrefs {
            let row = self.state.entities.get(href);
            let Some(kind) = row.and_then(|row| self.kind_plan(&row.kind)) else { continue };
            let links = self.links_of(href, &kind);
            for (_, target) in links.iter() {
                self.referrers.entry(Arc::clone(target)).or_default().insert(Arc::clone(href));
            }
            if let Some(row) = self.state.entities.get_mut(href) {
                row.live.links = links;
                row.live.counts = 0;
            }
            self.tally_members(href, &kind);
            self.count(href, &kind, &Changed::All);
        }
    }

    /// Makes the values of fields that rules newly speak of, and removes those that nothing has.
    pub(super) fn make_values(&mut self, out: &mut Vec<Output>) {
        for href in self.state.entities.hrefs() {
            let Some(row) = self.state.entities.get(&href) else { continue };
            let Some(kind) = self.kind_plan(&row.kind) else { continue };
            if kind.kind.is_from_fields() && !self.referrers.contains_key(&href) {
                self.remove_entity(&href, "nothing is there any more", out);
                continue;
            }
            for (number, target) in row.live.links.clone() {
                self.make_value(&kind, number, &target, out);
            }
        }
    }
}

/// Where a rule counts an entity, given its links.
pub(super) fn counted_at(
    plan: &RulePlan,
    kind: &KindPlan,
    href: &str,
    links: &[(u8, Arc<str>)],
) -> Option<Arc<str>> {
    let Trigger::Count { count: Count::Entities { by, .. }, .. } = &plan.rule.trigger else { return None };
    match by {
        By::Itself => Some(href.into()),
        By::Field(_) => None,
        By::Relation(relation) => {
            let number = kind.relation(relation)?;
            links.iter().find(|(known, _)| *known == number).map(|(_, target)| Arc::clone(target))
        }
    }
}

/// Whether a cell counts, and whether that is unknown.
pub(super) fn worth(row: &EntityRow, rule: u16) -> (i64, i64) {
    let Some(cell) = row.cells.get(rule, Role::Member) else { return (0, 0) };
    let is_unknown = cell.verdict == crate::rows::Verdict::Unknown;
    (i64::from(cell.is_counted), i64::from(is_unknown && !cell.is_counted))
}
