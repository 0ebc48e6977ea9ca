//! Issues: opened, joined, brought back, let go, ended.
//!
//! The cells of a rule hold its issues open; an issue ends when no cell holds it and its children are over.

use hob_core::{Digest, Id, Timestamp};
use hob_wire::{Evidence, Issue, IssueState};

use super::bind::Time;
use super::entity::targets;
use super::{Engine, Output, RESOLVED_ISSUES_MAX};
use crate::model::{Mode, Rule};
use crate::rows::{IssueRow, Verdict};
use crate::template::Filling;

/// Hrefs that an issue says it touches.
pub(super) const AFFECTS_MAX: usize = 100;
/// Pieces of evidence that an issue keeps: the first ones stay, later ones make room for the newest.
const EVIDENCE_MAX: usize = 60;
/// What makes an issue a false alarm.
pub(super) const FALSE_ALARM: &str = "false-alarm";

/// What is to be opened.
pub(super) struct New {
    pub(super) key: String,
    pub(super) title: String,
    pub(super) storm: bool,
}

impl Engine {
    /// Opens an issue for a cell; or joins the one that its key has already; or brings back the one that it had lately.
    pub(super) fn open(&mut self, rule: &Rule, href: &str, out: &mut Vec<Output>) {
        let key = self.issue_key(rule, href);
        let now = self.state.clock;
        let earlier = self.newest.get(&(rule.name.clone(), key.clone())).cloned();
        let earlier = earlier.and_then(|id| self.merged(id)).and_then(|id| self.state.issues.get(&id));
        let is_shadow = rule.mode == Mode::Shadow;
        let earlier = earlier.filter(|row| row.issue.rule_mode.is_some() == is_shadow);
        let is_lately = |issue: &Issue| {
            issue.resolved.is_some_and(|at| now.since(at) < rule.reopen_within) && issue.label.is_none()
        };
        match earlier.map(|row| (row.issue.id.clone(), row.issue.state, is_lately(&row.issue))) {
            Some((id, state, _)) if state != IssueState::Resolved => self.join(&id, rule, href, out),
            Some((id, _, true)) => match self.storm(rule) {
                Some(storm) => self.join_storm(rule, href, storm, out),
                None => self.reopen(rule, &id, href, out),
            },
            _ => {
                let Some(others) = self.has_enough(rule, &key, href) else { return };
                let id = match self.storm(rule) {
                    Some(storm) => return self.join_storm(rule, href, storm, out),
                    None => {
                        let title = rule.title.fill(&self.filling(rule, href));
                        self.open_new(rule, New { key, title, storm: false }, href, out)
                    }
                };
                for other in others {
                    self.cell_mut(&rule.name, &other).is_suppressed = false;
                    self.join(&id, rule, &other, out);
                }
            }
        }
    }

    /// The issue, or the unresolved one that it was merged into; nothing when that is over.
    fn merged(&self, id: String) -> Option<String> {
        let mut id = id;
        // A chain cannot be a ring: only unresolved issues are merged, and they end by it.
        for _ in 0..8 {
            let Some(into) = self.state.issues.get(&id)?.issue.merged_into.clone() else { return Some(id) };
            id = into;
            if self.state.issues.get(&id)?.issue.state != IssueState::Resolved {
                return Some(id);
            }
        }
        None
    }

    pub(super) fn issue_key(&self, rule: &Rule, href: &str) -> String {
        match &rule.key {
            Some(template) => template.fill(&self.filling(rule, href)),
            None => href.to_owned(),
        }
    }

    pub(super) fn filling<'a>(&'a self, rule: &'a Rule, href: &str) -> Filling<'a> {
        let names = self.rules.entities.get(&rule.variable).into_iter().flat_map(|kind| kind.links.keys());
        let names = names.map(String::as_str).chain([rule.variable.as_str()]);
        let variables = names.filter_map(|name| Some((name, self.all_fields(rule, href, name)?))).collect();
        let now = self.state.clock;
        let left = match self.deadline(rule, href) {
            Some(at) => at.since(now),
            None => std::time::Duration::ZERO,
        };
        let count = self
            .rules
            .number(&rule.name)
            .and_then(|number| self.count_of(&self.rules.plan.rules[usize::from(number)], href));
        Filling { variables, held: self.held(rule, href), left, count }
    }

    fn deadline(&self, rule: &Rule, href: &str) -> Option<Timestamp> {
        let crate::model::Trigger::Deadline { field, .. } = &rule.trigger else { return None };
        match self.time(rule, href, field) {
            Time::At(at) => Some(at),
            _ => None,
        }
    }

    pub(super) fn open_new(&mut self, rule: &Rule, new: New, href: &str, out: &mut Vec<Output>) -> String {
        let now = self.state.clock;
        let id = issue_id(now, &rule.name, &new.key, self.at.sequence);
        let caused_by = self.cause_of(href);
        let issue = Issue {
            id: id.clone(),
            rule: rule.name.clone(),
            key: new.key.clone(),
            about: href.to_owned(),
            state: IssueState::Open,
            priority: rule.priority,
            title: new.title,
            environment: self.scope.environment.clone(),
            tenant: self.scope.tenant.clone(),
            opened: now,
            acknowledged: None,
            acknowledged_until: None,
            assignee: None,
            snoozed: None,
            resolved: None,
            resolution: None,
            label: None,
            verify_at: None,
            merged_into: None,
            escalated: 0,
            unknown: None,
            waits: None,
            parent: None,
            children: 0,
            storm: new.storm,
            reopenings: 0,
            revision: 0,
            terms: Vec::new(),
            members: hob_wire::Members::default(),
            affects: self.affected(rule, href),
            actions: Vec::new(),
            caused_by,
            runbook: rule.runbook.clone(),
            rule_mode: (rule.mode == Mode::Shadow).then(|| "shadow".to_owned()),
            evidence: self.evidence(rule, href),
        };
        let wants = self.parent_keys(rule, href);
        self.newest.insert((rule.name.clone(), new.key), id.clone());
        *self.state.opened_total.entry(rule.name.clone()).or_default() += 1;
        self.state
            .issues
            .insert(id.clone(), IssueRow { wants, begun: self.at.sequence, ..IssueRow::of(issue) });
        self.began(&id, rule, href);
        self.tell(&id, "opened", &actor(rule), &rule.condition(), out);
        self.join_family(&id, out);
        self.offer(&id, out);
        self.consider(&id, out);
        id
    }

    /// A cell holds an issue that is open, anew or again.
    fn began(&mut self, id: &str, rule: &Rule, href: &str) {
        self.desk.index(&self.state.issues[id]);
        self.hold(id, &rule.name, href);
        self.count_members(id);
        self.rank(id);
        self.arm_issue(id);
    }

    pub(super) fn affected(&self, rule: &Rule, href: &str) -> Vec<String> {
        let Some(fields) = self.fields(rule, href, &rule.variable) else { return Vec::new() };
        let mut hrefs: Vec<String> =
            rule.affects.iter().flat_map(|relation| targets(fields, relation)).collect();
        hrefs.extend(self.counted(&rule.name, href));
        hrefs.truncate(AFFECTS_MAX);
        hrefs
    }

    /// A cell holds an issue that is open already.
    pub(super) fn join(&mut self, id: &str, rule: &Rule, href: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let href = href.to_owned();
        if row.issue.about != href
            && !row.issue.affects.contains(&href)
            && row.issue.affects.len() < AFFECTS_MAX
        {
            row.issue.affects.push(href.clone());
        }
        self.hold(id, &rule.name, &href);
        self.arm_issue(id);
        self.member_came(id, rule, &href);
        self.wake_when_worse(id, out);
        out.push(Output::Touched { issue: id.to_owned() });
    }

    fn reopen(&mut self, rule: &Rule, id: &str, href: &str, out: &mut Vec<Output>) {
        let evidence = self.evidence(rule, href);
        let title = rule.title.fill(&self.filling(rule, href));
        let affects = self.affected(rule, href);
        let caused_by = self.cause_of(href);
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let issue = &mut row.issue;
        if !issue.storm {
            issue.title = title;
        }
        (issue.affects, issue.about, issue.caused_by) = (affects, href.to_owned(), caused_by);
        for piece in evidence {
            if !issue.evidence.contains(&piece) {
                add_evidence(issue, piece);
            }
        }
        self.back(id);
        self.began(id, rule, href);
        self.tell(id, "reopened", &actor(rule), &rule.condition(), out);
        self.join_family(id, out);
        self.offer(id, out);
        self.consider(id, out);
    }

    /// Makes a resolved issue an open one.
    pub(super) fn back(&mut self, id: &str) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        if let Some(at) = row.issue.resolved.take() {
            self.resolved.remove(&(at, id.to_owned()));
        }
        let issue = &mut row.issue;
        (issue.state, issue.resolution, issue.assignee) = (IssueState::Open, None, None);
        (issue.verify_at, issue.merged_into, issue.parent, issue.label) = (None, None, None, None);
        issue.reopenings += 1;
        row.begun = self.at.sequence;
        row.silenced.clear();
        let key = (issue.rule.clone(), issue.key.clone());
        self.newest.insert(key, id.to_owned());
    }

    /// A cell no longer holds its issue open; the issue ends when no cell does.
    pub(super) fn let_go(&mut self, rule: &str, href: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(id) = self.cell_mut(rule, href).issue.take() else { return };
        if self.unhold(&id, rule, href) {
            return out.push(Output::Touched { issue: id });
        }
        let values = self.rules.rules.get(rule).map(|rule| self.read_values(rule, href)).unwrap_or_default();
        let piece = Evidence { values, ..self.piece("rule", reason.to_owned()) };
        self.condition_is_over(&id, &format!("rule/{rule}"), reason, piece, out);
    }

    /// No cell holds the issue any more: it ends, unless children of it are open.
    pub(super) fn condition_is_over(
        &mut self,
        id: &str,
        actor: &str,
        reason: &str,
        piece: Evidence,
        out: &mut Vec<Output>,
    ) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        match row.issue.children {
            0 => self.finish(id, actor, reason, piece, out),
            children => {
                let are = if children == 1 { "child is" } else { "children are" };
                row.issue.waits = Some(format!("{reason}; {children} {are} open"));
                row.issue.unknown = None;
                out.push(Output::Touched { issue: id.to_owned() });
            }
        }
    }

    /// Ends an issue.
    pub(super) fn finish(
        &mut self,
        id: &str,
        actor: &str,
        reason: &str,
        piece: Evidence,
        out: &mut Vec<Output>,
    ) {
        let now = self.state.clock;
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let issue = &mut row.issue;
        issue.state = IssueState::Resolved;
        issue.resolved = Some(now);
        issue.resolution = Some(reason.to_owned());
        (issue.snoozed, issue.acknowledged_until, issue.unknown, issue.waits) = (None, None, None, None);
        issue.actions.clear();
        add_evidence(issue, piece);
        row.ended_by = Some(actor.to_owned()).filter(|actor| !actor.starts_with("rule/"));
        let parent = row.issue.parent.clone();
        self.desk.unindex(&self.state.issues[id]);
        self.resolved.insert((now, id.to_owned()));
        let transition = match self.state.issues[id].issue.merged_into {
            Some(_) => "merged",
            None => "resolved",
        };
        self.actions_of_ended(id);
        self.tell(id, transition, actor, reason, out);
        if let Some(parent) = parent {
            self.child_left(&parent, out);
        }
        if self.resolved.len() > RESOLVED_ISSUES_MAX
            && let Some((_, oldest)) = self.resolved.pop_first()
        {
            self.drop_issue(&oldest);
            out.push(Output::Dropped { issue: oldest });
        }
    }

    fn drop_issue(&mut self, id: &str) {
        let Some(row) = self.state.issues.remove(id) else { return };
        let key = (row.issue.rule, row.issue.key);
        if self.newest.get(&key).is_some_and(|newest| newest == id) {
            self.newest.remove(&key);
        }
    }

    /// Takes the issue from all cells that hold it; while the condition holds on, they stay silent until it was false
    /// once. The issue remembers some of them, for looking again.
    pub(super) fn silence_all(&mut self, id: &str) {
        let cells = self.desk.take_holders(id);
        let mut silenced = std::collections::BTreeSet::new();
        for (rule, href) in cells {
            let cell = self.cell_mut(&rule, &href);
            cell.issue = None;
            cell.false_since = None;
            cell.is_suppressed = cell.verdict != Verdict::False;
            if silenced.len() < AFFECTS_MAX {
                silenced.insert((rule, href));
            }
        }
        if let Some(row) = self.state.issues.get_mut(id) {
            row.silenced = silenced;
        }
    }
}

pub(super) fn actor(rule: &Rule) -> String {
    format!("rule/{}", rule.name)
}

/// Made from what opened it, so that a replay gives the same.
fn issue_id(opened: Timestamp, rule: &str, key: &str, sequence: u64) -> String {
    let digest = Digest::of(format!("{rule}\n{key}\n{sequence}").as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest.as_bytes()[..10]);
    Id::from_parts(opened, random)
}

/// Adds evidence. What led to the opening stays, and so do people's notes; the middle goes.
pub(super) fn add_evidence(issue: &mut Issue, piece: Evidence) {
    if issue.evidence.len() >= EVIDENCE_MAX {
        let middle = EVIDENCE_MAX / 2;
        let is_plain = |piece: &Evidence| piece.kind != "note";
        let away = issue.evidence.iter().skip(middle).position(is_plain).map_or(middle, |at| middle + at);
        issue.evidence.remove(away);
    }
    issue.evidence.push(piece);
}
