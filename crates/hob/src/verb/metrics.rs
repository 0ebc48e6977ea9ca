//! `hob metrics`: the names of metrics, or their series as small plots.

use hob_core::{Clock, parse_duration};
use hob_wire::{MetricName, Series};

use crate::cli::{Global, Metrics};
use crate::failure::{Exit, Failure};
use crate::remote::Remote;
use crate::screen::{self, Cell};

/// Points of a plot in the terminal.
const PLOT_POINTS: usize = 60;

pub(crate) async fn metrics(remote: &Remote, global: &Global, arguments: &Metrics) -> Result<(), Failure> {
    let Some(name) = &arguments.name else { return names(remote, global).await };
    let back = parse_duration(&arguments.since)
        .map_err(|error| Failure::with(Exit::Usage, format!("--since: failed to {error}")))?;
    let from = Clock::system().now().minus(back).to_string();
    let path = remote.path(
        "/v1/metrics",
        &[
            ("name", Some(name.clone())),
            ("service", arguments.service.as_ref().map(ToString::to_string)),
            ("from", Some(from)),
            ("step", Some(arguments.step.clone())),
        ],
    );
    let series: Vec<Series> = remote.list(path, 1000).await?;
    if global.json {
        screen::json(&series);
        return Ok(());
    }
    let rows = series.iter().map(|s| {
        let values: Vec<f64> = s.points.iter().map(|point| point.value).collect();
        let shown = &values[values.len().saturating_sub(PLOT_POINTS)..];
        let labels = s.labels.iter().filter(|(name, _)| !matches!(name.as_str(), "environment" | "tenant"));
        let labels: Vec<String> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        vec![
            Cell::bold(&s.name),
            Cell::plain(&s.statistic),
            Cell::dim(labels.join(" ")),
            Cell::plain(values.last().map_or_else(|| "-".to_owned(), |last| format!("{last:.4}"))),
            Cell::plain(screen::sparkline(shown)),
        ]
    });
    let head = ["metric", "statistic", "labels", "last", "shape"];
    screen::table(
        &head,
        &rows.collect::<Vec<_>>(),
        &format!("no samples of {name} in the last {}", arguments.since),
    );
    Ok(())
}

async fn names(remote: &Remote, global: &Global) -> Result<(), Failure> {
    let names: Vec<MetricName> = remote.list(remote.path("/v1/metrics/names", &[]), 10_000).await?;
    if global.json {
        screen::json(&names);
        return Ok(());
    }
    let rows = names.iter().map(|m| vec![Cell::bold(&m.name), Cell::dim(m.services.join(", "))]);
    screen::table(&["metric", "services"], &rows.collect::<Vec<_>>(), "no samples in the last 15 minutes");
    Ok(())
}
