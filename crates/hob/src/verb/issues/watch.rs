//! Transitions of issues as they happen, a line each.

use hob_wire::{Event, Transition};

use crate::cli::Global;
use crate::failure::Failure;
use crate::remote::Remote;
use crate::screen;
use crate::verb::events::each;

/// The topic of transitions.
const TOPIC: &str = "hob.issues";

pub(super) async fn watch(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let path = remote.path("/v1/events", &[("topic", Some(TOPIC.to_owned()))]);
    let told = |event: Event, data: &str| {
        if global.json {
            return screen::line(data);
        }
        let Some(Ok(transition)) = event.data.map(serde_json::from_value::<Transition>) else { return };
        let Transition { transition, time, actor, reason, issue, .. } = transition;
        let time = screen::time_of_day(time);
        let why = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        screen::line(format!("{time} {:>3} {transition:<12} {} ({actor}{why})", issue.priority, issue.title));
    };
    each(remote, path, told).await
}
