//! `hob entities`: one entity with its history, or those that a topic tells of.

use hob_core::{Clock, Timestamp, format_duration};
use hob_wire::{Entity, Event};

use crate::cli::{Entities, Global};
use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::screen::{self, Cell};

pub(crate) async fn entities(remote: &Remote, global: &Global, arguments: &Entities) -> Result<(), Failure> {
    match (&arguments.href, &arguments.topic) {
        (Some(href), topic) => one(remote, global, href, topic.clone(), arguments.limit).await,
        (None, Some(topic)) => list(remote, global, topic, arguments).await,
        (None, None) => Err(Failure::with(Exit::Usage, "neither an href nor a topic is named")
            .hint("hob entities https://…/orders/7, or hob entities --topic orders")),
    }
}

async fn list(remote: &Remote, global: &Global, topic: &str, arguments: &Entities) -> Result<(), Failure> {
    let query = [
        ("topic", Some(topic.to_owned())),
        ("deleted", (!arguments.all).then(|| "false".to_owned())),
        ("limit", Some(arguments.limit.clamp(1, 1000).to_string())),
    ];
    let entities: Vec<Entity> = remote.list(remote.path("/v1/entities", &query), arguments.limit).await?;
    if global.json {
        screen::json(&entities);
        return Ok(());
    }
    let rows = entities.iter().map(|entity| {
        vec![
            Cell::bold(&entity.href),
            Cell::plain(entity.entityseq),
            Cell::dim(position(&entity.sequence)),
            Cell::dim(entity.entitytag.as_deref().unwrap_or("-")),
            Cell::state(if entity.deleted { "deleted" } else { "live" }),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    screen::table(
        &["entity", "events", "last", "tag", "state"],
        &rows,
        &format!("{topic} tells of no entity"),
    );
    Ok(())
}

async fn one(
    remote: &Remote,
    global: &Global,
    href: &str,
    topic: Option<String>,
    limit: usize,
) -> Result<(), Failure> {
    let query = [("href", Some(href.to_owned())), ("topic", topic)];
    let entities: Vec<Entity> = remote.list(remote.path("/v1/entities", &query), usize::MAX).await?;
    if entities.is_empty() {
        return Err(Failure::with(Exit::NotFound, format!("no event tells of {href}"))
            .hint("hrefs are whole URLs; hob entities --topic TOPIC lists those of a topic"));
    }
    if global.json {
        screen::json(&entities);
        return Ok(());
    }
    for entity in &entities {
        describe(entity);
        let query = [
            ("topic", Some(entity.topic.to_string())),
            ("subject", Some(href.to_owned())),
            ("limit", Some(limit.clamp(1, 1000).to_string())),
        ];
        let history: Vec<Event> = remote.list(remote.path("/v1/events", &query), limit).await?;
        screen::line("");
        timeline(&history);
    }
    Ok(())
}

fn describe(entity: &Entity) {
    let now = Clock::system().now();
    let changed = entity.last.as_ref().map(|last| format!("{} ago", screen::ago(last.recordedtime, now)));
    let rows = [
        ("entity", Cell::bold(&entity.href)),
        ("state", Cell::state(if entity.deleted { "deleted" } else { "live" })),
        ("topic", Cell::plain(&entity.topic)),
        ("owner", Cell::plain(&entity.owner)),
        ("events", Cell::plain(entity.entityseq)),
        ("tag", Cell::plain(entity.entitytag.as_deref().unwrap_or("-"))),
        ("last event", Cell::plain(position(&entity.sequence))),
        ("changed", Cell::plain(changed.unwrap_or_else(|| "its newest event is no longer kept".to_owned()))),
    ];
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(name, cell)| vec![Cell::dim(name), cell]).collect();
    screen::table(&["", ""], &rows, "");
}

/// Events of one entity, oldest first, each with the time since the one before.
fn timeline(history: &[Event]) {
    let mut before: Option<Timestamp> = None;
    let mut rows = Vec::new();
    for event in history {
        let since = before.map(|before| format!("+{}", format_duration(event.time.since(before))));
        before = Some(event.time);
        let what = event.kind.rsplit('.').next().unwrap_or(&event.kind);
        rows.push(vec![
            Cell::plain(event.entityseq.map_or_else(|| "-".to_owned(), |nth| nth.to_string())),
            Cell::dim(event.time),
            Cell::dim(since.unwrap_or_default()),
            Cell::styled(what, super::events::style_of(event)),
            Cell::dim(position(&event.sequence)),
            Cell::dim(event.entitytag.as_deref().unwrap_or("-")),
            Cell::dim(event.requestid.as_deref().unwrap_or_default()),
        ]);
    }
    let head = ["nth", "time", "after", "what", "event", "tag", "request"];
    screen::table(&head, &rows, "none of its events is kept any more");
}

fn position(sequence: &str) -> &str {
    sequence.trim_start_matches('0')
}
