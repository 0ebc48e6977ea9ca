//! One issue: why it is there, what it touches, what can be done; its timeline; and what the days were like.

use hob_wire::{Hal, Issue, IssueDay, Moment};

use super::word;
use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::{Remote, escape};
use crate::screen::{self, Cell};

/// Moments of one timeline.
const MOMENTS_MAX: usize = 200;
/// Days of one list.
const DAYS_MAX: usize = 90;

pub(super) async fn show(remote: &Remote, global: &Global, id: &str) -> Result<(), Failure> {
    let path = remote.path(&format!("/v1/issues/{}", escape(id)), &[]);
    let issue: Hal<Issue> = remote.get(path).await?;
    let issue = issue.body;
    if global.json {
        screen::json(&issue);
        return Ok(());
    }
    screen::line(format!("{}", console::style(&issue.title).bold()));
    let (state, priority) = (word(&issue), issue.priority);
    screen::line(format!("{state}, priority {priority}, rule {}, opened {}", issue.rule, issue.opened));
    let terms = issue.terms.iter().map(|term| format!("{:+} {} ({})", term.points, term.name, term.text));
    screen::line(format!("why {priority}: {}", terms.collect::<Vec<_>>().join(", ")));
    screen::line(format!("about {}", issue.about));
    facts(&issue);
    touched(&issue);
    for offer in &issue.actions {
        let state = serde_json::to_value(offer.state).ok();
        let state = state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
        let reason = offer.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        screen::line(format!("can be done: {} ({}), {state}{reason}", offer.relation, offer.title));
    }
    for evidence in &issue.evidence {
        let time = screen::time_of_day(evidence.time);
        screen::line(format!("  {time} {:<7} {}", evidence.kind, evidence.text));
        for (name, value) in &evidence.values {
            screen::line(format!("  {:>20} {name}: {value}", ""));
        }
    }
    Ok(())
}

fn facts(issue: &Issue) {
    let snoozed = issue.snoozed.as_ref().map(|snooze| {
        let until = snooze.until.map(|until| format!(" until {until}")).unwrap_or_default();
        let worse = if snooze.worse { ", or until it is worse" } else { "" };
        format!("by {}{until}{worse}", snooze.by)
    });
    let facts = [
        ("whose", issue.assignee.clone()),
        ("snoozed", snoozed),
        ("unknown", issue.unknown.clone()),
        ("waits", issue.waits.clone()),
        ("label", issue.label.clone()),
        ("to be checked", issue.verify_at.map(|at| at.to_string())),
        ("part of", issue.parent.clone()),
        ("merged into", issue.merged_into.clone()),
        ("resolved", issue.resolution.clone()),
        ("runbook", issue.runbook.clone()),
    ];
    for (name, fact) in facts {
        if let Some(fact) = fact {
            screen::line(format!("{name}: {fact}"));
        }
    }
}

fn touched(issue: &Issue) {
    if issue.members.count < 2 && issue.children == 0 {
        return;
    }
    screen::line(format!("touches {}, explains {} issues", issue.members.count, issue.children));
    for member in &issue.members.first {
        let slack = member.slack_at.map(|at| format!(", {}", screen::time_of_day(at))).unwrap_or_default();
        screen::line(format!("  {}{slack}", member.label.as_ref().unwrap_or(&member.href)));
    }
}

pub(super) async fn timeline(remote: &Remote, global: &Global, id: &str) -> Result<(), Failure> {
    let path = remote.path(&format!("/v1/issues/{}/timeline", escape(id)), &[]);
    let mut moments: Vec<Moment> = remote.list(path, MOMENTS_MAX).await?;
    if global.json {
        screen::json(&moments);
        return Ok(());
    }
    moments.reverse();
    let rows = moments.iter().map(|moment| {
        vec![
            Cell::plain(screen::time_of_day(moment.time)),
            Cell::dim(&moment.kind),
            Cell::bold(&moment.text),
            Cell::dim(moment.requestid.as_deref().unwrap_or_default()),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    screen::table(&["time", "kind", "what", "request"], &rows, "nothing is known of its entity any more");
    Ok(())
}

pub(super) async fn figures(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let days: Vec<IssueDay> = remote.list(remote.path("/v1/issues/figures", &[]), DAYS_MAX).await?;
    if global.json {
        screen::json(&days);
        return Ok(());
    }
    let minutes = |seconds: Option<f64>| match seconds {
        Some(seconds) => Cell::plain(format!("{:.1}m", seconds / 60.0)),
        None => Cell::dim("-"),
    };
    let rows = days.iter().map(|day| {
        let per = day.investigations_per.iter().map(|(kind, per)| format!("{per:.4}/{kind}"));
        let shares = day.outcomes.iter().map(|(name, share)| format!("{name} {:.2}%", share.share * 100.0));
        vec![
            Cell::bold(&day.day),
            Cell::plain(day.opened),
            Cell::plain(day.resolved),
            Cell::plain(day.false_alarms),
            minutes(day.acknowledge.p50),
            minutes(day.resolve.p50),
            Cell::plain(day.investigations),
            Cell::plain(per.collect::<Vec<_>>().join(" ")),
            Cell::plain(shares.collect::<Vec<_>>().join(" ")),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let head = ["day", "opened", "resolved", "false", "to ack", "to end", "looked at", "per", "outcomes"];
    screen::table(&head, &rows, "no day is over yet");
    Ok(())
}
