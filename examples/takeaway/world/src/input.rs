//! What the world can be told, and what it answers: the whole conversation between the city and everybody else.

use serde::{Deserialize, Serialize};

use crate::entity::{OrderChange, RestaurantChange, RiderChange, ZoneChange};
use crate::faults::Fault;
use crate::ids::{OrderId, RestaurantId, RiderId, ZoneId};
use crate::time::SimTime;

/// Most orders in one job.
pub const ORDERS_PER_JOB_MAX: usize = 4;

/// Something that dispatch or an operator wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Input {
    /// Dispatch gives a rider a job: one to four orders of one restaurant.
    Assign {
        /// An idle rider on shift.
        rider: RiderId,
        /// Accepted orders without a rider.
        orders: Vec<OrderId>,
    },
    /// Takes the job from a rider who is held up on the way to the restaurant; dispatch finds another.
    Reassign {
        /// The rider.
        rider: RiderId,
    },
    /// Calls a rider who is held up with food in the bag; they move again within four minutes.
    FreeRider {
        /// The rider.
        rider: RiderId,
    },
    /// Calls a restaurant that does not answer; it accepts orders again within three minutes.
    CallRestaurant {
        /// The restaurant.
        restaurant: RestaurantId,
    },
    /// Frees an order that dispatch is kept from assigning.
    ForceDispatch {
        /// The order.
        order: OrderId,
    },
    /// From now on, quotes for a slow kitchen include its delay.
    HonestQuotes {
        /// The restaurant.
        restaurant: RestaurantId,
    },
}

impl Input {
    /// What a POST to the link of an entity does: `/city/<collection>/<id>/<relation>`.
    pub fn of_link(collection: &str, id: &str, relation: &str) -> Option<Self> {
        Some(match (collection, relation) {
            ("restaurants", "call") => Self::CallRestaurant { restaurant: id.parse().ok()? },
            ("restaurants", "raise-quotes") => Self::HonestQuotes { restaurant: id.parse().ok()? },
            ("riders", "reassign") => Self::Reassign { rider: id.parse().ok()? },
            ("riders", "call") => Self::FreeRider { rider: id.parse().ok()? },
            ("orders", "dispatch") => Self::ForceDispatch { order: id.parse().ok()? },
            _ => return None,
        })
    }
}

/// Why the world does not do what it was told.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "reason", rename_all = "snake_case")]
pub enum Refusal {
    /// The day has no such order, or it has not been placed yet.
    #[error("find order {order} among the orders placed so far")]
    UnknownOrder {
        /// Its name.
        order: OrderId,
    },
    /// The day has no such rider.
    #[error("find rider {rider} in this day")]
    UnknownRider {
        /// Their name.
        rider: RiderId,
    },
    /// The day has no such restaurant.
    #[error("find restaurant {restaurant} in this day")]
    UnknownRestaurant {
        /// Its name.
        restaurant: RestaurantId,
    },
    /// A job is one to four different orders of one restaurant.
    #[error("make one job of these orders: it takes one to four different orders of one restaurant")]
    BadJob,
    /// The rider is off shift or has a job.
    #[error("give rider {rider} a job: they are not idle on shift")]
    RiderNotIdle {
        /// Their name.
        rider: RiderId,
    },
    /// The order is not accepted yet, has a rider, or is finished.
    #[error("assign order {order}: it does not wait for a rider")]
    OrderNotWaiting {
        /// Its name.
        order: OrderId,
    },
    /// Something keeps these orders from being assigned; asking again in a minute may help.
    #[error("assign orders that are blocked")]
    Blocked {
        /// Which of those asked for.
        orders: Vec<OrderId>,
    },
    /// Nothing is wrong that this could mend.
    #[error("find anything that this would mend")]
    NothingToMend,
    /// The day is over.
    #[error("change anything: the day has ended")]
    Ended,
}

/// Where a rider is, every ten seconds while they are on shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ping {
    /// Who.
    pub rider: RiderId,
    /// Metres east.
    pub x: i64,
    /// Metres north.
    pub y: i64,
    /// When.
    pub at: SimTime,
}

/// What happened in the world, in the order in which it happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Output {
    /// To be applied to an order.
    Order {
        /// Which.
        id: OrderId,
        /// What happened to it.
        change: OrderChange,
    },
    /// To be applied to a rider.
    Rider {
        /// Who.
        id: RiderId,
        /// What happened to them.
        change: RiderChange,
    },
    /// To be applied to a restaurant.
    Restaurant {
        /// Which.
        id: RestaurantId,
        /// What happened to it.
        change: RestaurantChange,
    },
    /// To be applied to a zone.
    Zone {
        /// Which.
        id: ZoneId,
        /// What happened to it.
        change: ZoneChange,
    },
    /// A rider reports where they are.
    Ping(Ping),
    /// An injected fault begins. The truth is for scoring only: no rule may see it.
    FaultStarted(Fault),
    /// An injected fault ends, by itself or because somebody mended it.
    FaultEnded(Fault),
    /// An input of this step was not done.
    Refused {
        /// What was asked.
        input: Input,
        /// Why not.
        refusal: Refusal,
    },
}
