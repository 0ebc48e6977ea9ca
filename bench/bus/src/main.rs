//! Measures the bus beside its peers, side by side in one run: what counts are the ratios. Never a timed test.

mod cells;
mod events;
mod latency;
mod link;
mod load;
mod machine;
mod measure;
mod server;
mod systems;
mod wire;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use crate::cells::Cell;
use crate::measure::{Times, measure};
use crate::systems::{Places, System};

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
    /// Where servers keep their data
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
}

#[derive(Subcommand)]
enum Verb {
    /// One cell, in turns on the systems named
    Cell {
        #[command(flatten)]
        cell: Cell,
        /// The systems
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        systems: Vec<System>,
        /// How often in turns
        #[arg(long, default_value_t = 1)]
        rounds: usize,
    },
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
    };
    let times = Times {
        warm_up: Duration::from_secs_f64(common.warm_up),
        measured: Duration::from_secs_f64(common.seconds),
    };
    match verb {
        Verb::Cell { cell, systems, rounds } => {
            for _ in 0..rounds {
                for system in &systems {
                    let outcome = measure(*system, &cell, times, &places)?;
                    println!("{}", serde_json::to_string(&outcome)?);
                }
            }
        }
    }
    Ok(())
}
