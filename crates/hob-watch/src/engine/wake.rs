//! What happens to issues because time passes: snoozes and acknowledgements end, what was mended is looked at again,
//! issues expire.

use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::IssueState;

use super::desk::Wake;
use super::{Engine, Output};
use crate::rows::Verdict;

/// How long a frozen issue waits before it is looked at again.
const FROZEN: Duration = Duration::from_secs(60);

fn next_whole(now: Timestamp) -> Timestamp {
    let step = i64::try_from(FROZEN.as_micros()).unwrap_or(i64::MAX);
    Timestamp::from_micros((now.as_micros().div_euclid(step) + 1).saturating_mul(step))
}

impl Engine {
    /// Wakes whatever issues and actions wait for the time that it is now.
    pub(super) fn wake_desk(&mut self, out: &mut Vec<Output>) {
        let now = self.state.clock;
        while self.desk.timers.first().is_some_and(|(at, _)| *at <= now) {
            let Some((_, wake)) = self.desk.timers.pop_first() else { return };
            match wake {
                Wake::Issue(id) => {
                    self.wake_issue(&id, out);
                    self.arm_issue(&id);
                }
                Wake::Action(id) => {
                    self.wake_action(&id, out);
                    self.arm_action(&id);
                }
            }
        }
    }

    /// Sees to it that an issue is looked at when something of it is due.
    pub(super) fn arm_issue(&mut self, id: &str) {
        let Some(row) = self.state.issues.get(id) else { return };
        let issue = &row.issue;
        let expiry = self.expiry(id).filter(|_| issue.state != IssueState::Resolved);
        let snooze = issue.snoozed.as_ref().and_then(|snooze| snooze.until);
        let due = [snooze, issue.acknowledged_until, issue.verify_at, expiry].into_iter().flatten().min();
        let Some(mut at) = due else { return };
        if at <= self.state.clock {
            // Whatever was due was looked at; what is due still waits for something else. Whole minutes, so that an engine
            // that was restored looks at the same times.
            at = next_whole(self.state.clock);
        }
        self.desk.timers.insert((at, Wake::Issue(id.to_owned())));
    }

    /// When an issue is too old, as its rule says.
    fn expiry(&self, id: &str) -> Option<Timestamp> {
        let issue = &self.state.issues.get(id)?.issue;
        if issue.waits.is_some() {
            return None;
        }
        Some(issue.opened.plus(self.rules.rules.get(&issue.rule)?.expire?))
    }

    fn wake_issue(&mut self, id: &str, out: &mut Vec<Output>) {
        let now = self.state.clock;
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| at <= now);
        let Some(row) = self.state.issues.get(id) else { return };
        let issue = &row.issue;
        if issue.state == IssueState::Resolved {
            if is_due(issue.verify_at) {
                self.verify_fixed(id, out);
            }
            return;
        }
        let is_frozen = issue.unknown.is_some();
        let is_awake = is_due(issue.snoozed.as_ref().and_then(|snooze| snooze.until));
        let is_forgotten = is_due(issue.acknowledged_until) && !is_frozen;
        let is_unverified = is_due(issue.verify_at) && !is_frozen;
        let is_expired = is_due(self.expiry(id)) && !is_frozen;
        if is_awake {
            self.wake_from_snooze(id, "its snooze is over", out);
        }
        if is_expired {
            return self.expire_issue(id, out);
        }
        if is_forgotten {
            self.escalate(id, "nobody resolved it in the time that was taken for it", out);
        }
        if is_unverified {
            self.escalate(id, "its condition still holds at the check", out);
        }
    }

    /// An issue is open again because what people meant to do about it did not help in time.
    fn escalate(&mut self, id: &str, reason: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get_mut(id) else { return };
        let issue = &mut row.issue;
        let rule = issue.rule.clone();
        issue.state = IssueState::Open;
        issue.escalated += 1;
        (issue.acknowledged_until, issue.verify_at, issue.assignee) = (None, None, None);
        self.rank(id);
        self.tell(id, "escalated", &format!("rule/{rule}"), reason, out);
    }

    fn expire_issue(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        let actor = format!("rule/{}", row.issue.rule);
        self.silence_all(id);
        let reason = "it expired";
        let piece = self.piece("rule", reason.to_owned());
        self.condition_is_over(id, &actor, reason, piece, out);
    }

    /// Somebody said that an issue is fixed: it comes back when its condition held on ever since.
    fn verify_fixed(&mut self, id: &str, out: &mut Vec<Output>) {
        let Some(row) = self.state.issues.get(id) else { return };
        let rule = row.issue.rule.clone();
        let cells = row.silenced.iter().filter_map(|(rule, href)| self.cell(rule, href));
        let silent = cells.filter(|cell| cell.is_suppressed && cell.issue.is_none());
        let verdicts: Vec<Verdict> = silent.map(|cell| cell.verdict).collect();
        let is_newest =
            self.newest.get(&(rule.clone(), row.issue.key.clone())).is_some_and(|newest| newest == id);
        if is_newest && verdicts.contains(&Verdict::True) {
            let reason = "its condition still holds, although it was said to be fixed";
            return self.reopen_silenced(id, &format!("rule/{rule}"), reason, out);
        }
        let later = self.state.clock.plus(self.verify_after(&rule));
        let Some(row) = self.state.issues.get_mut(id) else { return };
        // While nothing can be told, it is looked at again.
        row.issue.verify_at = verdicts.contains(&Verdict::Unknown).then_some(later).filter(|_| is_newest);
        out.push(Output::Touched { issue: id.to_owned() });
    }
}
