//! Log records: found by service, level, text, request id and time.

use axum::extract::State;
use axum::response::Response;
use axum::routing::get;
use hob_core::{Name, Timestamp};
use hob_records::Query;
use hob_wire::{Hal, Level, Page, Record};
use http::Uri;
use serde::Deserialize;

use crate::auth::Who;
use crate::endpoint::Endpoint;
use crate::error::ApiError;
use crate::extract::{InScope, PageParams, Params, page};
use crate::state::Api;

pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get("/v1/logs", Who::Viewer, "Log records, newest first", get(list))
            .scoped()
            .params(&[
                ("service", "of this service"),
                ("process", "of this process"),
                ("instance", "of this instance"),
                ("level", "at least trace, debug, info, warn or error"),
                ("text", "containing this text, in any case"),
                ("request_id", "of this request"),
                ("from", "not before this time"),
                ("to", "before this time"),
                ("after", "after this sequence, for following"),
            ])
            .paged()
            .answers::<Page<Record>>(200),
    ]
}

#[derive(Deserialize)]
struct LogParams {
    service: Option<Name>,
    process: Option<Name>,
    instance: Option<String>,
    level: Option<Level>,
    text: Option<String>,
    request_id: Option<String>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    after: Option<String>,
}

async fn list(
    State(api): State<Api>,
    InScope(scope): InScope,
    Params(log): Params<LogParams>,
    Params(params): Params<PageParams>,
    uri: Uri,
) -> Result<Response, ApiError> {
    let query = Query {
        scope: Some(scope),
        service: log.service,
        process: log.process,
        instance: log.instance,
        level: log.level,
        text: log.text,
        request_id: log.request_id,
        from: log.from,
        to: log.to,
        before: params.cursor()?,
        after: log.after.and_then(|text| text.parse().ok()),
    };
    let found = api.records.search(&query, params.limit()?).await?;
    let items = found.records.into_iter().map(|record| {
        let request = record.request_id.as_ref().map(|id| format!("/v1/logs?request_id={id}"));
        let href = format!("/v1/logs?after={}", record.sequence);
        let resource = Hal::new(record, href);
        match request {
            Some(request) => resource.link("request", request),
            None => resource,
        }
    });
    Ok(page(items.collect(), found.next.map(|next| next.to_string()), &uri))
}
