//! The list of all endpoints, and the router made of it.

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::{from_fn, from_fn_with_state};
use http::{Method, Uri};
use serde_json::Value;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::guard::{Door, guard, name_request};
use crate::resource::{
    actions, declarations, entities, events, instances, issues, joining, logs, map, metrics, nodes, packages,
    routing, rules, scale, services, shields, status, subscriptions, topics,
};
use crate::shortcut::App;
use crate::state::Api;
use crate::{console, live, openapi, pages};

/// Every endpoint there is.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let lists = [
        status::endpoints(),
        declarations::endpoints(),
        packages::endpoints(),
        services::endpoints(),
        scale::endpoints(),
        instances::endpoints(),
        nodes::endpoints(),
        joining::endpoints(),
        routing::endpoints(),
        shields::endpoints(),
        topics::endpoints(),
        entities::endpoints(),
        events::endpoints(),
        subscriptions::endpoints(),
        issues::endpoints(),
        actions::endpoints(),
        rules::endpoints(),
        map::endpoints(),
        logs::endpoints(),
        metrics::endpoints(),
        live::endpoints(),
        pages::endpoints(),
    ];
    lists.into_iter().flatten().collect()
}

/// The whole application over these floors.
pub fn app(api: Api) -> App {
    App { router: router(api.clone()), api }
}

fn router(api: Api) -> Router {
    let mut router = Router::new();
    for endpoint in endpoints() {
        let params = endpoint.params.iter().map(|param| param.name).collect();
        let door = Door { api: api.clone(), who: endpoint.who, streams: endpoint.streams, params };
        let handler = endpoint
            .handler
            .layer(DefaultBodyLimit::max(endpoint.body_bytes_max))
            .layer(from_fn_with_state(door, guard));
        router = router.route(endpoint.path, handler);
    }
    router
        .fallback(console::page)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn(name_request))
        .with_state(api)
}

/// The OpenAPI document as text, the same every time.
pub fn document() -> String {
    let document: Value = openapi::document(&endpoints());
    let mut text = serde_json::to_string_pretty(&document).expect("a JSON value is JSON");
    text.push('\n');
    text
}

/// Every door and whom it serves, for the test that tries them all without a token.
pub fn doors() -> Vec<(Method, &'static str, Who)> {
    endpoints().into_iter().map(|endpoint| (endpoint.method, endpoint.path, endpoint.who)).collect()
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::new(hob_core::code::BAD_METHOD, format!("{method} does not apply to {}", uri.path()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_door_is_declared_once() {
        let doors = doors();
        let unique: BTreeSet<String> =
            doors.iter().map(|(method, path, _)| format!("{method} {path}")).collect();
        assert_eq!(unique.len(), doors.len());
        let public: Vec<&str> =
            doors.iter().filter(|(_, _, who)| *who == Who::Public).map(|(_, path, _)| *path).collect();
        assert_eq!(public, ["/health/ready", "/openapi.json", "/errors/{code}"]);
    }

    #[test]
    fn the_console_is_built_against_this_document() {
        let committed =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../console/openapi.json"));
        assert!(
            committed.is_ok_and(|text| text == document()),
            "console/openapi.json is stale: run `make api`, which writes it and the console's types"
        );
    }
}
