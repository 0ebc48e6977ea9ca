//! A restaurant: whether it takes orders, and what its kitchen still owes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Applied, Entity, Illegal, Order, action, link};
use crate::ids::{OrderId, RestaurantId};
use crate::time::SimTime;

/// An order that the kitchen has not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    /// Which.
    pub order: OrderId,
    /// When the customer ordered.
    pub placed_at: SimTime,
    /// When the kitchen expects to be ready; `null` until it has accepted.
    pub expected_ready_at: Option<SimTime>,
}

/// A restaurant as the platform knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restaurant {
    /// Its name in the day.
    pub id: RestaurantId,
    /// What people call it.
    pub name: String,
    /// Metres east.
    pub x: i64,
    /// Metres north.
    pub y: i64,
    /// Whether it says that it takes orders.
    pub accepting: bool,
    /// Whether quotes for its next orders include the delay that its kitchen has told.
    #[serde(default)]
    pub quotes_raised: bool,
    /// How many orders the kitchen has not finished.
    pub open_orders: usize,
    /// How many of them were past their expected time when this entity last changed.
    pub late_orders: usize,
    /// When the oldest order that it has not answered was placed.
    pub oldest_unaccepted_at: Option<SimTime>,
    /// The earliest time at which an accepted order is, or was, expected to be ready and is not.
    pub oldest_due_at: Option<SimTime>,
    /// The same of the order that is due after that one: when it is late too, it is not one bad order.
    #[serde(default)]
    pub second_due_at: Option<SimTime>,
    /// The latest time at which an accepted order is expected to be ready.
    pub latest_due_at: Option<SimTime>,
    /// The orders that the kitchen has not finished, oldest first.
    pub tickets: Vec<Ticket>,
    /// When the last change happened.
    pub updated_at: SimTime,
}

/// What happens to a restaurant. `at` is when it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case")]
pub enum RestaurantChange {
    /// The restaurant is known to the platform, and takes orders.
    Opened {
        /// When.
        at: SimTime,
        /// What people call it.
        name: String,
        /// Metres east.
        x: i64,
        /// Metres north.
        y: i64,
    },
    /// It says whether it takes orders.
    Accepting {
        /// When.
        at: SimTime,
        /// Whether it does.
        accepting: bool,
    },
    /// An order comes in.
    OrderPlaced {
        /// When.
        at: SimTime,
        /// Which.
        order: OrderId,
    },
    /// It accepts an order.
    OrderAccepted {
        /// When.
        at: SimTime,
        /// Which.
        order: OrderId,
        /// When the kitchen expects to be ready.
        expected_ready_at: SimTime,
    },
    /// It finishes an order.
    OrderReady {
        /// When.
        at: SimTime,
        /// Which.
        order: OrderId,
    },
    /// Its kitchen has told how slow it is: quotes for its next orders include that.
    QuotesRaised {
        /// When.
        at: SimTime,
    },
    /// An order that it has not finished is cancelled.
    OrderCancelled {
        /// When.
        at: SimTime,
        /// Which.
        order: OrderId,
    },
}

impl RestaurantChange {
    /// When it happened.
    pub fn at(&self) -> SimTime {
        match self {
            Self::Opened { at, .. }
            | Self::Accepting { at, .. }
            | Self::QuotesRaised { at }
            | Self::OrderPlaced { at, .. }
            | Self::OrderAccepted { at, .. }
            | Self::OrderReady { at, .. }
            | Self::OrderCancelled { at, .. } => *at,
        }
    }

    /// Its name, as in its JSON.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Opened { .. } => "opened",
            Self::Accepting { .. } => "accepting",
            Self::QuotesRaised { .. } => "quotes_raised",
            Self::OrderPlaced { .. } => "order_placed",
            Self::OrderAccepted { .. } => "order_accepted",
            Self::OrderReady { .. } => "order_ready",
            Self::OrderCancelled { .. } => "order_cancelled",
        }
    }
}

impl Restaurant {
    fn ticket(&self, order: OrderId) -> Option<&Ticket> {
        self.tickets.iter().find(|ticket| ticket.order == order)
    }

    /// Whether this change would alter nothing. A finished order leaves no ticket, so a second report that it is
    /// finished looks like one of an order never seen: both alter nothing.
    fn had(&self, change: &RestaurantChange) -> bool {
        match change {
            RestaurantChange::Opened { .. } => true,
            RestaurantChange::Accepting { accepting, .. } => self.accepting == *accepting,
            RestaurantChange::QuotesRaised { .. } => self.quotes_raised,
            RestaurantChange::OrderPlaced { order, .. } => self.ticket(*order).is_some(),
            RestaurantChange::OrderAccepted { order, expected_ready_at, .. } => {
                self.ticket(*order).is_some_and(|ticket| ticket.expected_ready_at == Some(*expected_ready_at))
            }
            RestaurantChange::OrderReady { order, .. } | RestaurantChange::OrderCancelled { order, .. } => {
                self.ticket(*order).is_none()
            }
        }
    }

    fn allows(&self, change: &RestaurantChange) -> bool {
        match change {
            RestaurantChange::OrderAccepted { order, .. } => {
                self.ticket(*order).is_some_and(|ticket| ticket.expected_ready_at.is_none())
            }
            RestaurantChange::OrderReady { order, .. } => {
                self.ticket(*order).is_some_and(|ticket| ticket.expected_ready_at.is_some())
            }
            _ => true,
        }
    }

    fn alter(&mut self, change: &RestaurantChange) {
        match change {
            RestaurantChange::Opened { .. } => {}
            RestaurantChange::Accepting { accepting, .. } => self.accepting = *accepting,
            RestaurantChange::QuotesRaised { .. } => self.quotes_raised = true,
            RestaurantChange::OrderPlaced { at, order } => {
                self.tickets.push(Ticket { order: *order, placed_at: *at, expected_ready_at: None });
            }
            RestaurantChange::OrderAccepted { order, expected_ready_at, .. } => {
                for ticket in self.tickets.iter_mut().filter(|ticket| ticket.order == *order) {
                    ticket.expected_ready_at = Some(*expected_ready_at);
                }
            }
            RestaurantChange::OrderReady { order, .. } | RestaurantChange::OrderCancelled { order, .. } => {
                self.tickets.retain(|ticket| ticket.order != *order);
            }
        }
        self.updated_at = change.at();
        self.summarise();
    }

    fn summarise(&mut self) {
        let mut due: Vec<SimTime> =
            self.tickets.iter().filter_map(|ticket| ticket.expected_ready_at).collect();
        due.sort_unstable();
        let unaccepted = self.tickets.iter().filter(|ticket| ticket.expected_ready_at.is_none());
        self.oldest_unaccepted_at = unaccepted.map(|ticket| ticket.placed_at).min();
        self.open_orders = self.tickets.len();
        self.late_orders = due.iter().filter(|at| **at < self.updated_at).count();
        self.oldest_due_at = due.first().copied();
        self.second_due_at = due.get(1).copied();
        self.latest_due_at = due.last().copied();
    }
}

impl Entity for Restaurant {
    type Id = RestaurantId;
    type Change = RestaurantChange;

    const COLLECTION: &'static str = "restaurants";

    fn id(&self) -> RestaurantId {
        self.id
    }

    fn created(id: RestaurantId, change: &RestaurantChange) -> Result<Self, Illegal> {
        let RestaurantChange::Opened { at, name, x, y } = change else {
            return Err(Illegal::Unknown { entity: id.to_string(), change: change.name() });
        };
        Ok(Self {
            id,
            name: name.clone(),
            x: *x,
            y: *y,
            accepting: true,
            quotes_raised: false,
            open_orders: 0,
            late_orders: 0,
            oldest_unaccepted_at: None,
            oldest_due_at: None,
            second_due_at: None,
            latest_due_at: None,
            tickets: Vec::new(),
            updated_at: *at,
        })
    }

    fn apply(&mut self, change: &RestaurantChange) -> Result<Applied, Illegal> {
        if self.had(change) {
            return Ok(Applied::Already);
        }
        let (entity, name) = (self.id.to_string(), change.name());
        if !self.allows(change) {
            let state = "without an order that this could happen to".to_string();
            return Err(Illegal::State { entity, change: name, state });
        }
        if change.at() < self.updated_at {
            return Err(Illegal::Backwards { entity, change: name });
        }
        self.alter(change);
        Ok(Applied::Changed)
    }

    fn links(&self, origin: &str) -> Map<String, Value> {
        let orders = self.tickets.iter().map(|ticket| link(Order::href(origin, ticket.order)));
        let mut links = Map::from_iter([("orders".to_string(), orders.collect())]);
        if self.oldest_unaccepted_at.is_some() {
            links.insert("call".to_string(), action::<Self>(origin, self.id, "call", "Call the restaurant"));
        }
        if self.oldest_due_at.is_some() && !self.quotes_raised {
            let title = "Ask the kitchen, and quote its next orders honestly";
            links.insert("raise-quotes".to_string(), action::<Self>(origin, self.id, "raise-quotes", title));
        }
        links
    }
}
