//! Instants in microseconds since the Unix epoch, written as RFC 3339 in UTC.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant: microseconds since 1970-01-01T00:00:00Z. Reads and writes RFC 3339 (`2026-01-05T12:00:00.000001Z`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// A text that is no RFC 3339 instant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a time: write it as RFC 3339, for example 2026-01-05T12:00:00Z")]
pub struct BadTimestamp(String);

impl Timestamp {
    /// The Unix epoch.
    pub const EPOCH: Self = Self(0);

    /// From microseconds since the Unix epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since the Unix epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1000)
    }

    /// Reads the date of an HTTP header: `Mon, 05 Jan 2026 12:00:00 GMT`.
    pub fn from_http_date(text: &str) -> Option<Self> {
        let time = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        Some(Self(time.as_microsecond()))
    }

    /// The instant `by` later; the end of time at the limit.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// The instant `by` earlier; the beginning of time at the limit.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long after `earlier` this is; zero when it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

/// Bytes of an instant's text.
const TEXT_BYTES: usize = 32;
/// Seconds from which on an instant has no date any more: a day before the year 10,000, so that its date has four digits
/// for the year at any offset.
const NO_DATE: i64 = 253_402_207_200;

impl Timestamp {
    /// Appends the text that [`fmt::Display`] gives, several times as fast: events have two instants each.
    pub fn write(self, out: &mut Vec<u8>) {
        let (seconds, micros) = (self.0.div_euclid(1_000_000), self.0.rem_euclid(1_000_000));
        if !(0..NO_DATE).contains(&seconds) {
            return out.extend_from_slice(self.to_string().as_bytes());
        }
        let (year, month, day) = civil(seconds / 86_400);
        let of_day = seconds % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000000Z";
        let parts =
            [(0, 4, year), (5, 2, month), (8, 2, day), (11, 2, of_day / 3_600), (14, 2, of_day / 60 % 60)];
        for (at, digits, number) in parts.into_iter().chain([(17, 2, of_day % 60), (20, 6, micros)]) {
            let mut rest = number;
            for digit in text[at..at + digits].iter_mut().rev() {
                *digit = b'0' + (rest % 10) as u8;
                rest /= 10;
            }
        }
        let mut end = text.len() - 1;
        while text[end - 1] == b'0' && end > 20 {
            end -= 1;
        }
        let end = if end == 20 { 19 } else { end };
        out.extend_from_slice(&text[..end]);
        out.push(b'Z');
    }
}

/// Year, month and day of a day counted from 1970-01-01 on (Howard Hinnant's days from civil, the other way).
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_microsecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => write!(f, "{}us", self.0),
        }
    }
}

impl FromStr for Timestamp {
    type Err = BadTimestamp;

    fn from_str(text: &str) -> Result<Self, BadTimestamp> {
        let time: jiff::Timestamp = text.parse().map_err(|_| BadTimestamp(text.to_owned()))?;
        Ok(Self(time.as_microsecond()))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = Vec::with_capacity(TEXT_BYTES);
        self.write(&mut text);
        serializer.serialize_str(&String::from_utf8_lossy(&text))
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl schemars::JsonSchema for Timestamp {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips() {
        for micros in [0, 1, 1_767_614_400_000_000, -1] {
            let time = Timestamp::from_micros(micros);
            assert_eq!(time.to_string().parse(), Ok(time));
        }
        assert_eq!(Timestamp::from_micros(1_767_614_400_000_000).to_string(), "2026-01-05T12:00:00Z");
    }

    #[test]
    fn the_quick_text_is_the_same() {
        let (day, year) = (86_400_000_000_i64, 31_556_952_000_000);
        let days = (0..150_000).map(|nth| nth * day);
        let odd = (0..9_000).map(|nth| nth * year + nth * nth * 777_001 + nth);
        let edges = [-1, i64::MIN, i64::MAX, NO_DATE * 1_000_000 - 1, NO_DATE * 1_000_000, 100, 120_000];
        for micros in days.chain(odd).chain(edges) {
            let (time, mut text) = (Timestamp::from_micros(micros), Vec::new());
            time.write(&mut text);
            assert_eq!(String::from_utf8_lossy(&text), time.to_string());
        }
    }

    #[test]
    fn http_dates_are_read() {
        let expect = "2026-01-05T12:00:00Z".parse().ok();
        assert_eq!(Timestamp::from_http_date("Mon, 05 Jan 2026 12:00:00 GMT"), expect);
        assert_eq!(Timestamp::from_http_date("2026-01-05"), None);
    }

    #[test]
    fn nonsense_is_refused_with_a_way_out() {
        let error = "yesterday".parse::<Timestamp>().unwrap_err();
        assert!(error.to_string().contains("RFC 3339"));
    }
}
