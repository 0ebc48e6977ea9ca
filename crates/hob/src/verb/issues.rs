//! `hob issues`: what needs a human now, and what people do about it.

use hob_wire::{
    AcknowledgeIssue, ActOnIssue, AssignIssue, Figures, Hal, Issue, IssueState, LabelIssue, MergeIssue,
    NoteIssue, Reason, ResolveIssue, SnoozeIssue,
};
use serde::Serialize;

use crate::cli::{Global, IssueArguments, IssueVerb, Issues, OnIssue};
use crate::failure::Failure;
use crate::remote::{Remote, escape};
use crate::screen::{self, Cell};

mod show;
mod watch;

/// Rows of one list.
const ROWS_MAX: usize = 10_000;

pub(crate) async fn issues(remote: &Remote, global: &Global, arguments: Issues) -> Result<(), Failure> {
    let Some(verb) = arguments.verb else { return list(remote, global, &arguments.filter).await };
    let on = Target { remote, global };
    match verb {
        IssueVerb::List(filter) => list(remote, global, &filter).await,
        IssueVerb::Show { id } => show::show(remote, global, &id).await,
        IssueVerb::Timeline { id } => show::timeline(remote, global, &id).await,
        IssueVerb::Figures => show::figures(remote, global).await,
        IssueVerb::Watch => watch::watch(remote, global).await,
        IssueVerb::Ack { on: issue, held } => {
            let OnIssue { id, reason } = issue;
            on.post(&id, "acknowledge", &AcknowledgeIssue { reason, held, revision: None }).await
        }
        IssueVerb::Assign { on: issue, to } => {
            let OnIssue { id, reason } = issue;
            // Who gives it away has seen whose it is.
            let revision = Some(on.get(&id).await?.revision);
            on.post(&id, "assign", &AssignIssue { to, reason, revision }).await
        }
        IssueVerb::Snooze { on: issue, held, until, until_worse } => {
            let OnIssue { id, reason } = issue;
            on.post(&id, "snooze", &SnoozeIssue { until, held, until_worse, reason, revision: None }).await
        }
        IssueVerb::Resolve { on: issue, how } => {
            let OnIssue { id, reason } = issue;
            let how = how.map(Into::into);
            on.post(&id, "resolve", &ResolveIssue { how, reason, revision: None }).await
        }
        IssueVerb::Reopen(OnIssue { id, reason }) => on.post(&id, "reopen", &Reason { reason }).await,
        IssueVerb::Note { id, text } => on.post(&id, "note", &NoteIssue { text }).await,
        IssueVerb::Merge { on: issue, into } => {
            let OnIssue { id, reason } = issue;
            on.post(&id, "merge", &MergeIssue { into, reason, revision: None }).await
        }
        IssueVerb::Label { on: issue, label } => {
            let OnIssue { id, reason } = issue;
            on.post(&id, "label", &LabelIssue { label, reason }).await
        }
        IssueVerb::Act { on: issue, relation, again } => {
            let OnIssue { id, reason } = issue;
            let verb = format!("actions/{}", escape(&relation));
            on.post(&id, &verb, &ActOnIssue { reason, again, ..ActOnIssue::default() }).await
        }
    }
}

struct Target<'a> {
    remote: &'a Remote,
    global: &'a Global,
}

impl Target<'_> {
    async fn get(&self, id: &str) -> Result<Issue, Failure> {
        let path = self.remote.path(&format!("/v1/issues/{}", escape(id)), &[]);
        let issue: Hal<Issue> = self.remote.get(path).await?;
        Ok(issue.body)
    }

    async fn post<B: Serialize>(&self, id: &str, verb: &str, body: &B) -> Result<(), Failure> {
        let path = self.remote.path(&format!("/v1/issues/{}/{verb}", escape(id)), &[]);
        let issue: Hal<Issue> = self.remote.post(path, body).await?;
        match self.global.json {
            true => screen::json(&issue.body),
            false => screen::say(format!("{}: {}", word(&issue.body), issue.body.title)),
        }
        Ok(())
    }
}

async fn list(remote: &Remote, global: &Global, filter: &IssueArguments) -> Result<(), Failure> {
    let filter = filter.clone();
    let query = [
        ("state", (!filter.all).then(|| "open,acknowledged".to_owned())),
        ("rule", filter.rule),
        ("about", filter.about),
        ("assignee", filter.assignee),
        ("parent", filter.parent),
        ("label", filter.label),
        ("q", filter.query),
        ("shadow", filter.shadow.then(|| "true".to_owned())),
    ];
    let issues: Vec<Issue> = remote.list(remote.path("/v1/issues", &query), ROWS_MAX).await?;
    if global.json {
        screen::json(&issues);
        return Ok(());
    }
    // Ages count on the scope's clock, which need not be the wall's.
    let figures: Hal<Figures> = remote.get(remote.path("/v1/figures", &[])).await?;
    let rows = issues.iter().map(|i| {
        let priority = match i.priority {
            80.. => console::style(format!("▲ {}", i.priority)).red().to_string(),
            50.. => console::style(format!("◆ {}", i.priority)).yellow().to_string(),
            _ => format!("● {}", i.priority),
        };
        let touches = match (i.members.count, i.children) {
            (members, 0) => members.to_string(),
            (members, children) => format!("{members} + {children}"),
        };
        vec![
            Cell::plain(priority),
            Cell::state(word(i)),
            Cell::plain(screen::ago(i.opened, figures.body.clock)),
            Cell::bold(&i.title),
            Cell::plain(touches),
            Cell::plain(i.assignee.as_deref().unwrap_or("-")),
            Cell::dim(&i.rule),
            Cell::dim(&i.id),
        ]
    });
    screen::table(
        &["priority", "state", "age", "what", "touches", "whose", "rule", "id"],
        &rows.collect::<Vec<_>>(),
        "no open issues",
    );
    Ok(())
}

/// Where an issue stands, in a word.
fn word(issue: &Issue) -> &'static str {
    match issue.state {
        IssueState::Resolved if issue.merged_into.is_some() => "merged",
        IssueState::Resolved => "resolved",
        _ if issue.snoozed.is_some() => "snoozed",
        IssueState::Open => "open",
        IssueState::Acknowledged => "acknowledged",
    }
}
