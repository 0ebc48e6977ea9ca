//! An order: its life from placed to delivered or cancelled, with the time of every step inside it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Applied, Entity, Illegal, Restaurant, Rider, Zone, action, link};
use crate::ids::{OrderId, RestaurantId, RiderId, ZoneId};
use crate::time::SimTime;

/// Minutes before a meal is expected to be ready from which dispatch looks for a rider.
pub(crate) const DISPATCH_AHEAD_MINUTES: i64 = 15;

/// Minutes after its quote from which a delivery is unacceptable.
const GRACE_MINUTES: i64 = 20;

/// Minutes from click to door that no delivery may exceed, unless its quote came close to it.
const CLICK_TO_DOOR_MINUTES_MAX: i64 = 90;

/// Minutes from placement after which a delivery is unacceptable, given the minutes that the customer was quoted.
pub fn acceptable_minutes(quoted_minutes: i64) -> i64 {
    let with_grace = quoted_minutes + GRACE_MINUTES;
    if quoted_minutes > CLICK_TO_DOOR_MINUTES_MAX - GRACE_MINUTES {
        with_grace
    } else {
        with_grace.min(CLICK_TO_DOOR_MINUTES_MAX)
    }
}

/// The zone of orders of the time before there were zones.
fn the_city() -> ZoneId {
    crate::supply::CITY
}

/// Where an order is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderState {
    /// The customer has ordered; the restaurant has not yet answered.
    Placed,
    /// The restaurant is cooking; no rider has it.
    Accepted,
    /// A rider is on the way to the restaurant, or waits there.
    Assigned,
    /// A rider carries it to the customer.
    PickedUp,
    /// The customer has it.
    Delivered,
    /// It will never be delivered.
    Cancelled,
}

impl OrderState {
    /// Whether nothing more happens to an order in this state.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Cancelled)
    }
}

/// An order as the platform knows it. Times that have not come are `null` in its JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its name.
    pub id: OrderId,
    /// Where it is in its life, as far as has been reported.
    pub state: OrderState,
    /// Who cooks it.
    pub restaurant: RestaurantId,
    /// In which part of the city it is fetched.
    #[serde(default = "the_city")]
    pub zone: ZoneId,
    /// Who brings it, once assigned.
    pub rider: Option<RiderId>,
    /// Where the customer lives, metres east.
    pub x: i64,
    /// Where the customer lives, metres north.
    pub y: i64,
    /// Minutes from placement to delivery that the customer was promised.
    pub quoted_minutes: i64,
    /// Minutes that the restaurant expects to cook, from accepting.
    pub preparation_minutes: i64,
    /// Minutes of riding from the restaurant to the customer.
    pub travel_minutes: i64,
    /// When the customer ordered.
    pub placed_at: SimTime,
    /// Until when it was promised: placed and the quote.
    pub promised_at: SimTime,
    /// From when its delivery is unacceptable.
    pub unacceptable_at: SimTime,
    /// When the restaurant accepted it.
    pub accepted_at: Option<SimTime>,
    /// When the kitchen expects to be ready, known from accepting.
    pub expected_ready_at: Option<SimTime>,
    /// Since when dispatch could have found a rider: 15 minutes before it is expected to be ready, or when it was
    /// accepted or lost its rider, if that is later.
    pub dispatchable_at: Option<SimTime>,
    /// When a rider got it.
    pub assigned_at: Option<SimTime>,
    /// When the kitchen reported it ready.
    pub ready_at: Option<SimTime>,
    /// When its rider reached the restaurant.
    pub rider_at_restaurant_at: Option<SimTime>,
    /// When its rider left with it, if that was reported.
    pub picked_up_at: Option<SimTime>,
    /// When the customer got it.
    pub delivered_at: Option<SimTime>,
    /// When it was given up.
    pub cancelled_at: Option<SimTime>,
    /// When the last change happened.
    pub updated_at: SimTime,
}

/// What is known of an order when it is placed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewOrder {
    /// When the customer ordered.
    pub at: SimTime,
    /// Who cooks it.
    pub restaurant: RestaurantId,
    /// In which part of the city that is.
    #[serde(default = "the_city")]
    pub zone: ZoneId,
    /// Where the customer lives, metres east.
    pub x: i64,
    /// Where the customer lives, metres north.
    pub y: i64,
    /// Minutes from placement to delivery that the customer was promised.
    pub quoted_minutes: i64,
    /// Minutes that the restaurant expects to cook, from accepting.
    pub preparation_minutes: i64,
    /// Minutes of riding from the restaurant to the customer.
    pub travel_minutes: i64,
}

/// What happens to an order. `at` is when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum OrderChange {
    /// The customer orders.
    Placed(NewOrder),
    /// The restaurant accepts.
    Accepted {
        /// When.
        at: SimTime,
        /// When the kitchen expects to be ready.
        expected_ready_at: SimTime,
    },
    /// Dispatch gives it to a rider.
    Assigned {
        /// When.
        at: SimTime,
        /// To whom.
        rider: RiderId,
    },
    /// Its rider is taken off it before pickup.
    Unassigned {
        /// When.
        at: SimTime,
    },
    /// The kitchen is ready.
    Ready {
        /// When.
        at: SimTime,
    },
    /// Its rider reaches the restaurant.
    RiderAtRestaurant {
        /// When.
        at: SimTime,
    },
    /// Its rider leaves with it.
    PickedUp {
        /// When.
        at: SimTime,
    },
    /// The customer has it.
    Delivered {
        /// When.
        at: SimTime,
    },
    /// It is given up.
    Cancelled {
        /// When.
        at: SimTime,
    },
}

impl OrderChange {
    /// When it happened.
    pub fn at(&self) -> SimTime {
        match self {
            Self::Placed(new) => new.at,
            Self::Accepted { at, .. }
            | Self::Assigned { at, .. }
            | Self::Unassigned { at }
            | Self::Ready { at }
            | Self::RiderAtRestaurant { at }
            | Self::PickedUp { at }
            | Self::Delivered { at }
            | Self::Cancelled { at } => *at,
        }
    }

    /// Its name, as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Placed(_) => "placed",
            Self::Accepted { .. } => "accepted",
            Self::Assigned { .. } => "assigned",
            Self::Unassigned { .. } => "unassigned",
            Self::Ready { .. } => "ready",
            Self::RiderAtRestaurant { .. } => "rider_at_restaurant",
            Self::PickedUp { .. } => "picked_up",
            Self::Delivered { .. } => "delivered",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

impl Order {
    fn placed(id: OrderId, new: &NewOrder) -> Self {
        Self {
            id,
            state: OrderState::Placed,
            restaurant: new.restaurant,
            zone: new.zone,
            rider: None,
            x: new.x,
            y: new.y,
            quoted_minutes: new.quoted_minutes,
            preparation_minutes: new.preparation_minutes,
            travel_minutes: new.travel_minutes,
            placed_at: new.at,
            promised_at: new.at.plus_minutes(new.quoted_minutes),
            unacceptable_at: new.at.plus_minutes(acceptable_minutes(new.quoted_minutes)),
            accepted_at: None,
            expected_ready_at: None,
            dispatchable_at: None,
            assigned_at: None,
            ready_at: None,
            rider_at_restaurant_at: None,
            picked_up_at: None,
            delivered_at: None,
            cancelled_at: None,
            updated_at: new.at,
        }
    }

    /// Whether this very change was applied before.
    fn had(&self, change: &OrderChange) -> bool {
        match change {
            OrderChange::Placed(new) => self.placed_at == new.at,
            OrderChange::Accepted { at, .. } => self.accepted_at == Some(*at),
            OrderChange::Assigned { at, rider } => {
                self.assigned_at == Some(*at) && self.rider == Some(*rider)
            }
            OrderChange::Unassigned { at } => {
                self.state == OrderState::Accepted && self.assigned_at.is_none() && self.updated_at == *at
            }
            OrderChange::Ready { at } => self.ready_at == Some(*at),
            OrderChange::RiderAtRestaurant { at } => self.rider_at_restaurant_at == Some(*at),
            OrderChange::PickedUp { at } => self.picked_up_at == Some(*at),
            OrderChange::Delivered { at } => self.delivered_at == Some(*at),
            OrderChange::Cancelled { at } => self.cancelled_at == Some(*at),
        }
    }

    fn allows(&self, change: &OrderChange) -> bool {
        use OrderState::{Accepted, Assigned, PickedUp, Placed};
        match change {
            OrderChange::Placed(_) => false,
            OrderChange::Accepted { .. } => self.state == Placed,
            OrderChange::Assigned { .. } => self.state == Accepted,
            OrderChange::Unassigned { .. } => self.state == Assigned && self.rider_at_restaurant_at.is_none(),
            OrderChange::Ready { .. } => matches!(self.state, Accepted | Assigned) && self.ready_at.is_none(),
            OrderChange::RiderAtRestaurant { .. } => {
                self.state == Assigned && self.rider_at_restaurant_at.is_none()
            }
            OrderChange::PickedUp { .. } => self.state == Assigned && self.rider_at_restaurant_at.is_some(),
            // The report of the pickup may have been lost, so a delivery may follow the arrival at the restaurant.
            OrderChange::Delivered { .. } => {
                self.state == PickedUp || self.state == Assigned && self.rider_at_restaurant_at.is_some()
            }
            OrderChange::Cancelled { .. } => !self.state.is_final(),
        }
    }

    fn alter(&mut self, change: &OrderChange) {
        match change {
            OrderChange::Placed(_) => {}
            OrderChange::Accepted { at, expected_ready_at } => {
                self.state = OrderState::Accepted;
                self.accepted_at = Some(*at);
                self.expected_ready_at = Some(*expected_ready_at);
                self.dispatchable_at = Some(expected_ready_at.plus_minutes(-DISPATCH_AHEAD_MINUTES).max(*at));
            }
            OrderChange::Assigned { at, rider } => {
                self.state = OrderState::Assigned;
                self.assigned_at = Some(*at);
                self.rider = Some(*rider);
            }
            OrderChange::Unassigned { at } => {
                self.state = OrderState::Accepted;
                self.assigned_at = None;
                self.rider = None;
                self.dispatchable_at = self.dispatchable_at.map(|since| since.max(*at));
            }
            OrderChange::Ready { at } => self.ready_at = Some(*at),
            OrderChange::RiderAtRestaurant { at } => self.rider_at_restaurant_at = Some(*at),
            OrderChange::PickedUp { at } => {
                self.state = OrderState::PickedUp;
                self.picked_up_at = Some(*at);
            }
            OrderChange::Delivered { at } => {
                self.state = OrderState::Delivered;
                self.delivered_at = Some(*at);
            }
            OrderChange::Cancelled { at } => {
                self.state = OrderState::Cancelled;
                self.cancelled_at = Some(*at);
            }
        }
        self.updated_at = change.at();
    }
}

impl Entity for Order {
    type Id = OrderId;
    type Change = OrderChange;

    const COLLECTION: &'static str = "orders";

    fn id(&self) -> OrderId {
        self.id
    }

    fn created(id: OrderId, change: &OrderChange) -> Result<Self, Illegal> {
        match change {
            OrderChange::Placed(new) => Ok(Self::placed(id, new)),
            other => Err(Illegal::Unknown { entity: id.to_string(), change: other.name() }),
        }
    }

    fn apply(&mut self, change: &OrderChange) -> Result<Applied, Illegal> {
        if self.had(change) {
            return Ok(Applied::Already);
        }
        let (entity, name) = (self.id.to_string(), change.name());
        if !self.allows(change) {
            let state = format!("{:?}", self.state).to_lowercase();
            return Err(Illegal::State { entity, change: name, state });
        }
        if change.at() < self.updated_at {
            return Err(Illegal::Backwards { entity, change: name });
        }
        self.alter(change);
        Ok(Applied::Changed)
    }

    fn links(&self, origin: &str) -> Map<String, Value> {
        let mut links = Map::new();
        links.insert("restaurant".to_string(), link(Restaurant::href(origin, self.restaurant)));
        links.insert("zone".to_string(), link(Zone::href(origin, self.zone)));
        if let Some(rider) = self.rider {
            links.insert("rider".to_string(), link(Rider::href(origin, rider)));
        }
        if self.state == OrderState::Accepted {
            let title = "Have it assigned by hand";
            links.insert("dispatch".to_string(), action::<Self>(origin, self.id, "dispatch", title));
        }
        links
    }
}
