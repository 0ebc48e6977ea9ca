//! Issues: opened, joined, reopened, acknowledged, resolved, ranked.

use hob_core::{Digest, Id, Timestamp};
use hob_wire::{Evidence, Issue, IssueState, Transition};

use super::bind::Time;
use super::cell::look_again;
use super::entity::targets;
use super::{Command, Engine, Output, RESOLVED_ISSUES_MAX, Refusal, Verb};
use crate::model::Rule;
use crate::rows::{IssueRow, Verdict};
use crate::template::Filling;

/// Hrefs that an issue says it touches.
const AFFECTS_MAX: usize = 100;
/// Pieces of evidence that an issue keeps: the first ones stay, later ones make room for the newest.
const EVIDENCE_MAX: usize = 60;
/// What being as urgent as can be adds to a priority.
const URGENCY_POINTS: u64 = 30;
/// What being attended to takes from a priority.
const ACKNOWLEDGED_POINTS: u64 = 20;

impl Engine {
    /// Opens an issue for a cell; or joins the one that its key has already; or brings back the one that it had lately.
    pub(super) fn open(&mut self, rule: &Rule, href: &str, out: &mut Vec<Output>) {
        let key = self.issue_key(rule, href);
        let now = self.state.clock;
        let earlier = self.newest.get(&(rule.name.clone(), key.clone())).cloned();
        let earlier = earlier.and_then(|id| Some((self.state.issues.get(&id)?.issue.clone(), id)));
        let id = match earlier {
            Some((issue, id)) if issue.state != IssueState::Resolved => {
                self.join(&id, href, out);
                id
            }
            Some((issue, id)) if issue.resolved.is_some_and(|at| now.since(at) < rule.reopen_within) => {
                self.reopen(rule, &id, href, out);
                id
            }
            _ => self.open_new(rule, key, href, out),
        };
        let expiry = rule
            .expire
            .and_then(|expire| self.state.issues.get(&id).map(|row| row.issue.opened.plus(expire)));
        let cell = self.cell_mut(&rule.name, href);
        cell.issue = Some(id);
        if let Some(expiry) = expiry {
            look_again(cell, expiry);
        }
    }

    fn issue_key(&self, rule: &Rule, href: &str) -> String {
        match &rule.key {
            Some(template) => template.fill(&self.filling(rule, href)),
            None => href.to_owned(),
        }
    }

    pub(super) fn filling<'a>(&'a self, rule: &'a Rule, href: &str) -> Filling<'a> {
        let names = self.rules.entities.get(&rule.about).into_iter().flat_map(|kind| kind.links.keys());
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

    fn open_new(&mut self, rule: &Rule, key: String, href: &str, out: &mut Vec<Output>) -> String {
        let now = self.state.clock;
        let id = issue_id(now, &rule.name, &key, self.at.sequence);
        let issue = Issue {
            id: id.clone(),
            rule: rule.name.clone(),
            key: key.clone(),
            about: href.to_owned(),
            state: IssueState::Open,
            priority: self.priority(rule, href, IssueState::Open),
            title: rule.title.fill(&self.filling(rule, href)),
            environment: self.scope.environment.clone(),
            tenant: self.scope.tenant.clone(),
            opened: now,
            acknowledged: None,
            assignee: None,
            resolved: None,
            resolution: None,
            reopenings: 0,
            affects: self.affected(rule, href),
            evidence: self.evidence(rule, href),
        };
        self.newest.insert((rule.name.clone(), key), id.clone());
        *self.state.opened_total.entry(rule.name.clone()).or_default() += 1;
        let row = IssueRow { issue, members: [href.to_owned()].into(), transitions: 0 };
        self.state.issues.insert(id.clone(), row);
        self.tell(&id, "opened", &actor(rule), &rule.condition(), out);
        id
    }

    fn affected(&self, rule: &Rule, href: &str) -> Vec<String> {
        let Some(fields) = self.fields(rule, href, &rule.variable) else { return Vec::new() };
        let mut hrefs: Vec<String> =
            rule.affects.iter().flat_map(|relation| targets(fields, relation)).collect();
        hrefs.extend(self.counted(&rule.name, href));
        hrefs.truncate(AFFECTS_MAX);
        hrefs
    }

    fn join(&mut self, id: &str, href: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        row.members.insert(href.to_owned());
        let href = href.to_owned();
        if row.issue.about != href
            && !row.issue.affects.contains(&href)
            && row.issue.affects.len() < AFFECTS_MAX
        {
            row.issue.affects.push(href);
        }
        out.push(Output::Touched { issue: id.to_owned() });
    }

    fn reopen(&mut self, rule: &Rule, id: &str, href: &str, out: &mut Vec<Output>) {
        let evidence = self.evidence(rule, href);
        let title = rule.title.fill(&self.filling(rule, href));
        let priority = self.priority(rule, href, IssueState::Open);
        let affects = self.affected(rule, href);
        let Some(row) = self.state.issues.get_mut(id) else { return };
        if let Some(at) = row.issue.resolved.take() {
            self.resolved.remove(&(at, id.to_owned()));
        }
        let issue = &mut row.issue;
        (issue.state, issue.resolution, issue.assignee) = (IssueState::Open, None, None);
        (issue.title, issue.priority, issue.affects) = (title, priority, affects);
        issue.about = href.to_owned();
        issue.reopenings += 1;
        row.members.insert(href.to_owned());
        for piece in evidence {
            if !issue.evidence.contains(&piece) {
                add_evidence(issue, piece);
            }
        }
        self.tell(id, "reopened", &actor(rule), &rule.condition(), out);
    }

    /// A cell no longer holds its issue open; the issue ends when no cell does.
    pub(super) fn let_go(&mut self, rule: &str, href: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(id) = self.cell_mut(rule, href).issue.take() else { return };
        let Some(row) = self.state.issues.get_mut(&id) else { return };
        row.members.remove(href);
        if !row.members.is_empty() {
            return out.push(Output::Touched { issue: id });
        }
        let values = self.rules.rules.get(rule).map(|rule| self.read_values(rule, href)).unwrap_or_default();
        let piece = Evidence { values, ..self.piece("rule", reason.to_owned()) };
        self.finish(&id, &format!("rule/{rule}"), reason, piece, out);
    }

    fn finish(&mut self, id: &str, actor: &str, reason: &str, piece: Evidence, out: &mut Vec<Output>) {
        let now = self.state.clock;
        let Some(row) = self.state.issues.get_mut(id) else { return };
        row.issue.state = IssueState::Resolved;
        row.issue.resolved = Some(now);
        row.issue.resolution = Some(reason.to_owned());
        add_evidence(&mut row.issue, piece);
        self.resolved.insert((now, id.to_owned()));
        self.tell(id, "resolved", actor, reason, out);
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

    /// Does what a person decided.
    pub(super) fn command(&mut self, command: &Command, out: &mut Vec<Output>) {
        let refusal = self.refusal(command);
        if refusal.is_none() {
            match command.verb {
                Verb::Acknowledge => self.acknowledge(command, out),
                Verb::Resolve => self.resolve(command, out),
            }
        }
        out.push(Output::Answer { sequence: self.at.sequence, refusal });
    }

    fn refusal(&self, command: &Command) -> Option<Refusal> {
        let Some(row) = self.state.issues.get(&command.issue) else { return Some(Refusal::Unknown) };
        let state = row.issue.state;
        let is_done = match command.verb {
            Verb::Acknowledge => state != IssueState::Open,
            Verb::Resolve => state == IssueState::Resolved,
        };
        let by = match state {
            IssueState::Acknowledged => row.issue.assignee.clone(),
            _ => row.issue.evidence.last().filter(|piece| piece.kind == "command").and_then(|piece| {
                piece.values.get("actor").and_then(|actor| actor.as_str()).map(str::to_owned)
            }),
        };
        is_done.then_some(Refusal::Already { state, by })
    }

    fn acknowledge(&mut self, command: &Command, out: &mut Vec<Output>) {
        let piece = self.command_piece("acknowledged", command);
        let now = self.state.clock;
        let Some(row) = self.state.issues.get_mut(&command.issue) else { return };
        row.issue.state = IssueState::Acknowledged;
        row.issue.acknowledged.get_or_insert(now);
        row.issue.assignee = Some(command.actor.clone());
        add_evidence(&mut row.issue, piece);
        self.rank(&command.issue);
        self.tell(&command.issue, "acknowledged", &command.actor, &command.reason, out);
    }

    /// Ends an issue by hand. While the condition holds on, its cells stay silent until it was false once.
    fn resolve(&mut self, command: &Command, out: &mut Vec<Output>) {
        let piece = self.command_piece("resolved", command);
        let Some(row) = self.state.issues.get_mut(&command.issue) else { return };
        let (rule, members) = (row.issue.rule.clone(), std::mem::take(&mut row.members));
        for href in members {
            self.silence(&rule, &href);
        }
        self.finish(&command.issue, &command.actor, &command.reason, piece, out);
    }

    fn silence(&mut self, rule: &str, href: &str) {
        let cell = self.cell_mut(rule, href);
        cell.issue = None;
        cell.false_since = None;
        cell.is_suppressed = cell.verdict != Verdict::False;
    }

    /// Resolves the issue of a cell whose rule says that issues do not live so long.
    pub(super) fn expire(&mut self, rule_name: &str, href: &str, out: &mut Vec<Output>) {
        let Some(expire) = self.rules.rules.get(rule_name).and_then(|rule| rule.expire) else { return };
        let Some(id) = self.cell(rule_name, href).and_then(|cell| cell.issue.clone()) else { return };
        let Some(row) = self.state.issues.get_mut(&id) else { return };
        if row.issue.opened.plus(expire) > self.state.clock {
            return;
        }
        let members = std::mem::take(&mut row.members);
        for member in members {
            self.silence(rule_name, &member);
        }
        let reason = "it expired";
        let piece = self.piece("rule", reason.to_owned());
        self.finish(&id, &format!("rule/{rule_name}"), reason, piece, out);
    }

    /// Looks again at a cell with an issue when that expires.
    pub(super) fn look_at_expiry(&mut self, rule: &Rule, href: &str) {
        let Some(expire) = rule.expire else { return };
        let Some(id) = self.cell(&rule.name, href).and_then(|cell| cell.issue.clone()) else { return };
        let Some(at) = self.state.issues.get(&id).map(|row| row.issue.opened.plus(expire)) else { return };
        look_again(self.cell_mut(&rule.name, href), at);
    }

    fn priority(&self, rule: &Rule, href: &str, state: IssueState) -> u8 {
        let mut points = u64::from(rule.priority);
        if let Some(urgency) = &rule.urgency
            && let Time::At(at) = self.time(rule, href, &urgency.field)
        {
            let within = urgency.within.as_millis().max(1);
            let left = at.since(self.state.clock).as_millis().min(within);
            let near = u64::try_from((within - left) * u128::from(URGENCY_POINTS) / within).unwrap_or(0);
            points += near;
        }
        if state == IssueState::Acknowledged {
            points = points.saturating_sub(ACKNOWLEDGED_POINTS);
        }
        u8::try_from(points.min(100)).unwrap_or(100)
    }

    /// Makes an issue's priority anew; whether it changed. It stays while the entity is unknown.
    fn rank(&mut self, id: &str) -> bool {
        let Some(row) = self.state.issues.get(id) else { return false };
        let Some(rule) = self.rules.rules.get(&row.issue.rule) else { return false };
        if self.fields(rule, &row.issue.about, &rule.variable).is_none() {
            return false;
        }
        let priority = self.priority(rule, &row.issue.about, row.issue.state);
        let Some(row) = self.state.issues.get_mut(id) else { return false };
        std::mem::replace(&mut row.issue.priority, priority) != priority
    }

    /// Makes the priorities of all unresolved issues anew.
    pub(super) fn rank_all(&mut self, out: &mut Vec<Output>) {
        let open = self.state.issues.iter().filter(|(_, row)| row.issue.state != IssueState::Resolved);
        let open: Vec<String> = open.map(|(id, _)| id.clone()).collect();
        for id in open {
            if self.rank(&id) {
                out.push(Output::Touched { issue: id });
            }
        }
    }

    fn tell(&mut self, id: &str, transition: &str, actor: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        row.transitions += 1;
        let transition = Transition {
            transition: transition.to_owned(),
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            issue: row.issue.clone(),
        };
        out.push(Output::Transition {
            id: format!("{id}.{}", row.transitions),
            transition: Box::new(transition),
        });
    }
}

fn actor(rule: &Rule) -> String {
    format!("rule/{}", rule.name)
}

/// Made from what opened it, so that a replay gives the same.
fn issue_id(opened: Timestamp, rule: &str, key: &str, sequence: u64) -> String {
    let digest = Digest::of(format!("{rule}\n{key}\n{sequence}").as_bytes());
    let mut random = [0; 10];
    random.copy_from_slice(&digest.as_bytes()[..10]);
    Id::from_parts(opened, random)
}

fn add_evidence(issue: &mut Issue, piece: Evidence) {
    if issue.evidence.len() >= EVIDENCE_MAX {
        // What led to the opening stays; the middle goes.
        issue.evidence.remove(EVIDENCE_MAX / 2);
    }
    issue.evidence.push(piece);
}
