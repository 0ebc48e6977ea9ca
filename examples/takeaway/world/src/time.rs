//! Simulated time: whole seconds of the day, written as RFC 3339 from a fixed epoch so that rules read it like any other time.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Minute 0 of every simulated day, 2026-01-05T00:00:00Z, in Unix seconds.
const EPOCH_UNIX_SECONDS: i64 = 1_767_571_200;

/// Furthest that simulated time goes from its epoch, in seconds (about 30 years); keeps arithmetic far from overflow.
const SECONDS_MAX: i64 = 1_000_000_000;

/// A moment of the simulated day, in whole seconds since its minute 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SimTime(i64);

/// A text that is no simulated time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a simulated time: write RFC 3339, like 2026-01-05T12:30:00Z")]
pub struct TimeError(String);

impl SimTime {
    /// The moment so many seconds after minute 0, held within about 30 years of it.
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(-SECONDS_MAX, SECONDS_MAX))
    }

    /// The moment so many minutes after minute 0.
    pub fn from_minutes(minutes: i64) -> Self {
        Self::from_seconds(minutes.saturating_mul(60))
    }

    /// Seconds since minute 0 of the day.
    pub fn seconds(self) -> i64 {
        self.0
    }

    /// Seconds since the Unix epoch.
    pub fn unix_seconds(self) -> i64 {
        EPOCH_UNIX_SECONDS + self.0
    }

    /// This moment and so many seconds (they may be negative).
    #[must_use]
    pub fn plus_seconds(self, seconds: i64) -> Self {
        Self::from_seconds(self.0.saturating_add(seconds))
    }

    /// This moment and so many minutes (they may be negative).
    #[must_use]
    pub fn plus_minutes(self, minutes: i64) -> Self {
        self.plus_seconds(minutes.saturating_mul(60))
    }

    /// Seconds from `earlier` to this moment; negative when it is later.
    pub fn seconds_since(self, earlier: Self) -> i64 {
        self.0 - earlier.0
    }

    /// Whether a whole minute begins at this moment, which is when dispatch decides.
    pub fn is_minute(self) -> bool {
        self.0 % 60 == 0
    }
}

impl fmt::Display for SimTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Timestamp::from_second(self.unix_seconds()) {
            Ok(timestamp) => timestamp.fmt(f),
            Err(_) => write!(f, "{} s", self.0),
        }
    }
}

impl FromStr for SimTime {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let refused = || TimeError(text.chars().take(40).collect());
        let timestamp: Timestamp = text.parse().map_err(|_| refused())?;
        let seconds = timestamp.as_second() - EPOCH_UNIX_SECONDS;
        if seconds.abs() > SECONDS_MAX { Err(refused()) } else { Ok(Self(seconds)) }
    }
}

impl Serialize for SimTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SimTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rfc_3339_from_the_epoch() {
        assert_eq!(SimTime::from_minutes(0).to_string(), "2026-01-05T00:00:00Z");
        assert_eq!(SimTime::from_minutes(24 * 60 + 1).plus_seconds(10).to_string(), "2026-01-06T00:01:10Z");
        assert_eq!("2026-01-05T12:30:00Z".parse(), Ok(SimTime::from_minutes(750)));
        assert!("noon".parse::<SimTime>().is_err());
        assert!("9999-01-01T00:00:00Z".parse::<SimTime>().is_err());
    }
}
