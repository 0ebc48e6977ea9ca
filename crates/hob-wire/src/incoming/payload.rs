//! The data of an event on its way in. JSON stays the text that was sent, without its blanks: parsing it into a tree
//! would cost more than the rest of a publish. So what a tree could not hold is refused here.

use std::borrow::Cow;

use serde_json::Value;

/// How deep lists and objects may be nested in an event's data, so that every reader can parse it.
const DEPTH_MAX: usize = 64;

/// The data of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// JSON, valid and without blanks.
    Json(Cow<'a, str>),
    /// Any other text.
    Text(Cow<'a, str>),
    /// Bytes.
    Bytes(Cow<'a, [u8]>),
}

impl Payload<'_> {
    /// The bytes that are stored.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Json(text) | Self::Text(text) => text.as_bytes(),
            Self::Bytes(bytes) => bytes,
        }
    }

    /// A JSON value as data; `null` is none.
    pub fn of_value(value: &Value) -> Option<Self> {
        (!value.is_null()).then(|| Self::Json(Cow::Owned(value.to_string())))
    }
}

/// Takes the blanks out of a text that is JSON syntactically, and says why it cannot be kept when a number, an escape
/// or its depth is beyond what readers can hold.
pub(super) fn compact(text: &str) -> Result<Cow<'_, str>, String> {
    let bytes = text.as_bytes();
    let mut out: Option<Vec<u8>> = None;
    // What is kept as it is since the last blank.
    let mut kept = 0;
    let mut at = 0;
    let mut depth = 0_usize;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_text(bytes, at + 1)?,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(format!("is nested more than {DEPTH_MAX} deep"));
                }
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            b'-' | b'0'..=b'9' => at = end_of_number(text, at)?,
            b' ' | b'\n' | b'\r' | b'\t' => {
                let out = out.get_or_insert_with(|| Vec::with_capacity(bytes.len()));
                out.extend_from_slice(&bytes[kept..at]);
                at += 1;
                kept = at;
            }
            _ => at += 1,
        }
    }
    let Some(mut out) = out else { return Ok(Cow::Borrowed(text)) };
    out.extend_from_slice(&bytes[kept..]);
    // Only whole ASCII characters were taken out.
    Ok(Cow::Owned(String::from_utf8(out).map_err(|_| "is no UTF-8".to_owned())?))
}

/// The place after the quote that ends a text.
fn end_of_text(bytes: &[u8], mut at: usize) -> Result<usize, String> {
    let mut after_high = false;
    while let Some(&byte) = bytes.get(at) {
        let mut is_high = false;
        match byte {
            b'\\' if bytes.get(at + 1) == Some(&b'u') => {
                let unit = bytes.get(at + 2..at + 6).and_then(|hex| std::str::from_utf8(hex).ok());
                let unit = unit.and_then(|hex| u16::from_str_radix(hex, 16).ok()).unwrap_or(0);
                let is_low = (0xdc00..0xe000).contains(&unit);
                if is_low != after_high {
                    return Err("has half a surrogate pair in a text".to_owned());
                }
                is_high = (0xd800..0xdc00).contains(&unit);
                at += 6;
            }
            _ if after_high => return Err("has half a surrogate pair in a text".to_owned()),
            b'\\' => at += 2,
            b'"' => return Ok(at + 1),
            _ => at += 1,
        }
        after_high = is_high;
    }
    Ok(at)
}

/// Digits of a number without an exponent that is certainly within the range of a double.
const DIGITS_CERTAIN: usize = 300;

/// The place after a number.
fn end_of_number(text: &str, start: usize) -> Result<usize, String> {
    let rest = &text.as_bytes()[start..];
    let is_part = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
    let length = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
    let number = &text[start..start + length];
    let may_be_large = length > DIGITS_CERTAIN || number.contains(['e', 'E']);
    if may_be_large && !number.parse::<f64>().is_ok_and(f64::is_finite) {
        return Err(format!("has a number beyond the range of a double: {}", super::shorten(number)));
    }
    Ok(start + length)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn blanks_go_and_texts_stay() {
        for (text, expect) in [
            ("{}", Ok("{}")),
            (" { \"a b\" : [ 1 , 2.5e3 , \"\\\" \\\\\" ] }\n", Ok("{\"a b\":[1,2.5e3,\"\\\" \\\\\"]}")),
            ("\"\\ud83d\\ude00 €\"", Ok("\"\\ud83d\\ude00 €\"")),
            ("\"\\ud83d\"", Err("has half a surrogate pair in a text")),
            ("\"\\ude00\"", Err("has half a surrogate pair in a text")),
            ("\"\\ud83dx\"", Err("has half a surrogate pair in a text")),
            ("[1e999]", Err("has a number beyond the range of a double: 1e999")),
        ] {
            assert_eq!(compact(text).as_deref().map_err(String::as_str), expect, "{text}");
        }
        let deep = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(compact(&deep(DEPTH_MAX)).is_ok());
        assert!(compact(&deep(DEPTH_MAX + 1)).is_err());
        let long = format!("1{}", "0".repeat(400));
        assert!(compact(&long).is_err());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            ".{0,20}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 30, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                proptest::collection::vec((".{0,5}", inner), 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_kept_reads_as_what_was_sent(value in json()) {
            let pretty = serde_json::to_string_pretty(&value).unwrap();
            prop_assert_eq!(compact(&pretty).unwrap(), value.to_string());
        }

        #[test]
        fn whatever_passes_can_be_parsed(text in "[\\[\\]{}:, \"\\\\uDd8cC0e9+.-]{0,30}") {
            let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
            if let Ok(kept) = compact(&text) && is_json {
                prop_assert!(serde_json::from_str::<Value>(&kept).is_ok(), "{}", kept);
            }
        }
    }
}
