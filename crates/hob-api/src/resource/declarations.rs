//! What the platform's files declare: applied whole or not at all.

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, put};
use hob_core::code;
use hob_watch::Watch;
use hob_wire::{Applied, Declarations, Hal};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, Params, json};
use crate::state::Api;

const PATH: &str = "/v1/declarations";

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(PATH, Who::Viewer, "What is declared", get(show)).answers::<Hal<Declarations>>(200),
        Endpoint::put(
            PATH,
            Who::Developer,
            "Declare, whole or not at all; nothing is deployed by it",
            put(apply),
        )
        .params(&[
            ("dry_run", "true: only say what would change"),
            ("revision", "only when this is the revision now"),
        ])
        .takes::<Declarations>()
        .answers::<Hal<Applied>>(200),
    ]
}

async fn show(State(api): State<Api>) -> Result<Response, ApiError> {
    let (revision, declared) = api.deploy.declarations().ok_or_else(|| {
        ApiError::new(code::NOT_FOUND, "nothing is declared yet").hint("apply a platform: hob apply")
    })?;
    let mut response = json(StatusCode::OK, &Hal::new(declared.as_ref(), PATH));
    if let Ok(value) = HeaderValue::from_str(&revision.to_string()) {
        response.headers_mut().insert("x-revision", value);
    }
    Ok(response)
}

#[derive(Deserialize)]
struct ApplyParams {
    #[serde(default)]
    dry_run: bool,
    revision: Option<u64>,
}

/// Rules are checked before anything is stored, and taken by the watch once the declarations are: the declarations
/// are the one record, what the watch and the bus hold follows from them (and is derived again at the next start).
async fn apply(
    State(api): State<Api>,
    Params(params): Params<ApplyParams>,
    headers: HeaderMap,
    Body(declarations): Body<Declarations>,
) -> Result<Response, ApiError> {
    Watch::check(&declarations.rules).map_err(|flaws| hob_watch::Error::BadRules { flaws })?;
    check_owners(&api, &declarations)?;
    if params.dry_run {
        let changes = api.deploy.dry_run(&declarations)?;
        let revision = api.deploy.declarations().map_or(0, |(revision, _)| revision);
        return Ok(json(StatusCode::OK, &Hal::new(Applied { revision, changes }, PATH)));
    }
    let if_match = headers.get(header::IF_MATCH).and_then(|value| value.to_str().ok());
    let expected = params.revision.or_else(|| if_match.and_then(|text| text.trim_matches('"').parse().ok()));
    let applied = api.deploy.apply(declarations.clone(), expected).await?;
    api.derive(&declarations).await?;
    let applied = Applied { revision: applied.revision, changes: applied.changes };
    Ok(json(StatusCode::OK, &Hal::new(applied, PATH)))
}

/// Refuses a topic that another service owns already, before anything is stored.
fn check_owners(api: &Api, declarations: &Declarations) -> Result<(), ApiError> {
    for scope in declarations.platform.scopes() {
        for (service, topic) in
            declarations.services.values().flat_map(|s| s.topics.iter().map(move |t| (s, t)))
        {
            let owner = api.bus.topic(&scope, &topic.name).map(|known| known.owner);
            if let Ok(owner) = owner.as_ref().map_err(drop)
                && *owner != service.service
            {
                let detail =
                    format!("{} declares the topic {}, which {owner} owns", service.service, topic.name);
                return Err(ApiError::new(code::CONFLICT, detail)
                    .hint("a topic keeps its owner; give it another name"));
            }
        }
    }
    Ok(())
}

impl Api {
    /// Brings topics, clocks and rules to what is declared. Safe to repeat; run at each start too.
    pub async fn derive(&self, declarations: &Declarations) -> Result<(), ApiError> {
        let scopes = declarations.platform.scopes();
        for scope in &scopes {
            for service in declarations.services.values() {
                for topic in &service.topics {
                    self.bus.put_topic(scope, &service.service, &topic.name, topic.terms.clone()).await?;
                }
            }
        }
        let clocks = scopes.iter().filter_map(|scope| {
            declarations.platform.clock_topic(scope).map(|topic| (scope.clone(), topic.clone()))
        });
        self.bus.set_clocks(clocks.collect());
        self.watch.set_rules(scopes, &declarations.rules).await?;
        Ok(())
    }
}
