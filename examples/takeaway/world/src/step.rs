//! How the city changes in ten simulated seconds: customers order, kitchens cook, riders ride, faults come and go.

use crate::entity::{
    DISPATCH_AHEAD_MINUTES, NewOrder, OrderChange, RestaurantChange, RiderChange, ZoneChange,
};
use crate::faults::{FaultKind, Subject};
use crate::input::{Input, Output, Ping};
use crate::names;
use crate::place::Point;
use crate::supply::{CITY, COUNT_AT_SECOND};
use crate::time::SimTime;
use crate::world::{Leg, Phase, STEP_SECONDS, Stage, Stall, World, WorldRider};

/// Seconds from placing to accepting when nothing is wrong.
const ACCEPT_SECONDS: i64 = 60;
/// Minutes that a quote adds to preparing and riding, rounded up to the next five.
const QUOTE_MARGIN_MINUTES: i64 = 14;
/// A quote is a multiple of this.
const QUOTE_STEP_SECONDS: i64 = 300;
/// Shortest quote, in minutes.
const QUOTE_MINUTES_MIN: i64 = 30;
/// Seconds that a rider rests after a job.
const REST_SECONDS: i64 = 120;
/// Seconds after a pickup at which positions freeze, if they do.
const FREEZE_AFTER_SECONDS: i64 = 120;

impl World {
    /// Does what the inputs want, then advances the city by one step. The first step also introduces every restaurant
    /// and rider.
    pub fn step(&mut self, inputs: &[Input]) -> Vec<Output> {
        let mut out = Vec::new();
        if self.steps == 0 {
            self.introduce(&mut out);
        }
        for input in inputs {
            match self.apply(input) {
                Ok(done) => out.extend(done),
                Err(refusal) => out.push(Output::Refused { input: input.clone(), refusal }),
            }
        }
        if self.ended() {
            return out;
        }
        self.now = self.now.plus_seconds(STEP_SECONDS);
        self.steps += 1;
        self.follow_spells(&mut out);
        self.place_orders(&mut out);
        self.run_kitchens(&mut out);
        for rider in 0..self.riders.len() {
            self.move_rider(rider, &mut out);
            self.follow_shift(rider, &mut out);
            self.ping(rider, &mut out);
        }
        if self.now.seconds().rem_euclid(60) == COUNT_AT_SECOND {
            out.push(self.count_zone());
        }
        if self.ended() {
            self.close(&mut out);
        }
        out
    }

    fn introduce(&self, out: &mut Vec<Output>) {
        let Point { x, y } = self.middle();
        let change = ZoneChange::Opened { at: self.now, name: "the city".to_owned(), x, y };
        out.push(Output::Zone { id: CITY, change });
        for restaurant in &self.restaurants {
            let (name, Point { x, y }) = (names::restaurant_name(restaurant.id), restaurant.at);
            let change = RestaurantChange::Opened { at: self.now, name, x, y };
            out.push(Output::Restaurant { id: restaurant.id, change });
        }
        for rider in &self.riders {
            let change = RiderChange::Joined {
                at: self.now,
                name: names::rider_name(rider.id),
                x: rider.at.x,
                y: rider.at.y,
                on_shift_from: rider.on_at,
                off_shift_at: rider.off_at,
            };
            out.push(Output::Rider { id: rider.id, change });
        }
    }

    /// Records when the bad spells of restaurants, and the blocks of orders, begin and end.
    fn follow_spells(&mut self, out: &mut Vec<Output>) {
        for index in 0..self.restaurants.len() {
            let restaurant = &self.restaurants[index];
            let subject = Subject::Restaurant(restaurant.id);
            let (is_slow, slow) = (restaurant.is_slow(self.now), restaurant.slow_fault);
            let (is_offline, offline) = (restaurant.is_offline(self.now), restaurant.offline_fault);
            self.restaurants[index].slow_fault =
                self.follow(FaultKind::RestaurantSlow, subject, is_slow, slow, out);
            self.restaurants[index].offline_fault =
                self.follow(FaultKind::TabletOffline, subject, is_offline, offline, out);
        }
        for position in 0..self.open.len() {
            let index = self.open[position];
            let order = &self.orders[index];
            if order.luck.block_seconds.is_none() {
                continue;
            }
            // A block matters from when dispatch looks for a rider.
            let matters =
                order.stage == Stage::Accepted && order.dispatchable_at.is_some_and(|at| at <= self.now);
            let (subject, known) = (Subject::Order(order.id), order.block_fault);
            let is_there = matters && self.is_blocked(index);
            self.orders[index].block_fault =
                self.follow(FaultKind::DispatchBlocked, subject, is_there, known, out);
        }
    }

    /// Begins or ends the record of a fault that is, or is not, there now.
    fn follow(
        &mut self,
        kind: FaultKind,
        subject: Subject,
        is_there: bool,
        known: Option<usize>,
        out: &mut Vec<Output>,
    ) -> Option<usize> {
        match (is_there, known) {
            (true, None) => Some(self.begin_fault(kind, subject, out)),
            (false, Some(fault)) => {
                self.end_fault(fault, out);
                None
            }
            (_, unchanged) => unchanged,
        }
    }

    /// Whether something keeps an order from being assigned.
    pub(crate) fn is_blocked(&self, order: usize) -> bool {
        self.orders[order].blocked_until.is_some_and(|until| self.now < until)
    }

    fn place_orders(&mut self, out: &mut Vec<Output>) {
        while let Some(order) = self.orders.get_mut(self.placed).filter(|order| order.placed_at <= self.now) {
            let restaurant = &self.restaurants[order.restaurant];
            let known_delay = if restaurant.slow_known
                && restaurant.luck.slow.is_some_and(|spell| order.placed_at < spell.until)
            {
                restaurant.luck.slow_seconds
            } else {
                0
            };
            let minutes = order.preparation_minutes + order.travel_minutes + QUOTE_MARGIN_MINUTES;
            let steps = (minutes * 60 + known_delay + QUOTE_STEP_SECONDS - 1).div_euclid(QUOTE_STEP_SECONDS);
            order.quoted_minutes = (steps * QUOTE_STEP_SECONDS / 60).max(QUOTE_MINUTES_MIN);
            order.blocked_until =
                order.luck.block_seconds.map(|seconds| order.placed_at.plus_seconds(seconds));
            order.stage = Stage::Placed;
            let new = NewOrder {
                at: order.placed_at,
                restaurant: restaurant.id,
                zone: CITY,
                x: order.at.x,
                y: order.at.y,
                quoted_minutes: order.quoted_minutes,
                preparation_minutes: order.preparation_minutes,
                travel_minutes: order.travel_minutes,
            };
            out.push(Output::Order { id: order.id, change: OrderChange::Placed(new) });
            let change = RestaurantChange::OrderPlaced { at: order.placed_at, order: order.id };
            out.push(Output::Restaurant { id: restaurant.id, change });
            self.figures.placed += 1;
            self.open.push(self.placed);
            self.placed += 1;
        }
    }

    fn run_kitchens(&mut self, out: &mut Vec<Output>) {
        let now = self.now;
        for &index in &self.open {
            let order = &mut self.orders[index];
            let restaurant = &self.restaurants[order.restaurant];
            if order.stage == Stage::Placed {
                if restaurant.is_offline(now) || now < order.placed_at.plus_seconds(ACCEPT_SECONDS) {
                    continue;
                }
                let expected_ready_at = now.plus_minutes(order.preparation_minutes);
                let delay =
                    if restaurant.is_slow(order.placed_at) { restaurant.luck.slow_seconds } else { 0 };
                let ready_at = expected_ready_at.plus_seconds(order.luck.kitchen_noise_seconds + delay);
                order.ready_at = Some(ready_at.max(now));
                order.dispatchable_at =
                    Some(expected_ready_at.plus_minutes(-DISPATCH_AHEAD_MINUTES).max(now));
                order.stage = Stage::Accepted;
                let change = OrderChange::Accepted { at: now, expected_ready_at };
                out.push(Output::Order { id: order.id, change });
                let change = RestaurantChange::OrderAccepted { at: now, order: order.id, expected_ready_at };
                out.push(Output::Restaurant { id: restaurant.id, change });
            } else if !order.ready_reported && order.ready_at.is_some_and(|ready_at| ready_at <= now) {
                order.ready_reported = true;
                out.push(Output::Order { id: order.id, change: OrderChange::Ready { at: now } });
                let change = RestaurantChange::OrderReady { at: now, order: order.id };
                out.push(Output::Restaurant { id: restaurant.id, change });
            }
        }
    }

    fn move_rider(&mut self, index: usize, out: &mut Vec<Output>) {
        self.follow_stall(index, out);
        match self.riders[index].phase {
            // A rider whose rest ends at a whole minute is seen by the next decision, not by the one of that minute.
            Phase::Away { until } if self.now > until => {
                self.riders[index].phase = Phase::Idle;
                self.riders[index].free_since = self.now;
                let change = RiderChange::Idle { at: self.now };
                out.push(Output::Rider { id: self.riders[index].id, change });
            }
            Phase::ToRestaurant(leg) if self.now >= leg.ends_at => {
                self.reach_restaurant(index, out);
                self.pick_up_when_ready(index, out);
            }
            Phase::Waiting => self.pick_up_when_ready(index, out),
            Phase::ToCustomer(leg) if self.now >= leg.ends_at => self.deliver(index, out),
            Phase::Idle | Phase::Away { .. } | Phase::ToRestaurant(_) | Phase::ToCustomer(_) => {}
        }
    }

    /// Records when a rider begins to stand still, and when they move again.
    fn follow_stall(&mut self, index: usize, out: &mut Vec<Output>) {
        let rider = &self.riders[index];
        let Some((leg, Some(stall))) = rider.leg().map(|leg| (leg, leg.stall)) else { return };
        let (is_stalled, subject) = (leg.stalled(self.now).is_some(), Subject::Rider(rider.id));
        let fault = self.follow(FaultKind::RiderStalled, subject, is_stalled, stall.fault, out);
        if let Some(stall) = self.riders[index].leg_mut().and_then(|leg| leg.stall.as_mut()) {
            stall.fault = fault;
        }
    }

    fn reach_restaurant(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let rider = &mut self.riders[index];
        if let Some(leg) = rider.leg() {
            rider.at = leg.to;
        }
        rider.phase = Phase::Waiting;
        let Point { x, y } = rider.at;
        out.push(Output::Rider { id: rider.id, change: RiderChange::AtRestaurant { at: now, x, y } });
        for &order in &rider.job {
            let change = OrderChange::RiderAtRestaurant { at: now };
            out.push(Output::Order { id: self.orders[order].id, change });
        }
    }

    fn pick_up_when_ready(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let is_ready = |order: &usize| self.orders[*order].ready_at.is_some_and(|ready_at| ready_at <= now);
        if !self.riders[index].job.iter().all(is_ready) {
            return;
        }
        let stops = self.stops(&self.riders[index]);
        for &order in &stops {
            let order = &mut self.orders[order];
            order.stage = Stage::PickedUp;
            order.picked_up_at = Some(now);
            if !order.luck.lost_pickup {
                out.push(Output::Order { id: order.id, change: OrderChange::PickedUp { at: now } });
            }
        }
        for &order in &stops {
            if !self.orders[order].luck.lost_pickup {
                continue;
            }
            let subject = Subject::Order(self.orders[order].id);
            self.orders[order].lost_pickup_fault =
                Some(self.begin_fault(FaultKind::LostPickup, subject, out));
        }
        let orders = stops.iter().map(|order| self.orders[*order].id).collect();
        let mut leg = self.leg_to_customer(self.riders[index].at, stops[0]);
        let change = RiderChange::PickedUp { at: now, orders, expected_at: leg.ends_at };
        out.push(Output::Rider { id: self.riders[index].id, change });
        let rider = &mut self.riders[index];
        if let Some(seconds) = rider.next_stall_seconds.take() {
            leg = held_up(leg, seconds);
        }
        rider.job = stops;
        rider.phase = Phase::ToCustomer(leg);
    }

    /// A job's orders in the order of the stops: always on to the nearest door.
    fn stops(&self, rider: &WorldRider) -> Vec<usize> {
        let (mut at, mut left) = (rider.at, rider.job.clone());
        let mut stops = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let metres = |order: &usize| at.metres_to(self.orders[*order].at);
            let nearest = (0..left.len()).min_by(|a, b| metres(&left[*a]).total_cmp(&metres(&left[*b])));
            let order = left.remove(nearest.unwrap_or(0));
            at = self.orders[order].at;
            stops.push(order);
        }
        stops
    }

    fn leg_to_customer(&self, from: Point, order: usize) -> Leg {
        let to = self.orders[order].at;
        let travel_seconds = self.minutes_between(from, to) * 60;
        let departs_at = self.now.plus_seconds(self.pickup_half_seconds);
        let ends_at = departs_at.plus_seconds(travel_seconds + self.dropoff_half_seconds);
        Leg { from, to, departs_at, travel_seconds, ends_at, stall: None }
    }

    fn deliver(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let delivered = self.riders[index].job.remove(0);
        let order = &mut self.orders[delivered];
        order.stage = Stage::Delivered;
        order.delivered_at = Some(now);
        let (id, at, lost_pickup) = (order.id, order.at, order.lost_pickup_fault);
        self.figures.delivery(order.placed_at, order.quoted_minutes, now);
        self.open.retain(|order| *order != delivered);
        let next = self.riders[index].job.first().map(|order| self.leg_to_customer(at, *order));
        let rider = &mut self.riders[index];
        rider.at = at;
        rider.phase = match next {
            Some(leg) => Phase::ToCustomer(leg),
            None => Phase::Away { until: now.plus_seconds(REST_SECONDS) },
        };
        out.push(Output::Order { id, change: OrderChange::Delivered { at: now } });
        let change = RiderChange::Delivered {
            at: now,
            order: id,
            x: at.x,
            y: at.y,
            expected_at: next.map(|leg| leg.ends_at),
        };
        out.push(Output::Rider { id: rider.id, change });
        if let Some(fault) = lost_pickup {
            self.end_fault(fault, out);
        }
    }

    fn follow_shift(&mut self, index: usize, out: &mut Vec<Output>) {
        let now = self.now;
        let rider = &mut self.riders[index];
        let is_idle = matches!(rider.phase, Phase::Idle);
        let change = if !rider.on_shift && rider.on_at <= now && now < rider.off_at {
            RiderChange::OnShift { at: now }
        } else if rider.on_shift && is_idle && rider.off_at <= now {
            RiderChange::OffShift { at: now }
        } else {
            return;
        };
        rider.on_shift = !rider.on_shift;
        rider.free_since = now;
        out.push(Output::Rider { id: rider.id, change });
    }

    fn ping(&mut self, index: usize, out: &mut Vec<Output>) {
        if !self.riders[index].on_shift {
            self.riders[index].last_ping = None;
            return;
        }
        let (frozen, silent) = self.gaps(&self.riders[index]);
        let (subject, known) = (Subject::Rider(self.riders[index].id), self.riders[index].gap_fault);
        self.riders[index].gap_fault = self.follow(FaultKind::GpsGap, subject, frozen || silent, known, out);
        let now = self.now;
        let rider = &mut self.riders[index];
        if silent {
            return;
        }
        let position = rider.last_ping.filter(|_| frozen).unwrap_or_else(|| rider.position(now));
        rider.last_ping = Some(position);
        out.push(Output::Ping(Ping { rider: rider.id, x: position.x, y: position.y, at: now }));
    }

    /// Whether a rider's positions are frozen (because of the order that they bring now), and whether they are missing
    /// (because of any that they carry).
    fn gaps(&self, rider: &WorldRider) -> (bool, bool) {
        if !matches!(rider.phase, Phase::ToCustomer(_)) {
            return (false, false);
        }
        let in_gap = |order: &usize, frozen: bool| {
            let order = &self.orders[*order];
            let (Some(gap), Some(picked_up_at)) = (order.luck.gap, order.picked_up_at) else { return false };
            let delay = if frozen { FREEZE_AFTER_SECONDS } else { 0 };
            let seconds = self.now.seconds_since(picked_up_at) - delay;
            gap.frozen == frozen && (0..gap.seconds).contains(&seconds)
        };
        let frozen = rider.job.first().is_some_and(|order| in_gap(order, true));
        (frozen, rider.job.iter().any(|order| in_gap(order, false)))
    }

    /// Ends the day: what is undelivered is cancelled, what is wrong is over.
    fn close(&mut self, out: &mut Vec<Output>) {
        let at = self.now;
        for index in std::mem::take(&mut self.open) {
            let order = &mut self.orders[index];
            order.stage = Stage::Cancelled;
            self.figures.cancellation();
            out.push(Output::Order { id: order.id, change: OrderChange::Cancelled { at } });
            if !order.ready_reported {
                let change = RestaurantChange::OrderCancelled { at, order: order.id };
                out.push(Output::Restaurant { id: self.restaurants[order.restaurant].id, change });
            }
        }
        let unended: Vec<usize> =
            (0..self.truth.len()).filter(|fault| self.truth[*fault].ended.is_none()).collect();
        for fault in unended {
            self.end_fault(fault, out);
        }
    }
}

/// The same leg with a rider who stands still for so many seconds, half way.
pub(crate) fn held_up(leg: Leg, seconds: i64) -> Leg {
    let from: SimTime = leg.departs_at.plus_seconds(leg.travel_seconds / 2);
    let stall = Stall { from, until: from.plus_seconds(seconds), fault: None };
    Leg { ends_at: leg.ends_at.plus_seconds(seconds), stall: Some(stall), ..leg }
}
