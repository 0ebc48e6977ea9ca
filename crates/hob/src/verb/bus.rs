//! `hob subscriptions`.

use hob_wire::SubscriptionState;

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen::{self, Cell};

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
