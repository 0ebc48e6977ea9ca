//! What people call riders and restaurants: the days have only numbers, and operators talk about names.

use crate::ids::{RestaurantId, RiderId};

const FIRST_NAMES: [&str; 24] = [
    "Ada", "Amir", "Bea", "Carlo", "Dina", "Emil", "Fatou", "Gus", "Hana", "Idris", "Jana", "Kofi", "Lena",
    "Marek", "Nia", "Omar", "Petra", "Quinn", "Rosa", "Sami", "Tess", "Umar", "Vera", "Yusuf",
];

const SURNAME_INITIALS: &str = "BCDFGHKLMNPRSTVWZ";

const DISH_WORDS: [&str; 17] = [
    "Saffron", "Basil", "Juniper", "Pepper", "Clove", "Fennel", "Ginger", "Sumac", "Thyme", "Sesame",
    "Mustard", "Olive", "Maple", "Cocoa", "Lemon", "Chili", "Anise",
];

const PLACE_WORDS: [&str; 13] = [
    "Kitchen", "House", "Table", "Corner", "Grill", "Garden", "Counter", "Oven", "Pantry", "Bistro",
    "Noodles", "Pizza", "Canteen",
];

/// A rider's name, such as `Ada B.`.
pub(crate) fn rider_name(id: RiderId) -> String {
    let number = id.0 as usize;
    let first = FIRST_NAMES[number % FIRST_NAMES.len()];
    let initial = SURNAME_INITIALS.as_bytes()[number % SURNAME_INITIALS.len()] as char;
    format!("{first} {initial}.")
}

/// A restaurant's name, such as `Basil House`. The lists' lengths have no common divisor, so that a day's names differ.
pub(crate) fn restaurant_name(id: RestaurantId) -> String {
    let number = id.0 as usize;
    let (dish, place) = (DISH_WORDS[number % DISH_WORDS.len()], PLACE_WORDS[number % PLACE_WORDS.len()]);
    format!("{dish} {place}")
}
