//! Which rider fetches which orders: a greedy decision each simulated minute, from what the platform can see.
//!
//! Pairs of a waiting order and an idle rider are taken best first: near riders first, and the later an order is, the
//! more it counts. A rider is sent just in time, and takes more orders of the same restaurant along when they are ready
//! at about the same time and live close by. When there are many orders for few riders, the bags get fuller.
//!
//! An assignment may be refused. A [`Round`] gives one at a time and goes on without what was refused; [`decide`] is a
//! round without refusals.

use crate::entity::{DISPATCH_AHEAD_MINUTES, Order, OrderState, Restaurant, Rider, RiderState};
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::input::{Input, ORDERS_PER_JOB_MAX, Refusal};
use crate::place::Point;
use crate::time::SimTime;

/// Minutes in a restaurant between arriving and having the food.
const PICKUP_MINUTES: i64 = 2;
/// Minutes that a rider may be early at the restaurant.
const EARLY_MINUTES_MAX: i64 = 5;

/// What a decision needs to know.
#[derive(Debug, Clone, PartialEq)]
pub struct DispatchView {
    /// Accepted orders without a rider.
    pub orders: Vec<WaitingOrder>,
    /// Riders without a job.
    pub riders: Vec<IdleRider>,
    /// How fast riders ride.
    pub metres_per_minute: f64,
}

/// An accepted order without a rider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitingOrder {
    /// Which.
    pub id: OrderId,
    /// Who cooks it.
    pub restaurant: RestaurantId,
    /// Where that is.
    pub from: Point,
    /// Where the customer lives.
    pub to: Point,
    /// When the customer ordered.
    pub placed_at: SimTime,
    /// When the kitchen expects to be ready.
    pub expected_ready_at: SimTime,
}

/// A rider without a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleRider {
    /// Who.
    pub id: RiderId,
    /// Where they are.
    pub at: Point,
    /// When their shift ends.
    pub off_shift_at: SimTime,
}

/// A job for a rider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// Who.
    pub rider: RiderId,
    /// Which orders, all of one restaurant.
    pub orders: Vec<OrderId>,
}

impl From<Assignment> for Input {
    fn from(assignment: Assignment) -> Self {
        Self::Assign { rider: assignment.rider, orders: assignment.orders }
    }
}

impl DispatchView {
    /// The view of entities as the domain services serve them; `restaurant` finds one by its name. Orders and riders
    /// that are not waiting for each other are left out.
    pub fn of<'a>(
        orders: impl IntoIterator<Item = &'a Order>,
        riders: impl IntoIterator<Item = &'a Rider>,
        restaurant: impl Fn(RestaurantId) -> Option<&'a Restaurant>,
        metres_per_minute: f64,
    ) -> Self {
        let waiting =
            orders.into_iter().filter(|order| order.state == OrderState::Accepted).filter_map(|order| {
                let from = restaurant(order.restaurant)?;
                Some(WaitingOrder {
                    id: order.id,
                    restaurant: order.restaurant,
                    from: Point { x: from.x, y: from.y },
                    to: Point { x: order.x, y: order.y },
                    placed_at: order.placed_at,
                    expected_ready_at: order.expected_ready_at?,
                })
            });
        let idle = riders
            .into_iter()
            .filter(|rider| rider.state == RiderState::Idle)
            .map(|rider| IdleRider { id: rider.id, at: rider.at(), off_shift_at: rider.off_shift_at });
        Self { orders: waiting.collect(), riders: idle.collect(), metres_per_minute }
    }
}

/// The jobs to give now, if none of them is refused.
pub fn decide(view: &DispatchView, now: SimTime) -> Vec<Assignment> {
    let mut round = Round::new(view, now);
    std::iter::from_fn(|| round.next_assignment()).collect()
}

/// How full bags may get.
#[derive(Debug, Clone, Copy)]
struct Bundling {
    orders: usize,
    ready_within_minutes: i64,
    apart_minutes: i64,
}

const USUAL: Bundling = Bundling { orders: 2, ready_within_minutes: 4, apart_minutes: 5 };
const CROWDED: Bundling = Bundling { orders: ORDERS_PER_JOB_MAX, ready_within_minutes: 8, apart_minutes: 10 };

/// A rider who could fetch an order; indices into the round's lists.
#[derive(Debug, Clone, Copy)]
struct Pair {
    order: usize,
    rider: usize,
    travel_minutes: i64,
}

/// One minute's decision, an assignment at a time.
#[derive(Debug)]
pub struct Round {
    now: SimTime,
    metres_per_minute: f64,
    bundling: Bundling,
    orders: Vec<WaitingOrder>,
    riders: Vec<IdleRider>,
    /// Best first.
    pairs: Vec<Pair>,
    /// The first pair that has not been looked at.
    position: usize,
    order_taken: Vec<bool>,
    rider_taken: Vec<bool>,
    /// The last assignment given, until it is refused or the next is asked for.
    last: Option<Assignment>,
}

impl Round {
    /// Begins a decision.
    pub fn new(view: &DispatchView, now: SimTime) -> Self {
        let horizon = now.plus_minutes(DISPATCH_AHEAD_MINUTES);
        let mut orders: Vec<WaitingOrder> =
            view.orders.iter().copied().filter(|order| order.expected_ready_at <= horizon).collect();
        orders.sort_by_key(|order| (order.expected_ready_at, order.placed_at, order.id));
        let mut riders: Vec<IdleRider> =
            view.riders.iter().copied().filter(|rider| now < rider.off_shift_at).collect();
        riders.sort_by_key(|rider| rider.id);
        // Crowded means more than six orders for ten riders.
        let bundling = if orders.len() * 10 > riders.len() * 6 { CROWDED } else { USUAL };
        Self {
            now,
            metres_per_minute: view.metres_per_minute,
            bundling,
            pairs: pairs(&orders, &riders, view.metres_per_minute, now),
            position: 0,
            order_taken: vec![false; orders.len()],
            rider_taken: vec![false; riders.len()],
            orders,
            riders,
            last: None,
        }
    }

    /// The next best job, or `None` when the decision is complete.
    pub fn next_assignment(&mut self) -> Option<Assignment> {
        while let Some(pair) = self.pairs.get(self.position).copied() {
            self.position += 1;
            if self.order_taken[pair.order] || self.rider_taken[pair.rider] {
                continue;
            }
            let job = self.bundle(pair);
            self.rider_taken[pair.rider] = true;
            for &order in &job {
                self.order_taken[order] = true;
            }
            let orders = job.iter().map(|order| self.orders[*order].id).collect();
            let assignment = Assignment { rider: self.riders[pair.rider].id, orders };
            self.last = Some(assignment.clone());
            return Some(assignment);
        }
        None
    }

    /// Takes the last assignment back because it was refused, and goes on in this round without what it was refused for.
    pub fn refused(&mut self, refusal: &Refusal) {
        let Some(last) = self.last.take() else { return };
        let without = match refusal {
            Refusal::Blocked { orders } => orders.clone(),
            Refusal::OrderNotWaiting { order } | Refusal::UnknownOrder { order } => vec![*order],
            Refusal::RiderNotIdle { .. } | Refusal::UnknownRider { .. } => Vec::new(),
            _ => last.orders.clone(),
        };
        let rider_is_at_fault =
            matches!(refusal, Refusal::RiderNotIdle { .. } | Refusal::UnknownRider { .. });
        for (taken, order) in self.order_taken.iter_mut().zip(&self.orders) {
            if last.orders.contains(&order.id) {
                *taken = without.contains(&order.id);
            }
        }
        for (taken, rider) in self.rider_taken.iter_mut().zip(&self.riders) {
            if rider.id == last.rider {
                *taken = rider_is_at_fault;
            }
        }
        // The same pair may do without the rest of its bundle; the pairs before it stay as decided. A refusal that names
        // nothing of this job would be repeated for ever, so the pair is passed over.
        if rider_is_at_fault || last.orders.iter().any(|order| without.contains(order)) {
            self.position = self.position.saturating_sub(1);
        }
    }

    /// The orders of a job that begins with a pair: its own, and what goes along with it, nearest door first.
    fn bundle(&self, pair: Pair) -> Vec<usize> {
        let first = self.orders[pair.order];
        let mut others: Vec<usize> = (0..self.orders.len())
            .filter(|other| {
                let same_restaurant = self.orders[*other].restaurant == first.restaurant;
                same_restaurant && *other != pair.order && !self.order_taken[*other]
            })
            .collect();
        let metres = |order: &usize| first.to.metres_to(self.orders[*order].to);
        others.sort_by(|a, b| metres(a).total_cmp(&metres(b)));
        let leaves_at = self.now.plus_minutes(pair.travel_minutes).max(first.expected_ready_at);
        let mut job = vec![pair.order];
        let mut last = first;
        for other in others {
            if job.len() >= self.bundling.orders {
                break;
            }
            let order = self.orders[other];
            let waits_seconds = order.expected_ready_at.seconds_since(leaves_at);
            let is_close =
                last.to.minutes_to(order.to, self.metres_per_minute) <= self.bundling.apart_minutes;
            if waits_seconds <= self.bundling.ready_within_minutes * 60 && is_close {
                job.push(other);
                last = order;
            }
        }
        job
    }
}

/// Every rider who could fetch an order in time, the best pair first.
fn pairs(orders: &[WaitingOrder], riders: &[IdleRider], metres_per_minute: f64, now: SimTime) -> Vec<Pair> {
    let mut weighted = Vec::new();
    for (order_index, order) in orders.iter().enumerate() {
        let due_in_seconds = order.expected_ready_at.seconds_since(now);
        for (rider_index, rider) in riders.iter().enumerate() {
            let travel_minutes = rider.at.minutes_to(order.from, metres_per_minute);
            let back_in_shift = now.plus_minutes(travel_minutes + PICKUP_MINUTES) <= rider.off_shift_at;
            let just_in_time = due_in_seconds <= (travel_minutes + EARLY_MINUTES_MAX) * 60;
            if back_in_shift && just_in_time {
                // Tenths of a second, so that lateness counts 0.7 without rounding.
                let weight = travel_minutes * 600 + due_in_seconds.min(0) * 7;
                let pair = Pair { order: order_index, rider: rider_index, travel_minutes };
                weighted.push(((weight, order.placed_at, order.id, rider.id), pair));
            }
        }
    }
    weighted.sort_unstable_by_key(|(key, _)| *key);
    weighted.into_iter().map(|(_, pair)| pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(id: u32, restaurant: u32, x: i64, ready_minute: i64) -> WaitingOrder {
        WaitingOrder {
            id: OrderId(id),
            restaurant: RestaurantId(restaurant),
            from: Point { x: 0, y: 0 },
            to: Point { x, y: 1000 },
            placed_at: SimTime::from_minutes(id.into()),
            expected_ready_at: SimTime::from_minutes(ready_minute),
        }
    }

    fn rider(id: u32, x: i64) -> IdleRider {
        IdleRider { id: RiderId(id), at: Point { x, y: 0 }, off_shift_at: SimTime::from_minutes(600) }
    }

    fn view(orders: Vec<WaitingOrder>, riders: Vec<IdleRider>) -> DispatchView {
        DispatchView { orders, riders, metres_per_minute: 320.0 }
    }

    fn check(view: &DispatchView, expect: &[(u32, &[u32])]) {
        let found: Vec<(u32, Vec<u32>)> = decide(view, SimTime::from_minutes(100))
            .into_iter()
            .map(|job| (job.rider.0, job.orders.iter().map(|order| order.0).collect()))
            .collect();
        let expect: Vec<(u32, Vec<u32>)> = expect.iter().map(|(r, o)| (*r, o.to_vec())).collect();
        assert_eq!(found, expect);
    }

    #[test]
    fn near_riders_go_first_and_nobody_goes_too_early() {
        check(&view(vec![order(1, 1, 0, 102)], vec![rider(1, 3000), rider(2, 300)]), &[(2, &[1])]);
        check(&view(vec![order(1, 1, 0, 107)], vec![rider(1, 300)]), &[]);
        check(&view(vec![order(1, 1, 0, 107)], vec![rider(1, 640)]), &[(1, &[1])]);
        check(&view(vec![order(1, 1, 0, 116)], vec![rider(1, 32_000)]), &[]);
    }

    #[test]
    fn late_orders_gain_weight_and_neighbours_share_a_bag() {
        // A far order that is late by ten minutes beats a new one.
        check(&view(vec![order(1, 1, 0, 100), order(2, 2, 0, 90)], vec![rider(1, 300)]), &[(1, &[2])]);
        let two = vec![order(1, 1, 0, 100), order(2, 1, 300, 102), order(3, 1, 600, 102)];
        check(&view(two.clone(), vec![rider(1, 300)]), &[(1, &[1, 2, 3])]);
        let many = (1..=6).map(|id| rider(id, 300)).collect();
        check(&view(two, many), &[(1, &[1, 2]), (2, &[3])]);
    }

    #[test]
    fn a_refused_order_is_left_out_and_the_rest_is_as_if_it_were_not_there() {
        let orders = vec![order(1, 1, 0, 90), order(2, 2, 0, 100)];
        let mut round = Round::new(&view(orders, vec![rider(1, 300)]), SimTime::from_minutes(100));
        assert_eq!(round.next_assignment().map(|job| job.orders), Some(vec![OrderId(1)]));
        round.refused(&Refusal::Blocked { orders: vec![OrderId(1)] });
        assert_eq!(round.next_assignment().map(|job| job.orders), Some(vec![OrderId(2)]));
        assert_eq!(round.next_assignment(), None);
    }
}
