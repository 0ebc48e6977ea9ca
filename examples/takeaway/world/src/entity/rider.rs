//! A rider: on shift or not, what they carry, and which leg of the job they are on.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Applied, Entity, Illegal, Order, Restaurant, action, link};
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::place::Point;
use crate::time::SimTime;

/// What a rider is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RiderState {
    /// Not working.
    OffShift,
    /// Free for a job.
    Idle,
    /// Riding to the restaurant.
    ToRestaurant,
    /// Standing in the restaurant until the food is ready.
    Waiting,
    /// Carrying food to a customer, from two minutes of leaving to two minutes at the door.
    ToCustomer,
    /// Catching breath after the last delivery of a job; idle soon.
    Returning,
    /// Taken off a job because something held them up; idle once it has passed.
    Unavailable,
}

/// An order in a rider's bag, or to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct CarriedOrder {
    /// Which.
    pub order: OrderId,
    /// From when its delivery is unacceptable.
    pub unacceptable_at: SimTime,
}

/// A rider as the platform knows them. Where they are between reports comes from pings, not from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rider {
    /// Their name in the day.
    pub id: RiderId,
    /// What people call them.
    pub name: String,
    /// What they are doing.
    pub state: RiderState,
    /// Since when: the start of this leg, wait or rest.
    pub state_since: SimTime,
    /// Where they last reported from, metres east.
    pub x: i64,
    /// Where they last reported from, metres north.
    pub y: i64,
    /// When their shift begins.
    pub on_shift_from: SimTime,
    /// When their shift ends; a job under way is finished first.
    pub off_shift_at: SimTime,
    /// Whether they have orders.
    pub on_job: bool,
    /// Whose food they fetch, until they have left with it.
    pub restaurant: Option<RestaurantId>,
    /// Their orders; while carrying, in the order of the stops.
    pub orders: Vec<CarriedOrder>,
    /// When they should be done with what they ride to: be in the restaurant, or have handed over their next order.
    pub expected_at: Option<SimTime>,
    /// When the first of their orders becomes unacceptable.
    pub earliest_unacceptable_at: Option<SimTime>,
}

/// What happens to a rider. `at` is when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum RiderChange {
    /// The rider is known to the platform, off shift.
    Joined {
        /// When.
        at: SimTime,
        /// What people call them.
        name: String,
        /// Where their shift begins, metres east.
        x: i64,
        /// Where their shift begins, metres north.
        y: i64,
        /// When their shift begins.
        on_shift_from: SimTime,
        /// When their shift ends.
        off_shift_at: SimTime,
    },
    /// The shift begins.
    OnShift {
        /// When.
        at: SimTime,
    },
    /// The shift ends.
    OffShift {
        /// When.
        at: SimTime,
    },
    /// Dispatch gives a job: they ride to the restaurant.
    Assigned {
        /// When.
        at: SimTime,
        /// Whose food.
        restaurant: RestaurantId,
        /// Which orders.
        orders: Vec<CarriedOrder>,
        /// When they should be in the restaurant.
        expected_at: SimTime,
    },
    /// They are in the restaurant.
    AtRestaurant {
        /// When.
        at: SimTime,
        /// Metres east.
        x: i64,
        /// Metres north.
        y: i64,
    },
    /// They leave with the food.
    PickedUp {
        /// When.
        at: SimTime,
        /// Their orders in the order of the stops.
        orders: Vec<OrderId>,
        /// When they should have handed over the first.
        expected_at: SimTime,
    },
    /// They hand over an order, and ride on or rest.
    Delivered {
        /// When.
        at: SimTime,
        /// Which order.
        order: OrderId,
        /// Metres east.
        x: i64,
        /// Metres north.
        y: i64,
        /// When they should have handed over the next, if there is one.
        expected_at: Option<SimTime>,
    },
    /// Their job goes to somebody else.
    Released {
        /// When.
        at: SimTime,
        /// Metres east.
        x: i64,
        /// Metres north.
        y: i64,
    },
    /// They are free for a job again.
    Idle {
        /// When.
        at: SimTime,
    },
}

impl RiderChange {
    /// When it happened.
    pub fn at(&self) -> SimTime {
        match self {
            Self::Joined { at, .. }
            | Self::OnShift { at }
            | Self::OffShift { at }
            | Self::Assigned { at, .. }
            | Self::AtRestaurant { at, .. }
            | Self::PickedUp { at, .. }
            | Self::Delivered { at, .. }
            | Self::Released { at, .. }
            | Self::Idle { at } => *at,
        }
    }

    /// Its name, as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Joined { .. } => "joined",
            Self::OnShift { .. } => "on_shift",
            Self::OffShift { .. } => "off_shift",
            Self::Assigned { .. } => "assigned",
            Self::AtRestaurant { .. } => "at_restaurant",
            Self::PickedUp { .. } => "picked_up",
            Self::Delivered { .. } => "delivered",
            Self::Released { .. } => "released",
            Self::Idle { .. } => "idle",
        }
    }
}

impl Rider {
    /// Where they last reported from.
    pub fn at(&self) -> Point {
        Point { x: self.x, y: self.y }
    }

    fn had(&self, change: &RiderChange) -> bool {
        let since = |state: RiderState, at: &SimTime| self.state == state && self.state_since == *at;
        match change {
            RiderChange::Joined { .. } => true,
            RiderChange::OnShift { at } | RiderChange::Idle { at } => since(RiderState::Idle, at),
            RiderChange::OffShift { at } => since(RiderState::OffShift, at),
            RiderChange::Assigned { at, orders, .. } => {
                since(RiderState::ToRestaurant, at) && self.orders == *orders
            }
            RiderChange::AtRestaurant { at, .. } => since(RiderState::Waiting, at),
            RiderChange::PickedUp { at, .. } => since(RiderState::ToCustomer, at),
            RiderChange::Delivered { at, order, .. } => {
                self.state_since == *at && !self.orders.iter().any(|carried| carried.order == *order)
            }
            RiderChange::Released { at, .. } => since(RiderState::Unavailable, at),
        }
    }

    fn allows(&self, change: &RiderChange) -> bool {
        use RiderState::{Idle, OffShift, Returning, ToCustomer, ToRestaurant, Unavailable, Waiting};
        let carries = |order: &OrderId| self.orders.iter().any(|carried| carried.order == *order);
        match change {
            RiderChange::Joined { .. } => false,
            RiderChange::OnShift { .. } => self.state == OffShift,
            RiderChange::OffShift { .. } => self.state == Idle,
            RiderChange::Assigned { orders, .. } => self.state == Idle && !orders.is_empty(),
            RiderChange::AtRestaurant { .. } | RiderChange::Released { .. } => self.state == ToRestaurant,
            RiderChange::PickedUp { orders, .. } => {
                self.state == Waiting && orders.len() == self.orders.len() && orders.iter().all(carries)
            }
            RiderChange::Delivered { order, .. } => self.state == ToCustomer && carries(order),
            RiderChange::Idle { .. } => matches!(self.state, Returning | Unavailable),
        }
    }

    fn alter(&mut self, change: &RiderChange) {
        match change {
            RiderChange::Joined { .. } => {}
            RiderChange::OnShift { .. } | RiderChange::Idle { .. } => self.state = RiderState::Idle,
            RiderChange::OffShift { .. } => self.state = RiderState::OffShift,
            RiderChange::Assigned { restaurant, orders, expected_at, .. } => {
                self.state = RiderState::ToRestaurant;
                self.expected_at = Some(*expected_at);
                self.restaurant = Some(*restaurant);
                self.orders.clone_from(orders);
            }
            RiderChange::AtRestaurant { x, y, .. } => {
                self.state = RiderState::Waiting;
                self.expected_at = None;
                (self.x, self.y) = (*x, *y);
            }
            RiderChange::PickedUp { orders, expected_at, .. } => {
                self.state = RiderState::ToCustomer;
                self.expected_at = Some(*expected_at);
                self.restaurant = None;
                let stop = |carried: &CarriedOrder| orders.iter().position(|order| *order == carried.order);
                self.orders.sort_by_key(stop);
            }
            RiderChange::Delivered { order, x, y, expected_at, .. } => {
                self.expected_at = *expected_at;
                self.orders.retain(|carried| carried.order != *order);
                (self.x, self.y) = (*x, *y);
                if self.orders.is_empty() {
                    self.state = RiderState::Returning;
                }
            }
            RiderChange::Released { x, y, .. } => {
                self.state = RiderState::Unavailable;
                self.expected_at = None;
                self.restaurant = None;
                self.orders.clear();
                (self.x, self.y) = (*x, *y);
            }
        }
        self.state_since = change.at();
        self.on_job = !self.orders.is_empty();
        self.earliest_unacceptable_at = self.orders.iter().map(|carried| carried.unacceptable_at).min();
    }
}

impl Entity for Rider {
    type Id = RiderId;
    type Change = RiderChange;

    const COLLECTION: &'static str = "riders";

    fn id(&self) -> RiderId {
        self.id
    }

    fn created(id: RiderId, change: &RiderChange) -> Result<Self, Illegal> {
        let RiderChange::Joined { at, name, x, y, on_shift_from, off_shift_at } = change else {
            return Err(Illegal::Unknown { entity: id.to_string(), change: change.name() });
        };
        Ok(Self {
            id,
            name: name.clone(),
            state: RiderState::OffShift,
            state_since: *at,
            x: *x,
            y: *y,
            on_shift_from: *on_shift_from,
            off_shift_at: *off_shift_at,
            on_job: false,
            restaurant: None,
            orders: Vec::new(),
            expected_at: None,
            earliest_unacceptable_at: None,
        })
    }

    fn apply(&mut self, change: &RiderChange) -> Result<Applied, Illegal> {
        if self.had(change) {
            return Ok(Applied::Already);
        }
        let (entity, name) = (self.id.to_string(), change.name());
        if !self.allows(change) {
            let state = format!("{:?}", self.state).to_lowercase();
            return Err(Illegal::State { entity, change: name, state });
        }
        if change.at() < self.state_since {
            return Err(Illegal::Backwards { entity, change: name });
        }
        self.alter(change);
        Ok(Applied::Changed)
    }

    fn links(&self, origin: &str) -> Map<String, Value> {
        let mut links = Map::new();
        if let Some(restaurant) = self.restaurant {
            links.insert("restaurant".to_string(), link(Restaurant::href(origin, restaurant)));
        }
        let orders = self.orders.iter().map(|carried| link(Order::href(origin, carried.order)));
        links.insert("orders".to_string(), orders.collect());
        match self.state {
            RiderState::ToRestaurant => {
                let title = "Give the job to somebody else";
                links.insert("reassign".to_string(), action::<Self>(origin, self.id, "reassign", title));
            }
            RiderState::ToCustomer => {
                let title = "Call the rider";
                links.insert("call".to_string(), action::<Self>(origin, self.id, "call", title));
            }
            _ => {}
        }
        links
    }
}
