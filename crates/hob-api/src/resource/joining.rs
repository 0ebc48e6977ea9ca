//! How a machine becomes a node: an admin makes a join token, the machine's agent shows it and gets a token of its own.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post};
use hob_core::{Secret, code};
use hob_wire::{Hal, JoinAnswer, JoinRequest, JoinToken, NewJoinToken, Page, Role};
use http::{StatusCode, Uri};

use crate::auth::{Caller, JoinError, Who};
use crate::endpoint::Endpoint;
use crate::error::{ApiError, chain};
use crate::extract::{Body, PageParams, Params, Path, json, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let tokens = "/v1/join-tokens";
    vec![
        Endpoint::get(tokens, Who::Admin, "The join tokens that are good", get(list))
            .paged()
            .answers::<Page<JoinToken>>(200),
        Endpoint::post(tokens, Who::Admin, "Make a token with which machines become nodes", post(make))
            .takes::<NewJoinToken>()
            .answers::<Hal<JoinToken>>(201),
        Endpoint::delete("/v1/join-tokens/{id}", Who::Admin, "Take a join token back", delete(take_back)),
        Endpoint::post("/v1/nodes", Who::Joining, "Become a node", post(join))
            .takes::<JoinRequest>()
            .answers::<JoinAnswer>(201),
    ]
}

fn resource(token: JoinToken) -> Hal<JoinToken> {
    let href = format!("/v1/join-tokens/{}", token.id);
    Hal::new(token, href)
}

async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let tokens = api.tokens.joins().list(api.clock.now());
    page_of(tokens.into_iter().map(resource).collect(), &params, &uri)
}

async fn make(
    State(api): State<Api>,
    caller: Caller,
    Body(new): Body<NewJoinToken>,
) -> Result<Response, ApiError> {
    let token = api.tokens.joins().make(new, &caller.name, api.clock.now()).await?;
    tracing::info!(id = token.id, by = caller.name, uses = token.uses, "a join token was made");
    Ok(json(StatusCode::CREATED, &resource(token)))
}

async fn take_back(State(api): State<Api>, Path(id): Path<String>) -> Result<Response, ApiError> {
    match api.tokens.joins().take_back(&id).await? {
        true => Ok(StatusCode::NO_CONTENT.into_response()),
        false => Err(ApiError::not_found(format!("join token {id}"))),
    }
}

/// A name belongs to the node that has it for as long as that one lives. Tokens that a node of this name had before
/// are good no more.
async fn join(
    State(api): State<Api>,
    caller: Caller,
    Body(request): Body<JoinRequest>,
) -> Result<Response, ApiError> {
    let known = api.deploy.nodes().into_iter().find(|node| node.name == request.name);
    if known.as_ref().is_some_and(|node| node.live) {
        let detail = format!("failed to join as {}: a live node has this name", request.name);
        return Err(ApiError::new(code::NODE_TAKEN, detail).hint("choose another name"));
    }
    if known.is_some_and(|node| node.state == hob_wire::NodeState::Killed) {
        return Err(hob_deploy::Error::NodeKilled(request.name).into());
    }
    if caller.role == Role::Joining {
        api.tokens.joins().count(&caller.name, api.clock.now()).await?;
    }
    let token = Secret::generate("node");
    let kept = async {
        api.tokens.revoke_node(&request.name).await?;
        api.tokens.admit(&token, request.name.as_str(), Role::Node).await
    };
    kept.await.map_err(|error| ApiError::new(code::INTERNAL, chain(&error)))?;
    tracing::info!(node = %request.name, host = request.facts.host, with = caller.name, "a node joined");
    let answer = JoinAnswer { name: request.name, token: token.expose().to_owned() };
    Ok(json(StatusCode::CREATED, &answer))
}

impl From<JoinError> for ApiError {
    fn from(error: JoinError) -> Self {
        let code = match &error {
            JoinError::Order(_) => code::INVALID,
            JoinError::Over => code::JOIN_TOKEN,
            JoinError::Kv(_) => code::INTERNAL,
        };
        Self::new(code, chain(&error))
    }
}
