//! Measures one cell on one system.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cells::Cell;
use crate::events::Events;
use crate::latency::Latency;
use crate::load::{self, Course, Watched};
use crate::machine;
use crate::systems::{self, Places, System, Watch};

/// Quantiles in milliseconds.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct Quantiles {
    pub p50: f64,
    pub p99: f64,
    pub p999: f64,
}

impl Quantiles {
    pub fn of(latency: &Latency) -> Option<Self> {
        let at = |share| latency.quantile_ms(share).map(|ms| (ms * 1000.0).round() / 1000.0);
        Some(Self { p50: at(0.5)?, p99: at(0.99)?, p999: at(0.999)? })
    }
}

/// What one measurement showed: a line of the results.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    pub system: System,
    #[serde(flatten)]
    pub cell: Cell,
    /// Whether server and generator had a core each.
    pub pinned: bool,
    pub events_per_second: f64,
    /// From sending to the acknowledgement, in milliseconds.
    pub acknowledged: Option<Quantiles>,
    /// From sending to a subscriber's having it, in milliseconds.
    pub delivered: Option<Quantiles>,
    /// Events delivered of those that should have been.
    pub delivered_share: Option<f64>,
    /// Processor time of the server.
    pub cpu_seconds_per_million: f64,
    /// Share of one core that the generator used: near 1, it was the limit.
    pub generator_load: f64,
    pub memory_mb: f64,
    pub disk_bytes_per_event: f64,
    /// The disk's own pace just before: one small write made durable, in milliseconds.
    pub fdatasync_p50: f64,
    pub fdatasync_p99: f64,
}

/// For how long.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub warm_up: Duration,
    pub measured: Duration,
    /// Events to publish at least, however long that takes.
    pub events_min: u64,
}

/// Starts the system, loads it, and stops it.
pub fn measure(system: System, cell: &Cell, times: Times, places: &Places) -> Result<Outcome> {
    std::fs::create_dir_all(&places.work)?;
    #[cfg(feature = "embedded")]
    if system == System::HobEmbedded {
        return crate::embedded::measure(cell, times, places);
    }
    let (fdatasync_p50, fdatasync_p99) = machine::fdatasync(&places.work)?;
    let watch = cell.sync_delay_us.map_or(Watch::Nothing, Watch::Delay);
    let mut running = systems::start(system, &Places { watch, ..places.clone() })?;
    running.prepare(cell).with_context(|| format!("prepare {system}"))?;
    let base = Instant::now();
    let mut events = Events::new(cell.bytes, cell.entities, base);
    let watched = Arc::new(Watched::default());
    let consuming = match cell.subscribers {
        0 => None,
        _ => {
            let (consuming, watched) = (running.consumers(cell)?, Arc::clone(&watched));
            Some(std::thread::spawn(move || load::consume(consuming, base, &watched)))
        }
    };
    while consuming.as_ref().is_some_and(|thread| !thread.is_finished())
        && watched.ready.load(Ordering::SeqCst) == 0
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut connections = running.publishers(cell)?;
    let pids = running.server().own_pids();
    let folder = running.server().folder.clone();
    let disk_before = machine::disk_bytes(&folder);
    let own = [std::process::id()];
    let mut begin = (0.0, 0.0);
    let mut end = (0.0, 0.0, 0.0);
    let mut begins = || {
        watched.from.store(base.elapsed().as_nanos() as u64, Ordering::SeqCst);
        begin = (machine::cpu_seconds(&pids), machine::cpu_seconds(&own));
    };
    let mut ends = || end = (machine::cpu_seconds(&pids), machine::cpu_seconds(&own), machine::pss_mb(&pids));
    let Times { warm_up, measured, events_min } = times;
    let units_min = events_min / cell.batch as u64;
    let course = Course { warm_up, measured, units_min, is_cut: false, begins: &mut begins, ends: &mut ends };
    let published = load::publish(&mut connections, &mut events, course)
        .with_context(|| format!("{system}: {cell}; it says {}", running.server().said()))?;
    let all = published.units_all * cell.batch as u64;
    watched.expected.store(all * cell.subscribers as u64, Ordering::SeqCst);
    watched.is_over.store(true, Ordering::SeqCst);
    let delivered = match consuming.map(std::thread::JoinHandle::join) {
        Some(Ok(latency)) => Some(latency.with_context(|| format!("{system}: consume"))?),
        Some(Err(_)) => bail!("a consumer panicked"),
        None => None,
    };
    let counted = (published.units * cell.batch as u64) as f64;
    let share = || watched.seen.load(Ordering::SeqCst) as f64 / (all * cell.subscribers as u64) as f64;
    let disk = machine::disk_bytes(&folder).saturating_sub(disk_before) as f64;
    running.server().stop();
    Ok(Outcome {
        system,
        cell: *cell,
        pinned: places.processors.is_some(),
        events_per_second: (counted / published.seconds).round(),
        acknowledged: Quantiles::of(&published.acknowledged),
        delivered: delivered.as_ref().and_then(Quantiles::of),
        delivered_share: delivered.is_some().then(share),
        cpu_seconds_per_million: (end.0 - begin.0) / counted.max(1.0) * 1e6,
        generator_load: (end.1 - begin.1) / published.seconds,
        memory_mb: end.2,
        disk_bytes_per_event: disk / all as f64,
        fdatasync_p50,
        fdatasync_p99,
    })
}
