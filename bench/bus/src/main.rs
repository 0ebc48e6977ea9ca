//! Measures the bus beside its peers, side by side in one run: what counts are the ratios. Never a timed test.

mod cells;
#[cfg(feature = "embedded")]
mod embedded;
mod events;
mod latency;
mod link;
mod load;
mod loss;
mod machine;
mod measure;
mod report;
mod server;
mod systems;
mod tables;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::cells::Cell;
use crate::loss::End;
use crate::measure::{Times, measure};
use crate::report::Line;
use crate::systems::{Places, System, Watch, Way};

/// Measures the bus beside its peers.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Args)]
struct Common {
    /// The folder of peers
    #[arg(long, env = "HOB_PEERS", default_value = "target/peers", global = true)]
    peers: PathBuf,
    /// The hob to measure
    #[arg(long, default_value = "target/release/hob", global = true)]
    hob: PathBuf,
    /// The folder of this bench's scripts
    #[arg(long, default_value = "bench/bus", global = true)]
    scripts: PathBuf,
    /// Where servers keep their data: the disk that is measured
    #[arg(long, default_value = "target/bench-bus", global = true)]
    work: PathBuf,
    /// Processors of servers, as taskset takes them; run this program itself under taskset as well
    #[arg(long, global = true)]
    processors: Option<String>,
    /// Seconds that are measured
    #[arg(long, default_value_t = 3.0, global = true)]
    seconds: f64,
    /// Seconds before that
    #[arg(long, default_value_t = 1.0, global = true)]
    warm_up: f64,
    /// How often each cell is measured, in turns with the others
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Where results go
    #[arg(long, default_value = "bench/results/bus.jsonl", global = true)]
    results: PathBuf,
    /// The systems; all of them when none are named
    #[arg(long, value_enum, value_delimiter = ',', global = true)]
    systems: Vec<System>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Set {
    /// What the marks speak of.
    Quick,
    /// Every combination of the axes.
    Full,
    /// Disks that take longer to make something durable.
    Slow,
}

#[derive(Subcommand)]
enum Verb {
    /// One cell, in turns on the systems
    Cell {
        #[command(flatten)]
        cell: Cell,
    },
    /// A set of cells on every system
    Run {
        /// Which
        #[arg(long, value_enum, default_value_t = Set::Quick)]
        set: Set,
    },
    /// Hob alone: subscribers, push, filters, memory by entities
    Marks {
        /// Ten million entities as well
        #[arg(long)]
        full: bool,
    },
    /// What a crash costs of what was acknowledged, so often as there are rounds
    Loss,
    /// Write the page from the results
    Report {
        /// The page
        #[arg(long, default_value = "bench/README.md")]
        page: PathBuf,
    },
    /// One cell on the bus within this process
    #[cfg(feature = "embedded")]
    #[command(hide = true)]
    Embedded {
        #[command(flatten)]
        cell: Cell,
    },
}

struct Bench {
    places: Places,
    times: Times,
    rounds: usize,
    results: PathBuf,
    systems: Vec<System>,
}

impl Bench {
    fn add(&self, line: &Line) -> Result<()> {
        println!("{}", serde_json::to_string(line)?);
        report::add(&self.results, line)
    }

    /// Notes what it is measured on; when a run goes on after it was interrupted, on the same machine, that stands there.
    fn begin(&self, set: String) -> Result<()> {
        let (seconds, rounds) = (self.times.measured.as_secs_f64(), self.rounds);
        let pinned = self.places.processors.is_some();
        let is_noted = |line: &Line| matches!(line, Line::Machine { set: of, pinned: how, .. } if *of == set && *how == pinned);
        if report::read(&self.results)?.iter().any(is_noted) {
            return Ok(());
        }
        self.add(&Line::Machine { facts: machine::facts(), set, seconds, rounds, pinned })
    }

    /// Rounds that the results have of a cell already, or tried in vain.
    fn done(&self, lines: &[Line], system: System, cell: &Cell) -> usize {
        let (pinned, tried) = (self.places.processors.is_some(), what(system, cell));
        let is_of = |line: &&Line| match line {
            Line::Cell(found) => (found.system, found.cell, found.pinned) == (system, *cell, pinned),
            Line::Failed { what, .. } => *what == tried,
            _ => false,
        };
        lines.iter().filter(is_of).count()
    }

    /// Measures what the results do not have yet. A system that fails is told and left out; the others go on.
    fn cell(&self, cell: &Cell, systems: &[System], events_min: u64) -> Result<()> {
        let known = report::read(&self.results)?;
        for round in 0..self.rounds {
            for system in systems {
                if is_spared(*system, cell) || self.done(&known, *system, cell) > round {
                    continue;
                }
                let times = Times { events_min, ..self.times };
                let line = match measure(*system, cell, times, &self.places) {
                    Ok(outcome) => Line::Cell(outcome),
                    Err(error) => Line::Failed { what: what(*system, cell), why: format!("{error:#}") },
                };
                self.add(&line)?;
            }
        }
        Ok(())
    }

    fn set(&self, set: Set) -> Result<()> {
        self.begin(format!("{set:?}").to_lowercase())?;
        let pinned = self.places.processors.is_some();
        let cells = match set {
            Set::Quick => cells::quick(),
            Set::Full => cells::full(pinned),
            Set::Slow => cells::slow(),
        };
        // Where it is the second view of the same, and of a slow disk, the durable ones are enough.
        let only_durable = set == Set::Slow || (set == Set::Full && !pinned);
        let systems = self.systems.iter().copied();
        let systems: Vec<System> = systems
            .filter(|system| !only_durable || (system.is_durable() && *system != System::HobEmbedded))
            .collect();
        cells.iter().try_for_each(|cell| self.cell(cell, &systems, 0))
    }

    fn loss(&self) -> Result<()> {
        let known = report::read(&self.results)?;
        for round in 0..self.rounds {
            for system in self.systems.iter().filter(|system| **system != System::HobEmbedded) {
                for after in [End::Kill, End::Power] {
                    let is_of = |line: &&Line| matches!(line, Line::Loss(loss) if (loss.system, loss.after) == (*system, after));
                    if known.iter().filter(is_of).count() > round {
                        continue;
                    }
                    let line = match loss::measure(*system, after, &self.places) {
                        Ok(loss) => Line::Loss(loss),
                        Err(error) => {
                            Line::Failed { what: format!("{system}, {after:?}"), why: format!("{error:#}") }
                        }
                    };
                    self.add(&line)?;
                }
            }
        }
        Ok(())
    }

    fn marks(&self, full: bool) -> Result<()> {
        let hob = [System::Hob];
        let single = Cell::new(50, 1);
        for way in [Way::Pull, Way::Stream] {
            self.cell(&single, &hob, 0)?;
            self.cell(&single.with(10, way), &hob, 0)?;
        }
        self.cell(&Cell::new(1, 1).with(1, Way::Push), &hob, 0)?;
        for filtered in [false, true] {
            let entities = 1_000_000;
            self.cell(&Cell { entities, filtered, ..single.with(1, Way::Stream) }, &hob, 0)?;
        }
        let once = Self {
            rounds: 1,
            places: self.places.clone(),
            results: self.results.clone(),
            systems: vec![],
            ..*self
        };
        for entities in cells::MEMORY {
            if entities <= 1_000_000 || full {
                once.cell(&Cell { entities, ..Cell::new(50, 100) }, &hob, entities)?;
            }
        }
        Ok(())
    }
}

/// How a measurement is called when it fails.
fn what(system: System, cell: &Cell) -> String {
    format!("{system}: {cell}")
}

/// What would show nothing: subscribers without a door to reach them by; a hundred quorum queues, each of which takes
/// every event for itself; one that starts for minutes under strace; Hob's own bus when it is not built in.
fn is_spared(system: System, cell: &Cell) -> bool {
    match system {
        System::HobEmbedded => cell.subscribers > 0 || !cfg!(feature = "embedded"),
        System::Rabbitmq => cell.subscribers > 10 || cell.sync_delay_us.is_some(),
        _ => false,
    }
}

fn main() -> Result<()> {
    let Arguments { common, verb } = Arguments::parse();
    let absolute = |path: PathBuf| std::path::absolute(path);
    let places = Places {
        peers: absolute(common.peers)?,
        hob: absolute(common.hob)?,
        scripts: absolute(common.scripts)?,
        work: absolute(common.work)?,
        processors: common.processors,
        watch: Watch::Nothing,
    };
    let (warm_up, measured) =
        (Duration::from_secs_f64(common.warm_up), Duration::from_secs_f64(common.seconds));
    let times = Times { warm_up, measured, events_min: 0 };
    let all = || System::value_variants().to_vec();
    let systems = if common.systems.is_empty() { all() } else { common.systems };
    let bench = Bench { places, times, rounds: common.rounds, results: common.results, systems };
    match verb {
        Verb::Cell { cell } => bench.cell(&cell, &bench.systems, 0)?,
        Verb::Run { set } => bench.set(set)?,
        Verb::Marks { full } => bench.marks(full)?,
        Verb::Loss => bench.loss()?,
        Verb::Report { page } => {
            let lines = report::read(&bench.results)?;
            report::write(&page, &lines)?;
        }
        #[cfg(feature = "embedded")]
        Verb::Embedded { cell } => {
            std::fs::create_dir_all(&bench.places.work)?;
            let outcome = embedded::run(&cell, bench.times, &bench.places.work)?;
            println!("{}", serde_json::to_string(&outcome)?);
        }
    }
    Ok(())
}
