//! Entities: the newest state of one by its href, and those that a topic tells of.

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_core::{TopicName, code};
use hob_wire::{Entity, Hal, Page};
use http::Uri;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, page};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let about = "The entity at an href with its newest event, or the entities that a topic tells of";
    vec![
        Endpoint::get("/v1/entities", Who::Anyone, about, get(list))
            .scoped()
            .params(&[
                ("href", "the entity; or name a topic"),
                ("topic", "the entities of this topic, in order of their hrefs"),
                ("deleted", "with a topic: only deleted ones (true), or only others (false)"),
            ])
            .paged()
            .answers::<Page<Entity>>(200),
    ]
}

#[derive(Deserialize)]
struct EntityParams {
    href: Option<String>,
    topic: Option<TopicName>,
    deleted: Option<bool>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<EntityParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
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
        (None, None) => Err(ApiError::new(code::BAD_REQUEST, "neither `href` nor `topic` is given")
            .hint("name an entity (?href=https://…), or a topic (?topic=orders)")),
    }
}

fn resource(entity: Entity) -> Hal<Entity> {
    let scope = format!("environment={}&tenant={}", entity.environment, entity.tenant);
    let (href, topic) = (escape(&entity.href), entity.topic.clone());
    let history = format!("/v1/events?topic={topic}&subject={href}&{scope}");
    Hal::new(entity, format!("/v1/entities?href={href}&{scope}")).link("history", history)
}

/// Percent-encodes what may not stand in a query (RFC 3986, 2.3).
fn escape(text: &str) -> String {
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
