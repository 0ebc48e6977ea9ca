//! Services, their releases and rollouts.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, patch, post, put};
use hob_core::{Name, Scope, code, parse_duration};
use hob_wire::{
    Hal, NewRollback, NewRollout, Page, Release, ReleaseName, Rollout, RolloutPatch, RolloutState,
    ServiceSummary,
};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

/// How long a caller may wait for a rollout to change.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let one = "/v1/services/{service}";
    let rollouts = "/v1/services/{service}/rollouts";
    vec![
        Endpoint::get("/v1/services", Who::Viewer, "The services of a scope and how they are", get(list))
            .scoped()
            .paged()
            .answers::<Page<ServiceSummary>>(200),
        Endpoint::get(one, Who::Viewer, "One service", get(show))
            .scoped()
            .answers::<Hal<ServiceSummary>>(200),
        Endpoint::get(
            "/v1/services/{service}/releases",
            Who::Viewer,
            "Its releases, newest first",
            get(releases),
        )
        .scoped()
        .paged()
        .answers::<Page<Release>>(200),
        Endpoint::get(rollouts, Who::Viewer, "Its rollouts, newest first", get(list_rollouts))
            .scoped()
            .paged()
            .answers::<Page<Rollout>>(200),
        Endpoint::post(rollouts, Who::Developer, "Make a release of a package and roll it out", post(deploy))
            .scoped()
            .takes::<NewRollout>()
            .answers::<Hal<Rollout>>(201),
        Endpoint::get("/v1/services/{service}/rollouts/{id}", Who::Viewer, "One rollout", get(rollout))
            .scoped()
            .params(&[
                ("state", "wait until the state is no longer this"),
                ("wait", "how long, for example 10s"),
            ])
            .answers::<Hal<Rollout>>(200),
        Endpoint::post(
            "/v1/services/{service}/rollback",
            Who::Developer,
            "Go back to an earlier release",
            post(rollback),
        )
        .scoped()
        .takes::<NewRollback>()
        .answers::<Hal<Rollout>>(201),
        Endpoint::patch(
            "/v1/rollouts/{id}",
            Who::Developer,
            "Have a rollout hold, go on or go back",
            patch(order),
        )
        .takes::<RolloutPatch>()
        .answers::<Hal<Rollout>>(200),
        Endpoint::put(
            "/v1/services/{service}/releases/{number}/name",
            Who::Developer,
            "Give a release a name, which keeps it on every node, or take it away",
            put(name_release),
        )
        .scoped()
        .takes::<ReleaseName>()
        .answers::<Hal<Release>>(200),
    ]
}

fn query(scope: &Scope) -> String {
    format!("?environment={}&tenant={}", scope.environment, scope.tenant)
}

fn service_resource(service: ServiceSummary, scope: &Scope) -> Hal<ServiceSummary> {
    let base = format!("/v1/services/{}", service.name);
    let query = query(scope);
    Hal::new(service, format!("{base}{query}"))
        .link("releases", format!("{base}/releases{query}"))
        .link("rollouts", format!("{base}/rollouts{query}"))
        .link("rollback", format!("{base}/rollback{query}"))
}

fn rollout_resource(rollout: Rollout, scope: &Scope) -> Hal<Rollout> {
    let base = format!("/v1/services/{}", rollout.service);
    let query = query(scope);
    let href = format!("{base}/rollouts/{}{query}", rollout.id);
    let order = format!("/v1/rollouts/{}", rollout.id);
    Hal::new(rollout, href).link("service", format!("{base}{query}")).link("order", order)
}

fn release_resource(release: Release, scope: &Scope) -> Hal<Release> {
    let package = format!("/v1/packages/{}", release.package);
    let base = format!("/v1/services/{}/releases", release.service);
    let name = format!("{base}/{}/name{}", release.number, query(scope));
    Hal::new(release, format!("{base}{}", query(scope))).link("package", package).link("name", name)
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let services = api.deploy.services(&scope).into_iter().map(|service| service_resource(service, &scope));
    page_of(services.collect(), &params, &uri)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<Name>,
) -> Result<Response, ApiError> {
    let service = api.deploy.services(&scope).into_iter().find(|service| service.name == name);
    let service = service.ok_or(hob_deploy::Error::UnknownService(name))?;
    Ok(json(StatusCode::OK, &service_resource(service, &scope)))
}

async fn releases(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<Name>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    known(&api, &scope, &name)?;
    let releases = api.deploy.releases(&name, &scope).into_iter();
    let items = releases.map(|release| release_resource(release, &scope));
    page_of(items.collect(), &params, &uri)
}

async fn list_rollouts(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<Name>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    known(&api, &scope, &name)?;
    let rollouts = api.deploy.rollouts(&name, &scope).into_iter();
    page_of(rollouts.map(|rollout| rollout_resource(rollout, &scope)).collect(), &params, &uri)
}

fn known(api: &Api, scope: &Scope, name: &Name) -> Result<(), ApiError> {
    let found = api.deploy.services(scope).iter().any(|service| service.name == *name);
    if found { Ok(()) } else { Err(hob_deploy::Error::UnknownService(name.clone()).into()) }
}

async fn deploy(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<Name>,
    Body(new): Body<NewRollout>,
) -> Result<Response, ApiError> {
    let rollout = api.deploy.deploy(&name, &scope, &new.package, new.overrides, new.promoted_from).await?;
    Ok(json(StatusCode::CREATED, &rollout_resource(rollout, &scope)))
}

async fn rollback(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<Name>,
    Body(new): Body<NewRollback>,
) -> Result<Response, ApiError> {
    let rollout = api.deploy.rollback(&name, &scope, new.to).await?;
    Ok(json(StatusCode::CREATED, &rollout_resource(rollout, &scope)))
}

/// A rollout's id is unique, so that its scope need not be told.
async fn order(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Body(new): Body<RolloutPatch>,
) -> Result<Response, ApiError> {
    let rollout = api.deploy.order(&id, new.wanted, &caller.name).await?;
    let scope = Scope { environment: rollout.environment.clone(), tenant: rollout.tenant.clone() };
    Ok(json(StatusCode::OK, &rollout_resource(rollout, &scope)))
}

async fn name_release(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path((service, number)): Path<(Name, u64)>,
    Body(new): Body<ReleaseName>,
) -> Result<Response, ApiError> {
    api.deploy.name_release(&service, &scope, number, new.name).await?;
    let release = api.deploy.releases(&service, &scope).into_iter().find(|release| release.number == number);
    let unknown = hob_deploy::Error::UnknownRelease { service, scope: scope.clone(), number };
    Ok(json(StatusCode::OK, &release_resource(release.ok_or(unknown)?, &scope)))
}

#[derive(Deserialize)]
struct WaitParams {
    state: Option<RolloutState>,
    wait: Option<String>,
}

async fn rollout(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path((name, id)): Path<(Name, String)>,
    Params(params): Params<WaitParams>,
) -> Result<Response, ApiError> {
    let wait = params.wait.as_deref().map(parse_duration).transpose();
    let wait = wait.map_err(|error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}")))?;
    let rollout = match (params.state, wait) {
        (Some(seen), Some(wait)) => {
            api.deploy.rollout_after(&name, &scope, &id, seen, wait.min(WAIT_MAX)).await?
        }
        _ => api.deploy.rollout(&name, &scope, &id)?,
    };
    Ok(json(StatusCode::OK, &rollout_resource(rollout, &scope)))
}
