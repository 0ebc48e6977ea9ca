//! What a run showed: lines of JSON, and the page that people read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::cells::Cell;
use crate::loss::Loss;
use crate::measure::{Outcome, Quantiles};
use crate::systems::System;

/// A line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// What it was measured on.
    Machine { facts: Value, set: String, seconds: f64, rounds: usize },
    /// The round of one cell on one system.
    Cell(Outcome),
    /// What a crash cost.
    Loss(Loss),
    /// Something could not be measured, and why.
    Failed { what: String, why: String },
}

/// The page's part that this program writes.
const BEGINS: &str = "<!-- bus: written by bench/bus/run -->";
const ENDS: &str = "<!-- bus: end -->";

/// Appends a line, and shows it.
pub fn add(path: &Path, line: &Line) -> Result<()> {
    use std::io::Write as _;
    let parent = path.parent().context("a file of results stands in a folder")?;
    fs::create_dir_all(parent)?;
    let mut file = fs::File::options().append(true).create(true).open(path)?;
    writeln!(file, "{}", serde_json::to_string(line)?)?;
    Ok(())
}

/// Reads a file of results; nothing when there is none.
pub fn read(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().map(|line| Ok(serde_json::from_str(line)?)).collect()
}

/// The best round of each cell and system, in the order of cells.
fn best(lines: &[Line]) -> BTreeMap<(bool, Cell), BTreeMap<System, Outcome>> {
    let mut best: BTreeMap<(bool, Cell), BTreeMap<System, Outcome>> = BTreeMap::new();
    for line in lines {
        let Line::Cell(outcome) = line else { continue };
        let systems = best.entry((!outcome.pinned, outcome.cell)).or_default();
        let known = systems.entry(outcome.system).or_insert_with(|| outcome.clone());
        if outcome.events_per_second > known.events_per_second {
            known.clone_from(outcome);
        }
    }
    best
}

fn rate(rate: f64) -> String {
    if rate >= 10_000.0 { format!("{:.0} k", rate / 1000.0) } else { format!("{rate:.0}") }
}

fn quantiles(found: Option<&Quantiles>) -> String {
    let Some(Quantiles { p50, p99, p999 }) = found else { return "–".to_owned() };
    let short = |ms: &f64| if *ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
    format!("{} / {} / {}", short(p50), short(p99), short(p999))
}

/// A table of every cell: the best round of each system.
pub fn table(lines: &[Line]) -> String {
    let mut out = String::new();
    for ((unpinned, cell), systems) in best(lines) {
        let how = if unpinned { "unpinned" } else { "a core each" };
        let _ = writeln!(out, "\n**{cell}** ({how})\n");
        out.push_str(
            "| system | events/s | hob's ratio | ack ms p50/p99/p99.9 | delivered ms | of all | CPU s/M | ",
        );
        out.push_str("generator | PSS MB | B on disk | fdatasync ms |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n");
        let hob = systems.get(&System::Hob).map(|hob| hob.events_per_second);
        for (system, outcome) in &systems {
            let ratio = hob.map(|hob| hob / outcome.events_per_second.max(1.0));
            let ratio = ratio.filter(|_| *system != System::Hob);
            let _ = writeln!(
                out,
                "| {system}{} | {} | {} | {} | {} | {} | {:.1} | {:.0} % | {:.0} | {:.0} | {:.1} / {:.0} |",
                if system.is_durable() { "" } else { " (not durable)" },
                rate(outcome.events_per_second),
                ratio.map_or("–".to_owned(), |ratio| format!("{ratio:.2}")),
                quantiles(outcome.acknowledged.as_ref()),
                quantiles(outcome.delivered.as_ref()),
                outcome.delivered_share.map_or("–".to_owned(), |share| format!("{:.1} %", share * 100.0)),
                outcome.cpu_seconds_per_million,
                outcome.generator_load * 100.0,
                outcome.memory_mb,
                outcome.disk_bytes_per_event,
                outcome.fdatasync_p50,
                outcome.fdatasync_p99,
            );
        }
    }
    out
}

fn losses(lines: &[Line]) -> String {
    let mut out = String::from("\n| system | ended by | acknowledged | recovered | lost | bytes cut |\n");
    out.push_str("|---|---|--:|--:|--:|--:|\n");
    for line in lines {
        let Line::Loss(Loss { system, after, acknowledged, recovered, lost, cut_bytes }) = line else {
            continue;
        };
        let how = match after {
            crate::loss::End::Kill => "`kill -9`",
            crate::loss::End::Power => "`kill -9`, cut back to the last fsync",
        };
        let row = format!("| {system} | {how} | {acknowledged} | {recovered} | {lost} | {cut_bytes} |");
        let _ = writeln!(out, "{row}");
    }
    out
}

/// What the marks speak of, each with what was found.
fn marks(lines: &[Line]) -> String {
    let best = best(lines);
    let mut out = String::from("\n| mark | wanted | found |\n|---|---|---|\n");
    let mut row = |mark: &str, wanted: &str, found: Option<String>| {
        let _ =
            writeln!(out, "| {mark} | {wanted} | {} |", found.unwrap_or_else(|| "not measured".to_owned()));
    };
    let of = |cell: Cell, system| best.get(&(false, cell)).and_then(|systems| systems.get(&system));
    let rate_of = |cell, system| of(cell, system).map(|outcome| outcome.events_per_second);
    let ratio = |cell, peer| Some(rate_of(cell, System::Hob)? / rate_of(cell, peer)?.max(1.0));
    let (single, batch) = (Cell::new(50, 1), Cell::new(50, 100));
    let times = |ratio: Option<f64>| ratio.map(|ratio| format!("{ratio:.2} ×"));
    let disk = of(single, System::Hob).map(|hob| hob.fdatasync_p50);
    let wanted = if disk.is_some_and(|p50| p50 < 1.0) { "0.7 × (quick disk)" } else { "1 × (slow disk)" };
    row(
        "one event a request, 50 in flight, to Redis always",
        wanted,
        times(ratio(single, System::RedisAlways)),
    );
    row("the same, to NATS always", "20 ×", times(ratio(single, System::NatsAlways)));
    let of_batches = rate_of(batch, System::Hob).map(|rate| format!("{} events/s", self::rate(rate)));
    row("100 a batch", "300 k events/s", of_batches);
    for way in [crate::systems::Way::Pull, crate::systems::Way::Stream] {
        let with = rate_of(single.with(10, way), System::Hob);
        let cost =
            with.zip(rate_of(single, System::Hob)).map(|(with, without)| 100.0 * (1.0 - with / without));
        let name = format!("ten subscribers ({way:?}) cost ingest").to_lowercase();
        row(&name, "at most 10 %", cost.map(|cost| format!("{cost:.0} %")));
    }
    let push = of(Cell::new(1, 1).with(1, crate::systems::Way::Push), System::Hob);
    let push =
        push.and_then(|outcome| outcome.delivered).map(|q| format!("{:.1} ms / {:.1} ms", q.p50, q.p99));
    row("push, publish to delivered", "p50 8 ms, p99 30 ms", push);
    let wide =
        |filtered| Cell { entities: 1_000_000, filtered, ..single.with(1, crate::systems::Way::Stream) };
    let filtered = rate_of(wide(true), System::Hob).zip(rate_of(wide(false), System::Hob));
    let filtered = filtered.map(|(with, without)| format!("{:.2} × the rate without", with / without));
    row("a filter, 1 M entities", "no slower", filtered);
    let memory: Vec<String> = [10_000, 1_000_000, 10_000_000]
        .into_iter()
        .filter_map(|entities| {
            let outcome = of(Cell { entities, ..batch }, System::Hob)?;
            Some(format!("{entities}: {:.0} MB", outcome.memory_mb))
        })
        .collect();
    row("memory by entities", "flat", (!memory.is_empty()).then(|| memory.join(", ")));
    out
}

/// The page.
pub fn page(lines: &[Line]) -> String {
    let mut out = format!("{BEGINS}\n");
    for line in lines {
        if let Line::Machine { facts, set, seconds, rounds } = line {
            let (model, count) = (&facts["model"], &facts["processors"]);
            let (memory, kernel, load) = (&facts["memory_gb"], &facts["kernel"], &facts["load"]);
            let _ = writeln!(
                out,
                "- Set {set}, {rounds} rounds of {seconds} s in turns, the best of each: {count} × {model}, {memory} GB, \
                 kernel {kernel}, load {load} when it began."
            );
        }
    }
    out.push_str("\n### Marks\n");
    out.push_str(&marks(lines));
    out.push_str("\n### Loss\n");
    out.push_str(&losses(lines));
    out.push_str("\n### Side by side\n");
    out.push_str(&table(lines));
    for line in lines {
        if let Line::Failed { what, why } = line {
            let _ = writeln!(out, "\nNot measured: {what}: {}", why.lines().next().unwrap_or_default());
        }
    }
    out.push_str(ENDS);
    out
}

/// Puts the page's part into the file.
pub fn write(path: &Path, lines: &[Line]) -> Result<()> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let before = text.split(BEGINS).next().unwrap_or_default().trim_end();
    let after = text.split(ENDS).nth(1).unwrap_or_default().trim_end();
    fs::write(path, format!("{before}\n\n{}{after}\n", page(lines)))?;
    Ok(())
}
