//! The rules and how they do, and the figures of the live strip.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use hob_core::Scope;
use hob_watch::Watch;
use hob_wire::{
    Checked, Declarations, ErrorItem, Figure, Figures, FileText, Hal, OpenedOn, Page, Rule, RuleText,
    Standing, sequence_text,
};
use http::{StatusCode, Uri};

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/rules", Who::Viewer, "The rules and how they do", get(rules))
            .scoped()
            .paged()
            .answers::<Page<Rule>>(200),
        Endpoint::get("/v1/rules/{name}/text", Who::Viewer, "The file that declares a rule", get(text))
            .scoped()
            .answers::<Hal<RuleText>>(200),
        Endpoint::post("/v1/rules/check", Who::Viewer, "What is wrong with a rule file", post(check))
            .takes::<FileText>()
            .answers::<Hal<Checked>>(200),
        Endpoint::get(
            "/v1/rules/standing",
            Who::Operator,
            "How far the rule engine is, and a digest of all that it remembers",
            get(standing),
        )
        .scoped()
        .answers::<Hal<Standing>>(200),
        Endpoint::get("/v1/figures", Who::Viewer, "The numbers of the live strip", get(show_figures))
            .scoped()
            .answers::<Hal<Figures>>(200),
    ]
}

fn declared(api: &Api) -> Option<Declarations> {
    api.deploy.declarations().map(|(_, declared)| (*declared).clone())
}

async fn rules(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let rules = api.watch.rules(&scope)?.into_iter().map(|rule| {
        let told = rule.resolved.max(rule.false_alarms);
        let rule = Rule {
            precision: (told > 0).then(|| 1.0 - rule.false_alarms as f64 / told as f64),
            name: rule.name,
            about: rule.about,
            file: rule.file,
            mode: rule.mode.to_owned(),
            open: rule.open,
            opened_total: rule.opened_total,
            opened_by_day: rule.by_day.into_iter().map(|(day, opened)| OpenedOn { day, opened }).collect(),
            last_opened: rule.last_opened,
            max_open: rule.max_open,
            per_entity: rule.per_entity,
            state: rule.state.to_owned(),
            reason: rule.reason,
        };
        let issues = format!("/v1/issues?rule={}", rule.name);
        let text = format!("/v1/rules/{}/text", rule.name);
        Hal::new(rule, "/v1/rules").link("issues", issues).link("text", text)
    });
    page_of(rules.collect(), &params, &uri)
}

async fn text(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<String>,
) -> Result<Response, ApiError> {
    let rule = api.watch.rules(&scope)?.into_iter().find(|rule| rule.name == name);
    let file = rule.map(|rule| rule.file).ok_or_else(|| ApiError::not_found(format!("rule {name}")))?;
    let files = declared(&api).map(|declared| declared.rules).unwrap_or_default();
    let text = files.into_iter().find(|text| text.file == file);
    let text = text.ok_or_else(|| ApiError::not_found(format!("text of {file}")))?;
    let href = format!("/v1/rules/{name}/text");
    Ok(json(StatusCode::OK, &Hal::new(RuleText { file: text.file, text: text.text }, href)))
}

async fn standing(State(api): State<Api>, InScope(scope): InScope) -> Result<Response, ApiError> {
    let (sequence, clock, digest) = api.watch.standing(&scope)?;
    let standing = Standing { sequence: sequence_text(sequence), clock, digest };
    Ok(json(StatusCode::OK, &Hal::new(standing, "/v1/rules/standing")))
}

/// Checks one file as if it took the place of the one of its name.
async fn check(State(api): State<Api>, Body(file): Body<FileText>) -> Result<Response, ApiError> {
    let mut files = declared(&api).map(|declared| declared.rules).unwrap_or_default();
    files.retain(|other| other.file != file.file);
    let name = file.file.clone();
    files.push(file);
    let mut flaws = Watch::check(&files).err().unwrap_or_default();
    flaws.retain(|flaw| flaw.file == name);
    let flaws = flaws.iter().map(ErrorItem::from).collect();
    Ok(json(StatusCode::OK, &Hal::new(Checked { flaws }, "/v1/rules/check")))
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
