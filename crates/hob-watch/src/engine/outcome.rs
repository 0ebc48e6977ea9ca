//! How an entity ended, as far as its newest fields say.

use hob_core::Timestamp;

use super::Engine;
use crate::expression::Answer;
use crate::fields::Plain;
use crate::rows::Role;

/// How an entity ended, or stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether nothing more is to come.
    pub(crate) has_ended: bool,
    pub(crate) is_bad: bool,
    /// From when on it was too late, when the entity has a field that says so: `<outcome>_at`.
    pub(crate) too_late: Option<Timestamp>,
}

impl Engine {
    /// The outcome of this name of an entity; nothing when its kind has none. What cannot be told has not ended.
    pub(crate) fn outcome(&self, href: &str, name: &str) -> Option<Outcome> {
        let row = self.state.entities.get(href)?;
        let kind = self.kind_plan(&row.kind)?;
        let fields = row.fields.as_ref()?;
        self.bind_newest(&kind.outcome, href);
        let is_bad = match self.evaluator.borrow().answer(kind.kind.outcome.get(name)?) {
            Answer::True => true,
            Answer::False => false,
            Answer::Unknown(_) => return Some(Outcome { has_ended: false, is_bad: false, too_late: None }),
        };
        let too_late = match fields.plain(&format!("{name}_at")) {
            Some(Plain::Time(time)) => Some(*time),
            _ => None,
        };
        let has_ended = kind.kind.forget.as_ref().is_none_or(|forget| {
            self.bind_newest(&kind.forget, href);
            self.evaluator.borrow().answer(&forget.when) == Answer::True
        });
        Some(Outcome { has_ended, is_bad, too_late })
    }

    /// Since when a rule's condition has been true of an entity.
    pub(crate) fn since(&self, rule: &str, href: &str) -> Option<Timestamp> {
        let row = self.state.entities.get(href)?;
        row.cells.get(self.rules.number(rule)?, Role::Subject)?.since
    }
}
