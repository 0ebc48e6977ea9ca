//! Indexes over unresolved issues: who holds them, what is about what, who wants whom for a parent, what is due when.
//!
//! All of it is derived from the state, and made anew after a restart and when other rules come into force.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::Timestamp;
use hob_wire::IssueState;

use super::Engine;
use crate::rows::{IssueRow, Verdict};

/// A rule and the href of an entity: a cell.
pub(super) type CellKey = (String, String);

/// What is derived of issues.
#[derive(Debug, Default)]
pub(super) struct Desk {
    holders: BTreeMap<String, Holders>,
    /// Unresolved issues by key, whatever their rule.
    pub(super) keyed: BTreeMap<String, BTreeSet<String>>,
    /// Unresolved issues by the keys of parents that they would like.
    pub(super) wanting: BTreeMap<String, BTreeSet<String>>,
    /// Unresolved children.
    pub(super) children: BTreeMap<String, BTreeSet<String>>,
    /// Unresolved issues by the entity that they are about.
    pub(super) about: BTreeMap<String, BTreeSet<String>>,
    /// Unresolved issues by rule.
    pub(super) of_rule: BTreeMap<String, BTreeSet<String>>,
    /// What is to be looked at, and when.
    pub(super) timers: BTreeSet<(Timestamp, Wake)>,
}

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    Issue(String),
    Action(String),
}

/// The cells that hold an issue open.
#[derive(Debug, Default)]
pub(super) struct Holders {
    pub(super) cells: BTreeSet<CellKey>,
    /// Those whose verdict is known.
    known: usize,
}

fn insert(map: &mut BTreeMap<String, BTreeSet<String>>, key: &str, id: &str) {
    map.entry(key.to_owned()).or_default().insert(id.to_owned());
}

fn remove(map: &mut BTreeMap<String, BTreeSet<String>>, key: &str, id: &str) {
    if let Some(ids) = map.get_mut(key) {
        ids.remove(id);
        if ids.is_empty() {
            map.remove(key);
        }
    }
}

impl Desk {
    /// Takes an unresolved issue in.
    pub(super) fn index(&mut self, row: &IssueRow) {
        let issue = &row.issue;
        insert(&mut self.keyed, &issue.key, &issue.id);
        insert(&mut self.about, &issue.about, &issue.id);
        insert(&mut self.of_rule, &issue.rule, &issue.id);
        for key in &row.wants {
            insert(&mut self.wanting, key, &issue.id);
        }
        if let Some(parent) = &issue.parent {
            insert(&mut self.children, parent, &issue.id);
        }
    }

    /// Leaves an issue out that is over.
    pub(super) fn unindex(&mut self, row: &IssueRow) {
        let issue = &row.issue;
        remove(&mut self.keyed, &issue.key, &issue.id);
        remove(&mut self.about, &issue.about, &issue.id);
        remove(&mut self.of_rule, &issue.rule, &issue.id);
        for key in &row.wants {
            remove(&mut self.wanting, key, &issue.id);
        }
        if let Some(parent) = &issue.parent {
            remove(&mut self.children, parent, &issue.id);
        }
        self.holders.remove(&issue.id);
    }

    /// The cells that hold an issue.
    pub(super) fn holders(&self, id: &str) -> impl Iterator<Item = &CellKey> {
        self.holders.get(id).into_iter().flat_map(|holders| &holders.cells)
    }

    /// How many cells hold an issue.
    pub(super) fn held_by(&self, id: &str) -> usize {
        self.holders.get(id).map_or(0, |holders| holders.cells.len())
    }

    /// Whether of some cell that holds it the verdict is known.
    pub(super) fn is_known(&self, id: &str) -> bool {
        self.holders.get(id).is_none_or(|holders| holders.known > 0 || holders.cells.is_empty())
    }

    /// Takes an issue from all that hold it.
    pub(super) fn take_holders(&mut self, id: &str) -> BTreeSet<CellKey> {
        self.holders.remove(id).map(|holders| holders.cells).unwrap_or_default()
    }

    fn add_holder(&mut self, id: &str, cell: CellKey, is_known: bool) {
        let holders = self.holders.entry(id.to_owned()).or_default();
        if holders.cells.insert(cell) && is_known {
            holders.known += 1;
        }
    }
}

impl Engine {
    /// Makes all indexes over issues anew.
    pub(super) fn derive_desk(&mut self) {
        self.desk = Desk::default();
        self.newest.clear();
        self.resolved.clear();
        let mut rows: Vec<&IssueRow> = self.state.issues.values().collect();
        rows.sort_by_key(|row| row.begun);
        for row in rows {
            let issue = &row.issue;
            self.newest.insert((issue.rule.clone(), issue.key.clone()), issue.id.clone());
            match (issue.state, issue.resolved) {
                (IssueState::Resolved, Some(at)) => drop(self.resolved.insert((at, issue.id.clone()))),
                _ => self.desk.index(row),
            }
        }
        for (href, row) in self.state.entities.iter() {
            for (number, _, cell) in row.cells.iter() {
                let plan = self.rules.plan.rules.get(usize::from(number));
                if let (Some(id), Some(plan)) = (&cell.issue, plan) {
                    let key = (plan.rule.name.clone(), href.to_string());
                    self.desk.add_holder(id, key, cell.verdict != Verdict::Unknown);
                }
            }
        }
        let ids: Vec<String> = self.state.issues.keys().cloned().collect();
        for id in ids {
            self.arm_issue(&id);
        }
        self.derive_actions();
    }

    /// Unresolved issues that are about an entity or held open by it.
    pub(crate) fn open_issues_of(&self, href: &str) -> Vec<&hob_wire::Issue> {
        let about = self.desk.about.get(href).into_iter().flatten();
        let row = self.state.entities.get(href);
        let held =
            row.into_iter().flat_map(|row| row.cells.iter()).filter_map(|(_, _, cell)| cell.issue.as_ref());
        let ids: BTreeSet<&String> = about.chain(held).collect();
        ids.into_iter().filter_map(|id| self.issue(id)).collect()
    }

    /// A cell holds an issue open from now on.
    pub(super) fn hold(&mut self, id: &str, rule: &str, href: &str) {
        let cell = self.cell_mut(rule, href);
        cell.issue = Some(id.to_owned());
        let is_known = cell.verdict != Verdict::Unknown;
        self.desk.add_holder(id, (rule.to_owned(), href.to_owned()), is_known);
        if let Some(row) = self.state.issues.get_mut(id) {
            row.issue.waits = None;
        }
    }

    /// A cell no longer holds an issue; whether another does.
    pub(super) fn unhold(&mut self, id: &str, rule: &str, href: &str) -> bool {
        let is_known = self.cell(rule, href).is_some_and(|cell| cell.verdict != Verdict::Unknown);
        let is_held = match self.desk.holders.get_mut(id) {
            Some(holders) => {
                let was_in = holders.cells.remove(&(rule.to_owned(), href.to_owned()));
                holders.known -= usize::from(was_in && is_known && holders.known > 0);
                !holders.cells.is_empty()
            }
            None => false,
        };
        if is_held {
            self.member_left(id, rule, href);
            self.tell_whether_known(id);
        }
        is_held
    }

    /// A cell was judged: its issue may have become unknown, or known again.
    pub(super) fn judged(&mut self, rule: &str, href: &str, before: Verdict, out: &mut Vec<super::Output>) {
        let Some(cell) = self.cell(rule, href) else { return };
        let (verdict, issue) = (cell.verdict, cell.issue.clone());
        let Some(id) = issue else { return };
        if let Some(holders) = self.desk.holders.get_mut(&id) {
            match (before, verdict) {
                (Verdict::Unknown, _) => holders.known += 1,
                (_, Verdict::Unknown) => holders.known = holders.known.saturating_sub(1),
                _ => return,
            }
        }
        if self.tell_whether_known(&id) {
            out.push(super::Output::Touched { issue: id });
        }
    }

    /// Puts the badge on an issue of which nothing can be told, or takes it off; whether that changed anything.
    fn tell_whether_known(&mut self, id: &str) -> bool {
        let reason = match self.desk.is_known(id) {
            true => None,
            false => {
                let first = self.desk.holders(id).next();
                let cell = first.and_then(|(rule, href)| self.cell(rule, href));
                let reason = cell.and_then(|cell| cell.reason.clone());
                Some(reason.unwrap_or_else(|| "its condition cannot be told".to_owned()))
            }
        };
        let Some(row) = self.state.issues.get_mut(id) else { return false };
        let has_changed = row.issue.unknown != reason;
        row.issue.unknown = reason;
        has_changed
    }
}
