//! What is measured: the axes, and the sets that a run goes through.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::events::ENTITIES;
use crate::systems::Way;

/// One load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::Args)]
pub struct Cell {
    /// Units under way at one time: requests, or pipelined batches
    #[arg(long, default_value_t = 50)]
    pub in_flight: usize,
    /// Events of a unit
    #[arg(long, default_value_t = 1)]
    pub batch: usize,
    /// Subscribers that read along
    #[arg(long, default_value_t = 0)]
    pub subscribers: usize,
    /// Bytes of an event as it is sent
    #[arg(long, default_value_t = 90)]
    pub bytes: usize,
    /// How Hob's subscribers are served
    #[arg(long, value_enum, default_value_t = Way::Stream)]
    pub way: Way,
    /// Entities that events are about
    #[arg(long, default_value_t = ENTITIES)]
    pub entities: u64,
    /// Whether Hob's subscribers have a filter
    #[arg(long, default_value_t = false)]
    pub filtered: bool,
    /// Microseconds that strace adds to each fsync; 0 shows what strace costs
    #[arg(long)]
    #[serde(default)]
    pub sync_delay_us: Option<u64>,
}

impl Cell {
    pub const fn new(in_flight: usize, batch: usize) -> Self {
        let (subscribers, bytes, way, entities) = (0, 90, Way::Stream, ENTITIES);
        Self { in_flight, batch, subscribers, bytes, way, entities, filtered: false, sync_delay_us: None }
    }

    pub const fn with(self, subscribers: usize, way: Way) -> Self {
        Self { subscribers, way, ..self }
    }

    pub const fn delayed(self, micros: u64) -> Self {
        Self { sync_delay_us: Some(micros), ..self }
    }

    pub const fn of_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { in_flight, batch, subscribers, bytes, .. } = self;
        write!(f, "{in_flight} in flight, {batch} a batch, {bytes} B")?;
        match (subscribers, self.way) {
            (0, _) => {}
            (count, Way::Pull) => write!(f, ", {count} subscribers (pull)")?,
            (count, Way::Stream) => write!(f, ", {count} subscribers")?,
            (count, Way::Push) => write!(f, ", {count} subscribers (push)")?,
        }
        if self.filtered {
            f.write_str(", filtered")?;
        }
        if self.entities != ENTITIES {
            write!(f, ", {} entities", self.entities)?;
        }
        if let Some(micros) = self.sync_delay_us {
            write!(f, ", {} ms more a sync", micros as f64 / 1000.0)?;
        }
        Ok(())
    }
}

/// The loads that the marks speak of.
pub fn quick() -> Vec<Cell> {
    vec![
        Cell::new(1, 1),
        Cell::new(50, 1),
        Cell::new(50, 1).with(1, Way::Stream),
        Cell::new(50, 1).with(10, Way::Stream),
        Cell::new(50, 100),
        Cell::new(50, 1).of_bytes(1024),
    ]
}

/// Values of the axes.
pub const IN_FLIGHT: [usize; 3] = [1, 50, 500];
pub const BATCH: [usize; 2] = [1, 100];
pub const SUBSCRIBERS: [usize; 4] = [0, 1, 10, 100];
pub const BYTES: [usize; 2] = [90, 1024];
/// Entities that memory is measured with.
pub const MEMORY: [u64; 3] = [10_000, 1_000_000, 10_000_000];
/// Microseconds that a slow disk takes longer.
pub const DELAYS_US: [u64; 3] = [0, 2_000, 5_000];

/// Every combination of the axes when server and generator have a core each; of the small events alone, and of few
/// subscribers, when they share them.
pub fn full(pinned: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    for bytes in BYTES {
        for batch in BATCH {
            for in_flight in IN_FLIGHT {
                for subscribers in SUBSCRIBERS {
                    if pinned || (bytes == BYTES[0] && subscribers <= 10) {
                        let cell = Cell::new(in_flight, batch).of_bytes(bytes);
                        cells.push(cell.with(subscribers, Way::Stream));
                    }
                }
            }
        }
    }
    cells
}

/// One event a request on disks of several paces.
pub fn slow() -> Vec<Cell> {
    std::iter::once(Cell::new(50, 1))
        .chain(DELAYS_US.map(|micros| Cell::new(50, 1).delayed(micros)))
        .collect()
}
