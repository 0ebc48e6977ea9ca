//! `hob issues` and `hob rules`.

use hob_wire::{Figures, Hal, Issue, IssueState, Reason, Rule};

use crate::cli::{Global, IssueVerb, Issues};
use crate::failure::Failure;
use crate::remote::{Remote, escape};
use crate::screen::{self, Cell};

/// Rows of one list.
const ROWS_MAX: usize = 10_000;

pub(crate) async fn issues(remote: &Remote, global: &Global, arguments: Issues) -> Result<(), Failure> {
    match arguments.verb {
        None => list(remote, global, arguments.all).await,
        Some(IssueVerb::Show { id }) => {
            let issue: Hal<Issue> =
                remote.get(remote.path(&format!("/v1/issues/{}", escape(&id)), &[])).await?;
            show(global, &issue.body);
            Ok(())
        }
        Some(IssueVerb::Ack { id, reason }) => act(remote, global, &id, "acknowledge", reason).await,
        Some(IssueVerb::Resolve { id, reason }) => act(remote, global, &id, "resolve", reason).await,
    }
}

async fn list(remote: &Remote, global: &Global, all: bool) -> Result<(), Failure> {
    let states = (!all).then(|| "open,acknowledged".to_owned());
    let issues: Vec<Issue> = remote.list(remote.path("/v1/issues", &[("state", states)]), ROWS_MAX).await?;
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
        vec![
            Cell::plain(priority),
            Cell::state(word(i.state)),
            Cell::plain(screen::ago(i.opened, figures.body.clock)),
            Cell::bold(&i.title),
            Cell::dim(&i.rule),
            Cell::dim(&i.id),
        ]
    });
    screen::table(
        &["priority", "state", "age", "what", "rule", "id"],
        &rows.collect::<Vec<_>>(),
        "no open issues",
    );
    Ok(())
}

fn word(state: IssueState) -> &'static str {
    match state {
        IssueState::Open => "open",
        IssueState::Acknowledged => "acknowledged",
        IssueState::Resolved => "resolved",
    }
}

fn show(global: &Global, issue: &Issue) {
    if global.json {
        screen::json(issue);
        return;
    }
    screen::line(format!("{}", console::style(&issue.title).bold()));
    screen::line(format!(
        "{}, priority {}, rule {}, opened {}",
        word(issue.state),
        issue.priority,
        issue.rule,
        issue.opened
    ));
    screen::line(format!("about {}", issue.about));
    if let Some(resolution) = &issue.resolution {
        screen::line(format!("resolved: {resolution}"));
    }
    for evidence in &issue.evidence {
        screen::line(format!(
            "  {} {:<7} {}",
            screen::time_of_day(evidence.time),
            evidence.kind,
            evidence.text
        ));
        for (name, value) in &evidence.values {
            screen::line(format!("  {:>20} {name}: {value}", ""));
        }
    }
}

async fn act(remote: &Remote, global: &Global, id: &str, verb: &str, reason: String) -> Result<(), Failure> {
    let path = remote.path(&format!("/v1/issues/{}/{verb}", escape(id)), &[]);
    let issue: Hal<Issue> = remote.post(path, &Reason { reason }).await?;
    match global.json {
        true => screen::json(&issue.body),
        false => screen::say(format!("{}: {}", word(issue.body.state), issue.body.title)),
    }
    Ok(())
}

pub(crate) async fn rules(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let rules: Vec<Rule> = remote.list(remote.path("/v1/rules", &[]), ROWS_MAX).await?;
    if global.json {
        screen::json(&rules);
        return Ok(());
    }
    let rows = rules.iter().map(|r| {
        vec![
            Cell::bold(&r.name),
            Cell::state(&r.state),
            Cell::plain(&r.about),
            Cell::plain(r.open),
            Cell::plain(r.opened_total),
            Cell::dim(&r.file),
            Cell::dim(r.reason.clone().unwrap_or_default()),
        ]
    });
    let head = ["rule", "state", "about", "open", "ever", "file", "why"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "no rules are declared");
    Ok(())
}
