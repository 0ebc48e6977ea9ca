//! Compiled rule files: which entities there are, what is counted of them, and what needs attention when.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Digest, Timestamp, TopicName};

use crate::expression::Expression;
use crate::template::Template;
use crate::value::FieldType;

/// Every rule file, checked and compiled.
#[derive(Debug, Default)]
pub struct Rules {
    pub(crate) digest: Option<Digest>,
    pub(crate) entities: BTreeMap<String, EntityKind>,
    pub(crate) rules: BTreeMap<String, Rule>,
    pub(crate) by_topic: BTreeMap<TopicName, String>,
    pub(crate) by_stream: BTreeMap<TopicName, String>,
    /// The rules about an entity kind.
    pub(crate) about: BTreeMap<String, Vec<String>>,
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
        self.by_stream.keys().cloned().collect()
    }

    /// What entities say of how things ended, for back-tests: entity, outcome, expression.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &str, &str)> {
        self.entities.values().flat_map(|kind: &EntityKind| {
            let EntityKind { name, outcome, .. } = kind;
            outcome.iter().map(move |(key, expression)| (name.as_str(), key.as_str(), expression.text()))
        })
    }

    /// The rules that an entity kind may make true, as names.
    pub(crate) fn about(&self, kind: &str) -> &[String] {
        self.about.get(kind).map_or(&[], Vec::as_slice)
    }
}

/// A kind of entity: where it comes from and what rules may say of it.
#[derive(Debug)]
pub(crate) struct EntityKind {
    pub(crate) name: String,
    pub(crate) topic: Option<TopicName>,
    pub(crate) stream: Option<TopicName>,
    /// The member of a stream record's data that names the entity, when its subject does not.
    pub(crate) key: Option<String>,
    /// What its fields hold; when there are none, rules may read any field.
    pub(crate) fields: BTreeMap<String, FieldType>,
    /// Relations to other entities: link relation → entity kind. A rule sees the other entity under the relation.
    pub(crate) links: BTreeMap<String, String>,
    /// Ground truth for later back-tests: name → expression.
    pub(crate) outcome: BTreeMap<String, Expression>,
    pub(crate) forget: Option<Forget>,
    /// How people call one of them.
    pub(crate) label: Option<Template>,
    pub(crate) figures: Vec<Figure>,
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
    pub(crate) reopen_within: Duration,
    pub(crate) expire: Option<Duration>,
    /// Fields that it reads, by variable; no field means all of them.
    pub(crate) reads: BTreeMap<String, BTreeSet<Option<String>>>,
    /// Of what its file says, wherever it says it: a changed rule forgets what it waited for.
    pub(crate) digest: Digest,
}

impl Rule {
    /// Whether it reads any of the changed fields of a variable.
    pub(crate) fn reads_any(&self, variable: &str, changed: &Changed) -> bool {
        let Some(fields) = self.reads.get(variable) else { return false };
        match changed {
            Changed::All => true,
            Changed::Fields(changed) => {
                fields.contains(&None) || changed.iter().any(|field| fields.contains(&Some(field.clone())))
            }
        }
    }

    /// How far something may be from where it was and still stands, when the rule asks for that.
    pub(crate) fn metres(&self) -> Option<u32> {
        match self.trigger {
            Trigger::Stopped { metres, .. } => Some(metres),
            _ => None,
        }
    }

    /// How long the condition must have been true before an issue opens.
    pub(crate) fn held_for(&self) -> Duration {
        match self.trigger {
            Trigger::When { held, .. } => held,
            _ => Duration::ZERO,
        }
    }

    /// The rule's condition in the words of its file.
    pub(crate) fn condition(&self) -> String {
        let text = match &self.trigger {
            Trigger::When { when, held } if held.is_zero() => when.text().to_owned(),
            Trigger::When { when, held } => {
                format!("{} for {}", when.text(), hob_core::format_duration(*held))
            }
            Trigger::Deadline { field, offset, unless } => {
                let unless =
                    unless.as_ref().map(|unless| format!(" unless {}", unless.text())).unwrap_or_default();
                format!("now is {offset} {field}{unless}")
            }
            Trigger::Stopped { metres, held, during, .. } => {
                let during =
                    during.as_ref().map(|during| format!(" while {}", during.text())).unwrap_or_default();
                format!("not moved {metres} m for {}{during}", hob_core::format_duration(*held))
            }
        };
        match &self.gate {
            Some(gate) => format!("{text}, gate {}", gate.text()),
            None => text,
        }
    }
}

/// Which fields of an entity an input changed.
#[derive(Debug)]
pub(crate) enum Changed {
    All,
    Fields(BTreeSet<String>),
}

/// What makes a rule true.
#[derive(Debug)]
pub(crate) enum Trigger {
    /// An expression that holds for a time.
    When { when: Expression, held: Duration },
    /// A time in the entity comes near or has passed.
    Deadline { field: Path, offset: Offset, unless: Option<Expression> },
    /// The entity's stream of positions stays within a circle for a time.
    Stopped { metres: u32, held: Duration, during: Option<Expression>, from: Option<Path> },
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
