//! Parents and children: an issue that explains others adopts them, and ends only when all of them have.

use hob_wire::IssueState;

use super::{Engine, Output};
use crate::model::Rule;

/// How far up parents are followed.
const GENERATIONS_MAX: usize = 4;

impl Engine {
    /// The keys of issues that explain one of this rule.
    pub(super) fn parent_keys(&self, rule: &Rule, href: &str) -> Vec<String> {
        let filling = self.filling(rule, href);
        rule.parents.iter().map(|template| template.fill(&filling)).collect()
    }

    /// An issue is open, anew or again: the first open one that explains it adopts it, and it adopts those that it
    /// explains.
    pub(super) fn join_family(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        if row.issue.rule_mode.is_some() {
            return;
        }
        let key = row.issue.key.clone();
        let parent = row.wants.iter().find_map(|key| {
            let open = self.desk.keyed.get(key)?;
            open.iter().find(|parent| self.may_adopt(parent, id)).cloned()
        });
        if let Some(parent) = parent {
            self.adopt(&parent, id, out);
        }
        let wanting: Vec<String> = self.desk.wanting.get(&key).into_iter().flatten().cloned().collect();
        for child in wanting {
            let is_free = self.state.issues.get(&child).is_some_and(|row| row.issue.parent.is_none());
            if is_free && self.may_adopt(id, &child) {
                self.adopt(id, &child, out);
            }
        }
    }

    /// Whether one issue may be another's parent: both are shown and neither descends from the other.
    fn may_adopt(&self, parent: &str, child: &str) -> bool {
        let Some(row) = self.state.issues.get(parent) else { return false };
        let is_shown = row.issue.rule_mode.is_none()
            && self.state.issues.get(child).is_some_and(|row| row.issue.rule_mode.is_none());
        let mut up = Some(parent.to_owned());
        for _ in 0..GENERATIONS_MAX {
            let Some(id) = up else { return is_shown };
            if id == child {
                return false;
            }
            up = self.state.issues.get(&id).and_then(|row| row.issue.parent.clone());
        }
        false
    }

    pub(super) fn adopt(&mut self, parent: &str, child: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(parent) else { return };
        let (actor, reason) = (format!("rule/{}", row.issue.rule), format!("part of: {}", row.issue.title));
        let Some(row) = self.state.issues.get_mut(child) else { return };
        row.issue.parent = Some(parent.to_owned());
        self.desk.children.entry(parent.to_owned()).or_default().insert(child.to_owned());
        self.count_children(parent);
        self.tell(child, "adopted", &actor, &reason, out);
        self.wake_when_worse(parent, out);
        out.push(Output::Touched { issue: parent.to_owned() });
    }

    /// Children stand for themselves again.
    pub(super) fn release_children(
        &mut self,
        parent: &str,
        actor: &str,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        for child in self.desk.children.remove(parent).unwrap_or_default() {
            if let Some(row) = self.state.issues.get_mut(&child) {
                row.issue.parent = None;
            }
            self.tell(&child, "released", actor, reason, out);
        }
        self.count_children(parent);
    }

    /// Children go to another parent.
    pub(super) fn move_children(&mut self, from: &str, to: &str, out: &mut Vec<Output>) {
        for child in self.desk.children.remove(from).unwrap_or_default() {
            if self.may_adopt(to, &child) {
                self.adopt(to, &child, out);
            } else if let Some(row) = self.state.issues.get_mut(&child) {
                row.issue.parent = None;
                self.tell(&child, "released", "hob", "its parent became part of another", out);
            }
        }
        self.count_children(from);
    }

    /// A child is over; a parent that waited for it alone is over too.
    pub(super) fn child_left(&mut self, parent: &str, out: &mut Vec<Output>) {
        self.count_children(parent);
        let Some(row) = self.state.issues.get(parent) else { return };
        if row.issue.state == IssueState::Resolved {
            return;
        }
        out.push(Output::Touched { issue: parent.to_owned() });
        if row.issue.children > 0 || row.issue.waits.is_none() {
            return;
        }
        let actor = format!("rule/{}", row.issue.rule);
        let reason = "the condition is no longer true, and all its children are over";
        let piece = self.piece("rule", reason.to_owned());
        self.finish(parent, &actor, reason, piece, out);
    }

    fn count_children(&mut self, parent: &str) {
        let children = self.desk.children.get(parent).map_or(0, |children| children.len());
        if let Some(row) = self.state.issues.get_mut(parent) {
            row.issue.children = u32::try_from(children).unwrap_or(u32::MAX);
        }
        self.rank(parent);
    }
}
