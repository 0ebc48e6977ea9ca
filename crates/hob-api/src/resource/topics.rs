//! Topics: what each service publishes about.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, put};
use hob_core::{Name, Scope, TopicName, code};
use hob_wire::{Hal, Page, Topic, TopicTerms};
use http::{StatusCode, Uri};
use serde::Deserialize;

use crate::auth::{Caller, Who};
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{Body, InScope, PageParams, Params, Path, json, page_of};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/topics", Who::Anyone, "The topics of a scope", get(list))
            .scoped()
            .paged()
            .answers::<Page<Topic>>(200),
        Endpoint::get("/v1/topics/{topic}", Who::Anyone, "One topic", get(show))
            .scoped()
            .answers::<Hal<Topic>>(200),
        Endpoint::put("/v1/topics/{topic}", Who::Service, "Declare a topic of one's own", put(declare))
            .scoped()
            .params(&[("service", "whose topic it is, when a developer declares it")])
            .takes::<TopicTerms>()
            .answers::<Hal<Topic>>(200),
        Endpoint::delete(
            "/v1/topics/{topic}",
            Who::Service,
            "Forget a topic; its events stay for as long as they are kept",
            delete(forget),
        )
        .scoped(),
    ]
}

/// The service in whose name a caller acts: its own, else the one that it names.
#[derive(Deserialize)]
pub(crate) struct OnBehalf {
    service: Option<Name>,
}

impl OnBehalf {
    /// The service.
    pub(crate) fn service(self, caller: &Caller) -> Result<Name, ApiError> {
        match (&caller.instance, self.service) {
            (Some((own, _)), None) => Ok(own.clone()),
            (Some((own, _)), Some(named)) if *own == named => Ok(named),
            (Some((own, _)), Some(_)) => {
                Err(ApiError::new(code::NOT_ALLOWED, format!("this token belongs to the service {own}")))
            }
            (None, Some(named)) => Ok(named),
            (None, None) => Err(ApiError::new(code::BAD_REQUEST, "name the service that this is for")
                .hint("add ?service=<name>")),
        }
    }
}

fn resource(topic: Topic) -> Hal<Topic> {
    let scope = Scope { environment: topic.environment.clone(), tenant: topic.tenant.clone() };
    let query = format!("environment={}&tenant={}", scope.environment, scope.tenant);
    let href = format!("/v1/topics/{}?{query}", topic.name);
    let events = format!("/v1/events?topic={}&{query}", topic.name);
    Hal::new(topic, href).link("events", events)
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    page_of(api.bus.topics(&scope).into_iter().map(resource).collect(), &params, &uri)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(name): Path<TopicName>,
) -> Result<Response, ApiError> {
    Ok(json(StatusCode::OK, &resource(api.bus.topic(&scope, &name)?)))
}

fn is_declared(api: &Api, service: &Name, name: &TopicName) -> bool {
    let declared = api.deploy.declarations();
    let service = declared.as_ref().and_then(|(_, declared)| declared.services.get(service));
    service.is_some_and(|service| service.topics.iter().any(|topic| topic.name == *name))
}

async fn declare(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Params(on_behalf): Params<OnBehalf>,
    Path(name): Path<TopicName>,
    Body(terms): Body<TopicTerms>,
) -> Result<Response, ApiError> {
    let service = on_behalf.service(&caller)?;
    if caller.instance.is_some() && !is_declared(&api, &service, &name) {
        // Else whoever comes first could take a name from the service that will declare it.
        let detail = format!("{service} does not declare the topic {name}");
        return Err(ApiError::new(code::NOT_ALLOWED, detail)
            .hint("name it under `topics:` of its service.yml, then run hob apply"));
    }
    let put = api.bus.put_topic(&scope, &service, &name, terms).await?;
    let status = if put.created { StatusCode::CREATED } else { StatusCode::OK };
    Ok(json(status, &resource(put.value)))
}

async fn forget(
    State(api): State<Api>,
    InScope(scope): InScope,
    caller: Caller,
    Path(name): Path<TopicName>,
) -> Result<Response, ApiError> {
    let topic = api.bus.topic(&scope, &name)?;
    if caller.instance.as_ref().is_some_and(|(service, _)| *service != topic.owner) {
        let detail = format!("{name} belongs to the service {}", topic.owner);
        return Err(ApiError::new(code::TOPIC_OWNED, detail));
    }
    api.bus.delete_topic(&scope, &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
