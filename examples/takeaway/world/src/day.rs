//! A day of orders, restaurants and riders, in the format of the published Meal Delivery Routing Problem instances
//! (Grubhub and Georgia Tech; Reyes, Erera, Savelsbergh, Sahasrabudhe, O'Neil: The Meal Delivery Routing Problem, 2018):
//! four tab-separated tables with a header line, places in metres, times in whole minutes from the start of the day.

mod generate;
mod parse;
mod write;

use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::place::Point;
use crate::time::SimTime;

pub use generate::GenerateOptions;
pub use parse::{DayError, DayFiles};

/// Minutes before the first order at which the day starts.
const LEAD_MINUTES: i64 = 5;
/// Minutes after the last order at which the day ends.
const TAIL_MINUTES: i64 = 240;

/// A day in the city.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// What customers will order: at least one order.
    pub orders: Vec<DayOrder>,
    /// Who rides, and when.
    pub riders: Vec<DayRider>,
    /// Who cooks.
    pub restaurants: Vec<DayRestaurant>,
    /// Speeds, service times and pay.
    pub parameters: Parameters,
}

/// An order of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayOrder {
    /// Its name.
    pub id: OrderId,
    /// Where the customer lives.
    pub at: Point,
    /// When the customer orders, in minutes of the day.
    pub placed_minute: i64,
    /// From which restaurant.
    pub restaurant: RestaurantId,
    /// When the food is expected to be ready, in minutes of the day.
    pub ready_minute: i64,
}

/// A rider's shift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRider {
    /// Their name.
    pub id: RiderId,
    /// Where the shift begins.
    pub at: Point,
    /// When the shift begins, in minutes of the day.
    pub on_minute: i64,
    /// When it ends, in minutes of the day.
    pub off_minute: i64,
}

/// A restaurant of the day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayRestaurant {
    /// Its name.
    pub id: RestaurantId,
    /// Where it is.
    pub at: Point,
}

/// The numbers that hold for the whole day.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Parameters {
    /// How fast riders ride.
    pub metres_per_minute: f64,
    /// Minutes to fetch food, half before leaving and half after arriving.
    pub pickup_minutes: i64,
    /// Minutes to hand it over.
    pub dropoff_minutes: i64,
    /// Minutes from click to door that the day aims at.
    pub target_minutes: i64,
    /// Minutes from click to door that no delivery should exceed.
    pub maximum_minutes: i64,
    /// A rider's pay for an order.
    pub pay_per_order: f64,
    /// A rider's pay for an hour at least.
    pub guaranteed_pay_per_hour: f64,
}

impl Day {
    /// When the day starts: five minutes before its first order.
    pub fn starts_at(&self) -> SimTime {
        let first = self.orders.iter().map(|order| order.placed_minute).min().unwrap_or(LEAD_MINUTES);
        SimTime::from_minutes(first - LEAD_MINUTES)
    }

    /// When the day ends: 240 minutes after its last order.
    pub fn ends_at(&self) -> SimTime {
        let last = self.orders.iter().map(|order| order.placed_minute).max().unwrap_or(0);
        SimTime::from_minutes(last + TAIL_MINUTES)
    }
}
