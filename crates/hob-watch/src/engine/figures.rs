//! Counts of entities for the live strip, kept as entities change.

use super::Engine;
use crate::expression::Answer;
use crate::model::{Changed, EntityKind, Figure};
use crate::plan::KindPlan;

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
        let figures = self.rules.entities.values().flat_map(|kind| {
            kind.figures.iter().enumerate().map(move |(index, figure)| (kind, index, figure))
        });
        let count = |(kind, index, figure): (&std::sync::Arc<EntityKind>, usize, &Figure)| {
            let name = format!("{}.{}", kind.name, figure.name);
            let live =
                self.counting.get(&kind.name).and_then(|counts| counts.get(index)).copied().unwrap_or(0);
            let past = self.state.counted.get(&name).copied().unwrap_or(0);
            Count { name, label: figure.label.clone(), value: live + past, tone: figure.tone.clone() }
        };
        figures.map(count).collect()
    }

    /// Counts an entity anew when what figures read changed, by the newest fields that were ever seen of it.
    pub(super) fn count(&mut self, href: &str, kind: &KindPlan, changed: &Changed) {
        if kind.kind.figures.is_empty()
            || !kind.figures.reads_own(changed) && !matches!(changed, Changed::All)
        {
            return;
        }
        if self.state.entities.get(href).is_none_or(|row| row.fields.is_none()) {
            return;
        }
        self.bind_newest(&kind.figures, href);
        let mut counts = 0;
        for (index, figure) in kind.kind.figures.iter().enumerate() {
            if self.evaluator.borrow().answer(&figure.when) == Answer::True {
                counts |= 1_u32 << index;
            }
        }
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let before = std::mem::replace(&mut row.live.counts, counts);
        self.move_figures(kind, before, counts);
    }

    fn move_figures(&mut self, kind: &KindPlan, before: u32, after: u32) {
        if before == after {
            return;
        }
        let figures = self.counting.entry(kind.kind.name.clone()).or_default();
        figures.resize(kind.kind.figures.len(), 0);
        for (index, value) in figures.iter_mut().enumerate() {
            match (before >> index & 1, after >> index & 1) {
                (0, 1) => *value += 1,
                (1, 0) => *value = value.saturating_sub(1),
                _ => {}
            }
        }
    }

    /// No longer counts an entity.
    pub(super) fn uncount(&mut self, href: &str) {
        let Some(row) = self.state.entities.get_mut(href) else { return };
        let before = std::mem::take(&mut row.live.counts);
        let kind = row.kind.clone();
        if let Some(kind) = self.kind_plan(&kind) {
            self.move_figures(&kind, before, 0);
        }
    }

    /// Goes on counting an entity that is about to be forgotten.
    pub(super) fn keep_counting(&mut self, href: &str) {
        let Some(row) = self.state.entities.get(href) else { return };
        let Some(kind) = self.kind_plan(&row.kind) else { return };
        let counts = row.live.counts;
        for (index, figure) in kind.kind.figures.iter().enumerate() {
            if counts >> index & 1 == 1 {
                *self.state.counted.entry(format!("{}.{}", kind.name, figure.name)).or_default() += 1;
            }
        }
    }
}
