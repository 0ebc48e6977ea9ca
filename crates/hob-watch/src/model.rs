//! Compiled rule files: which entities there are, what is counted of them, and what needs attention when.

mod action;
mod case;
mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Digest, Timestamp, TopicName};

pub(crate) use action::{Action, ActionMode, Budget, Guard, Mode, Quota, With};
pub(crate) use case::{Case, Given, Happening, Step};
pub(crate) use trigger::{Around, By, Count, Crossing, Direction, Limit, Moved, Source, Trigger};

use crate::expression::Expression;
use crate::plan::Plan;
use crate::template::Template;
use crate::value::FieldType;

/// Every rule file, checked and compiled.
#[derive(Debug, Default)]
pub struct Rules {
    pub(crate) digest: Option<Digest>,
    pub(crate) entities: BTreeMap<String, Arc<EntityKind>>,
    pub(crate) rules: BTreeMap<String, Arc<Rule>>,
    pub(crate) by_topic: BTreeMap<TopicName, String>,
    /// Kinds whose entities a topic's records are, or whose positions they tell.
    pub(crate) by_stream: BTreeMap<TopicName, Vec<String>>,
    /// The rules that count or miss events of a topic.
    pub(crate) counting_events: BTreeMap<TopicName, Vec<String>>,
    /// What the engine looks up.
    pub(crate) plan: Plan,
}

impl Rules {
    /// What names these rules: a digest of their files' names and texts.
    pub fn digest(&self) -> Option<Digest> {
        self.digest
    }

    /// Topics of notices whose entities are fetched.
    pub fn topics(&self) -> BTreeSet<TopicName> {
        self.by_topic.keys().cloned().collect()
    }

    /// Topics of streams whose records are taken as they are.
    pub fn streams(&self) -> BTreeSet<TopicName> {
        let streams = self.by_stream.keys().chain(self.counting_events.keys());
        streams.filter(|topic| !self.by_topic.contains_key(*topic)).cloned().collect()
    }

    /// What entities say of how things ended, for back-tests: entity, outcome, expression.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.entities.values().flat_map(|kind| {
            let EntityKind { name, outcome, .. } = &**kind;
            outcome.iter().map(move |(key, expression)| (name.as_str(), key.as_str(), expression.text()))
        })
    }

    /// The number of a rule.
    pub(crate) fn number(&self, rule: &str) -> Option<u16> {
        let plans = &self.plan.rules;
        let index = plans.binary_search_by(|plan| plan.rule.name.as_str().cmp(rule)).ok()?;
        u16::try_from(index).ok()
    }
}

/// A kind of entity: where it comes from and what rules may say of it.
#[derive(Debug, Default)]
pub(crate) struct EntityKind {
    pub(crate) name: String,
    /// What expressions and templates call one of them: its name, or `event` where a rule is about a topic.
    pub(crate) variable: String,
    pub(crate) topic: Option<TopicName>,
    pub(crate) stream: Option<TopicName>,
    /// The member of a stream record's data that names the entity, when its subject does not.
    pub(crate) key: Option<String>,
    /// The fields of other kinds whose values its entities are. Such an entity is never fetched and lives while another
    /// one names it.
    pub(crate) from_fields: Vec<Path>,
    /// What its fields hold; when there are none, rules may read any field.
    pub(crate) fields: BTreeMap<String, FieldType>,
    /// Relations to other entities. A rule sees the other entity, or the list of them, under the relation.
    pub(crate) links: BTreeMap<String, Link>,
    /// Fields that are worked out, in an order in which each reads only earlier ones.
    pub(crate) derive: Vec<Derive>,
    /// Ground truth for later back-tests: name → expression.
    pub(crate) outcome: BTreeMap<String, Expression>,
    pub(crate) forget: Option<Forget>,
    /// How people call one of them.
    pub(crate) label: Option<Template>,
    pub(crate) figures: Vec<Figure>,
}

impl EntityKind {
    /// Whether it may have a field of this name.
    pub(crate) fn has_field(&self, field: &str) -> bool {
        self.fields.is_empty() || self.fields.contains_key(field) || self.derived(field).is_some()
    }

    /// How a field is worked out, when it is.
    pub(crate) fn derived(&self, field: &str) -> Option<&Derive> {
        self.derive.iter().find(|derive| derive.name == field)
    }

    /// Whether rules read positions of its stream.
    pub(crate) fn is_from_fields(&self) -> bool {
        !self.from_fields.is_empty()
    }
}

/// A relation to another kind of entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) kind: String,
    /// Whether there may be several: the relation is a list then.
    pub(crate) is_many: bool,
    /// The field that names the other entity, where that is a value and no link.
    pub(crate) field: Option<String>,
}

/// A field that is worked out from others.
#[derive(Debug)]
pub(crate) struct Derive {
    pub(crate) name: String,
    pub(crate) value: Expression,
    /// Whether it changes as time passes, by itself or by what it reads.
    pub(crate) is_volatile: bool,
    /// Whether it reads other entities, by itself or by what it reads.
    pub(crate) is_across: bool,
}

/// When an entity is no longer kept.
#[derive(Debug)]
pub(crate) struct Forget {
    pub(crate) after: Duration,
    pub(crate) when: Expression,
}

/// A count of entities on the live strip. Entities that were forgotten go on being counted.
#[derive(Debug)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) label: String,
    pub(crate) when: Expression,
    pub(crate) tone: Option<String>,
}

/// Says when something needs attention.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) name: String,
    pub(crate) file: String,
    /// The entity kind.
    pub(crate) about: String,
    /// What expressions and templates call the entity.
    pub(crate) variable: String,
    pub(crate) trigger: Trigger,
    /// Must be true too before an issue opens.
    pub(crate) gate: Option<Expression>,
    /// How long the trigger must be false before the issue resolves by itself.
    pub(crate) keep: Duration,
    pub(crate) title: Template,
    /// The identity; the entity's href when left out.
    pub(crate) key: Option<Template>,
    pub(crate) priority: u8,
    pub(crate) urgency: Option<Urgency>,
    /// Link relations of the entity whose targets the issue touches.
    pub(crate) affects: Vec<String>,
    /// Keys of issues, in order: the first open one adopts this rule's.
    pub(crate) parents: Vec<Template>,
    /// Cells that must wish for the issue before it opens.
    pub(crate) at_least: Option<Quota>,
    /// After a person mended it: how long until it is looked at whether that is so.
    pub(crate) verify: Option<Duration>,
    /// Where it is written what to do.
    pub(crate) runbook: Option<String>,
    pub(crate) actions: Vec<Action>,
    pub(crate) mode: Mode,
    pub(crate) budget: Budget,
    /// What its file says that it must do.
    pub(crate) cases: Vec<Case>,
    pub(crate) reopen_within: Duration,
    pub(crate) expire: Option<Duration>,
    /// Fields that it reads, by variable; no field means all of them.
    pub(crate) reads: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Fields that it reads of the entities that it counts, by variable.
    pub(crate) member_reads: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Of what its file says, wherever it says it: a changed rule forgets what it waited for.
    pub(crate) digest: Digest,
}

impl Rule {
    /// How long the condition must have been true before an issue opens.
    pub(crate) fn held_for(&self) -> Duration {
        match self.trigger {
            Trigger::When { held, .. } => held,
            _ => Duration::ZERO,
        }
    }

    /// The rule's condition in the words of its file.
    pub(crate) fn condition(&self) -> String {
        match &self.gate {
            Some(gate) => format!("{}, gate {}", self.trigger, gate.text()),
            None => self.trigger.to_string(),
        }
    }
}

/// Which fields of an entity an input changed.
#[derive(Debug)]
pub(crate) enum Changed {
    All,
    Fields(Vec<String>),
}

impl Changed {
    /// Whether it is a field of this name.
    pub(crate) fn has(&self, field: &str) -> bool {
        match self {
            Self::All => true,
            Self::Fields(fields) => fields.iter().any(|name| name == field),
        }
    }
}

/// A field of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) variable: String,
    pub(crate) field: String,
}

impl std::fmt::Display for Path {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.variable, self.field)
    }
}

/// How far from a deadline the rule is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offset {
    Before(Duration),
    After(Duration),
}

impl Offset {
    /// From when on the rule is true, given the deadline.
    pub(crate) fn applied(self, deadline: Timestamp) -> Timestamp {
        match self {
            Self::Before(by) => deadline.minus(by),
            Self::After(by) => deadline.plus(by),
        }
    }
}

impl std::fmt::Display for Offset {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Before(by) => write!(f, "{} before", hob_core::format_duration(*by)),
            Self::After(by) => write!(f, "{} after", hob_core::format_duration(*by)),
        }
    }
}

/// Raises the priority as a time comes near.
#[derive(Debug)]
pub(crate) struct Urgency {
    pub(crate) field: Path,
    pub(crate) within: Duration,
}
