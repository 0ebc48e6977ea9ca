//! How urgent an issue is, and why: the terms of its priority.

use std::time::Duration;

use hob_core::{Timestamp, format_duration};
use hob_wire::{Issue, IssueState, Term};

use super::{Engine, Output};
use crate::model::Rule;

/// What being as urgent as can be adds to a priority.
const URGENCY_POINTS: u64 = 30;
/// What being attended to takes from a priority.
const ACKNOWLEDGED_POINTS: i32 = 20;
/// What each time adds that nobody resolved it in the time they had taken, at most twice.
const ESCALATED_POINTS: i32 = 10;

impl Engine {
    /// Makes an issue's priority anew; whether it changed. It stays while nothing is known of it.
    pub(super) fn rank(&mut self, id: &str) -> bool {
        let Some(row) = self.state.issues.get(id) else { return false };
        let Some(rule) = self.rules.rules.get(&row.issue.rule) else { return false };
        let about = self.state.entities.get(&row.issue.about);
        if row.issue.unknown.is_some() || about.is_some_and(|about| about.fields.is_some() && !about.is_known)
        {
            return false;
        }
        let terms = terms(rule, &row.issue, self.state.clock);
        let sum: i32 = terms.iter().map(|term| term.points).sum();
        let priority = u8::try_from(sum.clamp(0, 100)).unwrap_or(100);
        let Some(row) = self.state.issues.get_mut(id) else { return false };
        row.issue.terms = terms;
        std::mem::replace(&mut row.issue.priority, priority) != priority
    }

    /// Makes the priorities of all unresolved issues anew.
    pub(super) fn rank_all(&mut self, out: &mut Vec<Output>) {
        let open = self.state.issues.iter().filter(|(_, row)| row.issue.state != IssueState::Resolved);
        let open: Vec<String> = open.map(|(id, _)| id.clone()).collect();
        for id in open {
            self.count_members(&id);
            if self.rank(&id) {
                self.wake_when_worse(&id, out);
                out.push(Output::Touched { issue: id.clone() });
            }
            self.consider(&id, out);
        }
    }
}

fn terms(rule: &Rule, issue: &Issue, now: Timestamp) -> Vec<Term> {
    let term = |name: &str, points: i32, text: String| Term { name: name.to_owned(), points, text };
    let mut terms = vec![term("base", i32::from(rule.priority), format!("rule {}", rule.name))];
    if let (Some(urgency), Some(at)) = (&rule.urgency, issue.members.worst) {
        let points = urgency_points(at, urgency.within, now);
        let text = match at > now {
            true => format!("{} left", format_duration(whole_minutes(at.since(now)))),
            false => format!("{} late", format_duration(whole_minutes(now.since(at)))),
        };
        terms.push(term("urgency", points, text));
    }
    let touched = issue.members.count.saturating_add(issue.children);
    if touched > 1 {
        let children = match issue.children {
            0 => String::new(),
            children => format!(" and {children} issues"),
        };
        let text = format!("{} members{children}", issue.members.count);
        terms.push(term("members", members_points(touched), text));
    }
    if issue.escalated > 0 {
        let times = i32::try_from(issue.escalated.min(2)).unwrap_or(2);
        let text = "nobody resolved it in time".to_owned();
        terms.push(term("escalated", times * ESCALATED_POINTS, text));
    }
    if issue.state == IssueState::Acknowledged {
        let by = issue.assignee.as_deref().unwrap_or("somebody");
        terms.push(term("acknowledged", -ACKNOWLEDGED_POINTS, format!("{by} attends to it")));
    }
    terms
}

/// From nothing, as long as there is time enough, to [`URGENCY_POINTS`] when there is none.
fn urgency_points(at: Timestamp, within: Duration, now: Timestamp) -> i32 {
    let within = within.as_millis().max(1);
    let left = at.since(now).as_millis().min(within);
    i32::try_from((within - left) * u128::from(URGENCY_POINTS) / within).unwrap_or(0)
}

/// Five for each doubling, in whole numbers: the logarithm of the fifth power.
fn members_points(members: u32) -> i32 {
    let members = u128::from(members.min(1 << 24));
    i32::try_from(members.pow(5).ilog2()).unwrap_or(0)
}

fn whole_minutes(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs() / 60 * 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_grow_with_members_and_as_time_runs_out() {
        let members: Vec<i32> = [1, 2, 3, 4, 8, 10_000, u32::MAX].map(members_points).into();
        assert_eq!(members, [0, 5, 7, 10, 15, 66, 120]);
        let at = |minutes: i64| Timestamp::from_micros(minutes * 60_000_000);
        let points = |left: i64| urgency_points(at(100), Duration::from_secs(1800), at(100 - left));
        assert_eq!([60, 30, 15, 3, 0, -5].map(points), [0, 0, 15, 27, 30, 30]);
    }
}
