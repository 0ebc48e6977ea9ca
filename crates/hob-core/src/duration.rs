//! Durations as people write them in files: `250ms`, `5s`, `2m`, `1h30m`, `7d`.

use std::time::Duration;

/// A text that is no duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("read {0:?} as a duration: write a number and a unit (ms, s, m, h, d), for example 250ms or 1h30m")]
pub struct BadDuration(String);

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration: one or more `<whole number><unit>` with units `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Result<Duration, BadDuration> {
    let bad = || BadDuration(text.to_owned());
    let mut rest = text.trim();
    let mut millis: u64 = 0;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (_, size) = UNITS.iter().find(|(unit, _)| *unit == &rest[..letters]).ok_or_else(bad)?;
        millis = number.checked_mul(*size).and_then(|part| millis.checked_add(part)).ok_or_else(bad)?;
        rest = &rest[letters..];
    }
    Ok(Duration::from_millis(millis))
}

/// Writes a duration the way [`parse_duration`] reads it, with at most two units: `1h30m`, `250ms`.
pub fn format_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let mut text = String::new();
    let mut parts = 0;
    for (unit, size) in UNITS.iter().rev() {
        if millis >= *size && parts < 2 && !(parts == 1 && *unit == "ms") {
            text.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
            parts += 1;
        } else if parts == 1 {
            parts += 1;
        }
    }
    if text.is_empty() { "0ms".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_people_write() {
        let check =
            |text: &str, millis: u64| assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)));
        check("250ms", 250);
        check("5s", 5000);
        check("1h30m", 5_400_000);
        check("7d", 604_800_000);
        for bad in ["", "5", "s", "5 s", "-1s", "1w", "99999999999999999999s"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn writes_two_units_at_most() {
        let check =
            |millis: u64, text: &str| assert_eq!(format_duration(Duration::from_millis(millis)), text);
        check(0, "0ms");
        check(250, "250ms");
        check(61_000, "1m1s");
        check(5_400_000, "1h30m");
        check(3_600_500, "1h");
    }
}
