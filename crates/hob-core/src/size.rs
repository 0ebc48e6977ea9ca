//! Sizes as people write them in files: `512`, `4KiB`, `10GiB`, `1MB`.

/// A text that is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "read {0:?} as a size: write a whole number of bytes, or one with KiB, MiB, GiB or TiB, for example 10GiB"
)]
pub struct BadSize(String);

const UNITS: [(&str, u64); 10] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("TB", 1_000_000_000_000),
    ("GB", 1_000_000_000),
    ("MB", 1_000_000),
    ("kB", 1_000),
    ("B", 1),
    ("", 1),
];

/// Reads a size in bytes.
pub fn parse_size(text: &str) -> Result<u64, BadSize> {
    let bad = || BadSize(text.to_owned());
    let text_trimmed = text.trim();
    let digits = text_trimmed.find(|c: char| !c.is_ascii_digit()).unwrap_or(text_trimmed.len());
    let number: u64 = text_trimmed[..digits].parse().map_err(|_| bad())?;
    let unit = text_trimmed[digits..].trim();
    let (_, size) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(bad)?;
    number.checked_mul(*size).ok_or_else(bad)
}

/// Writes a size the way [`parse_size`] reads it: in the largest binary unit that leaves a whole number.
pub fn format_size(bytes: u64) -> String {
    let unit = UNITS[..4].iter().find(|(_, size)| bytes >= *size && bytes.is_multiple_of(*size));
    unit.map_or_else(|| format!("{bytes}B"), |(name, size)| format!("{}{name}", bytes / size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_people_write() {
        for (text, bytes) in
            [("512", 512), ("4KiB", 4096), ("10GiB", 10 << 30), ("1 MB", 1_000_000), ("0", 0), ("7B", 7)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "KiB", "1.5GiB", "-1", "1KB", "9999999999TiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for (bytes, text) in [(0, "0B"), (1_000, "1000B"), (4096, "4KiB"), (10 << 30, "10GiB")] {
            assert_eq!(format_size(bytes), text);
        }
    }
}
