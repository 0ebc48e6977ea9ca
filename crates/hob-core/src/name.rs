//! Names of services, environments, tenants, processes and topics.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::limits::NAME_LENGTH_MAX;

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("use {text:?} as {what}: it takes {rule}")]
pub struct BadName {
    text: String,
    what: &'static str,
    rule: &'static str,
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $what:literal, $rule:literal, $later:expr) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $type(Arc<str>);

        impl $type {
            /// The text of the name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $type {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                let later: fn(char) -> bool = $later;
                let starts_well = text.starts_with(|c: char| c.is_ascii_lowercase());
                let ends_well = text.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
                if starts_well && ends_well && text.len() <= NAME_LENGTH_MAX && text.chars().all(later) {
                    Ok(Self(text.into()))
                } else {
                    Err(BadName { text: text.chars().take(80).collect(), what: $what, rule: $rule })
                }
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::borrow::Borrow<str> for $type {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl schemars::JsonSchema for $type {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }

            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "maxLength": NAME_LENGTH_MAX })
            }
        }
    };
}

name!(
    /// The name of a service, process, environment, tenant, node or team: a DNS label, so that it may stand in a host.
    Name,
    "a name",
    "1 to 63 of a-z, 0-9 and -, starting with a letter, ending with a letter or digit",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'
);

name!(
    /// The name of a topic or a subscription: labels joined by dots, for example `rider.pings` or `orders.emails`.
    TopicName,
    "a topic or subscription name",
    "1 to 63 of a-z, 0-9, -, _ and dots, starting with a letter, ending with a letter or digit",
    |c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.')
);

impl TopicName {
    /// Whether the topic is one of Hob's own (`hob.*`), which only Hob publishes and everyone may read.
    pub fn is_reserved(&self) -> bool {
        self.0.starts_with("hob.")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "orders", "orders-api", "o2"] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "Orders", "2o", "-o", "o-", "o_o", "o.o", &"o".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn topics_may_have_dots() {
        assert!("rider.pings".parse::<TopicName>().is_ok());
        assert!("hob.issues".parse::<TopicName>().unwrap().is_reserved());
        assert!("rider.".parse::<TopicName>().is_err());
    }
}
