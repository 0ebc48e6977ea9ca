//! Packages: immutable archives, named by their digest.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hob_core::{Digest, code, limits};
use hob_wire::{Hal, Stored};
use http::{StatusCode, header};

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Bytes, Path, json};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::post("/v1/packages", Who::Developer, "Send a package; sending it again is fine", post(put))
            .takes_bytes(limits::PACKAGE_BYTES_MAX)
            .answers::<Hal<Stored>>(201),
        Endpoint::get("/v1/packages/{digest}", Who::Anyone, "A package's bytes", get(show))
            .answers_as(200, "application/octet-stream"),
    ]
}

async fn put(State(api): State<Api>, Bytes(bytes): Bytes) -> Result<Response, ApiError> {
    let digest = api.deploy.put_package(bytes).await?;
    Ok(json(StatusCode::CREATED, &Hal::new(Stored { digest }, format!("/v1/packages/{digest}"))))
}

async fn show(State(api): State<Api>, Path(digest): Path<String>) -> Result<Response, ApiError> {
    let digest: Digest =
        digest.parse().map_err(|error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}")))?;
    let bytes = api.deploy.package(&digest).await?;
    Ok(([(header::CONTENT_TYPE, "application/octet-stream")], bytes).into_response())
}
