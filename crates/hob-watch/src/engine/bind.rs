//! What expressions see: variables bound to entities, with the fields that are read and no others.

use std::sync::Arc;

use hob_core::Timestamp;
use serde_json::{Map, Value as Json};

use super::Engine;
use crate::expression::{Evaluator, Expression};
use crate::fields::{Fields, Plain};
use crate::model::{EntityKind, Path, Rule};
use crate::plan::{Bind, KindPlan, Needs};
use crate::rows::EntityRow;
use crate::value::{LIST_ITEMS_MAX, Members, Value};

/// A time in an entity.
pub(super) enum Time {
    At(Timestamp),
    /// The field says that there is none.
    None,
    Unknown(String),
}

impl Engine {
    pub(super) fn kind_plan(&self, kind: &str) -> Option<Arc<KindPlan>> {
        self.rules.plan.kinds.get(kind).cloned()
    }

    /// Gives the variables their values. An entity is unknown while its newest fetch failed; a relation that it does not
    /// have is null; what is unknown in a list has no fields.
    pub(super) fn bind(&self, needs: &Needs, href: &str) {
        let Some(row) = self.state.entities.get(href) else { return };
        let mut evaluator = self.evaluator.borrow_mut();
        let across = needs.binds.iter().filter(|bind| bind.relation.is_some());
        let values: Vec<(&Bind, Option<Value>)> =
            across.map(|bind| (bind, self.across(bind, href, row, &mut evaluator))).collect();
        for (bind, value) in &values {
            evaluator.bind(&bind.variable, value.as_ref());
        }
        if let Some(bind) = needs.binds.iter().find(|bind| bind.relation.is_none()) {
            let own = members(row, bind, &mut evaluator).map(Members::done);
            evaluator.bind(&bind.variable, own.as_ref());
        }
    }

    /// Gives the entity's own variable its newest fields, also while they are not known any more.
    pub(super) fn bind_newest(&self, needs: &Needs, href: &str) {
        let Some(row) = self.state.entities.get(href) else { return };
        let mut evaluator = self.evaluator.borrow_mut();
        if let Some(bind) = needs.binds.iter().find(|bind| bind.relation.is_none()) {
            let own = newest(row, bind, &mut evaluator).map(Members::done);
            evaluator.bind(&bind.variable, own.as_ref());
        }
    }

    fn across(&self, bind: &Bind, href: &str, row: &EntityRow, evaluator: &mut Evaluator) -> Option<Value> {
        let relation = bind.relation?;
        let value = |target: &str, evaluator: &mut Evaluator| {
            let row = self.state.entities.get(target)?;
            members(row, bind, evaluator)
        };
        if bind.is_many {
            if row.fields.is_none() || !row.is_known {
                return None;
            }
            let targets = self.leads_to(href, row, relation);
            if targets.len() > LIST_ITEMS_MAX {
                return None;
            }
            let items =
                targets.iter().map(|target| value(target, evaluator).unwrap_or_else(Members::empty).done());
            return Some(Value::list(items.collect()));
        }
        match row.live.links.iter().find(|(number, _)| *number == relation) {
            Some((_, target)) => value(target, evaluator).map(Members::done),
            None => (row.is_known && row.fields.is_some()).then(Value::null),
        }
    }

    /// Where a relation leads. Those of an entity that is a field's value are the entities that have it.
    pub(super) fn leads_to(&self, href: &str, row: &EntityRow, relation: u8) -> Vec<Arc<str>> {
        let Some(plan) = self.rules.plan.kinds.get(&*row.kind) else { return Vec::new() };
        if plan.kind.is_from_fields() {
            let Some((_, link)) = plan.relations.get(usize::from(relation)) else { return Vec::new() };
            let is_of =
                |href: &&Arc<str>| self.state.entities.get(href).is_some_and(|row| *row.kind == *link.kind);
            return self.referrers.get(href).into_iter().flatten().filter(is_of).cloned().collect();
        }
        let links = row.live.links.iter().filter(|(number, _)| *number == relation);
        links.map(|(_, target)| Arc::clone(target)).collect()
    }

    /// What an expression gives of an entity.
    pub(super) fn work_out(&self, needs: &Needs, expression: &Expression, href: &str) -> Option<Value> {
        self.bind(needs, href);
        self.evaluator.borrow().value(expression)
    }

    /// Whether an expression is true of an entity.
    pub(crate) fn is_true(&self, needs: &Needs, expression: &Expression, href: &str) -> bool {
        self.bind(needs, href);
        self.evaluator.borrow().answer(expression) == crate::expression::Answer::True
    }

    /// The entity that a rule calls so, when there is one.
    fn called<'a>(&'a self, rule: &Rule, href: &'a str, variable: &str) -> Option<&'a str> {
        if variable == rule.variable {
            return Some(href);
        }
        let row = self.state.entities.get(href)?;
        let relation = self.rules.plan.kinds.get(&rule.about)?.relation(variable)?;
        row.live.links.iter().find(|(number, _)| *number == relation).map(|(_, target)| &**target)
    }

    /// The fields of a variable as the rule sees it, while they are known.
    pub(super) fn fields(&self, rule: &Rule, href: &str, variable: &str) -> Option<&Fields> {
        let row = self.state.entities.get(self.called(rule, href, variable)?)?;
        row.fields.as_ref().filter(|_| row.is_known)
    }

    /// A field of a variable, worked out or as it came.
    pub(super) fn field(&self, rule: &Rule, href: &str, path: &Path) -> Option<Json> {
        let called = self.called(rule, href, &path.variable)?;
        let row = self.state.entities.get(called)?;
        let plan = self.rules.plan.kinds.get(&*row.kind)?;
        match plan.kind.derive.iter().position(|derive| derive.name == path.field) {
            Some(index) => {
                self.work_out(&plan.derived[index], &plan.kind.derive[index].value, called)?.json()
            }
            None => row.fields.as_ref().filter(|_| row.is_known)?.get(&path.field),
        }
    }

    /// A field of an entity, worked out or as it came, while it is known.
    pub(super) fn field_of(&self, href: &str, field: &str) -> Option<Json> {
        let row = self.state.entities.get(href).filter(|row| row.is_known)?;
        let plan = self.rules.plan.kinds.get(&*row.kind)?;
        match plan.kind.derive.iter().position(|derive| derive.name == field) {
            Some(index) => self.work_out(&plan.derived[index], &plan.kind.derive[index].value, href)?.json(),
            None => row.fields.as_ref()?.get(field),
        }
    }

    /// All fields of a variable, those that are worked out too, for texts.
    pub(super) fn all_fields(&self, rule: &Rule, href: &str, variable: &str) -> Option<Map<String, Json>> {
        let called = self.called(rule, href, variable)?;
        let row = self.state.entities.get(called)?;
        let mut map = row.fields.as_ref().filter(|_| row.is_known)?.to_map();
        self.add_derived(called, row, &mut map);
        Some(map)
    }

    /// Adds what is worked out of an entity to its fields.
    pub(crate) fn add_derived(&self, href: &str, row: &EntityRow, map: &mut Map<String, Json>) {
        let Some(plan) = self.rules.plan.kinds.get(&*row.kind) else { return };
        for (derive, needs) in plan.kind.derive.iter().zip(&plan.derived) {
            if let Some(json) = self.work_out(needs, &derive.value, href).and_then(|value| value.json()) {
                map.insert(derive.name.clone(), json);
            }
        }
    }

    pub(super) fn time(&self, rule: &Rule, href: &str, path: &Path) -> Time {
        let unknown = || Time::Unknown(format!("`{}` is not known", path.variable));
        let Some(called) = self.called(rule, href, &path.variable) else { return unknown() };
        let Some(row) = self.state.entities.get(called) else { return unknown() };
        let Some(fields) = row.fields.as_ref().filter(|_| row.is_known) else { return unknown() };
        match fields.plain(&path.field) {
            Some(Plain::Time(time)) => return Time::At(*time),
            Some(Plain::Null) => return Time::None,
            _ => {}
        }
        match self.field(rule, href, path) {
            Some(Json::Null) => Time::None,
            Some(Json::String(text)) => match text.parse() {
                Ok(time) => Time::At(time),
                Err(_) => Time::Unknown(format!("`{path}` is {text:?}, not a time")),
            },
            Some(_) => Time::Unknown(format!("`{path}` is not a time")),
            None => Time::Unknown(format!("there is no field `{}`", path.field)),
        }
    }
}

/// The fields of an entity that are read, and those that are worked out from them, while they are known.
fn members(row: &EntityRow, bind: &Bind, evaluator: &mut Evaluator) -> Option<Members> {
    if row.is_known { newest(row, bind, evaluator) } else { None }
}

fn newest(row: &EntityRow, bind: &Bind, evaluator: &mut Evaluator) -> Option<Members> {
    let fields = row.fields.as_ref()?;
    let kind: &EntityKind = bind.kind.as_ref()?;
    let mut members = Value::map(fields, &kind.fields, bind.fields.as_deref());
    for index in &bind.derived {
        let Some(derive) = kind.derive.get(*index) else { continue };
        evaluator.bind(&kind.variable, Some(&members.clone().done()));
        if let Some(value) = evaluator.value(&derive.value) {
            members.insert(&derive.name, value);
        }
    }
    Some(members)
}
