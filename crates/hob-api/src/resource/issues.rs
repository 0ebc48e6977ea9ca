//! Issues, the rules that open them, and the figures of the live strip.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use hob_core::{Scope, code};
use hob_watch::IssueFilter;
use hob_wire::{Figure, Figures, Hal, Issue, IssueState, Page, Reason, Rule};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

/// Letters of a reason.
const REASON_LENGTH_MAX: usize = 500;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/issues", Who::Viewer, "Issues, the most urgent first", get(list))
            .scoped()
            .params(&[
                ("state", "open, acknowledged, resolved; several with commas"),
                ("rule", "of this rule"),
                ("about", "about this href"),
            ])
            .paged()
            .answers::<Page<Issue>>(200),
        Endpoint::get("/v1/issues/{id}", Who::Viewer, "One issue with its evidence", get(show))
            .scoped()
            .answers::<Hal<Issue>>(200),
        Endpoint::post(
            "/v1/issues/{id}/acknowledge",
            Who::Operator,
            "Say that one attends to it",
            post(acknowledge),
        )
        .scoped()
        .takes::<Reason>()
        .answers::<Hal<Issue>>(200),
        Endpoint::post("/v1/issues/{id}/resolve", Who::Operator, "Say that it is over", post(resolve))
            .scoped()
            .takes::<Reason>()
            .answers::<Hal<Issue>>(200),
        Endpoint::get("/v1/rules", Who::Viewer, "The rules and how they do", get(rules))
            .scoped()
            .paged()
            .answers::<Page<Rule>>(200),
        Endpoint::get("/v1/figures", Who::Viewer, "The numbers of the live strip", get(show_figures))
            .scoped()
            .answers::<Hal<Figures>>(200),
    ]
}

fn resource(issue: &Arc<Issue>, scope: &Scope) -> Hal<Arc<Issue>> {
    let query = format!("?environment={}&tenant={}", scope.environment, scope.tenant);
    let href = format!("/v1/issues/{}", issue.id);
    let mut resource =
        Hal::new(Arc::clone(issue), format!("{href}{query}")).link("about", issue.about.clone());
    if issue.state == IssueState::Open {
        resource = resource.link("acknowledge", format!("{href}/acknowledge{query}"));
    }
    if issue.state != IssueState::Resolved {
        resource = resource.link("resolve", format!("{href}/resolve{query}"));
    }
    resource
}

#[derive(Deserialize)]
struct ListParams {
    state: Option<String>,
    rule: Option<String>,
    about: Option<String>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(list): Params<ListParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut states = Vec::new();
    for word in list.state.iter().flat_map(|text| text.split(',')) {
        states.push(match word {
            "open" => IssueState::Open,
            "acknowledged" => IssueState::Acknowledged,
            "resolved" => IssueState::Resolved,
            other => {
                return Err(ApiError::new(code::BAD_REQUEST, format!("`{other}` is no state of an issue"))
                    .hint("it may be open, acknowledged or resolved"));
            }
        });
    }
    let filter = IssueFilter { states, rule: list.rule, about: list.about };
    let issues = api.watch.issues(&scope, &filter)?;
    page_of(issues.iter().map(|issue| resource(issue, &scope)).collect(), &params, &uri)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(&api.watch.issue(&scope, &id)?, &scope)))
}

fn checked(reason: Reason) -> Result<String, ApiError> {
    if reason.reason.chars().count() > REASON_LENGTH_MAX {
        return Err(ApiError::new(
            code::INVALID,
            format!("a reason has at most {REASON_LENGTH_MAX} letters"),
        ));
    }
    Ok(reason.reason)
}

async fn acknowledge(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    let issue = api.watch.acknowledge(&scope, &id, &caller.name, &checked(reason)?).await?;
    Ok(json(StatusCode::OK, &resource(&issue, &scope)))
}

async fn resolve(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(id): Path<String>,
    Body(reason): Body<Reason>,
) -> Result<Response, ApiError> {
    let issue = api.watch.resolve(&scope, &id, &caller.name, &checked(reason)?).await?;
    Ok(json(StatusCode::OK, &resource(&issue, &scope)))
}

async fn rules(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let rules = api.watch.rules(&scope)?.into_iter().map(|rule| {
        let rule = Rule {
            name: rule.name,
            about: rule.about,
            file: rule.file,
            open: rule.open,
            opened_total: rule.opened_total,
            state: rule.state.to_owned(),
            reason: rule.reason,
        };
        let issues = format!("/v1/issues?rule={}", rule.name);
        Hal::new(rule, "/v1/rules").link("issues", issues)
    });
    page_of(rules.collect(), &params, &uri)
}

/// The live strip of a scope.
pub(crate) fn figures(api: &Api, scope: &Scope) -> Result<Figures, ApiError> {
    let strip = api.watch.figures(scope)?;
    let figures = strip.figures.into_iter().map(|figure| Figure {
        name: figure.name,
        label: figure.label,
        value: figure.value,
        tone: figure.tone,
    });
    Ok(Figures { figures: figures.collect(), clock: strip.clock })
}

async fn show_figures(State(api): State<Api>, InScope(scope): InScope) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &Hal::new(figures(&api, &scope)?, "/v1/figures")))
}
