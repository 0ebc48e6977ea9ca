//! Makes up a plausible day when there is none on disk: lunch and dinner peaks, restaurants around a centre, riders on
//! shifts that follow the demand.

use super::{Day, DayOrder, DayRestaurant, DayRider, Parameters};
use crate::chance::Chance;
use crate::ids::{OrderId, RestaurantId, RiderId};
use crate::place::Point;

/// Minute of the day at which the first orders come, 09:00.
const OPENS_MINUTE: f64 = 540.0;
/// Minute of the day at which the last orders come, 23:00.
const CLOSES_MINUTE: f64 = 1380.0;
/// Where the city's centre is, in metres east and north.
const CENTRE_METRES: f64 = 8000.0;
/// How far restaurants lie from the centre, and customers from their restaurant, as standard deviations in metres.
const RESTAURANT_SPREAD_METRES: f64 = 1700.0;
const CUSTOMER_SPREAD_METRES: f64 = 1500.0;

/// How large a day to make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GenerateOptions {
    /// How many orders, 1 at least.
    pub orders: u32,
    /// How many restaurants, 1 at least.
    pub restaurants: u32,
    /// How many riders.
    pub riders: u32,
}

impl Default for GenerateOptions {
    fn default() -> Self {
        Self { orders: 600, restaurants: 70, riders: 66 }
    }
}

fn near(chance: &mut Chance, centre: (f64, f64), spread: f64) -> Point {
    let mut coordinate = |middle: f64| (middle + chance.gaussian() * spread).clamp(0.0, 2.0 * CENTRE_METRES);
    Point { x: coordinate(centre.0).round() as i64, y: coordinate(centre.1).round() as i64 }
}

/// When an order comes: a third at lunch, almost half at dinner, the rest at any time.
fn placed_minute(chance: &mut Chance) -> i64 {
    let minute = match chance.unit() {
        part if part < 0.33 => 755.0 + chance.gaussian() * 60.0,
        part if part < 0.80 => 1125.0 + chance.gaussian() * 85.0,
        _ => chance.uniform(OPENS_MINUTE, CLOSES_MINUTE),
    };
    minute.clamp(OPENS_MINUTE, CLOSES_MINUTE).round() as i64
}

/// A shift: a third over lunch, half over dinner, the rest through the day, so that some riders are always there.
fn shift(chance: &mut Chance, number: u32) -> (i64, i64) {
    let (from, minutes) = match number % 10 {
        0 => (OPENS_MINUTE - 30.0, chance.uniform(300.0, 420.0)),
        1 => (chance.uniform(1140.0, 1200.0), chance.uniform(280.0, 330.0)),
        2..=4 => (chance.uniform(640.0, 700.0), chance.uniform(240.0, 330.0)),
        _ => (chance.uniform(960.0, 1040.0), chance.uniform(270.0, 360.0)),
    };
    // Shifts are planned in quarters of an hour.
    let quarter = |minute: f64| (minute / 15.0).round() as i64 * 15;
    (quarter(from), quarter(from + minutes))
}

impl Day {
    /// A made-up day; the same seed and options give the same day.
    pub fn generate(seed: u64, options: GenerateOptions) -> Self {
        let restaurants: Vec<DayRestaurant> = (1..=options.restaurants.max(1))
            .map(|number| {
                let mut chance = Chance::keyed(seed, "day_restaurant", number);
                let at = near(&mut chance, (CENTRE_METRES, CENTRE_METRES), RESTAURANT_SPREAD_METRES);
                DayRestaurant { id: RestaurantId(number), at }
            })
            .collect();
        let orders = (1..=options.orders.max(1)).map(|number| {
            let mut chance = Chance::keyed(seed, "day_order", number);
            // Squaring makes the first restaurants popular and the last ones rarely chosen.
            let pick = (chance.unit().powi(2) * restaurants.len() as f64) as usize;
            let restaurant = restaurants[pick.min(restaurants.len() - 1)];
            let centre = (restaurant.at.x as f64, restaurant.at.y as f64);
            let placed = placed_minute(&mut chance);
            let preparation = (15.0 * (chance.gaussian() * 0.55).exp()).clamp(4.0, 60.0).round() as i64;
            DayOrder {
                id: OrderId(number),
                at: near(&mut chance, centre, CUSTOMER_SPREAD_METRES),
                placed_minute: placed,
                restaurant: restaurant.id,
                ready_minute: placed + preparation,
            }
        });
        let orders = orders.collect();
        let riders = (1..=options.riders).map(|number| {
            let mut chance = Chance::keyed(seed, "day_rider", number);
            let at = near(&mut chance, (CENTRE_METRES, CENTRE_METRES), RESTAURANT_SPREAD_METRES);
            let (on_minute, off_minute) = shift(&mut chance, number);
            DayRider { id: RiderId(number), at, on_minute, off_minute }
        });
        Self {
            orders,
            riders: riders.collect(),
            restaurants,
            parameters: Parameters {
                metres_per_minute: 320.0,
                pickup_minutes: 4,
                dropoff_minutes: 4,
                target_minutes: 40,
                maximum_minutes: 90,
                pay_per_order: 10.0,
                guaranteed_pay_per_hour: 15.0,
            },
        }
    }
}
