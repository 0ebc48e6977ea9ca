//! Nodes: what their agents should run, and what they report.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hob_core::Name;
use hob_wire::{Hal, Intended, NodeReport, NodeSummary, Page, RecordBatch, SampleBatch};
use http::{StatusCode, Uri};

use super::routing::snapshots;
use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, PageParams, Params, Path, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/nodes", Who::Viewer, "The nodes", get(list))
            .paged()
            .answers::<Page<NodeSummary>>(200),
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

async fn list(
    State(api): State<Api>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let nodes = api.deploy.nodes().into_iter().map(|node| Hal::new(node, "/v1/nodes"));
    page_of(nodes.collect(), &params, &uri)
}

async fn intended(State(api): State<Api>, Path(node): Path<Name>) -> Response {
    snapshots::<Arc<Intended>>(api.deploy.intended(&node))
}

async fn report(
    State(api): State<Api>,
    Path(node): Path<Name>,
    Body(report): Body<NodeReport>,
) -> Result<Response, ApiError> {
    api.deploy.node_report(&node, report).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn records(State(api): State<Api>, Body(batch): Body<RecordBatch>) -> Result<Response, ApiError> {
    api.intake.records(batch).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn samples(State(api): State<Api>, Body(batch): Body<SampleBatch>) -> Result<Response, ApiError> {
    api.intake.samples(batch).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
