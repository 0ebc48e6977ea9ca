//! The engine's state as it is kept in checkpoints: everything that the log's past left behind, and nothing that can
//! be derived from it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use hob_core::{Digest, Timestamp, TopicName};
use hob_wire::Issue;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Form of the checkpoint; another one is not read, and the engine replays from the start.
pub(crate) const FORM: u32 = 1;

/// All that an engine remembers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct StateRow {
    pub(crate) form: u32,
    /// The newest input that was taken.
    pub(crate) sequence: u64,
    /// The scope's clock.
    pub(crate) clock: Timestamp,
    /// The rules that were in force.
    pub(crate) rules: Option<Digest>,
    /// Entities by href.
    pub(crate) entities: BTreeMap<String, EntityRow>,
    /// Cells by rule and href.
    pub(crate) cells: BTreeMap<String, BTreeMap<String, CellRow>>,
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
    /// When priorities were last made anew.
    pub(crate) ranked: Timestamp,
}

/// An entity as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntityRow {
    pub(crate) kind: String,
    /// Its newest representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fields: Option<Map<String, Value>>,
    /// Whether the newest fetch succeeded: else its fields are unknown, not stale.
    pub(crate) is_known: bool,
    /// Why they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<String>,
    /// Its newest events, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(crate) events: VecDeque<EventRow>,
    /// Its newest positions, by the metres within which it counts as standing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tracks: BTreeMap<u32, Track>,
    /// When it is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forget_at: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) live: Live,
}

/// What is derived from an entity's fields and the rules, and not stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// The fields as expressions see them, while they are known.
    pub(crate) value: Option<crate::value::Value>,
    /// Which figures of its kind count it.
    pub(crate) counts: Vec<bool>,
    /// Where its declared relations lead.
    pub(crate) links: BTreeMap<String, String>,
}

impl PartialEq for Live {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An event of an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    pub(crate) time: Timestamp,
    pub(crate) recorded: Timestamp,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) sequence: u64,
}

/// Where something was, and since when it is near there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Track {
    /// Metres or degrees, as the stream gives them.
    pub(crate) anchor: (f64, f64),
    pub(crate) is_degrees: bool,
    /// Since when it has been near the anchor.
    pub(crate) since: Timestamp,
    /// The newest position's time.
    pub(crate) last: Timestamp,
}

/// Where a rule stands with an entity.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct CellRow {
    pub(crate) verdict: Verdict,
    /// Since when the condition has been true without a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) since: Option<Timestamp>,
    /// How long it was true before it became unknown.
    #[serde(default, skip_serializing_if = "Duration::is_zero")]
    pub(crate) before: Duration,
    /// Since when an open issue's condition has been false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) false_since: Option<Timestamp>,
    /// A person resolved the issue while the condition held: no new one until it was false once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_suppressed: bool,
    /// When it must be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Timestamp>,
    /// Its issue, while that is not resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<String>,
    /// Why the verdict is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What a rule's condition says now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    True,
    False,
    #[default]
    Unknown,
}

/// An issue and what it takes to go on with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct IssueRow {
    pub(crate) issue: Issue,
    /// The entities whose cells hold it open.
    pub(crate) members: BTreeSet<String>,
    /// How many transitions it has had; the newest one's event is named by this number.
    pub(crate) transitions: u32,
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
    /// The issue that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<String>,
    /// Who gave it.
    #[serde(default)]
    pub(crate) actor: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(crate) reason: String,
    /// The rules to take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rules: Option<Digest>,
    /// With the rules: the topic that is the scope's clock, when that is not the wall's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clock_topic: Option<TopicName>,
}
