//! Events: publish them, read the log, follow it.

mod once;
mod publish;

use axum::extract::State;
use axum::response::Response;
use axum::routing::{get, post};
use hob_bus::Filter;
use hob_core::{Scope, Timestamp, code};
use hob_wire::{Draft, Event, Hal, Notice, Page, Published, cloudevents};
use http::{HeaderMap, StatusCode, Uri};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, Path, json, page, page_of_lines};
use crate::sse::{self, Form};
use crate::state::Api;

pub(crate) use publish::{publish_on, tell_quota};

/// One, or a list of them: told in the API's document, and read by [`hob_wire::incoming`].
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is used")]
enum OneOrMany<T> {
    Many(Vec<T>),
    One(T),
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let filter = [
        ("topic", "on this topic; several with commas"),
        ("type", "of this type; several with commas"),
        ("subject", "about this href"),
        ("request_id", "caused by this request"),
        ("from", "not before this time"),
        ("to", "before this time"),
        ("after", "after this sequence"),
        ("id", "with this id"),
        ("order", "desc: newest first; oldest first when left out"),
    ];
    vec![
        Endpoint::post(
            "/v1/topics/{topic}/events",
            Who::Service,
            "Publish on a topic: one notice or a list",
            post(publish::on_topic),
        )
        .scoped()
        .takes::<OneOrMany<Notice>>()
        .answers::<Published>(201),
        Endpoint::post(
            "/v1/events",
            Who::Service,
            "Publish on several topics, all or none",
            post(publish::on_many),
        )
        .scoped()
        .takes::<OneOrMany<Draft>>()
        .answers::<Published>(201),
        Endpoint::get(
            "/v1/events",
            Who::Anyone,
            "The event log, oldest or newest first; as application/x-ndjson, a line each; as text/event-stream, live",
            get(list),
        )
        .scoped()
        .params(&filter)
        .paged()
        .answers::<Page<Event>>(200),
        Endpoint::get("/v1/events/{sequence}", Who::Anyone, "One event", get(show))
            .scoped()
            .answers::<Hal<Event>>(200),
    ]
}

#[derive(Deserialize)]
struct FilterParams {
    topic: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
    subject: Option<String>,
    request_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<String>,
    id: Option<String>,
    #[serde(default)]
    order: Order,
}

/// In which order events are listed.
#[derive(Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Order {
    #[default]
    Asc,
    Desc,
}

impl FilterParams {
    fn filter(&self, scope: Scope) -> Result<Filter, ApiError> {
        let mut filter = Filter::all(scope);
        for name in self.topic.iter().flat_map(|text| text.split(',')) {
            let bad = |error| ApiError::new(code::BAD_REQUEST, format!("failed to {error}"));
            filter.topics.push(name.parse().map_err(bad)?);
        }
        filter.types = self.kind.iter().flat_map(|text| text.split(',')).map(str::to_owned).collect();
        filter.subject.clone_from(&self.subject);
        filter.request_id.clone_from(&self.request_id);
        filter.id.clone_from(&self.id);
        (filter.from, filter.to) = (self.from, self.to);
        Ok(filter)
    }

    fn after(&self) -> Result<Option<u64>, ApiError> {
        let Some(text) = &self.after else { return Ok(None) };
        let number = text.parse().map_err(|_| ApiError::new(code::BAD_REQUEST, "`after` is no sequence"))?;
        Ok(Some(number))
    }
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(filter): Params<FilterParams>,
    Params(params): Params<PageParams>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, ApiError> {
    let (after, order) = (filter.after()?, filter.order);
    let filter = filter.filter(scope)?;
    if sse::accepts(&headers, sse::EVENTS) {
        let head = api.bus.head();
        let after = sse::last_event_id(&headers)?.or(after).unwrap_or(head);
        if after > head {
            let detail = format!("there is no event {after} yet: the newest is {head}");
            return Err(ApiError::new(code::SEEK_AHEAD, detail).hint("go on after an event of this log"));
        }
        return Ok(Form::Events.answer(api.bus.follow(filter, after, Form::Events.framing())?));
    }
    let found = match (order, after) {
        (Order::Asc, _) => {
            let start = params.cursor()?.or(after).unwrap_or(0);
            api.bus.events(&filter, start, params.limit()?).await?
        }
        (Order::Desc, None) => api.bus.events_back(&filter, params.cursor()?, params.limit()?).await?,
        (Order::Desc, Some(_)) => {
            return Err(ApiError::new(code::BAD_REQUEST, "`after` and `order=desc` do not go together")
                .hint("leave one out; `from` and `to` narrow either order by time"));
        }
    };
    let next = found.next.map(|next| next.to_string());
    if sse::accepts(&headers, sse::LINES) {
        return Ok(page_of_lines(cloudevents::lines(&found.events), next, &uri));
    }
    let items = found.events.into_iter().map(resource).collect();
    Ok(page(items, next, &uri))
}

fn resource(event: Event) -> Hal<Event> {
    let query = format!("environment={}&tenant={}", event.environment, event.tenant);
    let href = format!("/v1/events/{}?{query}", event.sequence);
    Hal::new(event, href)
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(sequence): Path<String>,
) -> Result<Response, ApiError> {
    let number = sequence.parse().map_err(|_| ApiError::not_found(format!("event {sequence}")))?;
    Ok(json(StatusCode::OK, &resource(api.bus.event(&scope, number).await?)))
}
