//! The takeaway city as a pure state machine: customers, kitchens, riders and what goes wrong with them.
//!
//! The format of a day is that of the published Meal Delivery Routing Problem instances (Grubhub and Georgia Tech).
//! There is no clock, no ambient randomness and no network here: the same day, seed and inputs give the same outputs.
//! Start with [`Output`]: everything that happens is a change to an entity, a ping, or the truth about a fault.

mod chance;
mod day;
mod entity;
mod faults;
mod ids;
mod input;
mod names;
mod place;
mod time;

pub use day::{Day, DayError, DayFiles, DayOrder, DayRestaurant, DayRider, GenerateOptions, Parameters};
pub use entity::{
    Applied, CarriedOrder, Entity, Illegal, NewOrder, Order, OrderChange, OrderState, Restaurant,
    RestaurantChange, Rider, RiderChange, RiderState, Ticket, acceptable_minutes,
};
pub use faults::{Fault, FaultKind, Subject};
pub use ids::{IdError, OrderId, RestaurantId, RiderId};
pub use input::{Input, ORDERS_PER_JOB_MAX, Output, Ping, Refusal};
pub use place::Point;
pub use time::{SimTime, TimeError};
