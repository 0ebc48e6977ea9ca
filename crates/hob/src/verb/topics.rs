//! `hob topics`: what is published, by whom, on what terms.

use std::time::Duration;

use hob_core::{TopicName, format_duration, format_size};
use hob_wire::{AckMode, Hal, Quota, Retention, Topic};

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

/// Rows of the list.
const ROWS_MAX: usize = 10_000;

pub(crate) async fn topics(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let topics: Vec<Topic> = remote.list(remote.path("/v1/topics", &[]), ROWS_MAX).await?;
    if global.json {
        screen::json(&topics);
        return Ok(());
    }
    let rows = topics.iter().map(|topic| {
        vec![
            Cell::bold(&topic.name),
            Cell::plain(kind(topic)),
            Cell::plain(&topic.owner),
            Cell::number(topic.events),
            Cell::number(last(topic)),
            Cell::plain(kept(topic.terms.retention)),
            Cell::dim(topic.terms.quota.map_or_else(|| "-".to_owned(), allowed)),
            Cell::dim(if topic.terms.ack.is_disk() { "disk" } else { "memory" }),
        ]
    });
    screen::table(
        &["topic", "kind", "owner", "events", "last", "kept", "quota", "ack"],
        &rows.collect::<Vec<_>>(),
        "no topics are declared",
    );
    Ok(())
}

pub(crate) async fn show(remote: &Remote, global: &Global, name: &TopicName) -> Result<(), Failure> {
    let topic: Hal<Topic> = remote.get(remote.path(&format!("/v1/topics/{name}"), &[])).await?;
    let topic = topic.body;
    if global.json {
        screen::json(&topic);
        return Ok(());
    }
    let data = topic.terms.data_bytes_max.map_or_else(|| "by its kind".to_owned(), format_size);
    let ack = match topic.terms.ack {
        AckMode::Disk => "when events are on disk",
        AckMode::Memory => "when events are in memory: a crash may lose the last moment",
    };
    let rows = [
        ("topic", Cell::bold(&topic.name)),
        ("kind", Cell::plain(kind(&topic))),
        ("owner", Cell::plain(&topic.owner)),
        ("scope", Cell::plain(format!("{}/{}", topic.environment, topic.tenant))),
        ("events", Cell::plain(topic.events)),
        ("last", Cell::plain(last(&topic))),
        ("delayed", Cell::plain(topic.delayed)),
        ("delayed lost", Cell::plain(topic.delayed_lost)),
        ("data", Cell::plain(data)),
        ("quota", Cell::plain(topic.terms.quota.map_or_else(|| "none".to_owned(), allowed))),
        ("kept", Cell::plain(kept(topic.terms.retention))),
        ("acknowledged", Cell::plain(ack)),
    ];
    let rows: Vec<Vec<Cell>> = rows.into_iter().map(|(name, cell)| vec![Cell::dim(name), cell]).collect();
    screen::table(&["", ""], &rows, "");
    Ok(())
}

fn kind(topic: &Topic) -> String {
    format!("{:?}", topic.terms.kind).to_lowercase()
}

fn last(topic: &Topic) -> &str {
    topic.last.as_deref().map_or("-", |last| last.trim_start_matches('0'))
}

fn kept(retention: Option<Retention>) -> String {
    let Some(Retention { age_seconds, bytes }) = retention else { return "for ever".to_owned() };
    let age = age_seconds.map(|seconds| format_duration(Duration::from_secs(seconds)));
    let parts: Vec<String> = age.into_iter().chain(bytes.map(format_size)).collect();
    if parts.is_empty() { "for ever".to_owned() } else { parts.join(", ") }
}

fn allowed(quota: Quota) -> String {
    let burst = quota.burst.map(|burst| format!(", {burst} at once")).unwrap_or_default();
    format!("{}/s{burst}", quota.events_per_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_are_told_in_a_few_words() {
        let both = Retention { age_seconds: Some(30 * 24 * 3_600), bytes: Some(10 << 30) };
        assert_eq!(kept(Some(both)), "30d, 10GiB");
        assert_eq!(kept(Some(Retention::default())), "for ever");
        assert_eq!(allowed(Quota { events_per_second: 500, burst: Some(1_000) }), "500/s, 1000 at once");
    }
}
