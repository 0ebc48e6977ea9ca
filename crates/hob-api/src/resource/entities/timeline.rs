//! What happened to an entity, from every log: its events and positions, what was observed, its issues, the lines that
//! services wrote about its requests; and what it was at a time.

use std::collections::BTreeSet;

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_bus::{Filter, hob_topics};
use hob_core::{Scope, Timestamp, TopicName};
use hob_records::Query;
use hob_wire::{EntityState, Event, Hal, Moment, Observation, Page, Transition};
use http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::escape;
use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, Path, json, page};
use crate::state::Api;

/// Looks through the log for one timeline.
const LOOKS_MAX: usize = 20;
/// Events of one look.
const LOOK: usize = 500;
/// Requests whose log records are shown.
const REQUESTS_MAX: usize = 10;
/// Log records of one request that are shown.
const RECORDS_MAX: usize = 10;
/// The least time between positions that are shown.
const PING_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// How long before an issue opened its timeline begins.
const BEFORE_ISSUE: std::time::Duration = std::time::Duration::from_secs(2 * 3600);

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get(
            "/v1/entities/timeline",
            Who::Viewer,
            "What happened to an entity, newest first",
            get(show),
        )
        .scoped()
        .params(&[
            ("href", "the entity"),
            ("since", "not before this time on the scope's clock"),
            ("until", "before this time on the scope's clock"),
        ])
        .paged()
        .answers::<Page<Moment>>(200),
        Endpoint::get("/v1/entities/state", Who::Viewer, "What an entity was at a time", get(state))
            .scoped()
            .params(&[("href", "the entity"), ("at", "the time on the scope's clock; now when left out")])
            .answers::<Hal<EntityState>>(200),
        Endpoint::get(
            "/v1/issues/{id}/timeline",
            Who::Viewer,
            "What happened to the entity of an issue, from two hours before it opened",
            get(of_issue),
        )
        .scoped()
        .paged()
        .answers::<Page<Moment>>(200),
    ]
}

/// Which part of the past is wanted.
struct Span {
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

impl Span {
    fn holds(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

#[derive(Deserialize)]
struct TimelineParams {
    href: String,
    since: Option<Timestamp>,
    until: Option<Timestamp>,
}

async fn show(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<TimelineParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let span = Span { since: wanted.since, until: wanted.until };
    timeline(&api, &scope, &wanted.href, &span, &params, &uri).await
}

async fn of_issue(
    State(api): State<Api>,
    InScope(scope): InScope,
    Path(id): Path<String>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let issue = api.watch.issue(&scope, &id)?;
    let until = issue.resolved.map(|at| at.plus(PING_EVERY));
    let span = Span { since: Some(issue.opened.minus(BEFORE_ISSUE)), until };
    timeline(&api, &scope, &issue.about, &span, &params, &uri).await
}

async fn timeline(
    api: &Api,
    scope: &Scope,
    href: &str,
    span: &Span,
    params: &PageParams,
    uri: &Uri,
) -> Result<Response, ApiError> {
    let limit = params.limit()?;
    let filter = Filter { subject: Some(href.to_owned()), ..Filter::all(scope.clone()) };
    let mut moments: Vec<Moment> = Vec::new();
    let mut before = params.cursor()?;
    let mut newer: Option<Map<String, Value>> = None;
    let mut next = None;
    'looks: for look in 0..LOOKS_MAX {
        let found = api.bus.events_back(&filter, before, LOOK).await?;
        for event in &found.events {
            let Some(moment) = moment(event, &mut newer, &mut moments) else { continue };
            if span.holds(moment.time) {
                moments.push(moment);
            }
            if moments.len() >= limit {
                next = Some(event.position());
                break 'looks;
            }
        }
        before = found.next;
        match before {
            None => break,
            Some(_) if look + 1 == LOOKS_MAX => next = before,
            Some(_) => {}
        }
    }
    moments.extend(pings(api, scope, href, span).await?);
    moments.extend(records(api, scope, &moments).await?);
    moments.sort_by(|a, b| b.time.cmp(&a.time).then(b.sequence.cmp(&a.sequence)));
    let own = format!("/v1/entities?href={}", escape(href));
    let items = moments.into_iter().map(|moment| Hal::new(moment, own.clone())).collect();
    Ok(page(items, next.map(|next| next.to_string()), uri))
}

fn plain(event: &Event, kind: &str, text: String) -> Moment {
    Moment {
        time: event.time,
        recorded: event.recordedtime,
        kind: kind.to_owned(),
        text,
        sequence: Some(event.sequence.clone()),
        issue: None,
        requestid: event.requestid.clone(),
        values: Map::new(),
    }
}

/// What an event says of the entity. Events come newest first; an observation's changes are those that the next one
/// shows, so they are noted when the one before is seen.
fn moment(event: &Event, newer: &mut Option<Map<String, Value>>, told: &mut [Moment]) -> Option<Moment> {
    match event.topic.as_str() {
        hob_topics::OBSERVATIONS => {
            let observation: Observation = serde_json::from_value(event.data.clone()?).ok()?;
            let text = match (&observation.error, observation.status) {
                (Some(error), _) => error.clone(),
                (None, status) => format!("answered {status}"),
            };
            let time = observation.clock;
            let mut moment = Moment { time, ..plain(event, "observed", text) };
            let Some(Value::Object(body)) = observation.body else { return Some(moment) };
            let last = told.iter_mut().rev().find(|moment| moment.kind == "observed");
            if let (Some(newer), Some(last)) = (newer.as_ref(), last) {
                let is_other = |(name, value): &(&String, &Value)| body.get(*name) != Some(*value);
                let changed = newer.iter().filter(is_other);
                last.values = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
            }
            moment.values.clone_from(&body);
            *newer = Some(body);
            Some(moment)
        }
        hob_topics::ISSUES => {
            let transition: Transition = serde_json::from_value(event.data.clone()?).ok()?;
            let why =
                if transition.reason.is_empty() { String::new() } else { format!(": {}", transition.reason) };
            let issue = &transition.issue;
            let text = format!("{} by {}{why} ({})", transition.transition, transition.actor, issue.title);
            let time = if transition.time > Timestamp::EPOCH { transition.time } else { issue.opened };
            let mut moment = Moment { time, issue: Some(issue.id.clone()), ..plain(event, "issue", text) };
            moment.values.extend([("before".to_owned(), Value::Object(transition.before))]);
            moment.values.extend([("after".to_owned(), Value::Object(transition.after))]);
            Some(moment)
        }
        topic if topic.starts_with("hob.") => None,
        _ => Some(plain(event, "event", event.kind.clone())),
    }
}

/// Positions of the entity, thinned.
async fn pings(api: &Api, scope: &Scope, href: &str, span: &Span) -> Result<Vec<Moment>, ApiError> {
    let Some((topic, member, id)) = api.watch.stream_of(scope, href)? else { return Ok(Vec::new()) };
    let (from, to) = (span.since, span.until);
    let filter = Filter { from, to, ..Filter::topics(scope.clone(), vec![topic]) };
    let mut moments: Vec<Moment> = Vec::new();
    let mut before = None;
    for _ in 0..LOOKS_MAX / 2 {
        let found = api.bus.events_back(&filter, before, LOOK).await?;
        for event in &found.events {
            let data = event.data.as_ref().and_then(Value::as_object);
            let named = data.and_then(|data| data.get(&member)).and_then(Value::as_str);
            let is_its = event.subject.as_deref() == Some(href) || named == Some(id.as_str());
            let is_near = |last: &Moment| last.time.since(event.time) < PING_EVERY;
            if !is_its || moments.last().is_some_and(is_near) {
                continue;
            }
            let mut moment = plain(event, "ping", "position".to_owned());
            moment.values = data.cloned().unwrap_or_default();
            moments.push(moment);
        }
        before = found.next;
        if before.is_none() {
            break;
        }
    }
    Ok(moments)
}

/// What services wrote about the requests that caused these moments.
async fn records(api: &Api, scope: &Scope, moments: &[Moment]) -> Result<Vec<Moment>, ApiError> {
    let requests: BTreeSet<&String> =
        moments.iter().filter_map(|moment| moment.requestid.as_ref()).take(REQUESTS_MAX).collect();
    let mut lines = Vec::new();
    for request in requests {
        let Some(cause) = moments.iter().find(|moment| moment.requestid.as_ref() == Some(request)) else {
            continue;
        };
        let query = Query {
            scope: Some(scope.clone()),
            request_id: Some(request.clone()),
            from: Some(cause.recorded.minus(PING_EVERY)),
            to: Some(cause.recorded.plus(PING_EVERY)),
            ..Query::default()
        };
        for record in api.records.search(&query, RECORDS_MAX).await?.records {
            let text = format!("{}: {}", record.service, record.message);
            lines.push(Moment {
                // Log lines are on the wall clock; they stand with the event of their request.
                time: cause.time,
                recorded: record.time,
                kind: "log".to_owned(),
                text,
                sequence: Some(record.sequence.clone()),
                issue: None,
                requestid: Some(request.clone()),
                values: Map::new(),
            });
        }
    }
    Ok(lines)
}

#[derive(Deserialize)]
struct StateParams {
    href: String,
    at: Option<Timestamp>,
}

async fn state(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(wanted): Params<StateParams>,
) -> Result<Response, ApiError> {
    let topic: TopicName = hob_topics::OBSERVATIONS.parse().map_err(|_| {
        ApiError::new(hob_core::code::INTERNAL, "the topic of observations has no sound name")
    })?;
    let at = wanted.at.unwrap_or_else(|| api.bus.clock(&scope));
    let filter = Filter { subject: Some(wanted.href.clone()), ..Filter::topics(scope.clone(), vec![topic]) };
    let href = format!("/v1/entities/state?href={}&at={at}", escape(&wanted.href));
    let mut state =
        EntityState { href: wanted.href, at, observed: None, representation: None, trouble: None };
    let mut before = None;
    for _ in 0..LOOKS_MAX {
        let found = api.bus.events_back(&filter, before, LOOK).await?;
        let observations = found.events.into_iter().filter_map(|event| event.data);
        let mut observations =
            observations.filter_map(|data| serde_json::from_value::<Observation>(data).ok());
        if let Some(observation) = observations.find(|one| one.clock <= at && one.status != 304) {
            state.observed = Some(observation.clock);
            state.trouble = match (observation.status, observation.error) {
                (200..=299, error) => error,
                (_, Some(error)) => Some(error),
                (status, None) => Some(format!("it answered {status}")),
            };
            state.representation = observation.body;
            break;
        }
        before = found.next;
        if before.is_none() {
            break;
        }
    }
    Ok(json(StatusCode::OK, &Hal::new(state, href)))
}
