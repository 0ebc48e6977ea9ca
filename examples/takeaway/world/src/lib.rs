//! The takeaway city as a pure state machine: customers, kitchens, riders and what goes wrong with them.
//!
//! The format of a day is that of the published Meal Delivery Routing Problem instances (Grubhub and Georgia Tech).
//! There is no clock, no ambient randomness and no network here: the same day, seed and inputs give the same outputs.
//! Start with [`Output`]: everything that happens is a change to an entity, a ping, or the truth about a fault.

mod apply;
mod chance;
mod closed_loop;
mod day;
mod dispatch;
mod entity;
mod faults;
mod figures;
mod ids;
mod input;
mod names;
mod place;
mod step;
mod supply;
mod time;
mod world;

pub use closed_loop::{ClosedLoop, Entities};
pub use day::{Day, DayError, DayFiles, DayOrder, DayRestaurant, DayRider, GenerateOptions, Parameters};
pub use dispatch::{Assignment, DispatchView, IdleRider, Round, WaitingOrder, decide};
pub use entity::{
    Applied, CarriedOrder, Entity, Illegal, NewOrder, Order, OrderChange, OrderState, Restaurant,
    RestaurantChange, Rider, RiderChange, RiderState, Ticket, WaitingFor, Zone, ZoneChange,
    acceptable_minutes,
};
pub use faults::{Fault, FaultKind, Subject};
pub use figures::Figures;
pub use ids::{IdError, OrderId, RestaurantId, RiderId, ZoneId};
pub use input::{Input, ORDERS_PER_JOB_MAX, Output, Ping, Refusal};
pub use place::Point;
pub use time::{SimTime, TimeError};
pub use world::{STEP_SECONDS, World};
