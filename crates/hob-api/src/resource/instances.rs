//! Instances: any of them may be shot.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hob_core::Name;
use hob_wire::{Hal, Instance, Page};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/instances", Who::Viewer, "The instances of a scope", get(list))
            .scoped()
            .params(&[("service", "only of this service")])
            .paged()
            .answers::<Page<Instance>>(200),
        Endpoint::get("/v1/instances/{id}", Who::Viewer, "One instance", get(show))
            .answers::<Hal<Instance>>(200),
        Endpoint::post(
            "/v1/instances/{id}/shoot",
            Who::Developer,
            "Kill it with SIGKILL; its agent starts it again",
            post(shoot),
        )
        .answers_as(202, "application/hal+json"),
    ]
}

pub(crate) fn resource(instance: Instance) -> Hal<Instance> {
    let href = format!("/v1/instances/{}", instance.id);
    let shoot = format!("{href}/shoot");
    Hal::new(instance, href).link("shoot", shoot)
}

#[derive(Deserialize)]
struct ListParams {
    service: Option<Name>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(filter): Params<ListParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let instances = api.deploy.instances(Some(&scope)).into_iter();
    let wanted = instances.filter(|instance| filter.service.as_ref().is_none_or(|s| *s == instance.service));
    page_of(wanted.map(resource).collect(), &params, &uri)
}

async fn show(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    let instance = api.deploy.instances(None).into_iter().find(|instance| instance.id == id);
    let instance =
        instance.ok_or_else(|| ApiError::not_found(format!("instance {id}")).hint("see hob instances"))?;
    Ok(json(StatusCode::OK, &resource(instance)))
}

async fn shoot(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    api.deploy.shoot(&id).await?;
    Ok(StatusCode::ACCEPTED.into_response())
}
