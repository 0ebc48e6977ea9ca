//! `hob events`, `hob subscriptions`.

use futures_util::StreamExt;
use hob_wire::{Event, SubscriptionState};

use crate::cli::{Events, Global};
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

/// Bytes of one frame of a stream.
const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(crate) async fn events(remote: &Remote, global: &Global, arguments: &Events) -> Result<(), Failure> {
    let topics = (!arguments.topics.is_empty()).then(|| arguments.topics.join(","));
    let query = [
        ("topic", topics),
        ("subject", arguments.subject.clone()),
        ("request_id", arguments.request_id.clone()),
        ("after", arguments.after.clone()),
    ];
    let path = remote.path("/v1/events", &query);
    if arguments.follow {
        return follow(remote, global, path).await;
    }
    let limited = remote.path(
        "/v1/events",
        &[&query[..], &[("limit", Some(arguments.limit.clamp(1, 1000).to_string()))]].concat(),
    );
    let events: Vec<Event> = remote.list(limited, arguments.limit).await?;
    if global.json {
        screen::json(&events);
        return Ok(());
    }
    if events.is_empty() {
        screen::say("no events match");
    }
    events.iter().for_each(show);
    Ok(())
}

fn show(event: &Event) {
    let dim = console::Style::new().dim();
    let bold = console::Style::new().bold();
    let subject = event.subject.as_deref().unwrap_or_default();
    let data = event.data.as_ref().map(|data| data.to_string()).unwrap_or_default();
    let data: String = data.chars().take(100).collect();
    let position = event.position();
    screen::line(format!(
        "{} {} {:<24} {subject} {}",
        dim.apply_to(format!("{position:>10}")),
        dim.apply_to(screen::time_of_day(event.time)),
        bold.apply_to(&event.kind),
        dim.apply_to(data),
    ));
}

async fn follow(remote: &Remote, global: &Global, path: String) -> Result<(), Failure> {
    let mut chunks = remote.stream(path, None).await?.chunks;
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk
            .map_err(|error| Failure::new(format!("the stream broke off: {}", hob_api::chain(&error))))?;
        text.extend_from_slice(&chunk);
        if text.len() > FRAME_BYTES_MAX {
            return Err(Failure::new("the stream sent a frame that is too long"));
        }
        while let Some(end) = text.windows(2).position(|pair| pair == b"\n\n") {
            let frame: Vec<u8> = text.drain(..end + 2).collect();
            let frame = String::from_utf8_lossy(&frame);
            let data = frame
                .lines()
                .filter_map(|line| line.strip_prefix("data:"))
                .map(str::trim_start)
                .collect::<String>();
            if let Ok(event) = serde_json::from_str::<Event>(&data) {
                if global.json { screen::line(data) } else { show(&event) }
            }
        }
    }
    Ok(())
}

pub(crate) async fn subscriptions(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let all: Vec<SubscriptionState> = remote.list(remote.path("/v1/subscriptions", &[]), 10_000).await?;
    if global.json {
        screen::json(&all);
        return Ok(());
    }
    let rows = all.iter().map(|s| {
        let topics: Vec<&str> = s.topics.iter().map(|topic| topic.as_str()).collect();
        vec![
            Cell::bold(&s.name),
            Cell::plain(&s.service),
            Cell::state(&s.state),
            Cell::plain(s.lag_events),
            Cell::plain(format!("{:.1} s", s.lag_seconds)),
            Cell::plain(s.in_flight),
            Cell::plain(s.streams),
            Cell::dim(topics.join(", ")),
            Cell::dim(s.stall_reason.clone().unwrap_or_default()),
        ]
    });
    let head = ["subscription", "service", "state", "lag", "oldest", "in flight", "streams", "topics", "why"];
    screen::table(&head, &rows.collect::<Vec<_>>(), "nobody subscribes to anything yet");
    Ok(())
}
