//! Actions: offered while their link relation is there, started by people or by rules, told of when they end.
//!
//! The engine only says what is to be done. Whoever drives it does that, and tells the result as a command in the log,
//! so that a replay calls nobody.

use hob_core::Timestamp;
use hob_wire::{Action, ActionMode, ActionState, ActionsState, IssueState, Offer, Paused};
use serde_json::{Map, Value, json};

use super::command::VERIFY_AFTER;
use super::desk::Wake;
use super::issue::add_evidence;
use super::{Engine, Output};
use crate::command::{Command, Refusal, Verb};
use crate::model::{self, Rule, With};
use crate::rows::ActionRow;

/// Actions that are kept, the newest.
pub const ACTIONS_MAX: usize = 2_000;
/// For how long a proposal may be approved.
const APPROVE_WITHIN: std::time::Duration = std::time::Duration::from_secs(600);
/// Letters of an answer that are kept.
const ANSWER_LETTERS_MAX: usize = 300;

/// A link that something can be done with.
pub(super) struct Way {
    pub(super) href: String,
    pub(super) method: String,
    pub(super) title: String,
}

impl From<model::ActionMode> for ActionMode {
    fn from(mode: model::ActionMode) -> Self {
        match mode {
            model::ActionMode::Suggest => Self::Suggest,
            model::ActionMode::Approve => Self::Approve,
            model::ActionMode::Auto => Self::Auto,
        }
    }
}

impl Engine {
    /// Makes anew what can be done about an issue: what its rule names, and whatever other links of its entity say how
    /// they are called.
    pub(super) fn offer(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        let issue = &row.issue;
        let rules = std::sync::Arc::clone(&self.rules);
        let rule = rules.rules.get(&issue.rule).filter(|_| issue.state != IssueState::Resolved);
        let Some(rule) = rule.filter(|_| !issue.storm) else { return };
        let mut wanted: Vec<(&str, ActionMode)> =
            rule.actions.iter().map(|action| (action.relation.as_str(), action.mode.into())).collect();
        let links = self.fields(rule, &issue.about, &rule.variable).and_then(|fields| fields.links());
        let links = links.unwrap_or_default();
        for (relation, link) in &links {
            let is_known = wanted.iter().any(|(known, _)| known == relation);
            if link.get("method").is_some() && !is_known {
                wanted.push((relation, ActionMode::Suggest));
            }
        }
        let offers = wanted.into_iter().filter_map(|(relation, mode)| {
            let way = self.way(rule, &issue.about, relation)?;
            Some(self.offered(id, relation, mode, way))
        });
        let offers: Vec<Offer> = offers.collect();
        let Some(row) = self.state.issues.get_mut(id).filter(|row| row.issue.actions != offers) else {
            return;
        };
        row.issue.actions = offers;
        out.push(Output::Touched { issue: id.to_owned() });
    }

    fn offered(&self, id: &str, relation: &str, mode: ActionMode, way: Way) -> Offer {
        let Way { href, method, title } = way;
        let (state, reason) = (ActionState::Offered, None);
        let (relation, none) = (relation.to_owned(), None);
        let offer = Offer { relation, title, mode, state, reason, href, method, action: none, until: None };
        match self.newest_try(id, &offer.relation) {
            None => offer,
            Some(row) => {
                let action = &row.action;
                let state = match action.state {
                    ActionState::Expired => ActionState::Offered,
                    state => state,
                };
                let (reason, tried) = (Some(action.reason.clone()), Some(action.id.clone()));
                let until = action.until.filter(|_| state == ActionState::Waiting);
                Offer { state, reason, action: tried, until, ..offer }
            }
        }
    }

    /// The newest try of an action in the present opening of an issue.
    pub(super) fn newest_try(&self, id: &str, relation: &str) -> Option<&ActionRow> {
        let row = self.state.issues.get(id)?;
        let opening = row.issue.reopenings;
        let tries =
            (1..=row.tries).rev().filter_map(|number| self.state.desk.actions.get(&action_id(id, number)));
        tries.take_while(|tried| tried.opening == opening).find(|tried| tried.action.relation == relation)
    }

    /// The link of an entity as it is now, while the entity is known.
    pub(super) fn way(&self, rule: &Rule, href: &str, relation: &str) -> Option<Way> {
        let links = self.fields(rule, href, &rule.variable)?.links()?;
        let link = links.get(relation)?;
        let link = link.as_array().and_then(|links| links.first()).unwrap_or(link);
        let text = |name: &str| link.get(name).and_then(Value::as_str);
        let method = match text("method").map(str::to_ascii_uppercase) {
            None => "POST".to_owned(),
            Some(method) if method == "POST" || method == "PUT" => method,
            Some(_) => return None,
        };
        let title = text("title").map_or_else(|| relation.replace(['-', '_', ':'], " "), str::to_owned);
        Some(Way { href: absolute(text("href")?, href), method, title })
    }

    /// What is known of an entity changed: what can be done about its issues may have changed too.
    pub(super) fn entity_changed(&mut self, href: &str, out: &mut Vec<Output>) {
        let ids: Vec<String> = self.desk.about.get(href).into_iter().flatten().cloned().collect();
        for id in ids {
            self.offer(&id, out);
            self.consider(&id, out);
        }
    }

    /// The action that caused an entity's newest event, when one did: its request carried the action's id.
    pub(super) fn cause_of(&self, href: &str) -> Option<String> {
        let request = self.state.entities.get(href)?.events.back()?.request.as_ref()?;
        self.state.desk.actions.contains_key(&**request).then(|| request.to_string())
    }

    /// Starts an action, or approves it, because a person wants that.
    pub(super) fn act(
        &mut self,
        command: &Command,
        relation: &str,
        meant: Option<&str>,
        again: bool,
        out: &mut Vec<Output>,
    ) -> Result<(), Refusal> {
        let id = command.issue.as_str();
        if let Some(Paused { by, reason, .. }) = self.state.desk.paused.clone() {
            return Err(Refusal::Paused { by, reason });
        }
        let refused = |why: String| Err(Refusal::Action { why });
        let Some(row) = self.state.issues.get(id) else { return Err(Refusal::Unknown) };
        let rules = std::sync::Arc::clone(&self.rules);
        let Some(rule) = rules.rules.get(&row.issue.rule) else {
            return refused("its rule is gone".to_owned());
        };
        let about = row.issue.about.clone();
        let Some(way) = self.way(rule, &about, relation) else {
            return refused(format!("{about} has no link `{relation}` now"));
        };
        let tried = self.newest_try(id, relation).map(|row| row.action.clone());
        if let Some(meant) = meant.filter(|meant| tried.as_ref().is_none_or(|tried| tried.id != *meant)) {
            return refused(format!("{meant} is not what is proposed now"));
        }
        let by = |action: &Action| action.approved_by.clone().unwrap_or_else(|| action.actor.clone());
        match tried {
            Some(tried) if tried.state == ActionState::Waiting => self.approve(command, &tried.id, out),
            Some(tried) if tried.state == ActionState::Running => {
                return refused(format!("it is being done already, as {} wanted", by(&tried)));
            }
            Some(tried) if tried.state == ActionState::Done && !again => {
                return refused(format!("it was done already, as {} wanted", by(&tried)));
            }
            Some(tried) if meant.is_some() => return refused(format!("{} waits for nobody", tried.id)),
            _ => {
                let mode = self.rule_action(rule, relation).map(|action| action.mode.into());
                let started = self.propose(id, rule, relation, way, mode.unwrap_or_default(), &command.actor);
                self.investigated(id);
                self.start(&started, &command.reason, out);
            }
        }
        Ok(())
    }

    fn rule_action<'a>(&self, rule: &'a Rule, relation: &str) -> Option<&'a model::Action> {
        rule.actions.iter().find(|action| action.relation == relation)
    }

    fn approve(&mut self, command: &Command, action: &str, out: &mut Vec<Output>) {
        if let Some(row) = self.state.desk.actions.get_mut(action) {
            row.action.approved_by = Some(command.actor.clone());
        }
        self.investigated(&command.issue);
        let why = if command.reason.is_empty() { "approved" } else { &command.reason };
        self.start(action, &format!("{why}, by {}", command.actor), out);
    }

    /// Notes that an action is wanted, and gives it an id.
    pub(super) fn propose(
        &mut self,
        id: &str,
        rule: &Rule,
        relation: &str,
        way: Way,
        mode: ActionMode,
        actor: &str,
    ) -> String {
        let with = self.body_of(rule, relation, id);
        let depth = self.depth_of(id);
        let now = self.state.clock;
        let Some(row) = self.state.issues.get_mut(id) else { return String::new() };
        row.tries += 1;
        let action = Action {
            id: action_id(id, row.tries),
            issue: id.to_owned(),
            rule: rule.name.clone(),
            about: row.issue.about.clone(),
            relation: relation.to_owned(),
            title: way.title,
            href: way.href,
            method: way.method,
            with,
            mode,
            state: ActionState::Waiting,
            actor: actor.to_owned(),
            approved_by: None,
            reason: String::new(),
            asked: now,
            until: None,
            ended: None,
            status: None,
            depth,
            helped: None,
        };
        let (opening, name) = (row.issue.reopenings, action.id.clone());
        let row = ActionRow { action, opening, is_begun: false, may_pass: false, verify_at: None };
        let desk = &mut self.state.desk;
        desk.actions.insert(name.clone(), row);
        desk.order.push_back(name.clone());
        if desk.order.len() > ACTIONS_MAX
            && let Some(oldest) = desk.order.pop_front()
        {
            desk.actions.remove(&oldest);
        }
        name
    }

    fn body_of(&self, rule: &Rule, relation: &str, id: &str) -> Map<String, Value> {
        let Some(action) = self.rule_action(rule, relation) else { return Map::new() };
        let Some(row) = self.state.issues.get(id) else { return Map::new() };
        let filling = self.filling(rule, &row.issue.about);
        let value = |with: &With| match with {
            With::Text(template) => json!(template.fill(&filling)),
            With::Json(value) => value.clone(),
        };
        action.with.iter().map(|(name, with)| (name.clone(), value(with))).collect()
    }

    /// An action is to be done now.
    pub(super) fn start(&mut self, action: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.desk.actions.get_mut(action) else { return };
        (row.action.state, row.action.until, row.action.asked) =
            (ActionState::Running, None, self.state.clock);
        row.action.reason = reason.to_owned();
        let action = row.action.clone();
        self.today().actions += 1;
        let by = action.approved_by.as_ref().unwrap_or(&action.actor).clone();
        self.note_action(&action.issue, format!("{by} does: {}", action.title), &action);
        self.tell(&action.issue, "acted", &by, &format!("{}: {reason}", action.title), out);
        self.offer(&action.issue, out);
        out.push(Output::Do(Box::new(action)));
    }

    fn note_action(&mut self, issue: &str, text: String, action: &Action) {
        let mut piece = self.piece("action", text);
        piece.requestid = Some(action.id.clone());
        piece.values.insert("action".to_owned(), json!(action.id));
        piece.values.insert("href".to_owned(), json!(action.href));
        if let Some(row) = self.state.issues.get_mut(issue) {
            add_evidence(&mut row.issue, piece);
        }
    }

    /// The call of an action is about to be made.
    pub(super) fn begun(&mut self, action: &str) {
        if let Some(row) = self.state.desk.actions.get_mut(action) {
            row.is_begun = true;
        }
    }

    /// An action ended.
    pub(super) fn acted(&mut self, action: &str, status: u16, error: Option<&str>, out: &mut Vec<Output>) {
        let now = self.state.clock;
        let Some(row) = self.state.desk.actions.get_mut(action) else { return };
        if row.action.state != ActionState::Running {
            return;
        }
        let is_done = (200..300).contains(&status);
        let told: String = error.unwrap_or_default().chars().take(ANSWER_LETTERS_MAX).collect();
        let text = match (is_done, status, told.is_empty()) {
            (true, _, _) => "done".to_owned(),
            (false, 0, true) => "failed: no answer".to_owned(),
            (false, 0, false) => format!("failed: {told}"),
            (false, status, true) => format!("failed: it answered {status}"),
            (false, status, false) => format!("failed: it answered {status}: {told}"),
        };
        row.action.state = if is_done { ActionState::Done } else { ActionState::Failed };
        (row.action.status, row.action.ended) = (Some(status), Some(now));
        row.action.reason.clone_from(&text);
        let verify =
            self.rules.rules.get(&row.action.rule).and_then(|rule| rule.verify).unwrap_or(VERIFY_AFTER);
        row.verify_at = is_done.then(|| now.plus(verify));
        let ended = row.action.clone();
        if !is_done {
            self.count_failure(&ended, &text);
        }
        self.arm_action(action);
        self.note_action(&ended.issue, format!("{}: {text}", ended.title), &ended);
        let by = ended.approved_by.as_ref().unwrap_or(&ended.actor).clone();
        self.tell(&ended.issue, "acted", &by, &format!("{}: {text}", ended.title), out);
        self.offer(&ended.issue, out);
        out.push(Output::Touched { issue: ended.issue });
    }

    /// Something of an action is due: its approval, or the look at whether it helped.
    pub(super) fn wake_action(&mut self, action: &str, out: &mut Vec<Output>) {
        let now = self.state.clock;
        let Some(row) = self.state.desk.actions.get_mut(action) else { return };
        let issue = row.action.issue.clone();
        if row.action.state == ActionState::Waiting && row.action.until.is_some_and(|until| until <= now) {
            row.action.state = ActionState::Expired;
            row.action.ended = Some(now);
            "nobody approved it in time".clone_into(&mut row.action.reason);
            return self.offer(&issue, out);
        }
        if row.verify_at.is_none_or(|at| at > now) {
            return;
        }
        row.verify_at = None;
        let opening = row.opening;
        let is_open =
            self.state.issues.get(&issue).is_some_and(|row| {
                row.issue.state != IssueState::Resolved && row.issue.reopenings == opening
            });
        self.has_helped(action, !is_open);
        self.offer(&issue, out);
    }

    fn has_helped(&mut self, action: &str, helped: bool) {
        let Some(row) = self.state.desk.actions.get_mut(action) else { return };
        row.action.helped = Some(helped);
        row.verify_at = None;
        let action = row.action.clone();
        match helped {
            true => drop(self.state.desk.failures.remove(&switch_of(&action.rule, &action.relation))),
            false => self.count_failure(&action, "the issue was not over in time"),
        }
    }

    /// An issue ended: what was proposed for it is void, and what was done helped.
    pub(super) fn actions_of_ended(&mut self, id: &str) {
        let Some(row) = self.state.issues.get(id) else { return };
        let (opening, now) = (row.issue.reopenings, self.state.clock);
        let ids: Vec<String> = (1..=row.tries).rev().map(|number| action_id(id, number)).collect();
        for action in ids {
            let Some(row) = self.state.desk.actions.get_mut(&action) else { continue };
            if row.opening != opening {
                break;
            }
            match row.action.state {
                ActionState::Waiting => {
                    (row.action.state, row.action.ended) = (ActionState::Expired, Some(now));
                    "the issue is over".clone_into(&mut row.action.reason);
                }
                ActionState::Done if row.verify_at.is_some() => self.has_helped(&action, true),
                _ => {}
            }
        }
    }

    /// The kill switch.
    pub(super) fn switch(&mut self, command: &Command, out: &mut Vec<Output>) {
        match command.verb {
            Verb::PauseActions => {
                let (by, reason) = (command.actor.clone(), command.reason.clone());
                self.state.desk.paused.get_or_insert(Paused { by, reason, since: self.state.clock });
            }
            _ => {
                self.state.desk.paused = None;
                self.state.desk.stopped.clear();
                self.state.desk.failures.clear();
                let open: Vec<String> = self.desk.about.values().flatten().cloned().collect();
                for id in open {
                    self.consider(&id, out);
                }
            }
        }
    }

    /// Sees to it that an action is looked at when something of it is due.
    pub(super) fn arm_action(&mut self, action: &str) {
        let Some(row) = self.state.desk.actions.get(action) else { return };
        let until = row.action.until.filter(|_| row.action.state == ActionState::Waiting);
        let due: Option<Timestamp> = [until, row.verify_at].into_iter().flatten().min();
        if let Some(at) = due {
            self.desk.timers.insert((at, Wake::Action(action.to_owned())));
        }
    }

    pub(super) fn derive_actions(&mut self) {
        let ids: Vec<String> = self.state.desk.actions.keys().cloned().collect();
        for id in ids {
            self.arm_action(&id);
        }
    }

    /// Proposes an action to people, who may approve it for a while.
    pub(super) fn wait_for_approval(&mut self, action: &str, reason: String) {
        let until = self.state.clock.plus(APPROVE_WITHIN);
        if let Some(row) = self.state.desk.actions.get_mut(action) {
            (row.action.state, row.action.until) = (ActionState::Waiting, Some(until));
            row.action.reason = reason;
        }
        self.arm_action(action);
    }

    /// Actions, the newest first.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        let desk = &self.state.desk;
        desk.order.iter().rev().filter_map(|id| desk.actions.get(id)).map(|row| &row.action)
    }

    /// Actions that are to be called and of which no call was begun.
    pub fn to_do(&self) -> Vec<Action> {
        self.running(false)
    }

    /// Actions whose call was begun and of whose end nothing is known.
    pub fn under_way(&self) -> Vec<Action> {
        self.running(true)
    }

    fn running(&self, is_begun: bool) -> Vec<Action> {
        let desk = &self.state.desk;
        let rows = desk.order.iter().filter_map(|id| desk.actions.get(id));
        rows.filter(|row| row.action.state == ActionState::Running && row.is_begun == is_begun)
            .map(|row| row.action.clone())
            .collect()
    }

    /// Whether anything may act.
    pub fn actions_state(&self) -> ActionsState {
        let desk = &self.state.desk;
        ActionsState { paused: desk.paused.clone(), stopped: desk.stopped.clone() }
    }
}

/// A link's href with the entity's origin, when it has none of its own.
fn absolute(link: &str, entity: &str) -> String {
    if !link.starts_with('/') {
        return link.to_owned();
    }
    let authority = entity.find("://").map_or(0, |at| at + 3);
    let path = entity[authority..].find('/').map_or(entity.len(), |at| authority + at);
    format!("{}{link}", &entity[..path])
}

pub(super) fn action_id(issue: &str, number: u32) -> String {
    format!("action-{issue}-{number}")
}

/// What stops by itself: an action of a rule.
pub(super) fn switch_of(rule: &str, relation: &str) -> String {
    format!("{rule}/{relation}")
}

#[cfg(test)]
mod tests {
    use super::absolute;

    #[test]
    fn links_without_an_origin_have_that_of_their_entity() {
        assert_eq!(
            absolute("/orders/7/reassign", "http://a.test:81/orders/7"),
            "http://a.test:81/orders/7/reassign"
        );
        assert_eq!(absolute("/x", "http://a.test"), "http://a.test/x");
        assert_eq!(absolute("http://b.test/x", "http://a.test/orders/7"), "http://b.test/x");
    }
}
