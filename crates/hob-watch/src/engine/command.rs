//! What people do to issues: each is one transition with who and why, or a refusal that names who was first.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Evidence, IssueState, ResolveAs, Snooze};
use serde_json::{Map, Value, json};

use super::issue::{FALSE_ALARM, add_evidence};
use super::{Engine, Output};
use crate::command::{Command, Refusal, Verb};
use crate::rows::{Last, Verdict};

/// How long an acknowledgement holds when it does not say.
pub(super) const ACKNOWLEDGED_FOR: Duration = Duration::from_secs(30 * 60);
/// How long after it was mended a condition is looked at again, when the rule does not say.
pub(super) const VERIFY_AFTER: Duration = Duration::from_secs(5 * 60);
/// How much a priority must rise to be worse.
const WORSE_POINTS: u8 = 10;

impl Engine {
    /// Does what a person decided, or what the loop tells of an action.
    pub(super) fn command(&mut self, command: &Command, out: &mut Vec<Output>) {
        let refusal = match &command.verb {
            Verb::PauseActions | Verb::ResumeActions => {
                self.switch(command, out);
                None
            }
            Verb::Begun { action } => {
                self.begun(action);
                None
            }
            Verb::Acted { action, status, error } => {
                self.acted(action, *status, error.as_deref(), out);
                None
            }
            _ => match self.refusal(command) {
                Some(refusal) => Some(refusal),
                None => self.decide(command, out).err(),
            },
        };
        out.push(Output::Answer { sequence: self.at.sequence, refusal });
    }

    fn decide(&mut self, command: &Command, out: &mut Vec<Output>) -> Result<(), Refusal> {
        match &command.verb {
            Verb::Acknowledge { held } => self.acknowledge(command, *held, out),
            Verb::Assign { to } => self.assign(command, to.clone(), out),
            Verb::Snooze { until, held, until_worse } => {
                let until = until.or(held.map(|held| self.state.clock.plus(held)));
                return self.snooze(command, until, *until_worse, out);
            }
            Verb::Resolve { how } => return self.resolve(command, *how, out),
            Verb::Reopen => return self.reopen_by_hand(command, out),
            Verb::Note { text } => self.note(command, text, out),
            Verb::Merge { into } => return self.merge(command, into, out),
            Verb::Label { label } => self.label(command, label.clone(), out),
            Verb::Act { relation, action, again } => {
                return self.act(command, relation, action.as_deref(), *again, out);
            }
            Verb::PauseActions | Verb::ResumeActions | Verb::Begun { .. } | Verb::Acted { .. } => {}
        }
        Ok(())
    }

    /// Why an issue's state does not allow a command, when it does not.
    fn refusal(&self, command: &Command) -> Option<Refusal> {
        let Some(row) = self.state.issues.get(&command.issue) else { return Some(Refusal::Unknown) };
        let state = row.issue.state;
        let is_done = match &command.verb {
            Verb::Acknowledge { .. } => state != IssueState::Open,
            Verb::Reopen => state != IssueState::Resolved,
            Verb::Note { .. } | Verb::Label { .. } => false,
            _ => state == IssueState::Resolved,
        };
        if is_done {
            let by = match state {
                IssueState::Acknowledged => row.issue.assignee.clone(),
                _ => row.ended_by.clone(),
            };
            return Some(Refusal::Already { state, by });
        }
        if let Some(seen) = command.revision {
            // What rules did since takes nothing from what a person wants to do.
            let quicker = row.last_person.as_ref().filter(|last| last.revision > seen);
            let quicker = quicker.filter(|last| last.actor != command.actor);
            return quicker
                .map(|last| Refusal::Changed { what: format!("{} by {}", last.transition, last.actor) });
        }
        match &command.verb {
            Verb::Assign { to } => {
                let other = row.issue.assignee.as_ref();
                let other = other.filter(|mine| Some(*mine) != to.as_ref() && **mine != command.actor);
                other.map(|mine| Refusal::Changed { what: format!("assigned to {mine}") })
            }
            Verb::Snooze { .. } => {
                let other = row.issue.snoozed.as_ref().filter(|snooze| snooze.by != command.actor);
                other.map(|snooze| Refusal::Changed { what: format!("snoozed by {}", snooze.by) })
            }
            _ => None,
        }
    }

    /// Notes what a person did; the first time, the issue counts as investigated.
    fn did(&mut self, done: &str, command: &Command) {
        let piece = self.command_piece(done, command);
        let Some(row) = self.state.issues.get_mut(&command.issue) else { return };
        add_evidence(&mut row.issue, piece);
        self.investigated(&command.issue);
    }

    pub(super) fn investigated(&mut self, id: &str) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let is_first = !std::mem::replace(&mut row.is_investigated, true);
        if is_first && row.issue.rule_mode.is_none() {
            self.today().investigations += 1;
        }
    }

    fn acknowledge(&mut self, command: &Command, held: Option<Duration>, out: &mut Vec<Output>) {
        self.did("acknowledged it", command);
        let now = self.state.clock;
        let Some(row) = self.state.issues.get_mut(&command.issue) else { return };
        row.issue.state = IssueState::Acknowledged;
        let is_first = row.issue.acknowledged.is_none();
        let waited = now.since(row.issue.opened);
        row.issue.acknowledged.get_or_insert(now);
        row.issue.acknowledged_until = Some(now.plus(held.unwrap_or(ACKNOWLEDGED_FOR)));
        row.issue.assignee = Some(command.actor.clone());
        if is_first && row.issue.rule_mode.is_none() {
            self.today().acknowledge.record(waited.as_secs_f64());
        }
        self.rank(&command.issue);
        self.arm_issue(&command.issue);
        self.tell(&command.issue, "acknowledged", &command.actor, &command.reason, out);
    }

    fn assign(&mut self, command: &Command, to: Option<String>, out: &mut Vec<Output>) {
        let whom = to.clone().unwrap_or_else(|| "nobody".to_owned());
        self.did(&format!("gave it to {whom}"), command);
        let Some(row) = self.state.issues.get_mut(&command.issue) else { return };
        row.issue.assignee = to;
        self.tell(&command.issue, "assigned", &command.actor, &command.reason, out);
    }

    fn snooze(
        &mut self,
        command: &Command,
        until: Option<Timestamp>,
        worse: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        if !worse && until.is_none_or(|until| until <= self.state.clock) {
            let why = format!("a snooze ends after now, which is {}, or when it is worse", self.state.clock);
            return Err(Refusal::Senseless { why });
        }
        self.did("snoozed it", command);
        if let Some(row) = self.state.issues.get_mut(&command.issue) {
            row.issue.snoozed = Some(Snooze { until, worse, by: command.actor.clone() });
            row.snoozed_at = (row.issue.priority, row.issue.members.count.saturating_add(row.issue.children));
        }
        self.arm_issue(&command.issue);
        self.tell(&command.issue, "snoozed", &command.actor, &command.reason, out);
        Ok(())
    }

    /// Ends a snooze that lasts until the issue is worse, when it is.
    pub(super) fn wake_when_worse(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        if !row.issue.snoozed.as_ref().is_some_and(|snooze| snooze.worse) {
            return;
        }
        let (priority, touched) = row.snoozed_at;
        let touches = row.issue.members.count.saturating_add(row.issue.children);
        let reason = if row.issue.priority >= priority.saturating_add(WORSE_POINTS) {
            format!("its priority rose from {priority} to {}", row.issue.priority)
        } else if touches >= touched.max(1).saturating_mul(2) {
            format!("it touches {touches}, not {touched}")
        } else {
            return;
        };
        self.wake_from_snooze(id, &reason, out);
    }

    pub(super) fn wake_from_snooze(&mut self, id: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        row.issue.snoozed = None;
        let actor = format!("rule/{}", row.issue.rule);
        self.tell(id, "woken", &actor, reason, out);
    }

    /// Whether the condition of an issue holds for some cell, as far as that can be told.
    pub(super) fn still_holds(&self, id: &str) -> bool {
        let verdict = |(rule, href): &(String, String)| self.cell(rule, href).map(|cell| cell.verdict);
        self.desk.holders(id).any(|cell| verdict(cell) != Some(Verdict::False))
    }

    /// How long after it was mended an issue is looked at again.
    pub(super) fn verify_after(&self, rule: &str) -> Duration {
        self.rules.rules.get(rule).and_then(|rule| rule.verify).unwrap_or(VERIFY_AFTER)
    }

    /// Ends an issue by hand. While the condition holds it must be said how; its cells then stay silent until it was
    /// false once.
    fn resolve(
        &mut self,
        command: &Command,
        how: Option<ResolveAs>,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let id = command.issue.as_str();
        let holds = self.still_holds(id);
        let Some(row) = self.state.issues.get(id) else { return Err(Refusal::Unknown) };
        if holds && how.is_none() {
            return Err(Refusal::Holds);
        }
        if row.issue.children > 0 && how != Some(ResolveAs::FalseAlarm) {
            return Err(Refusal::Children(row.issue.children));
        }
        let verify_at = self.state.clock.plus(self.verify_after(&row.issue.rule));
        if how == Some(ResolveAs::Verify) && holds {
            self.did("has it checked again", command);
            let Some(row) = self.state.issues.get_mut(id) else { return Ok(()) };
            row.issue.verify_at = Some(verify_at);
            row.issue.state = IssueState::Acknowledged;
            row.issue.acknowledged.get_or_insert(self.state.clock);
            (row.issue.assignee, row.issue.acknowledged_until) = (Some(command.actor.clone()), None);
            self.rank(id);
            self.arm_issue(id);
            self.tell(id, "acknowledged", &command.actor, &command.reason, out);
            return Ok(());
        }
        if how == Some(ResolveAs::FalseAlarm) {
            self.release_children(id, &command.actor, "their parent was a false alarm", out);
            self.set_label(id, Some(FALSE_ALARM.to_owned()));
        }
        self.investigated(id);
        self.silence_all(id);
        if let Some(row) = self.state.issues.get_mut(id) {
            row.issue.verify_at = Some(verify_at).filter(|_| holds && how == Some(ResolveAs::Fixed));
        }
        let reason = match (how, command.reason.is_empty()) {
            (Some(ResolveAs::FalseAlarm), true) => "false alarm".to_owned(),
            (Some(ResolveAs::Fixed), true) if holds => "fixed, to be verified".to_owned(),
            _ => command.reason.clone(),
        };
        let piece = self.command_piece("resolved it", command);
        self.finish(id, &command.actor, &reason, piece, out);
        self.arm_issue(id);
        Ok(())
    }

    fn reopen_by_hand(&mut self, command: &Command, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let id = command.issue.as_str();
        let Some(row) = self.state.issues.get(id) else { return Err(Refusal::Unknown) };
        let key = (row.issue.rule.clone(), row.issue.key.clone());
        let newest = self.newest.get(&key).filter(|newest| *newest != id);
        let is_open = |id: &&String| {
            self.state.issues.get(*id).is_some_and(|row| row.issue.state != IssueState::Resolved)
        };
        if let Some(other) = newest.filter(is_open) {
            let why = format!("issue {other} has its key and is open");
            return Err(Refusal::Senseless { why });
        }
        let reason = if command.reason.is_empty() { "by hand" } else { &command.reason }.to_owned();
        self.did("reopened it", command);
        self.reopen_silenced(id, &command.actor, &reason, out);
        Ok(())
    }

    /// Makes an issue open again, held by those of its cells whose condition still holds.
    pub(super) fn reopen_silenced(&mut self, id: &str, actor: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        let cells = row.silenced.clone();
        self.back(id);
        self.desk.index(&self.state.issues[id]);
        for (rule, href) in cells {
            let is_free = |cell: &crate::rows::CellRow| cell.is_suppressed && cell.issue.is_none();
            if self.cell(&rule, &href).is_some_and(is_free) {
                self.cell_mut(&rule, &href).is_suppressed = false;
                self.hold(id, &rule, &href);
            }
        }
        self.count_members(id);
        self.rank(id);
        self.arm_issue(id);
        self.tell(id, "reopened", actor, reason, out);
        self.join_family(id, out);
        self.offer(id, out);
    }

    fn note(&mut self, command: &Command, text: &str, out: &mut Vec<Output>) {
        let mut piece = self.piece("note", text.to_owned());
        piece.sequence = Some(hob_wire::sequence_text(self.at.sequence));
        piece.values.insert("actor".to_owned(), json!(command.actor));
        if let Some(row) = self.state.issues.get_mut(&command.issue) {
            add_evidence(&mut row.issue, piece);
        }
        let first: String = text.chars().take(200).collect();
        self.tell(&command.issue, "noted", &command.actor, &first, out);
    }

    /// The issue becomes part of another: that one is held by its cells too, and adopts its children.
    fn merge(&mut self, command: &Command, into: &str, out: &mut Vec<Output>) -> Result<(), Refusal> {
        let id = command.issue.as_str();
        let senseless = |why: String| Err(Refusal::Senseless { why });
        if into == id {
            return senseless("it is merged into itself".to_owned());
        }
        let Some(target) = self.state.issues.get(into) else {
            return senseless(format!("there is no issue {into} to merge it into"));
        };
        if target.issue.state == IssueState::Resolved {
            return senseless(format!("issue {into} is resolved"));
        }
        let title = target.issue.title.clone();
        if self.state.issues.get(id).map(|row| &row.issue.rule_mode) != Some(&target.issue.rule_mode) {
            return senseless("one of them is in shadow mode, the other is not".to_owned());
        }
        self.did("merged it", command);
        for (rule, href) in self.desk.take_holders(id) {
            self.hold(into, &rule, &href);
        }
        self.arm_issue(into);
        self.count_members(into);
        self.move_children(id, into, out);
        if let Some(row) = self.state.issues.get_mut(id) {
            row.issue.merged_into = Some(into.to_owned());
        }
        let piece = self.piece("command", format!("part of: {title}"));
        let reason = match command.reason.is_empty() {
            true => format!("merged into: {title}"),
            false => command.reason.clone(),
        };
        self.finish(id, &command.actor, &reason, piece, out);
        self.rank(into);
        self.wake_when_worse(into, out);
        out.push(Output::Touched { issue: into.to_owned() });
        Ok(())
    }

    fn label(&mut self, command: &Command, label: Option<String>, out: &mut Vec<Output>) {
        let done = match &label {
            Some(label) => format!("called it a {label}"),
            None => "took the label off".to_owned(),
        };
        self.did(&done, command);
        self.set_label(&command.issue, label);
        self.tell(&command.issue, "labelled", &command.actor, &command.reason, out);
    }

    fn set_label(&mut self, id: &str, label: Option<String>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let before = std::mem::replace(&mut row.issue.label, label);
        let is = |label: &Option<String>| label.as_deref() == Some(FALSE_ALARM);
        let (was, now) = (is(&before), is(&row.issue.label));
        let rule = row.issue.rule.clone();
        if was != now && row.issue.rule_mode.is_none() {
            self.today().false_alarm(&rule, now);
        }
    }

    /// Tells a transition: who, why, and what it changed.
    pub(super) fn tell(
        &mut self,
        id: &str,
        transition: &str,
        actor: &str,
        reason: &str,
        out: &mut Vec<Output>,
    ) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        row.issue.revision += 1;
        if !actor.starts_with("rule/") && actor != "hob" {
            let (transition, actor, revision) = (transition.to_owned(), actor.to_owned(), row.issue.revision);
            row.last_person = Some(Last { transition, actor, revision });
        }
        let now = brief(&row.issue);
        let was = std::mem::replace(&mut row.told, now.clone());
        let differs = |name: &String| was.get(name) != now.get(name);
        let names: Vec<&String> = was.keys().chain(now.keys()).filter(|name| differs(name)).collect();
        let of = |map: &Map<String, Value>| -> Map<String, Value> {
            names
                .iter()
                .map(|name| ((*name).clone(), map.get(*name).cloned().unwrap_or(Value::Null)))
                .collect()
        };
        if row.issue.rule_mode.is_some() {
            // A rule in the shadow is not told of; who asks for its issues sees them.
            return out.push(Output::Touched { issue: id.to_owned() });
        }
        let (id, issue) = (format!("{id}.{}", row.issue.revision), row.issue.clone());
        let transition = hob_wire::Transition {
            transition: transition.to_owned(),
            time: self.state.clock,
            actor: actor.to_owned(),
            reason: reason.to_owned(),
            before: of(&was),
            after: of(&now),
            issue,
        };
        self.count_transition(&transition);
        out.push(Output::Transition { id, transition: Box::new(transition) });
    }

    /// A piece of evidence of what a person did.
    fn command_piece(&self, done: &str, command: &Command) -> Evidence {
        let why = if command.reason.is_empty() { String::new() } else { format!(": {}", command.reason) };
        let mut piece = self.piece("command", format!("{} {done}{why}", command.actor));
        piece.sequence = Some(hob_wire::sequence_text(self.at.sequence));
        piece.values.insert("actor".to_owned(), json!(command.actor));
        piece
    }
}

/// What transitions tell before and after.
fn brief(issue: &hob_wire::Issue) -> Map<String, Value> {
    let all = json!({
        "state": issue.state,
        "priority": issue.priority,
        "assignee": issue.assignee,
        "snoozed": issue.snoozed,
        "label": issue.label,
        "parent": issue.parent,
        "merged_into": issue.merged_into,
        "verify_at": issue.verify_at,
        "escalated": issue.escalated,
        "resolution": issue.resolution,
        "members": issue.members.count,
        "children": issue.children,
    });
    match all {
        Value::Object(map) => map.into_iter().filter(|(_, value)| !value.is_null()).collect(),
        _ => Map::new(),
    }
}
