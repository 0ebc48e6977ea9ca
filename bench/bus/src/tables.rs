//! The tables of the page: one for each axis, what it costs, and every cell folded away.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::cells::{BATCH, BYTES, Cell, DELAYS_US, IN_FLIGHT, SUBSCRIBERS};
use crate::loss::{End, Loss};
use crate::measure::{Outcome, Quantiles};
use crate::report::{Best, Line};
use crate::systems::{System, Way};

/// The systems in the order of columns.
const COLUMNS: [System; 7] = [
    System::Hob,
    System::HobEmbedded,
    System::RedisAlways,
    System::NatsAlways,
    System::Rabbitmq,
    System::RedisEverysec,
    System::NatsDefault,
];

/// A rate as people read it.
pub fn rate(rate: f64) -> String {
    if rate >= 10_000.0 { format!("{:.0} k", rate / 1000.0) } else { format!("{rate:.0}") }
}

fn quantiles(found: Option<&Quantiles>) -> String {
    let Some(Quantiles { p50, p99, .. }) = found else { return String::new() };
    let short = |ms: &f64| if *ms < 10.0 { format!("{ms:.1}") } else { format!("{ms:.0}") };
    format!("{}–{} ms", short(p50), short(p99))
}

/// A table of cells that are called by what they differ in, a column for each system that has any of them.
fn table(out: &mut String, best: &Best, pinned: bool, first: &str, rows: &[(String, Cell)], full: bool) {
    let found: Vec<(&String, &BTreeMap<System, Outcome>)> =
        rows.iter().filter_map(|(name, cell)| Some((name, best.get(&(pinned, *cell))?))).collect();
    let columns: Vec<System> = COLUMNS
        .into_iter()
        .filter(|system| found.iter().any(|(_, systems)| systems.contains_key(system)))
        .collect();
    let names = columns.iter().map(|system| {
        let durable = if system.is_durable() { "" } else { ", not durable" };
        format!("{system}{durable}")
    });
    let _ = writeln!(out, "\n| {first} | {} |", names.collect::<Vec<_>>().join(" | "));
    let _ = writeln!(out, "|---|{}", "--:|".repeat(columns.len()));
    for (name, systems) in found {
        let hob = systems.get(&System::Hob).map(|hob| hob.events_per_second);
        let cells = columns.iter().map(|system| match systems.get(system) {
            Some(outcome) => one(outcome, hob, full),
            None => "–".to_owned(),
        });
        let _ = writeln!(out, "| {name} | {} |", cells.collect::<Vec<_>>().join(" | "));
    }
}

/// The rate, Hob's to it, and how long it took; delivery where somebody reads along.
fn one(outcome: &Outcome, hob: Option<f64>, full: bool) -> String {
    let mut text = rate(outcome.events_per_second);
    let ratio = hob.map(|hob| hob / outcome.events_per_second.max(1.0));
    if let Some(ratio) = ratio.filter(|_| outcome.system != System::Hob) {
        let _ = write!(text, " ({ratio:.2} ×)");
    }
    if full {
        let took = outcome.delivered.as_ref().or(outcome.acknowledged.as_ref());
        let _ = write!(text, ", {}", quantiles(took));
    }
    if let Some(share) = outcome.delivered_share.filter(|share| *share < 0.9995) {
        let _ = write!(text, ", {:.0} % delivered", share * 100.0);
    }
    text
}

/// Everything that was measured.
pub fn all(best: &Best) -> String {
    let base = Cell::new(50, 1);
    let mut out = String::from(
        "\n### By axis\n\nEvents a second (Hob's ratio to it), then p50–p99 from sending to the acknowledgement, or to a \
         subscriber's having it. What is not the axis is 50 in flight, one event a unit, nobody reading along, 90 B, a core \
         each.\n",
    );
    let named = |name: String, cell: Cell| (name, cell);
    let axes: [(&str, Vec<(String, Cell)>); 6] = [
        ("in flight", IN_FLIGHT.map(|count| named(count.to_string(), Cell::new(count, 1))).to_vec()),
        ("a batch", BATCH.map(|count| named(count.to_string(), Cell::new(50, count))).to_vec()),
        (
            "subscribers",
            SUBSCRIBERS.map(|count| named(count.to_string(), base.with(count, Way::Stream))).to_vec(),
        ),
        ("bytes", BYTES.map(|bytes| named(bytes.to_string(), base.of_bytes(bytes))).to_vec()),
        ("subscribers of Hob, by way", ways()),
        ("a sync takes longer by", delays()),
    ];
    for (name, rows) in &axes {
        table(&mut out, best, true, name, rows, true);
    }
    out.push_str("\n### What it costs\n");
    costs(&mut out, best);
    for (pinned, how) in [(true, "a core each"), (false, "sharing the cores")] {
        let rows: Vec<(String, Cell)> = best
            .keys()
            .filter(|(of, cell)| *of == pinned && cell.sync_delay_us.is_none())
            .map(|(_, cell)| named(cell.to_string(), *cell))
            .collect();
        if !rows.is_empty() {
            let _ = write!(out, "\n<details><summary>Every cell, {how}: events a second</summary>\n");
            table(&mut out, best, pinned, "cell", &rows, false);
            out.push_str("\n</details>\n");
        }
    }
    out
}

fn ways() -> Vec<(String, Cell)> {
    let of = |count, way| (format!("{count}, {way:?}").to_lowercase(), Cell::new(50, 1).with(count, way));
    let mut rows = vec![of(10, Way::Stream), of(10, Way::Pull)];
    rows.push(("1, push, one in flight".to_owned(), Cell::new(1, 1).with(1, Way::Push)));
    for (name, filtered) in [("1, stream, 1 M entities", false), ("the same with a filter", true)] {
        let cell = Cell { entities: 1_000_000, filtered, ..Cell::new(50, 1).with(1, Way::Stream) };
        rows.push((name.to_owned(), cell));
    }
    rows
}

fn delays() -> Vec<(String, Cell)> {
    let mut rows = vec![("nothing".to_owned(), Cell::new(50, 1))];
    for micros in DELAYS_US {
        let name = match micros {
            0 => "nothing, but under strace".to_owned(),
            _ => format!("{} ms", micros / 1000),
        };
        rows.push((name, Cell::new(50, 1).delayed(micros)));
    }
    rows
}

fn costs(out: &mut String, best: &Best) {
    out.push_str("\n| cell | system | CPU s a million | generator's core | PSS MB | B on disk | fdatasync p50 / p99 ms |\n");
    out.push_str("|---|---|--:|--:|--:|--:|--:|\n");
    let (base, batch) = (Cell::new(50, 1), Cell::new(50, 100));
    let mut rows = vec![base, batch, base.of_bytes(1024), base.with(10, Way::Stream)];
    rows.extend(crate::cells::MEMORY[1..].iter().map(|entities| Cell { entities: *entities, ..batch }));
    for cell in rows {
        let Some(systems) = best.get(&(true, cell)) else { continue };
        for system in COLUMNS {
            let Some(outcome) = systems.get(&system) else { continue };
            let _ = writeln!(
                out,
                "| {cell} | {system} | {:.1} | {:.0} % | {:.0} | {:.0} | {:.2} / {:.1} |",
                outcome.cpu_seconds_per_million,
                outcome.generator_load * 100.0,
                outcome.memory_mb,
                outcome.disk_bytes_per_event,
                outcome.fdatasync_p50,
                outcome.fdatasync_p99,
            );
        }
    }
}

/// What crashes cost: the runs of each system taken together.
pub fn losses(lines: &[Line]) -> String {
    let mut sums: BTreeMap<(System, End), (u64, Loss)> = BTreeMap::new();
    for line in lines {
        let Line::Loss(loss) = line else { continue };
        match sums.get_mut(&(loss.system, loss.after)) {
            None => {
                sums.insert((loss.system, loss.after), (1, loss.clone()));
            }
            Some((runs, sum)) => {
                *runs += 1;
                sum.acknowledged += loss.acknowledged;
                sum.under_way += loss.under_way;
                sum.recovered += loss.recovered;
                sum.lost += loss.lost;
                sum.cut_bytes += loss.cut_bytes;
            }
        }
    }
    let mut out = String::from(
        "\n| system | ended by | runs | acknowledged | under way | recovered | lost | bytes cut |\n",
    );
    out.push_str("|---|---|--:|--:|--:|--:|--:|--:|\n");
    for (runs, loss) in sums.into_values() {
        let Loss { system, after, acknowledged, under_way, recovered, lost, cut_bytes } = loss;
        let how = match after {
            End::Kill => "`kill -9`",
            End::Power => "`kill -9`, cut back to the last fsync",
        };
        let _ = writeln!(
            out,
            "| {system} | {how} | {runs} | {acknowledged} | {under_way} | {recovered} | {lost} | {cut_bytes} |"
        );
    }
    out
}
