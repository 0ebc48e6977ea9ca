//! The schematic map: everything that has a position.

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_wire::{Hal, Page, Place};
use http::Uri;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/map", Who::Viewer, "Entities that have a position, and where they are", get(list))
            .scoped()
            .params(&[("kind", "of this kind")])
            .paged()
            .answers::<Page<Place>>(200),
    ]
}

#[derive(Deserialize)]
struct MapParams {
    kind: Option<String>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<MapParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let mut places = api.watch.places(&scope)?;
    places.retain(|place| wanted.kind.as_ref().is_none_or(|kind| *kind == place.kind));
    let resource = |place: Place| {
        let href = format!("/v1/entities/timeline?href={}", super::entities::escape(&place.href));
        Hal::new(place, href)
    };
    page_of(places.into_iter().map(resource).collect(), &params, &uri)
}
