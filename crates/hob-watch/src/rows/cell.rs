//! Where rules stand with an entity: sixteen bytes each while nothing is waited for, more while something is.

use std::time::Duration;

use hob_core::Timestamp;
use serde::{Deserialize, Serialize};

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
    /// Since when what a rule waits for is waited for, when something must be so meanwhile.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) armed: Option<Timestamp>,
    /// Since when that is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) paused: Option<Timestamp>,
    /// A person resolved the issue while the condition held: no new one until it was false once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_suppressed: bool,
    /// Where a rule counts the entity: whether it does now.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_counted: bool,
    /// When it must be looked at again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) due: Option<Timestamp>,
    /// The earliest wake that is armed for it.
    #[serde(skip)]
    pub(crate) wake: Wake,
    /// Its issue, while that is not resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) issue: Option<String>,
    /// Why the verdict is unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// A wake that is armed; derived, so it is neither stored nor compared.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wake(pub(crate) Option<Timestamp>);

impl PartialEq for Wake {
    fn eq(&self, _: &Self) -> bool {
        true
    }
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

/// What an entity is to a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Role {
    /// What the rule is about.
    Subject,
    /// One of those that it counts.
    Member,
}

/// The cells of one entity, by the number of the rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Cells(Vec<Slot>);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    rule: u16,
    role: Role,
    verdict: Verdict,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cell: Option<Box<CellRow>>,
}

/// Cells of which nothing is to be said but their verdict.
static IDLE: [CellRow; 3] = [idle(Verdict::True), idle(Verdict::False), idle(Verdict::Unknown)];

const fn idle(verdict: Verdict) -> CellRow {
    CellRow {
        verdict,
        since: None,
        before: Duration::ZERO,
        false_since: None,
        armed: None,
        paused: None,
        is_suppressed: false,
        is_counted: false,
        due: None,
        wake: Wake(None),
        issue: None,
        reason: None,
    }
}

impl Slot {
    fn get(&self) -> &CellRow {
        match &self.cell {
            Some(cell) => cell,
            None => &IDLE[self.verdict as usize],
        }
    }
}

impl Cells {
    fn find(&self, rule: u16, role: Role) -> Result<usize, usize> {
        self.0.binary_search_by_key(&(rule, role), |slot| (slot.rule, slot.role))
    }

    pub(crate) fn get(&self, rule: u16, role: Role) -> Option<&CellRow> {
        self.find(rule, role).ok().map(|index| self.0[index].get())
    }

    /// The cell, made when there is none. Call [`Cells::settle`] when nothing more is to be changed.
    pub(crate) fn get_mut(&mut self, rule: u16, role: Role) -> &mut CellRow {
        let index = match self.find(rule, role) {
            Ok(index) => index,
            Err(index) => {
                self.0.insert(index, Slot { rule, role, verdict: Verdict::Unknown, cell: None });
                index
            }
        };
        let slot = &mut self.0[index];
        let verdict = slot.verdict;
        slot.cell.get_or_insert_with(|| Box::new(idle(verdict)))
    }

    /// Gives up the memory of a cell that only has a verdict.
    pub(crate) fn settle(&mut self, rule: u16, role: Role) {
        let Ok(index) = self.find(rule, role) else { return };
        let slot = &mut self.0[index];
        if let Some(cell) = &slot.cell {
            slot.verdict = cell.verdict;
            if **cell == IDLE[cell.verdict as usize] {
                slot.cell = None;
            }
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u16, Role, &CellRow)> {
        self.0.iter().map(|slot| (slot.rule, slot.role, slot.get()))
    }

    /// The cells that must be looked at again: rule, role, what is armed, when.
    pub(crate) fn wakes(&mut self) -> impl Iterator<Item = (u16, Role, &mut Wake, Timestamp)> {
        self.0.iter_mut().filter_map(|slot| {
            let cell = slot.cell.as_mut()?;
            let due = cell.due?;
            Some((slot.rule, slot.role, &mut cell.wake, due))
        })
    }

    /// Changes every cell, and gives up the memory of those that only have a verdict then.
    pub(crate) fn for_each(&mut self, mut change: impl FnMut(u16, &mut CellRow)) {
        for slot in &mut self.0 {
            let mut cell = slot.cell.take().unwrap_or_else(|| Box::new(idle(slot.verdict)));
            change(slot.rule, &mut cell);
            slot.verdict = cell.verdict;
            slot.cell = (*cell != IDLE[cell.verdict as usize]).then_some(cell);
        }
    }

    /// Numbers the rules anew; what is no longer there goes.
    pub(crate) fn renumber(&mut self, number: impl Fn(u16) -> Option<u16>) {
        self.0.retain_mut(|slot| match number(slot.rule) {
            Some(rule) => {
                slot.rule = rule;
                true
            }
            None => false,
        });
        self.0.sort_by_key(|slot| (slot.rule, slot.role));
        self.0.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_cells_take_sixteen_bytes() {
        assert_eq!(std::mem::size_of::<Slot>(), 16);
        let mut cells = Cells::default();
        cells.get_mut(7, Role::Subject).verdict = Verdict::False;
        cells.get_mut(3, Role::Subject).due = Some(Timestamp::EPOCH);
        cells.settle(7, Role::Subject);
        cells.settle(3, Role::Subject);
        assert_eq!(cells.0.iter().map(|slot| slot.cell.is_some()).collect::<Vec<_>>(), [true, false]);
        assert_eq!(cells.get(7, Role::Subject), Some(&idle(Verdict::False)));
        assert_eq!(cells.get(7, Role::Member), None);
        cells.renumber(|rule| (rule == 7).then_some(0));
        assert_eq!(cells.iter().map(|(rule, ..)| rule).collect::<Vec<_>>(), [0]);
    }
}
