//! A zone: how many riders there are in a part of the city, and which orders wait for one.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Applied, Entity, Illegal, Order, link};
use crate::ids::{OrderId, ZoneId};
use crate::time::SimTime;

/// Orders that a zone lists, the longest waiting first; beyond them only their number is told.
const WAITING_LISTED_MAX: usize = 100;

/// An order that waits for a rider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingFor {
    /// Which.
    pub order: OrderId,
    /// Since when dispatch could have found a rider.
    pub since: SimTime,
}

/// A zone as the platform knows it: supply and demand, counted half a minute after each decision of dispatch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Zone {
    /// Its name in the day.
    pub id: ZoneId,
    /// What people call it.
    pub name: String,
    /// Its middle, metres east.
    pub x: i64,
    /// Its middle, metres north.
    pub y: i64,
    /// Riders who work now.
    pub riders_on_shift: usize,
    /// Riders without a job who can take one before their shift ends.
    pub riders_free: usize,
    /// Since when the one of them who has been free for longest is free.
    pub longest_free_since: Option<SimTime>,
    /// Accepted orders without a rider for which dispatch looks for one.
    pub orders_waiting: usize,
    /// Since when the one that has waited for longest waits.
    pub longest_waiting_since: Option<SimTime>,
    /// Those orders, the longest waiting first.
    pub waiting: Vec<WaitingFor>,
    /// When it was last counted.
    pub updated_at: SimTime,
}

/// What happens to a zone. `at` is when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum ZoneChange {
    /// The platform begins to serve it.
    Opened {
        /// When.
        at: SimTime,
        /// What people call it.
        name: String,
        /// Its middle, metres east.
        x: i64,
        /// Its middle, metres north.
        y: i64,
    },
    /// Its riders and orders are counted.
    Counted {
        /// When.
        at: SimTime,
        /// Riders who work.
        riders_on_shift: usize,
        /// Riders without a job who can take one before their shift ends.
        riders_free: usize,
        /// Since when the one of them who has been free for longest is free.
        longest_free_since: Option<SimTime>,
        /// Orders for which dispatch looks for a rider.
        waiting: Vec<WaitingFor>,
    },
}

impl ZoneChange {
    /// When it happened.
    pub fn at(&self) -> SimTime {
        match self {
            Self::Opened { at, .. } | Self::Counted { at, .. } => *at,
        }
    }

    /// Its name, as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Counted { .. } => "counted",
        }
    }
}

impl Entity for Zone {
    type Id = ZoneId;
    type Change = ZoneChange;

    const COLLECTION: &'static str = "zones";

    fn id(&self) -> ZoneId {
        self.id
    }

    fn created(id: ZoneId, change: &ZoneChange) -> Result<Self, Illegal> {
        let ZoneChange::Opened { at, name, x, y } = change else {
            return Err(Illegal::Unknown { entity: id.to_string(), change: change.name() });
        };
        Ok(Self {
            id,
            name: name.clone(),
            x: *x,
            y: *y,
            riders_on_shift: 0,
            riders_free: 0,
            longest_free_since: None,
            orders_waiting: 0,
            longest_waiting_since: None,
            waiting: Vec::new(),
            updated_at: *at,
        })
    }

    fn apply(&mut self, change: &ZoneChange) -> Result<Applied, Illegal> {
        let ZoneChange::Counted { at, riders_on_shift, riders_free, longest_free_since, waiting } = change
        else {
            return Ok(Applied::Already);
        };
        if *at == self.updated_at {
            return Ok(Applied::Already);
        }
        if *at < self.updated_at {
            return Err(Illegal::Backwards { entity: self.id.to_string(), change: change.name() });
        }
        self.riders_on_shift = *riders_on_shift;
        self.riders_free = *riders_free;
        self.longest_free_since = *longest_free_since;
        self.orders_waiting = waiting.len();
        self.waiting.clone_from(waiting);
        self.waiting.sort_by_key(|waiting| (waiting.since, waiting.order));
        self.longest_waiting_since = self.waiting.first().map(|waiting| waiting.since);
        self.waiting.truncate(WAITING_LISTED_MAX);
        self.updated_at = *at;
        Ok(Applied::Changed)
    }

    fn links(&self, origin: &str) -> Map<String, Value> {
        let orders = self.waiting.iter().map(|waiting| link(Order::href(origin, waiting.order)));
        Map::from_iter([("waiting".to_string(), orders.collect())])
    }
}
