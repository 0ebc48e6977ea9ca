//! What people do to issues. Each is recorded before it is done; the second of two people is told who was first.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{MethodRouter, post};
use hob_core::{Scope, code, parse_duration};
use hob_watch::{Command, Verb};
use hob_wire::{
    AcknowledgeIssue, ActOnIssue, AssignIssue, Hal, Issue, LabelIssue, MergeIssue, NoteIssue, Reason,
    ResolveIssue, SnoozeIssue,
};
use http::StatusCode;

use super::resource;
use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, Path, json};
use crate::state::Api;

/// Letters of a reason.
const REASON_LENGTH_MAX: usize = 500;
/// Letters of a note.
const NOTE_LENGTH_MAX: usize = 2_000;
/// Letters of a name or a label.
const NAME_LENGTH_MAX: usize = 100;
/// The longest snooze or acknowledgement.
const HELD_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// The only label that there is.
const FALSE_ALARM: &str = "false-alarm";

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        command("/v1/issues/{id}/acknowledge", "Say that one attends to it", post(acknowledge))
            .takes::<AcknowledgeIssue>(),
        command("/v1/issues/{id}/assign", "Say whose it is", post(assign)).takes::<AssignIssue>(),
        command("/v1/issues/{id}/snooze", "Be silent about it for a while", post(snooze))
            .takes::<SnoozeIssue>(),
        command("/v1/issues/{id}/resolve", "Say that it is over", post(resolve)).takes::<ResolveIssue>(),
        command("/v1/issues/{id}/reopen", "Say that it is not over", post(reopen)).takes::<Reason>(),
        command("/v1/issues/{id}/note", "Leave a word", post(note)).takes::<NoteIssue>(),
        command("/v1/issues/{id}/merge", "Say that it is the same as another", post(merge))
            .takes::<MergeIssue>(),
        command("/v1/issues/{id}/label", "Say what it was", post(label)).takes::<LabelIssue>(),
        command("/v1/issues/{id}/actions/{relation}", "Do something about it, or approve that", post(act))
            .takes::<ActOnIssue>(),
    ]
}

fn command(path: &'static str, summary: &'static str, handler: MethodRouter<Api>) -> Endpoint {
    Endpoint::post(path, Who::Operator, summary, handler).scoped().answers::<Hal<Issue>>(200)
}

/// A person, and the issue that they mean.
struct Decision<'a> {
    api: &'a Api,
    scope: Scope,
    caller: Caller,
    id: String,
    reason: String,
    revision: Option<u32>,
}

impl Decision<'_> {
    async fn taken(self, verb: Verb) -> Result<Response, ApiError> {
        let reason = within(self.reason, REASON_LENGTH_MAX, "a reason")?;
        let (actor, revision) = (self.caller.name, self.revision);
        let command = Command { verb, issue: self.id, actor, reason, revision };
        let issue = self.api.watch.decide(&self.scope, command).await?;
        Ok(json(StatusCode::OK, &resource(&issue, &self.scope)))
    }
}

fn within(text: String, letters_max: usize, what: &str) -> Result<String, ApiError> {
    match text.chars().count() > letters_max {
        true => Err(ApiError::new(code::INVALID, format!("{what} has at most {letters_max} letters"))),
        false => Ok(text),
    }
}

fn held(text: Option<String>) -> Result<Option<Duration>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let bad = |why: String| ApiError::new(code::INVALID, why).hint("write it as 20m, 2h or 1d");
    let held = parse_duration(&text).map_err(|error| bad(error.to_string()))?;
    match held > HELD_MAX || held.is_zero() {
        true => Err(bad(format!("`for` is {text}; it may be from a second to 30 days"))),
        false => Ok(Some(held)),
    }
}

async fn acknowledge(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<AcknowledgeIssue>,
) -> Result<Response, ApiError> {
    let verb = Verb::Acknowledge { held: held(body.held)? };
    let (reason, revision) = (body.reason, body.revision);
    Decision { api: &api, scope, caller, id, reason, revision }.taken(verb).await
}

async fn assign(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<AssignIssue>,
) -> Result<Response, ApiError> {
    let to = body.to.filter(|to| !to.is_empty());
    let to = to.map(|to| if to == "me" { caller.name.clone() } else { to });
    let to = to.map(|to| within(to, NAME_LENGTH_MAX, "a name")).transpose()?;
    let (reason, revision) = (body.reason, body.revision);
    Decision { api: &api, scope, caller, id, reason, revision }.taken(Verb::Assign { to }).await
}

async fn snooze(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<SnoozeIssue>,
) -> Result<Response, ApiError> {
    let verb = Verb::Snooze { until: body.until, held: held(body.held)?, until_worse: body.until_worse };
    let (reason, revision) = (body.reason, body.revision);
    Decision { api: &api, scope, caller, id, reason, revision }.taken(verb).await
}

async fn resolve(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<ResolveIssue>,
) -> Result<Response, ApiError> {
    let (reason, revision) = (body.reason, body.revision);
    let verb = Verb::Resolve { how: body.how };
    Decision { api: &api, scope, caller, id, reason, revision }.taken(verb).await
}

async fn reopen(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<Reason>,
) -> Result<Response, ApiError> {
    Decision { api: &api, scope, caller, id, reason: body.reason, revision: None }.taken(Verb::Reopen).await
}

async fn note(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<NoteIssue>,
) -> Result<Response, ApiError> {
    let text = within(body.text, NOTE_LENGTH_MAX, "a note")?;
    if text.trim().is_empty() {
        return Err(ApiError::new(code::INVALID, "the note is empty"));
    }
    let reason = String::new();
    Decision { api: &api, scope, caller, id, reason, revision: None }.taken(Verb::Note { text }).await
}

async fn merge(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<MergeIssue>,
) -> Result<Response, ApiError> {
    let into = within(body.into, NAME_LENGTH_MAX, "an id")?;
    let (reason, revision) = (body.reason, body.revision);
    Decision { api: &api, scope, caller, id, reason, revision }.taken(Verb::Merge { into }).await
}

async fn label(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(body): Body<LabelIssue>,
) -> Result<Response, ApiError> {
    if let Some(label) = body.label.as_ref().filter(|label| *label != FALSE_ALARM) {
        let why = format!("there is no label `{}`", label.chars().take(NAME_LENGTH_MAX).collect::<String>());
        return Err(ApiError::new(code::INVALID, why).hint("it may be false-alarm, or none"));
    }
    let (label, reason) = (body.label, body.reason);
    Decision { api: &api, scope, caller, id, reason, revision: None }.taken(Verb::Label { label }).await
}

async fn act(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path((id, relation)): Path<(String, String)>,
    Body(body): Body<ActOnIssue>,
) -> Result<Response, ApiError> {
    let relation = within(relation, NAME_LENGTH_MAX, "a relation")?;
    let verb = Verb::Act { relation, action: body.action, again: body.again };
    let (reason, revision) = (body.reason, body.revision);
    Decision { api: &api, scope, caller, id, reason, revision }.taken(verb).await
}
