//! Entities: the newest state of one by its href, those that a topic tells of, and those that rules know of a kind.

mod timeline;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_core::{Scope, TopicName, code};
use hob_watch::EntityFilter;
use hob_wire::{Entity, Hal, Page, WatchedEntity};
use http::Uri;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, page};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let about =
        "The entity at an href with its newest event, the entities that a topic tells of, or those of a kind";
    let mut endpoints = vec![
        Endpoint::get("/v1/entities", Who::Anyone, about, get(list))
            .scoped()
            .params(&[
                ("href", "the entity; or name a topic"),
                ("topic", "the entities of this topic, in order of their hrefs"),
                ("kind", "the entities of this kind, as rules know them"),
                ("filter", "with a kind: an expression over one of them, such as order.state == 'placed'"),
                ("deleted", "with a topic: only deleted ones (true), or only others (false)"),
            ])
            .paged()
            .answers::<Entities>(200),
    ];
    endpoints.extend(timeline::endpoints());
    endpoints
}

/// Entities as the bus knows them; with a kind, as rules do.
#[derive(serde::Serialize, schemars::JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "it says what either answer looks like")]
enum Entities {
    Known(Page<Entity>),
    Watched(Page<WatchedEntity>),
}

#[derive(Deserialize)]
struct EntityParams {
    href: Option<String>,
    topic: Option<TopicName>,
    deleted: Option<bool>,
    kind: Option<String>,
    filter: Option<String>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<EntityParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    if let Some(kind) = wanted.kind {
        let after = params.cursor_text().map(str::to_owned);
        let filter = EntityFilter { kind, expression: wanted.filter, href: wanted.href, after, limit };
        return watched(&api, &scope, filter, &uri);
    }
    match (wanted.href, wanted.topic) {
        (Some(href), topic) => {
            let mut entities = api.bus.entities_at(&scope, &href).await?;
            entities.retain(|entity| topic.as_ref().is_none_or(|topic| entity.topic == *topic));
            Ok(page(entities.into_iter().map(resource).collect(), None, &uri))
        }
        (None, Some(topic)) => {
            let after = params.cursor_text();
            let found = api.bus.entities(&scope, &topic, wanted.deleted, after, limit).await?;
            let items = found.entities.into_iter().map(resource).collect();
            Ok(page(items, found.next.as_deref().map(escape), &uri))
        }
        (None, None) => {
            Err(ApiError::new(code::BAD_REQUEST, "neither `href`, nor `topic`, nor `kind` is given")
                .hint("name an entity (?href=https://…), a topic (?topic=orders) or a kind (?kind=order)"))
        }
    }
}

fn watched(api: &Api, scope: &Scope, filter: EntityFilter, uri: &Uri) -> Result<Response, ApiError> {
    let (found, next) = api.watch.entities(scope, &filter)?;
    let in_scope = format!("environment={}&tenant={}", scope.environment, scope.tenant);
    let resource = |entity: WatchedEntity| {
        let href = escape(&entity.href);
        let own = format!("/v1/entities?kind={}&href={href}&{in_scope}", escape(&entity.kind));
        Hal::new(entity, own)
            .link("timeline", format!("/v1/entities/timeline?href={href}&{in_scope}"))
            .link("issues", format!("/v1/issues?about={href}&{in_scope}"))
    };
    let items = found.into_iter().map(resource).collect();
    Ok(page(items, next.as_deref().map(escape), uri))
}

fn resource(entity: Entity) -> Hal<Entity> {
    let scope = format!("environment={}&tenant={}", entity.environment, entity.tenant);
    let (href, topic) = (escape(&entity.href), entity.topic.clone());
    let history = format!("/v1/events?topic={topic}&subject={href}&{scope}");
    Hal::new(entity, format!("/v1/entities?href={href}&{scope}")).link("history", history)
}

/// Percent-encodes what may not stand in a query (RFC 3986, 2.3).
pub(super) fn escape(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let escaped = text.bytes().map(|byte| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    escaped.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hrefs_stand_in_queries() {
        assert_eq!(escape("http://t/orders/7?a=b&c"), "http%3A%2F%2Ft%2Forders%2F7%3Fa%3Db%26c");
        assert_eq!(escape("é~"), "%C3%A9~");
    }
}
