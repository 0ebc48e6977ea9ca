//! Riders and orders of a zone, counted: what whoever plans riders looks at. Any rider may fetch from any restaurant, so
//! the whole city is one zone.

use crate::entity::{WaitingFor, ZoneChange};
use crate::ids::ZoneId;
use crate::input::Output;
use crate::place::Point;
use crate::time::SimTime;
use crate::world::{Phase, Stage, World, WorldRider};

/// The one zone.
pub(crate) const CITY: ZoneId = ZoneId(1);
/// The second of each minute at which it is counted: half a minute after dispatch has decided.
pub(crate) const COUNT_AT_SECOND: i64 = 30;
/// Minutes of a shift that must be left for a rider to count as free: dispatch gives no job that cannot be fetched in it.
const SHIFT_LEFT_MINUTES: i64 = 20;

impl World {
    /// The middle of the restaurants.
    pub(crate) fn middle(&self) -> Point {
        let count = i64::try_from(self.restaurants.len()).unwrap_or(1).max(1);
        let sum = |part: fn(&Point) -> i64| self.restaurants.iter().map(|known| part(&known.at)).sum::<i64>();
        Point { x: sum(|at| at.x) / count, y: sum(|at| at.y) / count }
    }

    /// The zone as it is now.
    pub(crate) fn count_zone(&self) -> Output {
        let free = self.riders.iter().filter(|rider| is_free(rider, self.now));
        let waiting = self.open.iter().filter_map(|order| {
            let order = &self.orders[*order];
            let since =
                order.dispatchable_at.filter(|at| order.stage == Stage::Accepted && *at <= self.now)?;
            Some(WaitingFor { order: order.id, since })
        });
        let change = ZoneChange::Counted {
            at: self.now,
            riders_on_shift: self.riders.iter().filter(|rider| rider.on_shift).count(),
            riders_free: free.clone().count(),
            longest_free_since: free.map(|rider| rider.free_since).min(),
            waiting: waiting.collect(),
        };
        Output::Zone { id: CITY, change }
    }
}

fn is_free(rider: &WorldRider, now: SimTime) -> bool {
    let is_idle = rider.on_shift && matches!(rider.phase, Phase::Idle);
    is_idle && now.plus_minutes(SHIFT_LEFT_MINUTES) <= rider.off_at
}
