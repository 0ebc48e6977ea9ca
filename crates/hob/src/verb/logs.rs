//! `hob logs`: what services wrote, and the requests that went through the router.

use std::time::Duration;

use hob_core::{Clock, parse_duration};
use hob_wire::{Level, Record};

use crate::cli::{Global, Logs};
use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::screen;

/// Time between looks when following.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) async fn logs(remote: &Remote, global: &Global, arguments: &Logs) -> Result<(), Failure> {
    if let Some(level) = arguments.level.as_deref().filter(|level| Level::parse(level).is_none()) {
        let message = format!("--level: `{level}` is no level");
        return Err(Failure::with(Exit::Usage, message).hint("it may be trace, debug, info, warn or error"));
    }
    let from = match &arguments.since {
        None => None,
        Some(text) => {
            let back = parse_duration(text)
                .map_err(|e| Failure::with(Exit::Usage, format!("--since: failed to {e}")))?;
            Some(Clock::system().now().minus(back).to_string())
        }
    };
    let query = |after: Option<String>, limit: usize| {
        let limit = limit.clamp(1, 1000).to_string();
        remote.path(
            "/v1/logs",
            &[
                ("service", arguments.service.as_ref().map(ToString::to_string)),
                ("level", arguments.level.clone()),
                ("text", arguments.text.clone()),
                ("instance", arguments.instance.clone()),
                ("request_id", arguments.request_id.clone()),
                ("from", from.clone()),
                ("after", after),
                ("limit", Some(limit)),
            ],
        )
    };
    let mut records: Vec<Record> = remote.list(query(None, arguments.limit), arguments.limit).await?;
    records.reverse();
    if global.json && !arguments.follow {
        screen::json(&records);
        return Ok(());
    }
    if records.is_empty() && !arguments.follow {
        screen::say("no records match");
    }
    let mut last = "0".to_owned();
    loop {
        for record in &records {
            if global.json {
                screen::line(serde_json::to_string(record).unwrap_or_default());
            } else {
                show(record);
            }
            last.clone_from(&record.sequence);
        }
        if !arguments.follow {
            return Ok(());
        }
        tokio::time::sleep(LOOK).await;
        records = remote.list(query(Some(last.clone()), 1000), 100_000).await?;
        records.reverse();
    }
}

fn show(record: &Record) {
    let dim = console::Style::new().dim();
    let level = match record.level {
        Level::Error => console::style("ERROR").red().bold(),
        Level::Warn => console::style("WARN ").yellow(),
        Level::Info => console::style("INFO ").green(),
        Level::Debug => console::style("DEBUG").dim(),
        Level::Trace => console::style("TRACE").dim(),
    };
    let request = record.request_id.as_deref().map(|id| format!(" {}", dim.apply_to(id))).unwrap_or_default();
    let fields: Vec<String> = record.fields.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let who = record.instance.as_deref().unwrap_or(record.service.as_str());
    screen::line(format!(
        "{} {level} {} {}{request} {}",
        dim.apply_to(screen::time_of_day(record.time)),
        dim.apply_to(who),
        record.message,
        dim.apply_to(fields.join(" ")),
    ));
}
