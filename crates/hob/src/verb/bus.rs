//! `hob topics`, `hob subscriptions`.

use hob_wire::{SubscriptionState, Topic};

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

pub(crate) async fn topics(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let topics: Vec<Topic> = remote.list(remote.path("/v1/topics", &[]), 10_000).await?;
    if global.json {
        screen::json(&topics);
        return Ok(());
    }
    let rows = topics.iter().map(|t| {
        let kind = format!("{:?}", t.terms.kind).to_lowercase();
        let last = t.last.as_deref().map_or("-", |last| last.trim_start_matches('0'));
        vec![
            Cell::bold(&t.name),
            Cell::plain(kind),
            Cell::plain(&t.owner),
            Cell::plain(t.events),
            Cell::dim(last),
        ]
    });
    screen::table(
        &["topic", "kind", "owner", "events", "last"],
        &rows.collect::<Vec<_>>(),
        "no topics are declared",
    );
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
