//! How many instances a service has: seen, ordered by hand, and left to schedule and requests again.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{delete, get, put};
use hob_core::{Name, Scope, code};
use hob_wire::{Hal, ScaleOrder, ScaleState};
use http::StatusCode;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, Path, json};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let path = "/v1/services/{service}/scale";
    vec![
        Endpoint::get(path, Who::Viewer, "How many instances it has and should have, and why", get(show))
            .scoped()
            .answers::<Hal<ScaleState>>(200),
        Endpoint::put(path, Who::Developer, "Order numbers of instances, by process", put(order))
            .scoped()
            .takes::<ScaleOrder>()
            .answers::<Hal<ScaleState>>(200),
        Endpoint::delete(
            path,
            Who::Developer,
            "Leave the numbers to schedule, requests and descriptor",
            delete(end),
        )
        .scoped()
        .answers::<Hal<ScaleState>>(200),
    ]
}

fn answer(state: ScaleState, scope: &Scope) -> Response {
    let base = format!("/v1/services/{}", state.service);
    let query = format!("?environment={}&tenant={}", scope.environment, scope.tenant);
    let resource = Hal::new(state, format!("{base}/scale{query}")).link("service", format!("{base}{query}"));
    json(StatusCode::OK, &resource)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(service): Path<Name>,
) -> Result<Response, ApiError> {
    Ok(answer(api.deploy.scale_state(&service, &scope)?, &scope))
}

async fn order(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(service): Path<Name>,
    Body(ScaleOrder(numbers)): Body<ScaleOrder>,
) -> Result<Response, ApiError> {
    if numbers.is_empty() {
        let problem = ApiError::new(code::SCALE, "no process is named");
        return Err(problem.hint("name one, {\"web\": 3}, or DELETE this to leave the numbers to Hob"));
    }
    Ok(answer(api.deploy.scale(&service, &scope, numbers, &caller.name).await?, &scope))
}

async fn end(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(service): Path<Name>,
) -> Result<Response, ApiError> {
    Ok(answer(api.deploy.scale(&service, &scope, [].into(), &caller.name).await?, &scope))
}
