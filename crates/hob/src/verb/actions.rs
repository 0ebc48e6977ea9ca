//! `hob actions`: what was done about issues, and the switch that stops all of it.

use hob_wire::{ActOnIssue, Action, ActionsState, Hal, Issue, Reason};

use crate::cli::{ActionVerb, Actions, Global};
use crate::failure::{Exit, Failure};
use crate::remote::{Remote, escape};
use crate::screen::{self, Cell};

/// Rows of one list.
const ROWS_MAX: usize = 1_000;

pub(crate) async fn actions(remote: &Remote, global: &Global, arguments: Actions) -> Result<(), Failure> {
    match arguments.verb {
        None => list(remote, global, None, None).await,
        Some(ActionVerb::List { issue, state }) => list(remote, global, issue, state).await,
        Some(ActionVerb::Pause { reason }) => switch(remote, global, "pause", reason).await,
        Some(ActionVerb::Resume { reason }) => switch(remote, global, "resume", reason).await,
        Some(ActionVerb::Approve { id, reason }) => approve(remote, global, &id, reason).await,
    }
}

async fn list(
    remote: &Remote,
    global: &Global,
    issue: Option<String>,
    state: Option<String>,
) -> Result<(), Failure> {
    let path = remote.path("/v1/actions", &[("issue", issue), ("state", state)]);
    let actions: Vec<Action> = remote.list(path, ROWS_MAX).await?;
    if global.json {
        screen::json(&actions);
        return Ok(());
    }
    let now: Hal<ActionsState> = remote.get(remote.path("/v1/actions/state", &[])).await?;
    if let Some(paused) = &now.body.paused {
        screen::say(format!(
            "all actions are paused, by {} since {}: {}",
            paused.by, paused.since, paused.reason
        ));
    }
    for (action, why) in &now.body.stopped {
        screen::say(format!("{action} stopped by itself: {why}"));
    }
    let rows = actions.iter().map(|action| {
        let state = serde_json::to_value(action.state).ok();
        let state = state.and_then(|state| state.as_str().map(str::to_owned)).unwrap_or_default();
        vec![
            Cell::plain(screen::time_of_day(action.asked)),
            Cell::state(&state),
            Cell::bold(&action.title),
            Cell::plain(action.approved_by.as_ref().unwrap_or(&action.actor)),
            Cell::dim(&action.about),
            Cell::plain(&action.reason),
            Cell::dim(&action.id),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    screen::table(&["asked", "state", "what", "who", "about", "why", "id"], &rows, "nothing was done yet");
    Ok(())
}

async fn switch(remote: &Remote, global: &Global, verb: &str, reason: String) -> Result<(), Failure> {
    let path = remote.path(&format!("/v1/actions/{verb}"), &[]);
    let state: Hal<ActionsState> = remote.post(path, &Reason { reason }).await?;
    match (global.json, &state.body.paused) {
        (true, _) => screen::json(&state.body),
        (false, Some(paused)) => screen::say(format!("all actions are paused, by {}", paused.by)),
        (false, None) => screen::say("actions may be done"),
    }
    Ok(())
}

async fn approve(remote: &Remote, global: &Global, id: &str, reason: String) -> Result<(), Failure> {
    let actions: Vec<Action> = remote.list(remote.path("/v1/actions", &[]), ROWS_MAX).await?;
    let Some(action) = actions.into_iter().find(|action| action.id == id) else {
        return Err(Failure::with(Exit::NotFound, format!("there is no action {id}"))
            .hint("hob actions list --state waiting"));
    };
    let path = format!("/v1/issues/{}/actions/{}", escape(&action.issue), escape(&action.relation));
    let body = ActOnIssue { reason, action: Some(action.id), ..ActOnIssue::default() };
    let issue: Hal<Issue> = remote.post(remote.path(&path, &[]), &body).await?;
    match global.json {
        true => screen::json(&issue.body),
        false => screen::say(format!("{}: {}", action.title, issue.body.title)),
    }
    Ok(())
}
