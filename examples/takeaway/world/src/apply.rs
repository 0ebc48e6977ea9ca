//! What dispatch and operators can make happen: each wish is checked against the city as it is, then done or refused.

use crate::entity::{CarriedOrder, OrderChange, RestaurantChange, RiderChange, acceptable_minutes};
use crate::faults::StallLeg;
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::input::{Input, ORDERS_PER_JOB_MAX, Output, Refusal};
use crate::step::held_up;
use crate::time::SimTime;
use crate::world::{Leg, Phase, Stage, World};

/// Seconds after a call until a restaurant accepts orders again, at most.
const RESTAURANT_CALL_SECONDS: i64 = 180;
/// Seconds after a call until a rider moves again, at most.
const RIDER_CALL_SECONDS: i64 = 240;
/// Seconds that food must be late before anybody sees that a kitchen is slow.
const SLOW_SEEN_SECONDS: i64 = 600;

impl World {
    /// Does at the present moment what dispatch or an operator wants.
    ///
    /// # Errors
    /// When it does not fit the city as it is; nothing has changed then.
    pub fn apply(&mut self, input: &Input) -> Result<Vec<Output>, Refusal> {
        if self.ended() {
            return Err(Refusal::Ended);
        }
        match input {
            Input::Assign { rider, orders } => self.assign(*rider, orders),
            Input::Reassign { rider } => self.reassign(*rider),
            Input::FreeRider { rider } => self.free_rider(*rider),
            Input::CallRestaurant { restaurant } => self.call_restaurant(*restaurant),
            Input::ForceDispatch { order } => self.force_dispatch(*order),
            Input::HonestQuotes { restaurant } => self.honest_quotes(*restaurant),
        }
    }

    /// What an operator who looks at an order finds that can be mended: inputs to [`World::apply`], empty when nothing
    /// is wrong. Two can be wrong at once.
    pub fn remedies(&self, order: OrderId) -> Vec<Input> {
        let mut remedies = Vec::new();
        let Ok(index) = self.order(order) else { return remedies };
        let order = &self.orders[index];
        let restaurant = &self.restaurants[order.restaurant];
        if order.stage == Stage::Placed && restaurant.is_offline(self.now) {
            remedies.push(Input::CallRestaurant { restaurant: restaurant.id });
        }
        if matches!(order.stage, Stage::Placed | Stage::Accepted) && self.is_blocked(index) {
            remedies.push(Input::ForceDispatch { order: order.id });
        }
        if let Some(rider) = order.rider.map(|rider| &self.riders[rider]) {
            match &rider.phase {
                Phase::ToRestaurant(leg) if leg.stalled(self.now).is_some() => {
                    remedies.push(Input::Reassign { rider: rider.id });
                }
                Phase::ToCustomer(leg) if leg.stalled(self.now).is_some() => {
                    remedies.push(Input::FreeRider { rider: rider.id });
                }
                _ => {}
            }
        }
        let due = order.placed_at.plus_minutes(order.preparation_minutes).plus_seconds(SLOW_SEEN_SECONDS);
        let is_late = order.ready_at.is_some_and(|ready_at| ready_at > due);
        if is_late && restaurant.is_slow(self.now) && !restaurant.slow_known {
            remedies.push(Input::HonestQuotes { restaurant: restaurant.id });
        }
        remedies
    }

    /// The orders of a job, checked: placed, of one restaurant, waiting for a rider and not blocked.
    fn job(&self, ids: &[OrderId]) -> Result<Vec<usize>, Refusal> {
        if ids.is_empty() || ids.len() > ORDERS_PER_JOB_MAX {
            return Err(Refusal::BadJob);
        }
        let mut job = Vec::with_capacity(ids.len());
        for id in ids {
            let index = self.order(*id)?;
            if job.contains(&index) {
                return Err(Refusal::BadJob);
            }
            job.push(index);
        }
        if job.iter().any(|order| self.orders[*order].restaurant != self.orders[job[0]].restaurant) {
            return Err(Refusal::BadJob);
        }
        if let Some(order) = job.iter().find(|order| self.orders[**order].stage != Stage::Accepted) {
            return Err(Refusal::OrderNotWaiting { order: self.orders[*order].id });
        }
        let blocked: Vec<usize> = job.iter().copied().filter(|order| self.is_blocked(*order)).collect();
        if blocked.is_empty() {
            return Ok(job);
        }
        Err(Refusal::Blocked { orders: blocked.iter().map(|order| self.orders[*order].id).collect() })
    }

    fn assign(&mut self, rider: RiderId, ids: &[OrderId]) -> Result<Vec<Output>, Refusal> {
        let rider_index = self.rider(rider)?;
        let is_free =
            self.riders[rider_index].on_shift && matches!(self.riders[rider_index].phase, Phase::Idle);
        if !is_free || self.now >= self.riders[rider_index].off_at {
            return Err(Refusal::RiderNotIdle { rider });
        }
        let job = self.job(ids)?;
        let at = self.now;
        let mut out = Vec::with_capacity(job.len() + 1);
        for &order in &job {
            let order = &mut self.orders[order];
            order.stage = Stage::Assigned;
            order.rider = Some(rider_index);
            out.push(Output::Order { id: order.id, change: OrderChange::Assigned { at, rider } });
        }
        let carried = |order: &usize| {
            let order = &self.orders[*order];
            let unacceptable_at = order.placed_at.plus_minutes(acceptable_minutes(order.quoted_minutes));
            CarriedOrder { order: order.id, unacceptable_at }
        };
        let restaurant = &self.restaurants[self.orders[job[0]].restaurant];
        let orders = job.iter().map(carried).collect();
        let (from, to) = (self.riders[rider_index].at, restaurant.at);
        let travel_seconds = self.minutes_between(from, to) * 60;
        let ends_at = at.plus_seconds(travel_seconds + self.pickup_half_seconds);
        let change = RiderChange::Assigned { at, restaurant: restaurant.id, orders, expected_at: ends_at };
        out.push(Output::Rider { id: rider, change });
        let mut leg = Leg { from, to, departs_at: at, travel_seconds, ends_at, stall: None };
        match self.take_stall(&job) {
            Some((StallLeg::ToRestaurant, seconds)) => leg = held_up(leg, seconds),
            Some((StallLeg::ToCustomer, seconds)) => {
                self.riders[rider_index].next_stall_seconds = Some(seconds);
            }
            None => {}
        }
        self.riders[rider_index].phase = Phase::ToRestaurant(leg);
        self.riders[rider_index].job = job;
        Ok(out)
    }

    /// The first stall that is due to an order of this job; it happens once.
    fn take_stall(&mut self, job: &[usize]) -> Option<(StallLeg, i64)> {
        let index = job.iter().copied().find(|order| {
            let order = &self.orders[*order];
            order.luck.stall.is_some() && !order.stall_spent
        })?;
        self.orders[index].stall_spent = true;
        self.orders[index].luck.stall
    }

    fn reassign(&mut self, rider: RiderId) -> Result<Vec<Output>, Refusal> {
        let index = self.rider(rider)?;
        let Phase::ToRestaurant(leg) = self.riders[index].phase else { return Err(Refusal::NothingToMend) };
        let Some(stall) = leg.stalled(self.now) else { return Err(Refusal::NothingToMend) };
        let at = self.now;
        let position = leg.position(at);
        let mut out = Vec::new();
        for order in std::mem::take(&mut self.riders[index].job) {
            let order = &mut self.orders[order];
            order.stage = Stage::Accepted;
            order.rider = None;
            order.stall_spent = true;
            out.push(Output::Order { id: order.id, change: OrderChange::Unassigned { at } });
        }
        self.riders[index].at = position;
        self.riders[index].phase = Phase::Away { until: stall.until };
        let change = RiderChange::Released { at, x: position.x, y: position.y };
        out.push(Output::Rider { id: rider, change });
        if let Some(fault) = stall.fault {
            self.end_fault(fault, &mut out);
        }
        Ok(out)
    }

    fn free_rider(&mut self, rider: RiderId) -> Result<Vec<Output>, Refusal> {
        let index = self.rider(rider)?;
        let now = self.now;
        let Phase::ToCustomer(leg) = &mut self.riders[index].phase else {
            return Err(Refusal::NothingToMend);
        };
        let (true, Some(stall)) = (leg.stalled(now).is_some(), leg.stall.as_mut()) else {
            return Err(Refusal::NothingToMend);
        };
        let until = stall.until.min(now.plus_seconds(RIDER_CALL_SECONDS));
        let saved_seconds = stall.until.seconds_since(until);
        stall.until = until;
        leg.ends_at = leg.ends_at.plus_seconds(-saved_seconds);
        Ok(Vec::new())
    }

    fn call_restaurant(&mut self, restaurant: RestaurantId) -> Result<Vec<Output>, Refusal> {
        let index = self.restaurant(restaurant)?;
        let now: SimTime = self.now;
        let offline = self.restaurants[index].luck.offline.as_mut().filter(|spell| spell.contains(now));
        let Some(spell) = offline else { return Err(Refusal::NothingToMend) };
        spell.until = spell.until.min(now.plus_seconds(RESTAURANT_CALL_SECONDS));
        Ok(Vec::new())
    }

    fn force_dispatch(&mut self, order: OrderId) -> Result<Vec<Output>, Refusal> {
        let index = self.order(order)?;
        let is_waiting = matches!(self.orders[index].stage, Stage::Placed | Stage::Accepted);
        if !is_waiting || !self.is_blocked(index) {
            return Err(Refusal::NothingToMend);
        }
        self.orders[index].blocked_until = None;
        let mut out = Vec::new();
        if let Some(fault) = self.orders[index].block_fault.take() {
            self.end_fault(fault, &mut out);
        }
        Ok(out)
    }

    fn honest_quotes(&mut self, restaurant: RestaurantId) -> Result<Vec<Output>, Refusal> {
        let index = self.restaurant(restaurant)?;
        let restaurant = &mut self.restaurants[index];
        if restaurant.slow_known || !restaurant.is_slow(self.now) {
            return Err(Refusal::NothingToMend);
        }
        restaurant.slow_known = true;
        let change = RestaurantChange::QuotesRaised { at: self.now };
        Ok(vec![Output::Restaurant { id: restaurant.id, change }])
    }
}
