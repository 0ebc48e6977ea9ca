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
use crate::measure::Outcome;
use crate::systems::System;
use crate::{cells, tables};

/// A line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub enum Line {
    /// What it was measured on.
    Machine {
        facts: Value,
        set: String,
        seconds: f64,
        rounds: usize,
        #[serde(default)]
        pinned: bool,
    },
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

/// The best round of each system in each cell, by whether server and generator had a core each.
pub type Best = BTreeMap<(bool, Cell), BTreeMap<System, Outcome>>;

fn best(lines: &[Line]) -> Best {
    let mut best = Best::new();
    for line in lines {
        let Line::Cell(outcome) = line else { continue };
        let systems = best.entry((outcome.pinned, outcome.cell)).or_default();
        let known = systems.entry(outcome.system).or_insert_with(|| outcome.clone());
        if outcome.events_per_second > known.events_per_second {
            known.clone_from(outcome);
        }
    }
    best
}

/// What the marks speak of, each with what was found.
fn marks(best: &Best) -> String {
    let mut out = String::from("\n| mark | wanted | found |\n|---|---|---|\n");
    let mut row = |mark: &str, wanted: &str, found: Option<String>| {
        let _ =
            writeln!(out, "| {mark} | {wanted} | {} |", found.unwrap_or_else(|| "not measured".to_owned()));
    };
    let of = |cell: Cell, system| best.get(&(true, cell)).and_then(|systems| systems.get(&system));
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
    for delay in cells::DELAYS_US.into_iter().filter(|delay| *delay > 0) {
        let mark = format!("the same on a disk {} ms slower", delay / 1000);
        row(&mark, "1 × (slow disk)", times(ratio(single.delayed(delay), System::RedisAlways)));
    }
    row(
        "one event a request, 50 in flight, to NATS always",
        "20 ×",
        times(ratio(single, System::NatsAlways)),
    );
    let of_batches = rate_of(batch, System::Hob).map(|rate| format!("{} events/s", tables::rate(rate)));
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
    let memory: Vec<String> = cells::MEMORY
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
    let best = best(lines);
    let mut out = format!("{BEGINS}\n");
    for line in lines {
        if let Line::Machine { facts, set, seconds, rounds, pinned } = line {
            let (model, count) = (&facts["model"], &facts["processors"]);
            let (memory, kernel, load) = (&facts["memory_gb"], &facts["kernel"], &facts["load"]);
            let how = if *pinned { "a core each" } else { "sharing the cores" };
            let _ = writeln!(
                out,
                "- Set {set}, {how}, {rounds} rounds of {seconds} s in turns, the best of each: {count} × {model}, \
                 {memory} GB, kernel {kernel}, load {load} when it began."
            );
        }
    }
    out.push_str("\n### Marks\n");
    out.push_str(&marks(&best));
    out.push_str("\n### Loss\n");
    out.push_str(&tables::losses(lines));
    out.push_str(&tables::all(&best));
    let mut failed: BTreeMap<&str, &str> = BTreeMap::new();
    for line in lines {
        if let Line::Failed { what, why } = line {
            failed.insert(what, why.lines().next().unwrap_or_default());
        }
    }
    for (what, why) in failed {
        let _ = writeln!(out, "\nNot measured: {what}: {why}");
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
