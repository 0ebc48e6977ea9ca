//! Counts of entities for the live strip, kept as entities change.

use super::Engine;
use crate::expression::Answer;
use crate::model::EntityKind;
use crate::value::Value;

/// A number on the live strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    /// `entity.figure`.
    pub name: String,
    /// What people read.
    pub label: String,
    /// How many entities, those that are no longer kept included.
    pub value: u64,
    /// `good`, `neutral`, `warn` or `bad`.
    pub tone: Option<String>,
}

impl Engine {
    /// All figures, by entity, then in the order of the files.
    pub fn figures(&self) -> Vec<Count> {
        let figures = self
            .rules
            .entities
            .values()
            .flat_map(|kind| kind.figures.iter().map(move |figure| (kind, figure)));
        let count = |(kind, figure): (&EntityKind, &crate::model::Figure)| {
            let name = format!("{}.{}", kind.name, figure.name);
            let live = self.counting.get(&name).copied().unwrap_or(0);
            let past = self.state.counted.get(&name).copied().unwrap_or(0);
            Count { name, label: figure.label.clone(), value: live + past, tone: figure.tone.clone() }
        };
        figures.map(count).collect()
    }

    /// Counts an entity anew, by the newest fields that were ever seen of it.
    pub(super) fn count(&mut self, href: &str, kind: &EntityKind) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let Some(fields) = row.fields.as_ref().filter(|_| !kind.figures.is_empty()) else { return };
        let value = row.live.value.clone().unwrap_or_else(|| Value::entity(fields, &kind.fields));
        self.evaluator.bind(&kind.name, Some(&value));
        row.live.counts.resize(kind.figures.len(), false);
        for (index, figure) in kind.figures.iter().enumerate() {
            let counts = self.evaluator.answer(&figure.when) == Answer::True;
            let before = std::mem::replace(&mut row.live.counts[index], counts);
            if before != counts {
                let value = self.counting.entry(format!("{}.{}", kind.name, figure.name)).or_default();
                *value = if counts { *value + 1 } else { value.saturating_sub(1) };
            }
        }
    }

    /// No longer counts an entity.
    pub(super) fn uncount(&mut self, href: &str) {
        for name in self.counted_by(href) {
            if let Some(value) = self.counting.get_mut(&name) {
                *value = value.saturating_sub(1);
            }
        }
    }

    /// Goes on counting an entity that is about to be forgotten.
    pub(super) fn keep_counting(&mut self, href: &str) {
        for name in self.counted_by(href) {
            *self.state.counted.entry(name).or_default() += 1;
        }
    }

    fn counted_by(&self, href: &str) -> Vec<String> {
        let Some(row) = self.state.entities.get(href) else { return Vec::new() };
        let Some(kind) = self.rules.entities.get(&row.kind) else { return Vec::new() };
        let counting = kind.figures.iter().zip(&row.live.counts).filter(|(_, counts)| **counts);
        counting.map(|(figure, _)| format!("{}.{}", kind.name, figure.name)).collect()
    }
}
