//! Shields: what people order routers to hold back, or to answer themselves.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, put};
use hob_core::{code, parse_duration};
use hob_wire::{Hal, NewShield, Page, ShieldState};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, PageParams, Params, Path, json, page_of};
use crate::state::Api;

/// How long a caller may wait until every live router goes by what was ordered.
const WAIT_MAX: Duration = Duration::from_secs(60);

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let one = "/v1/shields/{id}";
    let wait = [("wait", "how long to wait until every live router goes by it, for example 10s")];
    vec![
        Endpoint::get("/v1/shields", Who::Viewer, "The shields in force, as they count", get(list))
            .paged()
            .answers::<Page<ShieldState>>(200),
        Endpoint::put(one, Who::Operator, "Hold requests back, or answer them with a page", put(order))
            .params(&wait)
            .takes::<NewShield>()
            .answers::<Hal<ShieldState>>(200),
        Endpoint::delete(one, Who::Operator, "Lift a shield", delete(lift))
            .params(&wait)
            .answers::<Hal<ShieldState>>(200),
    ]
}

fn resource(shield: ShieldState) -> Hal<ShieldState> {
    let href = format!("/v1/shields/{}", shield.shield.id);
    Hal::new(shield, href)
}

#[derive(Deserialize)]
struct WaitParams {
    wait: Option<String>,
}

impl WaitParams {
    fn time(&self) -> Result<Duration, ApiError> {
        let wait = self.wait.as_deref().map(parse_duration).transpose();
        let wait = wait.map_err(|error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}")))?;
        Ok(wait.unwrap_or_default().min(WAIT_MAX))
    }
}

async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    page_of(api.deploy.shields().into_iter().map(resource).collect(), &params, &uri)
}

async fn order(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<WaitParams>,
    Body(new): Body<NewShield>,
) -> Result<Response, ApiError> {
    let wait = params.time()?;
    let state = api.deploy.put_shield(&id, new, &caller.name).await?;
    answer(&api, state, wait).await
}

async fn lift(
    State(api): State<Api>,
    caller: Caller,
    Path(id): Path<String>,
    Params(params): Params<WaitParams>,
) -> Result<Response, ApiError> {
    let wait = params.time()?;
    let state = api.deploy.drop_shield(&id, &caller.name).await?;
    answer(&api, state, wait).await
}

async fn answer(api: &Api, mut state: ShieldState, wait: Duration) -> Result<Response, ApiError> {
    state.waiting = api.deploy.taken_in(state.generation, wait).await;
    Ok(json(StatusCode::OK, &resource(state)))
}
