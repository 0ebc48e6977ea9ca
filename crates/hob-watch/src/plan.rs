//! What the engine looks up for each input, worked out once when rules are compiled: which rules read what, what a rule
//! must know before it can be judged, and which events go where.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hob_core::TopicName;

use crate::expression::{Expression, NOW};
use crate::model::{By, Changed, Count, EntityKind, Link, Mode, Rule, Rules, Trigger};
use crate::value::FieldType;

/// All that is looked up for inputs.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) kinds: HashMap<String, Arc<KindPlan>>,
    /// By the number of the rule: rules are numbered in the order of their names.
    pub(crate) rules: Vec<Arc<RulePlan>>,
    /// What a topic's records are the positions, or the entities, of.
    pub(crate) streams: HashMap<TopicName, Vec<Arc<KindPlan>>>,
    /// Rules that count or miss the events of a topic.
    pub(crate) events: HashMap<TopicName, Vec<Arc<RulePlan>>>,
}

/// A rule and what it must know.
#[derive(Debug)]
pub(crate) struct RulePlan {
    pub(crate) number: u16,
    pub(crate) rule: Arc<Rule>,
    /// What trigger and gate read.
    pub(crate) needs: Needs,
    /// What is read of each entity that it counts.
    pub(crate) member_needs: Needs,
}

/// A kind of entity and who minds it.
#[derive(Debug)]
pub(crate) struct KindPlan {
    pub(crate) name: Arc<str>,
    pub(crate) kind: Arc<EntityKind>,
    /// Relations by number.
    pub(crate) relations: Vec<(String, Link)>,
    /// Rules about it.
    pub(crate) about: Vec<Arc<RulePlan>>,
    /// Rules about it that read positions.
    pub(crate) positions: Vec<Arc<RulePlan>>,
    /// Rules about it that follow a field's values.
    pub(crate) fields: Vec<Arc<RulePlan>>,
    /// Rules that count it.
    pub(crate) counted_by: Vec<Arc<RulePlan>>,
    /// What its figures and its forgetting read.
    pub(crate) figures: Needs,
    pub(crate) forget: Needs,
    /// What its outcomes read.
    pub(crate) outcome: Needs,
    /// What each derived field reads.
    pub(crate) derived: Vec<Needs>,
    /// Whether anybody reads its fields: records of a topic that is only counted are not kept.
    pub(crate) minds_fields: bool,
    /// Whether its entities are looked up by their `id`.
    pub(crate) has_ids: bool,
}

/// The variables that expressions read.
#[derive(Debug, Default)]
pub(crate) struct Needs {
    pub(crate) binds: Vec<Bind>,
    pub(crate) reads_now: bool,
}

/// A variable and which fields of it are read.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) variable: String,
    /// The relation's number; nothing for the entity itself.
    pub(crate) relation: Option<u8>,
    pub(crate) is_many: bool,
    pub(crate) kind: Option<Arc<EntityKind>>,
    /// Fields as they come; nothing when all are read.
    pub(crate) fields: Option<Vec<Wanted>>,
    /// Numbers of the derived fields, in order.
    pub(crate) derived: Vec<usize>,
}

/// A field that is read.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) key: cel::objects::Key,
    pub(crate) kind: Option<FieldType>,
}

impl Bind {
    /// Whether a change of these fields matters here.
    pub(crate) fn reads(&self, changed: &Changed) -> bool {
        match (changed, &self.fields) {
            (Changed::All, _) => true,
            (Changed::Fields(names), None) => names.iter().any(|name| name != "_links"),
            (Changed::Fields(names), Some(wanted)) => {
                names.iter().any(|name| wanted.iter().any(|wanted| wanted.name == *name))
            }
        }
    }
}

impl Needs {
    /// Whether a change of these fields of the entity itself matters.
    pub(crate) fn reads_own(&self, changed: &Changed) -> bool {
        let is_across = || self.binds.iter().any(|bind| bind.relation.is_some());
        self.binds.iter().any(|bind| bind.relation.is_none() && bind.reads(changed))
            || (changed.has("_links") && is_across())
    }

    /// Whether a change of these fields of what a relation leads to matters.
    pub(crate) fn reads_across(&self, relation: u8, changed: &Changed) -> bool {
        self.binds.iter().any(|bind| bind.relation == Some(relation) && bind.reads(changed))
    }
}

impl Plan {
    pub(crate) fn of(rules: &Rules) -> Self {
        let kinds = &rules.entities;
        let plans: Vec<Arc<RulePlan>> = rules
            .rules
            .values()
            .zip(0_u16..)
            .map(|(rule, number)| {
                let mut reads = Reads::new(&rule.about, kinds);
                reads.add_all(&rule.reads);
                let mut member_needs = Needs::default();
                if let Trigger::Count { count: Count::Entities { kind, .. }, .. } = &rule.trigger {
                    let mut reads = Reads::new(kind, kinds);
                    reads.add_all(&rule.member_reads);
                    member_needs = reads.needs();
                }
                Arc::new(RulePlan { number, rule: Arc::clone(rule), needs: reads.needs(), member_needs })
            })
            .collect();
        let on = |plan: &&Arc<RulePlan>| plan.rule.mode != Mode::Disabled;
        let kind_plans: HashMap<String, Arc<KindPlan>> = kinds
            .iter()
            .map(|(name, kind)| (name.clone(), Arc::new(KindPlan::of(kind, kinds, plans.iter().filter(on)))))
            .collect();
        let mut streams: HashMap<TopicName, Vec<Arc<KindPlan>>> = HashMap::new();
        for (topic, names) in &rules.by_stream {
            let of_topic = names.iter().filter_map(|name| kind_plans.get(name).cloned());
            streams.insert(topic.clone(), of_topic.collect());
        }
        let mut events: HashMap<TopicName, Vec<Arc<RulePlan>>> = HashMap::new();
        for plan in plans.iter().filter(on) {
            if let Some(source) = plan.rule.trigger.source() {
                events.entry(source.topic.clone()).or_default().push(Arc::clone(plan));
            }
        }
        Self { kinds: kind_plans, rules: plans, streams, events }
    }
}

/// What expressions over an entity of a kind read.
pub(crate) fn needs_of<'a>(
    kind: &str,
    kinds: &BTreeMap<String, Arc<EntityKind>>,
    expressions: impl Iterator<Item = &'a Expression>,
) -> Needs {
    let mut reads = Reads::new(kind, kinds);
    expressions.for_each(|expression| reads.add_expression(expression));
    reads.needs()
}

impl KindPlan {
    fn of<'a>(
        kind: &Arc<EntityKind>,
        kinds: &BTreeMap<String, Arc<EntityKind>>,
        rules: impl Iterator<Item = &'a Arc<RulePlan>> + Clone,
    ) -> Self {
        let about = || rules.clone().filter(|plan| plan.rule.about == kind.name);
        let counts = |plan: &&Arc<RulePlan>| match &plan.rule.trigger {
            Trigger::Count { count: Count::Entities { kind: counted, .. }, .. } => *counted == kind.name,
            _ => false,
        };
        let follows = |plan: &&Arc<RulePlan>| {
            matches!(plan.rule.trigger, Trigger::Change { .. } | Trigger::NewTerm { .. })
        };
        let needs = |expressions: &mut dyn Iterator<Item = &Expression>| {
            let mut reads = Reads::new(&kind.name, kinds);
            expressions.for_each(|expression| reads.add_expression(expression));
            reads.needs()
        };
        let is_named = |other: &Arc<EntityKind>| {
            other.links.values().any(|link| link.kind == kind.name && link.field.is_some())
        };
        let is_told = rules
            .clone()
            .filter_map(|plan| plan.rule.trigger.source())
            .any(|source| matches!(source.by, By::Field(_)));
        Self {
            name: kind.name.as_str().into(),
            relations: kind.links.iter().map(|(name, link)| (name.clone(), link.clone())).collect(),
            about: about().cloned().collect(),
            positions: about().filter(|plan| plan.rule.trigger.reads_positions()).cloned().collect(),
            fields: about().filter(follows).cloned().collect(),
            counted_by: rules.clone().filter(counts).cloned().collect(),
            figures: needs(&mut kind.figures.iter().map(|figure| &figure.when)),
            outcome: needs(&mut kind.outcome.values()),
            forget: needs(&mut kind.forget.iter().map(|forget| &forget.when)),
            derived: kind.derive.iter().map(|derive| needs(&mut std::iter::once(&derive.value))).collect(),
            minds_fields: kind.variable == kind.name || about().any(|plan| minds_fields(plan)),
            has_ids: kind.key.is_some() || is_told || kinds.values().any(is_named),
            kind: Arc::clone(kind),
        }
    }

    /// The number of a relation.
    pub(crate) fn relation(&self, name: &str) -> Option<u8> {
        let index = self.relations.iter().position(|(relation, _)| relation == name)?;
        u8::try_from(index).ok()
    }
}

/// Whether a rule reads anything of the entity that it is about, in expressions or texts.
fn minds_fields(plan: &RulePlan) -> bool {
    let rule = &plan.rule;
    let reads = |bind: &Bind| {
        bind.relation.is_none()
            && (!bind.derived.is_empty() || bind.fields.as_ref().is_none_or(|fields| !fields.is_empty()))
    };
    let texts = [&rule.title].into_iter().chain(&rule.key).chain(&rule.parents);
    plan.needs.binds.iter().any(reads)
        || texts.flat_map(|text| text.reads()).any(|(variable, _)| variable == rule.variable)
}

/// What is read, collected from expressions: what derived fields read is read too.
struct Reads<'a> {
    kind: Arc<EntityKind>,
    kinds: &'a BTreeMap<String, Arc<EntityKind>>,
    own: OneReads,
    relations: BTreeMap<String, OneReads>,
    now: bool,
}

#[derive(Default)]
struct OneReads {
    all: bool,
    fields: BTreeSet<String>,
    derived: BTreeSet<usize>,
}

impl<'a> Reads<'a> {
    fn new(kind: &str, kinds: &'a BTreeMap<String, Arc<EntityKind>>) -> Self {
        let kind = kinds.get(kind).cloned().unwrap_or_default();
        Self { kind, kinds, own: OneReads::default(), relations: BTreeMap::new(), now: false }
    }

    fn add_all(&mut self, reads: &BTreeMap<String, BTreeSet<Option<String>>>) {
        for (variable, fields) in reads {
            if fields.is_empty() {
                self.add(variable, Some(""));
            }
            fields.iter().for_each(|field| self.add(variable, field.as_deref()));
        }
    }

    fn add_expression(&mut self, expression: &Expression) {
        for read in expression.reads() {
            self.add(&read.variable, read.field.as_deref());
        }
    }

    fn add(&mut self, variable: &str, field: Option<&str>) {
        if variable == NOW {
            self.now = true;
        } else if variable == self.kind.variable {
            self.add_own(field);
        } else if let Some(link) = self.kind.links.get(variable) {
            let target = self.kinds.get(&link.kind).cloned();
            self.add_across(variable, field, target.as_deref());
        }
    }

    fn add_own(&mut self, field: Option<&str>) {
        let kind = Arc::clone(&self.kind);
        match field {
            None => {
                self.own.all = true;
                kind.derive
                    .iter()
                    .filter(|derive| !derive.is_across)
                    .for_each(|derive| self.add_own(Some(&derive.name)));
            }
            Some(field) => match kind.derive.iter().position(|derive| derive.name == field) {
                Some(index) => {
                    if self.own.derived.insert(index) {
                        self.add_expression(&kind.derive[index].value);
                    }
                }
                None => drop(self.own.fields.insert(field.to_owned())),
            },
        }
    }

    fn add_across(&mut self, relation: &str, field: Option<&str>, kind: Option<&EntityKind>) {
        let reads = self.relations.entry(relation.to_owned()).or_default();
        let derived =
            |name: &str| kind.and_then(|kind| kind.derive.iter().position(|derive| derive.name == name));
        match field {
            None => reads.all = true,
            Some(field) => match (derived(field), kind) {
                (Some(index), Some(kind)) => {
                    if reads.derived.insert(index) {
                        let value = &kind.derive[index].value;
                        self.now |= value.reads_now();
                        let own = value.reads().iter().filter(|read| read.variable == kind.variable);
                        let fields: Vec<Option<String>> = own.map(|read| read.field.clone()).collect();
                        fields
                            .iter()
                            .for_each(|field| self.add_across(relation, field.as_deref(), Some(kind)));
                    }
                }
                _ => drop(reads.fields.insert(field.to_owned())),
            },
        }
    }

    fn needs(mut self) -> Needs {
        let by_field =
            self.relations.keys().filter_map(|relation| self.kind.links.get(relation)?.field.clone());
        self.own.fields.extend(by_field.collect::<Vec<_>>());
        let bind = |variable: &str, relation, is_many, kind: Option<Arc<EntityKind>>, reads: OneReads| {
            let wanted = |name: String| Wanted {
                key: cel::objects::Key::from(name.as_str()),
                kind: kind.as_ref().and_then(|kind| kind.fields.get(&name).copied()),
                name,
            };
            let fields = (!reads.all).then(|| reads.fields.into_iter().map(wanted).collect());
            let derived = reads.derived.into_iter().collect();
            Bind { variable: variable.to_owned(), relation, is_many, kind, fields, derived }
        };
        let mut binds = Vec::new();
        let kind = &self.kind;
        for ((name, link), number) in kind.links.iter().zip(0_u8..) {
            if let Some(reads) = self.relations.get(name) {
                let reads =
                    OneReads { all: reads.all, fields: reads.fields.clone(), derived: reads.derived.clone() };
                let target = self.kinds.get(&link.kind).cloned();
                binds.push(bind(name, Some(number), link.is_many, target, reads));
            }
        }
        binds.push(bind(&kind.variable, None, false, Some(Arc::clone(kind)), self.own));
        Needs { binds, reads_now: self.now }
    }
}
