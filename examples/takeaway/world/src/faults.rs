//! What goes wrong: which orders and restaurants a fault befalls, drawn by seed, kind and name so that every run of a day
//! sees the same faults whatever else happens, and the record of the truth against which detection is scored.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::chance::Chance;
use crate::day::Day;
use crate::entity::{Entity, Order, Restaurant, Rider};
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::time::SimTime;

/// Share of orders whose rider is held up.
const STALL_RATE: f64 = 0.015;
/// Share of orders during which the rider's positions freeze or are missing, harmlessly.
const GAP_RATE: f64 = 0.05;
/// Share of restaurants with a slow spell.
const SLOW_RATE: f64 = 0.08;
/// Share of restaurants whose tablet goes offline.
const TABLET_RATE: f64 = 0.06;
/// Share of orders that dispatch is kept from assigning.
const BLOCK_RATE: f64 = 0.010;
/// Share of orders whose pickup is never reported, harmlessly.
const LOST_PICKUP_RATE: f64 = 0.01;
/// Standard deviation of a kitchen's time around what it expects, in minutes.
const KITCHEN_NOISE_MINUTES: f64 = 3.0;
/// Minutes before one of a restaurant's own orders at which its bad spell begins.
const SPELL_LEAD_MINUTES: i64 = 5;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// A rider with a job stands still for 15 to 45 minutes.
    RiderStalled,
    /// A kitchen takes 20 to 45 minutes longer for orders placed during one to two hours.
    RestaurantSlow,
    /// A restaurant does not see its orders for 25 to 60 minutes.
    TabletOffline,
    /// An order cannot be assigned until 20 to 40 minutes after it was placed.
    DispatchBlocked,
    /// A rider's positions freeze or are missing for 2 to 9 minutes; nothing is wrong with the order.
    GpsGap,
    /// The pickup of an order is never reported; nothing is wrong with the order.
    LostPickup,
}

/// What a fault befalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(tag = "entity", content = "id", rename_all = "snake_case")]
pub enum Subject {
    /// An order.
    Order(OrderId),
    /// A rider.
    Rider(RiderId),
    /// A restaurant.
    Restaurant(RestaurantId),
}

impl Subject {
    /// The absolute address of the entity under an origin such as `http://localhost:8080`.
    pub fn href(self, origin: &str) -> String {
        match self {
            Self::Order(id) => Order::href(origin, id),
            Self::Rider(id) => Rider::href(origin, id),
            Self::Restaurant(id) => Restaurant::href(origin, id),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => id.fmt(f),
            Self::Rider(id) => id.fmt(f),
            Self::Restaurant(id) => id.fmt(f),
        }
    }
}

/// An injected fault as it happened: the truth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// What went wrong.
    pub kind: FaultKind,
    /// With what.
    pub subject: Subject,
    /// When it began to matter.
    pub started: SimTime,
    /// When it was over, by itself or mended.
    pub ended: Option<SimTime>,
}

/// On which leg of a job a rider is held up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StallLeg {
    ToRestaurant,
    ToCustomer,
}

/// Missing or frozen positions after a pickup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    pub(crate) seconds: i64,
    pub(crate) frozen: bool,
}

/// What was drawn for an order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OrderLuck {
    /// Seconds that the kitchen takes more (or less) than it expects.
    pub(crate) kitchen_noise_seconds: i64,
    pub(crate) lost_pickup: bool,
    /// Seconds after placement until which it cannot be assigned.
    pub(crate) block_seconds: Option<i64>,
    pub(crate) stall: Option<(StallLeg, i64)>,
    pub(crate) gap: Option<Gap>,
}

/// A restaurant's bad spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spell {
    pub(crate) from: SimTime,
    pub(crate) until: SimTime,
}

impl Spell {
    pub(crate) fn contains(&self, at: SimTime) -> bool {
        self.from <= at && at < self.until
    }
}

/// What was drawn for a restaurant.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RestaurantLuck {
    pub(crate) slow: Option<Spell>,
    /// Seconds that an order placed in the slow spell takes longer.
    pub(crate) slow_seconds: i64,
    pub(crate) offline: Option<Spell>,
}

/// Draws an order's luck. Everything is drawn whatever the scale, so that a larger scale only adds faults.
pub(crate) fn order_luck(seed: u64, scale: f64, id: OrderId) -> OrderLuck {
    let mut noise = Chance::keyed(seed, "kitchen_noise", id);
    let mut lost = Chance::keyed(seed, "lost_pickup", id);
    let mut block = Chance::keyed(seed, "dispatch_blocked", id);
    let mut stall = Chance::keyed(seed, "rider_stalled", id);
    let mut gap = Chance::keyed(seed, "gps_gap", id);
    OrderLuck {
        kitchen_noise_seconds: (noise.gaussian() * KITCHEN_NOISE_MINUTES * 60.0).round() as i64,
        lost_pickup: lost.happens(LOST_PICKUP_RATE * scale),
        block_seconds: block.happens(BLOCK_RATE * scale).then(|| block.seconds_in_minutes(20.0, 40.0)),
        stall: stall.happens(STALL_RATE * scale).then(|| {
            let leg = if stall.happens(0.5) { StallLeg::ToRestaurant } else { StallLeg::ToCustomer };
            (leg, stall.seconds_in_minutes(15.0, 45.0))
        }),
        gap: gap
            .happens(GAP_RATE * scale)
            .then(|| Gap { seconds: gap.seconds_in_minutes(2.0, 9.0), frozen: gap.happens(0.5) }),
    }
}

/// Draws a restaurant's luck. A spell begins just before one of the restaurant's own orders, so that it matters.
pub(crate) fn restaurant_luck(seed: u64, scale: f64, day: &Day, id: RestaurantId) -> RestaurantLuck {
    let placed: Vec<i64> =
        day.orders.iter().filter(|order| order.restaurant == id).map(|order| order.placed_minute).collect();
    let spell = |chance: &mut Chance, rate: f64, shortest: f64, longest: f64| {
        if !chance.happens(rate * scale) || placed.is_empty() {
            return None;
        }
        let from = SimTime::from_minutes(placed[chance.index(placed.len())] - SPELL_LEAD_MINUTES);
        Some(Spell { from, until: from.plus_seconds(chance.seconds_in_minutes(shortest, longest)) })
    };
    let mut slow = Chance::keyed(seed, "restaurant_slow", id);
    let mut offline = Chance::keyed(seed, "tablet_offline", id);
    let slow_spell = spell(&mut slow, SLOW_RATE, 60.0, 120.0);
    let slow_seconds = if slow_spell.is_some() { slow.seconds_in_minutes(20.0, 45.0) } else { 0 };
    RestaurantLuck { slow: slow_spell, slow_seconds, offline: spell(&mut offline, TABLET_RATE, 25.0, 60.0) }
}
