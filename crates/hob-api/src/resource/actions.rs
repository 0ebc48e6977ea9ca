//! What was done about issues, by whom and with what result; and the switch that stops all of it.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use hob_core::code;
use hob_wire::{Action, ActionState, ActionsState, Hal, Page, Reason};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, json, page_of};
use crate::state::Api;

/// Letters of a reason.
const REASON_LENGTH_MAX: usize = 500;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/actions", Who::Viewer, "What was done or is proposed, newest first", get(list))
            .scoped()
            .params(&[
                ("issue", "about this issue"),
                ("rule", "of this rule"),
                ("state", "waiting, running, done, failed, refused, expired or dry-run"),
            ])
            .paged()
            .answers::<Page<Action>>(200),
        Endpoint::get("/v1/actions/state", Who::Viewer, "Whether anything may act", get(state))
            .scoped()
            .answers::<Hal<ActionsState>>(200),
        Endpoint::post("/v1/actions/pause", Who::Operator, "Stop all actions", post(pause))
            .scoped()
            .takes::<Reason>()
            .answers::<Hal<ActionsState>>(200),
        Endpoint::post("/v1/actions/resume", Who::Operator, "Let actions be done again", post(resume))
            .scoped()
            .takes::<Reason>()
            .answers::<Hal<ActionsState>>(200),
    ]
}

#[derive(Deserialize)]
struct ActionParams {
    issue: Option<String>,
    rule: Option<String>,
    state: Option<ActionState>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<ActionParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let is = |wanted: &Option<String>, has: &String| wanted.as_ref().is_none_or(|wanted| wanted == has);
    let mut actions = api.watch.actions(&scope)?;
    actions.retain(|action| {
        is(&wanted.issue, &action.issue)
            && is(&wanted.rule, &action.rule)
            && wanted.state.is_none_or(|state| state == action.state)
    });
    let query = format!("?environment={}&tenant={}", scope.environment, scope.tenant);
    let items = actions.into_iter().map(|action| {
        let issue = format!("/v1/issues/{}{query}", action.issue);
        let waits = action.state == ActionState::Waiting;
        let approve = format!("/v1/issues/{}/actions/{}{query}", action.issue, action.relation);
        let href = format!("/v1/actions{query}&issue={}", action.issue);
        let resource = Hal::new(action, href).link("issue", issue);
        if waits { resource.link("approve", approve) } else { resource }
    });
    page_of(items.collect(), &params, &uri)
}

fn resource(state: ActionsState) -> Hal<ActionsState> {
    let (href, switch) = match state.paused {
        Some(_) => ("/v1/actions/resume", "resume"),
        None => ("/v1/actions/pause", "pause"),
    };
    Hal::new(state, "/v1/actions/state").link(switch, href)
}

async fn state(State(api): State<Api>, InScope(scope): InScope) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.watch.actions_state(&scope)?)))
}

fn checked(reason: Reason) -> Result<String, ApiError> {
    match reason.reason.chars().count() > REASON_LENGTH_MAX {
        true => {
            Err(ApiError::new(code::INVALID, format!("a reason has at most {REASON_LENGTH_MAX} letters")))
        }
        false => Ok(reason.reason),
    }
}

async fn pause(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    let state = api.watch.switch_actions(&scope, true, &caller.name, &checked(reason)?).await?;
    Ok(json(StatusCode::OK, &resource(state)))
}

async fn resume(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    let state = api.watch.switch_actions(&scope, false, &caller.name, &checked(reason)?).await?;
    Ok(json(StatusCode::OK, &resource(state)))
}
