//! Issues: listed, looked at, and what the days were like. What people do to them is in `issues/commands.rs`.

mod commands;

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_core::{Scope, Timestamp, code};
use hob_watch::{IssueFilter, Parent};
use hob_wire::{ActionState, Hal, Issue, IssueDay, IssueState, Page};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

/// Days of figures, unless a page asks for fewer.
const BY_DAY: &str = "day";

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = vec![
        Endpoint::get("/v1/issues", Who::Viewer, "Issues, the most urgent first", get(list))
            .scoped()
            .params(&[
                ("state", "open, acknowledged, resolved; several with commas"),
                ("rule", "of this rule"),
                ("about", "about this href, or touching it"),
                ("assignee", "this person's"),
                ("label", "with this label: false-alarm"),
                ("q", "with this text in title, key, resolution or notes"),
                ("parent", "children of this issue; `none`: those without a parent"),
                ("since", "opened at this time or later"),
                ("until", "opened before this time"),
                ("shadow", "true: those of rules in shadow mode, instead of all others"),
            ])
            .paged()
            .answers::<Page<Issue>>(200),
        Endpoint::get("/v1/issues/figures", Who::Viewer, "What the days were like", get(figures_by_day))
            .scoped()
            .params(&[("by", "day")])
            .paged()
            .answers::<Page<IssueDay>>(200),
        Endpoint::get("/v1/issues/{id}", Who::Viewer, "One issue with its evidence", get(show))
            .scoped()
            .answers::<Hal<Issue>>(200),
    ];
    endpoints.extend(commands::endpoints());
    endpoints
}

/// An issue with links to what can be done about it now.
fn resource(issue: &Arc<Issue>, scope: &Scope) -> Hal<Arc<Issue>> {
    let query = format!("?environment={}&tenant={}", scope.environment, scope.tenant);
    let href = format!("/v1/issues/{}", issue.id);
    let at = |verb: &str| format!("{href}/{verb}{query}");
    let mut resource =
        Hal::new(Arc::clone(issue), format!("{href}{query}")).link("about", issue.about.clone());
    for verb in ["note", "label"] {
        resource = resource.link(verb, at(verb));
    }
    if issue.state == IssueState::Open {
        resource = resource.link("acknowledge", at("acknowledge"));
    }
    if issue.state == IssueState::Resolved {
        return resource.link("reopen", at("reopen"));
    }
    for verb in ["assign", "snooze", "resolve", "merge"] {
        resource = resource.link(verb, at(verb));
    }
    if let Some(parent) = &issue.parent {
        resource = resource.link("parent", format!("/v1/issues/{parent}{query}"));
    }
    if issue.children > 0 {
        let and = query.replace('?', "&");
        resource = resource.link("children", format!("/v1/issues?parent={}{and}", issue.id));
    }
    for offer in &issue.actions {
        if offer.state != ActionState::Running {
            let relation = format!("act:{}", offer.relation);
            resource = resource.link(&relation, at(&format!("actions/{}", offer.relation)));
        }
    }
    resource
}

#[derive(Deserialize)]
struct ListParams {
    state: Option<String>,
    rule: Option<String>,
    about: Option<String>,
    assignee: Option<String>,
    label: Option<String>,
    q: Option<String>,
    parent: Option<String>,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
    shadow: Option<bool>,
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
    let parent = list.parent.map(|id| if id == "none" { Parent::None } else { Parent::Is(id) });
    let filter = IssueFilter {
        states,
        rule: list.rule,
        about: list.about,
        assignee: list.assignee,
        label: list.label,
        text: list.q,
        parent,
        since: list.since,
        until: list.until,
        is_shadow: list.shadow.unwrap_or(false),
    };
    let issues = api.watch.issues(&scope, &filter)?;
    page_of(issues.iter().map(|issue| resource(issue, &scope)).collect(), &params, &uri)
}

#[derive(Deserialize)]
struct FigureParams {
    by: Option<String>,
}

async fn figures_by_day(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<FigureParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    if let Some(by) = wanted.by.filter(|by| by != BY_DAY) {
        return Err(ApiError::new(code::BAD_REQUEST, format!("figures are not kept by `{by}`"))
            .hint("they are kept by day"));
    }
    let days = api.watch.days(&scope)?.into_iter().map(|day| {
        let issues = format!("/v1/issues?since={}T00:00:00Z", day.day);
        Hal::new(day, "/v1/issues/figures").link("issues", issues)
    });
    page_of(days.collect(), &params, &uri)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(&api.watch.issue(&scope, &id)?, &scope)))
}
