//! Nodes: what their agents should run, and what they report.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, patch, post};
use hob_core::{Name, Scope, code};
use hob_wire::{
    Hal, Intended, NodePatch, NodeReport, NodeState, NodeSummary, Page, RecordBatch, Role, SampleBatch,
};
use http::{StatusCode, Uri};

use super::routing::snapshots;
use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, PageParams, Params, Path, json, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/nodes", Who::Viewer, "The nodes", get(list))
            .paged()
            .answers::<Page<NodeSummary>>(200),
        Endpoint::get("/v1/nodes/{node}", Who::Viewer, "One node", get(show))
            .answers::<Hal<NodeSummary>>(200),
        Endpoint::patch(
            "/v1/nodes/{node}",
            Who::Admin,
            "Drain a node, or have it take instances again",
            patch(set),
        )
        .takes::<NodePatch>()
        .answers::<Hal<NodeSummary>>(200),
        Endpoint::delete(
            "/v1/nodes/{node}",
            Who::Admin,
            "Give a node up: what it runs moves elsewhere, then it is forgotten",
            delete(kill),
        )
        .answers::<Hal<NodeSummary>>(202),
        Endpoint::get(
            "/v1/nodes/{node}/intended",
            Who::Node,
            "What should run, now and from now on",
            get(intended),
        )
        .answers_stream::<Intended>("application/x-ndjson"),
        Endpoint::post("/v1/nodes/{node}/report", Who::Node, "What an agent sees", post(report))
            .takes::<NodeReport>(),
        Endpoint::post("/v1/records", Who::Sender, "Log lines and access records", post(records))
            .takes::<RecordBatch>(),
        Endpoint::post("/v1/samples", Who::Node, "Metric samples", post(samples)).takes::<SampleBatch>(),
    ]
}

fn resource(node: NodeSummary) -> Hal<NodeSummary> {
    let href = format!("/v1/nodes/{}", node.name);
    Hal::new(node, href)
}

fn find(api: &Api, name: &Name) -> Result<Hal<NodeSummary>, ApiError> {
    let node = api.deploy.nodes().into_iter().find(|node| node.name == *name);
    Ok(resource(node.ok_or_else(|| hob_deploy::Error::UnknownNode(name.clone()))?))
}

/// A node speaks for itself alone: what another should run names that one's secrets.
fn check_name(caller: &Caller, node: &Name) -> Result<(), ApiError> {
    if caller.role == Role::Admin || caller.name == node.as_str() {
        return Ok(());
    }
    let detail = format!("{} may not speak for node {node}", caller.name);
    Err(ApiError::new(code::NOT_ALLOWED, detail).hint("a node's token is for its own name"))
}

async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    page_of(api.deploy.nodes().into_iter().map(resource).collect(), &params, &uri)
}

async fn show(State(api): State<Api>, Path(node): Path<Name>) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &find(&api, &node)?))
}

async fn set(
    State(api): State<Api>,
    caller: Caller,
    Path(node): Path<Name>,
    Body(NodePatch { state }): Body<NodePatch>,
) -> Result<Response, ApiError> {
    if state == NodeState::Killed {
        let problem = ApiError::new(code::INVALID, "a node is given up with DELETE");
        return Err(problem.hint("state is `active` or `draining`"));
    }
    api.deploy.set_node(&node, state, &caller.name).await?;
    Ok(json(StatusCode::OK, &find(&api, &node)?))
}

async fn kill(State(api): State<Api>, caller: Caller, Path(node): Path<Name>) -> Result<Response, ApiError> {
    api.deploy.set_node(&node, NodeState::Killed, &caller.name).await?;
    Ok(json(StatusCode::ACCEPTED, &find(&api, &node)?))
}

async fn intended(
    State(api): State<Api>,
    caller: Caller,
    Path(node): Path<Name>,
) -> Result<Response, ApiError> {
    check_name(&caller, &node)?;
    Ok(snapshots::<Arc<Intended>>(api.deploy.intended(&node)))
}

async fn report(
    State(api): State<Api>,
    caller: Caller,
    Path(node): Path<Name>,
    Body(report): Body<NodeReport>,
) -> Result<Response, ApiError> {
    check_name(&caller, &node)?;
    api.deploy.node_report(&node, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Drops what a node says of instances that are not its own, and counts that in the log. A batch of which nothing is left
/// is refused; so is none in which something is, since lines of others would be lost with it.
fn own<T>(
    api: &Api,
    caller: &Caller,
    items: &mut Vec<T>,
    about: impl Fn(&T) -> Option<(&str, &Name, &Scope)>,
) -> Result<(), ApiError> {
    if caller.role != Role::Node {
        return Ok(());
    }
    let node: Name =
        caller.name.parse().map_err(|_| ApiError::new(code::NOT_ALLOWED, "no node has this name"))?;
    let before = items.len();
    items.retain(|item| {
        let about = about(item);
        about.is_some_and(|(instance, service, scope)| api.deploy.speaks_for(&node, instance, service, scope))
    });
    let foreign = before - items.len();
    if foreign > 0 {
        tracing::warn!(%node, foreign, "a node spoke for instances that are not its own; that was dropped");
    }
    if before > 0 && items.is_empty() {
        let detail = format!("none of the {before} are about instances of {node}");
        return Err(ApiError::new(code::NOT_ALLOWED, detail).hint("a node speaks for its own instances"));
    }
    Ok(())
}

async fn records(
    State(api): State<Api>,
    caller: Caller,
    Body(mut batch): Body<RecordBatch>,
) -> Result<Response, ApiError> {
    own(&api, &caller, &mut batch.records, |record| {
        Some((record.instance.as_deref()?, &record.service, &record.scope))
    })?;
    api.intake.records(batch).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn samples(
    State(api): State<Api>,
    caller: Caller,
    Body(mut batch): Body<SampleBatch>,
) -> Result<Response, ApiError> {
    own(&api, &caller, &mut batch.statsd, |datagram| {
        Some((&datagram.instance, &datagram.service, &datagram.scope))
    })?;
    api.intake.samples(batch).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
