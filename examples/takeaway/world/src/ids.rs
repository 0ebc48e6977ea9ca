//! Names of orders, riders and restaurants, in the form of the day files: a letter and a number (`o12`, `c3`, `r7`).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A name that is not a letter and a number.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {text:?} as the name of {noun}: it is the letter `{letter}` and a number, like `{letter}12`")]
pub struct IdError {
    text: String,
    noun: &'static str,
    letter: char,
}

fn parse_number(text: &str, letter: char, noun: &'static str) -> Result<u32, IdError> {
    let digits = text.strip_prefix(letter).unwrap_or("");
    let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let canonical = plain && (digits == "0" || !digits.starts_with('0'));
    match digits.parse() {
        Ok(number) if canonical => Ok(number),
        _ => Err(IdError { text: text.chars().take(40).collect(), noun, letter }),
    }
}

macro_rules! entity_id {
    ($(#[$doc:meta])* $name:ident, $letter:literal, $noun:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(
            /// The number after the letter.
            pub u32,
        );

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", $letter, self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                parse_number(text, $letter, $noun).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

entity_id!(
    /// An order, `o12`.
    OrderId, 'o', "an order"
);
entity_id!(
    /// A rider, `c3` (the day files call riders couriers).
    RiderId, 'c', "a rider"
);
entity_id!(
    /// A restaurant, `r7`.
    RestaurantId, 'r', "a restaurant"
);
entity_id!(
    /// A zone, `z1`; the day files have none, and a city is one.
    ZoneId, 'z', "a zone"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_others_are_refused() {
        assert_eq!("o12".parse::<OrderId>().map(|id| id.to_string()), Ok("o12".to_string()));
        for bad in ["", "o", "12", "c12", "o-1", "o+1", "o01", "o1x", "o99999999999"] {
            assert!(bad.parse::<OrderId>().is_err(), "{bad}");
        }
    }
}
