//! The city at one moment: every order, rider and restaurant as it truly is, which is more than the platform knows.
//!
//! A world begins with a day, a seed and a scale of faults. [`World::step`] advances it by ten simulated seconds;
//! [`World::apply`] does what dispatch or an operator wants at the present moment. The state is a function of those
//! three and of the inputs with the step at which each came, so whoever keeps these can bring it back with
//! [`World::replay`].

use std::collections::BTreeMap;

use crate::day::Day;
use crate::faults::{self, Fault, FaultKind, OrderLuck, RestaurantLuck, Subject};
use crate::figures::Figures;
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::input::{Input, Output, Refusal};
use crate::place::Point;
use crate::time::SimTime;

/// Simulated seconds that a step advances the world by; pings and clock ticks come at the same pace.
pub const STEP_SECONDS: i64 = 10;

/// Where an order truly is; unlike what is reported, it knows of lost pickups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Expected,
    Placed,
    Accepted,
    Assigned,
    PickedUp,
    Delivered,
    Cancelled,
}

#[derive(Debug, Clone)]
pub(crate) struct WorldOrder {
    pub(crate) id: OrderId,
    pub(crate) restaurant: usize,
    pub(crate) at: Point,
    pub(crate) placed_at: SimTime,
    pub(crate) preparation_minutes: i64,
    pub(crate) travel_minutes: i64,
    pub(crate) luck: OrderLuck,
    pub(crate) stage: Stage,
    pub(crate) quoted_minutes: i64,
    /// When the food will truly be ready; known to the kitchen alone.
    pub(crate) ready_at: Option<SimTime>,
    pub(crate) ready_reported: bool,
    /// From when dispatch looks for a rider.
    pub(crate) dispatchable_at: Option<SimTime>,
    pub(crate) picked_up_at: Option<SimTime>,
    pub(crate) delivered_at: Option<SimTime>,
    /// Until when it cannot be assigned.
    pub(crate) blocked_until: Option<SimTime>,
    /// Its stall has happened, or cannot happen any more.
    pub(crate) stall_spent: bool,
    pub(crate) block_fault: Option<usize>,
    pub(crate) lost_pickup_fault: Option<usize>,
    pub(crate) rider: Option<usize>,
}

/// A time during which a rider on a leg stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stall {
    pub(crate) from: SimTime,
    pub(crate) until: SimTime,
    pub(crate) fault: Option<usize>,
}

/// A ride from one place to another, with what has to be done before and after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leg {
    pub(crate) from: Point,
    pub(crate) to: Point,
    /// When the rider starts to move.
    pub(crate) departs_at: SimTime,
    pub(crate) travel_seconds: i64,
    /// When everything is done: the ride, the stall and the minutes at the door.
    pub(crate) ends_at: SimTime,
    pub(crate) stall: Option<Stall>,
}

impl Leg {
    /// Where the rider is.
    pub(crate) fn position(&self, now: SimTime) -> Point {
        let stood = self.stall.map_or(0, |stall| now.min(stall.until).seconds_since(stall.from).max(0));
        self.from.towards(self.to, now.seconds_since(self.departs_at) - stood, self.travel_seconds)
    }

    /// The stall that holds the rider up now.
    pub(crate) fn stalled(&self, now: SimTime) -> Option<Stall> {
        self.stall.filter(|stall| stall.from <= now && now < stall.until)
    }
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    Idle,
    ToRestaurant(Leg),
    Waiting,
    ToCustomer(Leg),
    /// Resting after a job, or held up after losing one.
    Away {
        until: SimTime,
    },
}

#[derive(Debug, Clone)]
pub(crate) struct WorldRider {
    pub(crate) id: RiderId,
    pub(crate) on_at: SimTime,
    pub(crate) off_at: SimTime,
    pub(crate) on_shift: bool,
    /// Where they are when they do not ride.
    pub(crate) at: Point,
    pub(crate) phase: Phase,
    /// Indices of their orders; while carrying, in the order of the stops.
    pub(crate) job: Vec<usize>,
    /// Seconds that they will be held up on the way to the customer.
    pub(crate) next_stall_seconds: Option<i64>,
    /// When they last became free or came on shift.
    pub(crate) free_since: SimTime,
    pub(crate) last_ping: Option<Point>,
    pub(crate) gap_fault: Option<usize>,
}

impl WorldRider {
    pub(crate) fn position(&self, now: SimTime) -> Point {
        match &self.phase {
            Phase::ToRestaurant(leg) | Phase::ToCustomer(leg) => leg.position(now),
            Phase::Idle | Phase::Waiting | Phase::Away { .. } => self.at,
        }
    }

    pub(crate) fn leg(&self) -> Option<&Leg> {
        match &self.phase {
            Phase::ToRestaurant(leg) | Phase::ToCustomer(leg) => Some(leg),
            Phase::Idle | Phase::Waiting | Phase::Away { .. } => None,
        }
    }

    pub(crate) fn leg_mut(&mut self) -> Option<&mut Leg> {
        match &mut self.phase {
            Phase::ToRestaurant(leg) | Phase::ToCustomer(leg) => Some(leg),
            Phase::Idle | Phase::Waiting | Phase::Away { .. } => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct WorldRestaurant {
    pub(crate) id: RestaurantId,
    pub(crate) at: Point,
    pub(crate) luck: RestaurantLuck,
    /// Its slowness is known, so quotes include it.
    pub(crate) slow_known: bool,
    pub(crate) slow_fault: Option<usize>,
    pub(crate) offline_fault: Option<usize>,
}

impl WorldRestaurant {
    pub(crate) fn is_slow(&self, now: SimTime) -> bool {
        self.luck.slow.is_some_and(|spell| spell.contains(now))
    }

    pub(crate) fn is_offline(&self, now: SimTime) -> bool {
        self.luck.offline.is_some_and(|spell| spell.contains(now))
    }
}

/// The city, its people and what is wrong with them.
#[derive(Debug, Clone)]
pub struct World {
    pub(crate) now: SimTime,
    pub(crate) steps: u64,
    pub(crate) starts_at: SimTime,
    pub(crate) ends_at: SimTime,
    pub(crate) metres_per_minute: f64,
    /// Seconds before leaving a restaurant and after reaching it: half the time of a pickup.
    pub(crate) pickup_half_seconds: i64,
    /// Seconds at the customer's door: half the time of a drop-off.
    pub(crate) dropoff_half_seconds: i64,
    /// In the order in which they are placed.
    pub(crate) orders: Vec<WorldOrder>,
    /// How many of the orders have been placed.
    pub(crate) placed: usize,
    /// Indices of orders placed and not finished, oldest first.
    pub(crate) open: Vec<usize>,
    pub(crate) riders: Vec<WorldRider>,
    pub(crate) restaurants: Vec<WorldRestaurant>,
    pub(crate) order_index: BTreeMap<OrderId, usize>,
    pub(crate) rider_index: BTreeMap<RiderId, usize>,
    pub(crate) restaurant_index: BTreeMap<RestaurantId, usize>,
    pub(crate) truth: Vec<Fault>,
    pub(crate) figures: Figures,
}

impl World {
    /// The city when the day starts. `fault_scale` multiplies how often things go wrong: 1 is usual, 0 is never.
    pub fn new(day: &Day, seed: u64, fault_scale: f64) -> Self {
        let restaurants: Vec<WorldRestaurant> = day
            .restaurants
            .iter()
            .map(|restaurant| WorldRestaurant {
                id: restaurant.id,
                at: restaurant.at,
                luck: faults::restaurant_luck(seed, fault_scale, day, restaurant.id),
                slow_known: false,
                slow_fault: None,
                offline_fault: None,
            })
            .collect();
        let restaurant_index = index(restaurants.iter().map(|restaurant| restaurant.id));
        let orders = orders_of(day, seed, fault_scale, &restaurants, &restaurant_index);
        let riders: Vec<WorldRider> = day.riders.iter().map(rider_of).collect();
        Self {
            now: day.starts_at(),
            steps: 0,
            starts_at: day.starts_at(),
            ends_at: day.ends_at(),
            metres_per_minute: day.parameters.metres_per_minute,
            pickup_half_seconds: day.parameters.pickup_minutes * 30,
            dropoff_half_seconds: day.parameters.dropoff_minutes * 30,
            placed: 0,
            open: Vec::new(),
            order_index: index(orders.iter().map(|order| order.id)),
            rider_index: index(riders.iter().map(|rider| rider.id)),
            restaurant_index,
            orders,
            riders,
            restaurants,
            truth: Vec::new(),
            figures: Figures::default(),
        }
    }

    /// The world after `steps` steps, where each input came after so many steps: how a city that was stopped goes on.
    /// The inputs are in the order in which they came.
    pub fn replay(day: &Day, seed: u64, fault_scale: f64, inputs: &[(u64, Input)], steps: u64) -> Self {
        let mut world = Self::new(day, seed, fault_scale);
        let mut coming = inputs.iter().peekable();
        loop {
            while let Some((_, input)) = coming.next_if(|(step, _)| *step <= world.steps) {
                // A refused input changed nothing then, and is refused again now.
                let _ = world.apply(input);
            }
            if world.steps >= steps {
                return world;
            }
            world.step(&[]);
        }
    }

    /// The present moment.
    pub fn now(&self) -> SimTime {
        self.now
    }

    /// How many steps have been taken.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// When the day started: five minutes before its first order.
    pub fn starts_at(&self) -> SimTime {
        self.starts_at
    }

    /// When the day ends: 240 minutes after its last order.
    pub fn ends_at(&self) -> SimTime {
        self.ends_at
    }

    /// Whether the day is over; further steps do nothing.
    pub fn ended(&self) -> bool {
        self.now >= self.ends_at
    }

    /// Whether every order of the day has been placed and is delivered or cancelled.
    pub fn settled(&self) -> bool {
        self.placed == self.orders.len() && self.open.is_empty()
    }

    /// How fast riders ride.
    pub fn metres_per_minute(&self) -> f64 {
        self.metres_per_minute
    }

    /// How many orders are placed and not finished.
    pub fn open_orders(&self) -> usize {
        self.open.len()
    }

    /// What has come of the orders so far.
    pub fn figures(&self) -> Figures {
        Figures { on_their_way: self.open.len(), ..self.figures }
    }

    /// Every fault so far, as it truly was, in the order in which they began.
    pub fn truth(&self) -> &[Fault] {
        &self.truth
    }

    pub(crate) fn minutes_between(&self, from: Point, to: Point) -> i64 {
        from.minutes_to(to, self.metres_per_minute)
    }

    pub(crate) fn order(&self, id: OrderId) -> Result<usize, Refusal> {
        let index = self.order_index.get(&id).copied().filter(|index| *index < self.placed);
        index.ok_or(Refusal::UnknownOrder { order: id })
    }

    pub(crate) fn rider(&self, id: RiderId) -> Result<usize, Refusal> {
        self.rider_index.get(&id).copied().ok_or(Refusal::UnknownRider { rider: id })
    }

    pub(crate) fn restaurant(&self, id: RestaurantId) -> Result<usize, Refusal> {
        self.restaurant_index.get(&id).copied().ok_or(Refusal::UnknownRestaurant { restaurant: id })
    }

    /// Records that a fault begins now; the index finds it again when it ends.
    pub(crate) fn begin_fault(&mut self, kind: FaultKind, subject: Subject, out: &mut Vec<Output>) -> usize {
        let fault = Fault { kind, subject, started: self.now, ended: None };
        self.truth.push(fault);
        out.push(Output::FaultStarted(fault));
        self.truth.len() - 1
    }

    /// Records that a fault is over now.
    pub(crate) fn end_fault(&mut self, fault: usize, out: &mut Vec<Output>) {
        self.truth[fault].ended = Some(self.now);
        out.push(Output::FaultEnded(self.truth[fault]));
    }
}

fn index<T: Ord>(ids: impl Iterator<Item = T>) -> BTreeMap<T, usize> {
    ids.enumerate().map(|(index, id)| (id, index)).collect()
}

fn orders_of(
    day: &Day,
    seed: u64,
    fault_scale: f64,
    restaurants: &[WorldRestaurant],
    restaurant_index: &BTreeMap<RestaurantId, usize>,
) -> Vec<WorldOrder> {
    let known =
        day.orders.iter().filter_map(|order| restaurant_index.get(&order.restaurant).map(|r| (order, *r)));
    let mut orders: Vec<WorldOrder> = known
        .map(|(order, restaurant)| WorldOrder {
            id: order.id,
            restaurant,
            at: order.at,
            placed_at: SimTime::from_minutes(order.placed_minute),
            preparation_minutes: order.ready_minute - order.placed_minute,
            travel_minutes: restaurants[restaurant].at.minutes_to(order.at, day.parameters.metres_per_minute),
            luck: faults::order_luck(seed, fault_scale, order.id),
            stage: Stage::Expected,
            quoted_minutes: 0,
            ready_at: None,
            ready_reported: false,
            dispatchable_at: None,
            picked_up_at: None,
            delivered_at: None,
            blocked_until: None,
            stall_spent: false,
            block_fault: None,
            lost_pickup_fault: None,
            rider: None,
        })
        .collect();
    orders.sort_by_key(|order| (order.placed_at, order.id));
    orders
}

fn rider_of(rider: &crate::day::DayRider) -> WorldRider {
    WorldRider {
        id: rider.id,
        on_at: SimTime::from_minutes(rider.on_minute),
        off_at: SimTime::from_minutes(rider.off_minute),
        on_shift: false,
        at: rider.at,
        phase: Phase::Idle,
        job: Vec::new(),
        next_stall_seconds: None,
        free_since: SimTime::from_minutes(rider.on_minute),
        last_ping: None,
        gap_fault: None,
    }
}
