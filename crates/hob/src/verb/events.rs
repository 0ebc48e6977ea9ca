//! `hob events`: the event log as people read it, and live.

use futures_util::StreamExt;
use hob_core::{Clock, Timestamp, parse_duration};
use hob_wire::Event;

use crate::cli::{Events, Global};
use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::screen;

/// Bytes of one frame of a stream.
const FRAME_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Letters of an event's data on one line.
const DATA_LETTERS_MAX: usize = 100;
/// Columns that a type takes at least.
const TYPE_WIDTH_MIN: usize = 16;

pub(crate) async fn events(remote: &Remote, global: &Global, arguments: &Events) -> Result<(), Failure> {
    let joined = |values: &[String]| (!values.is_empty()).then(|| values.join(","));
    let now = Clock::system().now();
    let time = |text: &Option<String>| text.as_deref().map(|text| instant(text, now)).transpose();
    let query = [
        ("topic", joined(&arguments.topics)),
        ("type", joined(&arguments.types)),
        ("subject", arguments.subject.clone()),
        ("request_id", arguments.request_id.clone()),
        ("id", arguments.id.clone()),
        ("from", time(&arguments.from)?),
        ("to", time(&arguments.to)?),
        ("after", arguments.after.clone()),
    ];
    if arguments.follow {
        return follow(remote, global, remote.path("/v1/events", &query)).await;
    }
    // Without a place to begin at, people mean what was last.
    let is_tail = arguments.from.is_none() && arguments.after.is_none() && !arguments.desc;
    let order = (arguments.desc || is_tail).then(|| "desc".to_owned());
    let further = [("limit", Some(arguments.limit.clamp(1, 1000).to_string())), ("order", order)];
    let path = remote.path("/v1/events", &[&query[..], &further].concat());
    let mut events: Vec<Event> = remote.list(path, arguments.limit).await?;
    if is_tail {
        events.reverse();
    }
    if global.json {
        screen::json(&events);
        return Ok(());
    }
    if events.is_empty() {
        screen::say("no events match");
    }
    let width = events.iter().map(|event| event.kind.chars().count()).max().unwrap_or(0);
    events.iter().for_each(|event| show(event, width));
    if events.len() == arguments.limit {
        let which = if is_tail || arguments.desc { "newest" } else { "first" };
        screen::say(format!("these are the {which} {}; -n shows more", events.len()));
    }
    Ok(())
}

/// A time as people give it: RFC 3339, or how long ago (`15m`).
fn instant(text: &str, now: Timestamp) -> Result<String, Failure> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.to_string());
    }
    let back = parse_duration(text).map_err(|_| {
        Failure::with(Exit::Usage, format!("{text} is no time"))
            .hint("write 2026-01-05T12:00:00Z, or how long ago: 15m")
    })?;
    Ok(Timestamp::from_micros(now.as_micros() - back.as_micros() as i64).to_string())
}

/// How a kind of event is coloured: what comes to be is green, what goes is red, what only reminds is dim.
pub(crate) fn style_of(event: &Event) -> console::Style {
    let style = console::Style::new();
    match event.change().map(|change| change.as_str()) {
        Some("create") => style.green(),
        Some("delete") => style.red(),
        Some("noop") => style.dim(),
        _ => style.bold(),
    }
}

fn show(event: &Event, width: usize) {
    let dim = console::Style::new().dim();
    let subject = event.subject.as_deref().unwrap_or_default();
    let data = event.data.as_ref().map(|data| data.to_string()).unwrap_or_default();
    let data: String = data.chars().take(DATA_LETTERS_MAX).collect();
    let (position, width) = (event.position(), width.max(TYPE_WIDTH_MIN));
    let text = format!(
        "{} {} {} {subject} {}",
        dim.apply_to(format!("{position:>10}")),
        dim.apply_to(screen::time_of_day(event.time)),
        style_of(event).apply_to(format!("{:<width$}", event.kind)),
        dim.apply_to(data),
    );
    screen::line(text.trim_end());
}

async fn follow(remote: &Remote, global: &Global, path: String) -> Result<(), Failure> {
    let mut width = 0;
    let told = |event: Event, data: &str| {
        // Lines stay aligned below the longest type so far.
        width = width.max(event.kind.chars().count());
        if global.json { screen::line(data) } else { show(&event, width) }
    };
    each(remote, path, told).await
}

/// Follows a stream of events, each with its JSON, until it ends.
pub(crate) async fn each(
    remote: &Remote,
    path: String,
    mut told: impl FnMut(Event, &str),
) -> Result<(), Failure> {
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
                told(event, &data);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_given_as_such_or_as_how_long_ago() {
        let now: Timestamp = "2026-01-05T12:00:00Z".parse().unwrap();
        for (text, expect) in [
            ("2026-01-05T11:00:00Z", Some("2026-01-05T11:00:00Z")),
            ("15m", Some("2026-01-05T11:45:00Z")),
            ("yesterday", None),
        ] {
            let found = instant(text, now).ok().map(|time| time.parse::<Timestamp>().unwrap());
            assert_eq!(found, expect.map(|time| time.parse().unwrap()), "{text}");
        }
    }
}
