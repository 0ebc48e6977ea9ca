//! Transitions: what happened to an entity, told by whoever saw it, applied once however often it is told.

use hob_sdk::core::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use takeaway_world::{Applied, Entity, Illegal, SimTime};

/// Transitions in one request.
pub(crate) const TRANSITIONS_MAX: usize = 1000;

/// Something that happened to an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transition {
    /// Makes it known when it is told again.
    pub id: String,
    /// The entity's name, such as `o12`; in the path when there is only one.
    #[serde(default)]
    pub entity: String,
    /// What happened, as `takeaway_world` writes the entity's changes: `{"change": "accepted", "at": …}`.
    pub change: Value,
}

/// The body of `POST /<collection>/transitions`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Transitions {
    /// In the order in which they happened.
    pub transitions: Vec<Transition>,
}

/// What became of transitions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How many changed something.
    pub applied: usize,
    /// How many had been told before.
    pub already: usize,
    /// Those that do not fit the entity as it is; they changed nothing.
    pub refused: Vec<Refused>,
}

/// A transition that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// The transition's id.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// Why a transition cannot be applied.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Flaw {
    #[error("read {0:?} as the name of an entity")]
    Name(String),
    #[error("read the change: {0}")]
    Change(#[source] serde_json::Error),
    #[error("read when it happened: a change has `at`, like 2026-01-05T12:30:00Z")]
    Time,
    #[error(transparent)]
    Illegal(#[from] Illegal),
}

/// An entity after a transition, and when that happened.
pub(crate) struct Changed<E> {
    pub(crate) entity: E,
    pub(crate) at: Timestamp,
    pub(crate) applied: Applied,
}

/// What `transition` makes of an entity.
pub(crate) fn apply<E>(before: Option<E>, id: E::Id, transition: &Transition) -> Result<Changed<E>, Flaw>
where
    E: Entity,
{
    let change: E::Change = serde_json::from_value(transition.change.clone()).map_err(Flaw::Change)?;
    let at =
        transition.change.get("at").and_then(Value::as_str).and_then(|text| text.parse::<SimTime>().ok());
    let at = Timestamp::from_micros(at.ok_or(Flaw::Time)?.unix_seconds() * 1_000_000);
    let (entity, applied) = E::changed(before, id, &change)?;
    Ok(Changed { entity, at, applied })
}
