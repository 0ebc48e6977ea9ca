//! Whom an issue touches: all counted, the most urgent named.

use std::collections::BTreeMap;

use hob_core::Timestamp;
use hob_wire::Member;

use super::Engine;
use super::bind::Time;
use super::entity::targets;
use crate::model::{Path, Rule};

/// Members that an issue names.
const NAMED_MAX: usize = 20;
/// From so many members on, they are counted as they come and go, and anew only when priorities are.
const MANY: u32 = 100;

impl Engine {
    /// Counts the members of an issue anew.
    pub(super) fn count_members(&mut self, id: &str) {
        let mut members: BTreeMap<String, Option<Timestamp>> = BTreeMap::new();
        for (rule, href) in self.desk.holders(id) {
            let Some(rule) = self.rules.rules.get(rule) else { continue };
            for (member, slack) in self.members_by(rule, href) {
                let known = members.entry(member).or_insert(slack);
                *known = sooner(*known, slack);
            }
        }
        let count = u32::try_from(members.len()).unwrap_or(u32::MAX);
        let worst = members.values().flatten().min().copied();
        let mut named: Vec<(&String, &Option<Timestamp>)> = members.iter().collect();
        named.sort_by_key(|(href, slack)| (slack.is_none(), **slack, (*href).clone()));
        named.truncate(NAMED_MAX);
        let first: Vec<Member> =
            named.into_iter().map(|(href, slack)| self.member(href.clone(), *slack)).collect();
        if let Some(row) = self.state.issues.get_mut(id).filter(|_| count > 0) {
            row.issue.members = hob_wire::Members { count, first, worst };
        }
    }

    /// Whom an issue touches by one of the cells that hold it: what the rule says it affects, else the entity itself.
    fn members_by(&self, rule: &Rule, href: &str) -> Vec<(String, Option<Timestamp>)> {
        let fields = self.state.entities.get(href).and_then(|row| row.fields.as_ref());
        let mut affected = Vec::new();
        for relation in &rule.affects {
            for target in fields.map(|fields| targets(fields, relation)).unwrap_or_default() {
                let slack = self.slack_at(rule, href, Some((relation, &target)));
                affected.push((target, slack));
            }
        }
        for target in self.counted(&rule.name, href) {
            let slack = self.slack_at(rule, href, Some((&rule.about, &target)));
            affected.push((target, slack));
        }
        match affected.is_empty() {
            true => vec![(href.to_owned(), self.slack_at(rule, href, None))],
            false => affected,
        }
    }

    /// When something becomes unacceptable: the time that the rule's `urgency` names, of the member itself when it names
    /// the relation that leads there.
    fn slack_at(&self, rule: &Rule, href: &str, member: Option<(&String, &String)>) -> Option<Timestamp> {
        let Path { variable, field } = &rule.urgency.as_ref()?.field;
        if let Some((relation, target)) = member {
            let row = self.state.entities.get(target)?;
            if relation == variable || *row.kind == **variable {
                return self.field_of(target, field)?.as_str()?.parse().ok();
            }
        }
        match self.time(rule, href, &rule.urgency.as_ref()?.field) {
            Time::At(at) => Some(at),
            Time::None | Time::Unknown(_) => None,
        }
    }

    fn member(&self, href: String, slack_at: Option<Timestamp>) -> Member {
        Member { label: self.label_of(&href), href, slack_at }
    }

    /// How people call an entity.
    pub(crate) fn label_of(&self, href: &str) -> Option<String> {
        let row = self.state.entities.get(href)?;
        let kind = self.rules.entities.get(&*row.kind)?;
        let label = kind.label.as_ref()?;
        let variables = [(kind.variable.as_str(), row.fields.as_ref()?.to_map())].into();
        Some(label.fill(&crate::template::Filling { variables, ..Default::default() }))
    }

    /// Counts a member that came. Of many, the named ones change only when it is more urgent than one of them.
    pub(super) fn member_came(&mut self, id: &str, rule: &Rule, href: &str) {
        if self.counts_anew(id) {
            self.count_members(id);
            self.rank(id);
            return;
        }
        let came = self.members_by(rule, href);
        for (member, slack) in came {
            let member = self.member(member, slack);
            let Some(row) = self.state.issues.get_mut(id) else { return };
            let members = &mut row.issue.members;
            members.count = members.count.saturating_add(1);
            members.worst = sooner(members.worst, slack);
            let later =
                |other: &Member| (other.slack_at.is_none(), other.slack_at) > (slack.is_none(), slack);
            if let Some(place) = members.first.iter().position(later) {
                members.first.insert(place, member);
                members.first.truncate(NAMED_MAX);
            }
        }
    }

    /// Counts a member that left.
    pub(super) fn member_left(&mut self, id: &str, rule: &str, href: &str) {
        if self.counts_anew(id) {
            self.count_members(id);
            self.rank(id);
            return;
        }
        let rules = std::sync::Arc::clone(&self.rules);
        let left = match rules.rules.get(rule) {
            Some(rule) => self.members_by(rule, href),
            None => vec![(href.to_owned(), None)],
        };
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let members = &mut row.issue.members;
        members.count = members.count.saturating_sub(u32::try_from(left.len()).unwrap_or(1)).max(1);
        members.first.retain(|member| left.iter().all(|(gone, _)| *gone != member.href));
    }

    fn counts_anew(&self, id: &str) -> bool {
        let count = self.state.issues.get(id).map_or(0, |row| row.issue.members.count);
        count < MANY || self.desk.held_by(id) < MANY as usize
    }
}

/// The earlier of two times; a time is earlier than none.
fn sooner(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
