//! The engine's state as it is kept in checkpoints: everything that the log's past left behind, and nothing that can
//! be derived from it.

mod cell;
mod desk;
mod entity;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use hob_core::{Digest, Timestamp, TopicName};
use hob_wire::Issue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(crate) use cell::{CellRow, Cells, Role, Verdict};
pub(crate) use entity::{Entities, EntityRow, EventRow, Word};

use crate::command::Verb;
pub(crate) use desk::{ActionRow, DayRow, DeskRow, Hit, RuleDay, Since};

/// Form of the checkpoint; another one is not read, and the engine replays from the start.
pub(crate) const FORM: u32 = 3;

/// All that an engine remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateRow {
    pub(crate) form: u32,
    /// The newest input that was taken.
    pub(crate) sequence: u64,
    /// The scope's clock.
    pub(crate) clock: Timestamp,
    /// When the clock last jumped ahead: what is absent is waited for from then on.
    #[serde(default)]
    pub(crate) jumped: Timestamp,
    /// The rules that were in force.
    pub(crate) rules: Option<Digest>,
    /// Entities by href, with their cells.
    pub(crate) entities: Entities,
    /// Issues by id.
    pub(crate) issues: BTreeMap<String, IssueRow>,
    /// Issues ever opened, by rule.
    pub(crate) opened_total: BTreeMap<String, u64>,
    /// What figures counted in entities that are no longer kept, by `entity.figure`.
    pub(crate) counted: BTreeMap<String, u64>,
    /// Entities that are no longer kept, oldest first: a late fetch must not count them again.
    pub(crate) forgotten: VecDeque<String>,
    /// Entities that were not taken because there are too many.
    pub(crate) entities_refused: u64,
    /// Records that were not taken because they are from the future.
    #[serde(default)]
    pub(crate) strays: u64,
    /// Values that were seen, by rule.
    #[serde(default)]
    pub(crate) terms: BTreeMap<String, TermsRow>,
    /// Rules that are not judged any more, each with why.
    #[serde(default)]
    pub(crate) stopped: BTreeMap<String, String>,
    /// When priorities were last made anew.
    pub(crate) ranked: Timestamp,
    /// What is remembered of issues beyond themselves.
    #[serde(default)]
    pub(crate) desk: DeskRow,
}

/// The values that a rule has seen of a field.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TermsRow {
    /// Since when it looks.
    pub(crate) since: Timestamp,
    /// When each was last seen.
    pub(crate) seen: BTreeMap<String, Timestamp>,
}

/// An issue and what it takes to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IssueRow {
    pub(crate) issue: Issue,
    /// Where in the log it opened, or came back.
    #[serde(default)]
    pub(crate) begun: u64,
    /// The keys of issues that explain it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) wants: Vec<String>,
    /// Some of the cells that it was taken from when it was resolved by hand: rule and href.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(crate) silenced: BTreeSet<(String, String)>,
    /// Its priority and whom it touched when it was snoozed.
    #[serde(default)]
    pub(crate) snoozed_at: (u8, u32),
    /// Whether a person did anything about it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_investigated: bool,
    /// What a person did last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_person: Option<Last>,
    /// Who resolved it, when that was a person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ended_by: Option<String>,
    /// How it was when it was last told of.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(crate) told: Map<String, Value>,
    /// Actions that were tried or proposed for it.
    #[serde(default)]
    pub(crate) tries: u32,
}

impl IssueRow {
    /// An issue that was just made.
    pub(crate) fn of(issue: Issue) -> Self {
        Self {
            issue,
            begun: 0,
            wants: Vec::new(),
            silenced: BTreeSet::new(),
            snoozed_at: (0, 0),
            is_investigated: false,
            last_person: None,
            ended_by: None,
            told: Map::new(),
            tries: 0,
        }
    }
}

/// What a person did last to an issue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) transition: String,
    pub(crate) actor: String,
    /// The issue's revision since.
    pub(crate) revision: u32,
}

/// What a checkpoint's key says.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckpointRow {
    /// The newest first; at most two.
    pub(crate) checkpoints: Vec<CheckpointEntry>,
}

/// A checkpoint in the blobs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CheckpointEntry {
    /// The newest input that is in it.
    pub(crate) sequence: u64,
    /// The blob.
    pub(crate) blob: String,
    /// Of the blob's bytes.
    pub(crate) digest: Digest,
    /// What was the scope's clock.
    #[serde(default)]
    pub(crate) clock: ScopeClock,
}

/// What moves a scope's clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ScopeClock {
    /// Nothing yet: no rules were ever in force.
    #[default]
    Unset,
    /// Every record, by when it was recorded.
    Wall,
    /// The records of this topic alone.
    Topic(TopicName),
}

impl From<Option<TopicName>> for ScopeClock {
    fn from(topic: Option<TopicName>) -> Self {
        topic.map_or(Self::Wall, Self::Topic)
    }
}

/// How far the fetcher has come.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct FetchCursorRow {
    /// All notices up to here are fetched.
    pub(crate) sequence: u64,
}

/// A command as `hob.commands` carries it; the event's type is the command's name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CommandRow {
    /// What; only its name, the event's type, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) verb: Option<Verb>,
    /// The issue that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<String>,
    /// The revision of the issue that its sender saw.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) revision: Option<u32>,
    /// Who gave it.
    #[serde(default)]
    pub(crate) actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// The rule that costs too much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<String>,
    /// The rules to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<Digest>,
    /// With the rules: the topic that is the scope's clock, when that is not the wall's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock_topic: Option<TopicName>,
}
