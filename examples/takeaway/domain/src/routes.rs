//! The HTTP API of a domain service.
//!
//! `GET /<collection>` lists, `GET /<collection>/{id}` shows; `POST /<collection>/{id}/transitions` tells what happened to
//! one entity, `POST /<collection>/transitions` what happened to several.

use std::marker::PhantomData;
use std::str::FromStr;

use hob_sdk::axum::extract::rejection::{JsonRejection, QueryRejection};
use hob_sdk::axum::extract::{Path, Query, State};
use hob_sdk::axum::http::{HeaderMap, HeaderValue, header};
use hob_sdk::axum::response::Response;
use hob_sdk::axum::routing::{get, post};
use hob_sdk::axum::{Json, Router};
use hob_sdk::core::code;
use hob_sdk::server::{Failure, Representation, bad_request, not_found};
use hob_sdk::wire::Problem;
use takeaway_world::Entity;

use crate::page;
use crate::store::Store;
use crate::transition::{Outcome, TRANSITIONS_MAX, Transition, Transitions};

/// What the handlers share.
#[derive(Debug)]
pub struct Shared<E> {
    store: Store,
    entity: PhantomData<fn() -> E>,
}

impl<E> Clone for Shared<E> {
    fn clone(&self) -> Self {
        Self { store: self.store.clone(), entity: PhantomData }
    }
}

/// The routes of the service that owns `E`.
pub fn router<E>(store: Store) -> Router
where
    E: Entity<Id: FromStr> + 'static,
{
    let path = |rest: &str| format!("/{}{rest}", E::COLLECTION);
    Router::new()
        .route(&path(""), get(list::<E>))
        .route(&path("/transitions"), post(apply_all::<E>))
        .route(&path("/{id}"), get(show::<E>))
        .route(&path("/{id}/transitions"), post(apply_one::<E>))
        .with_state(Shared { store, entity: PhantomData })
}

async fn list<E: Entity>(
    State(shared): State<Shared<E>>,
    headers: HeaderMap,
    query: Result<Query<page::Query>, QueryRejection>,
) -> Result<Response, Failure> {
    let Query(query) = query.map_err(|error| bad_request(error.body_text()))?;
    let rows = shared.store.list(query.filter()?).await?;
    let (page, next) = query.page(E::COLLECTION, rows);
    let mut answer = page.answer(&headers);
    if let Some(link) = next.and_then(|next| HeaderValue::from_str(&format!("<{next}>; rel=\"next\"")).ok()) {
        answer.headers_mut().insert(header::LINK, link);
    }
    Ok(answer)
}

async fn show<E: Entity>(
    State(shared): State<Shared<E>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let missing = || not_found(format!("there is no {id} among the {}", E::COLLECTION));
    let row = shared.store.find(id.clone()).await?.ok_or_else(missing)?;
    Ok(Representation::stored(row.body, row.etag, "application/hal+json").answer(&headers))
}

async fn apply_all<E>(
    State(shared): State<Shared<E>>,
    body: Result<Json<Transitions>, JsonRejection>,
) -> Result<Json<Outcome>, Failure>
where
    E: Entity<Id: FromStr> + 'static,
{
    let Json(Transitions { transitions }) = body.map_err(|error| bad_request(error.body_text()))?;
    if transitions.len() > TRANSITIONS_MAX {
        let detail =
            format!("{} transitions came; send at most {TRANSITIONS_MAX} at once", transitions.len());
        return Err(Problem::new(code::TOO_LARGE, detail).into());
    }
    Ok(Json(shared.store.apply::<E>(transitions).await?))
}

async fn apply_one<E>(
    State(shared): State<Shared<E>>,
    Path(id): Path<String>,
    body: Result<Json<Transition>, JsonRejection>,
) -> Result<Json<Outcome>, Failure>
where
    E: Entity<Id: FromStr> + 'static,
{
    let Json(transition) = body.map_err(|error| bad_request(error.body_text()))?;
    let outcome = shared.store.apply::<E>(vec![Transition { entity: id, ..transition }]).await?;
    match outcome.refused.first() {
        None => Ok(Json(outcome)),
        Some(refused) => Err(Problem::new(code::CONFLICT, format!("failed to {}", refused.reason)).into()),
    }
}
