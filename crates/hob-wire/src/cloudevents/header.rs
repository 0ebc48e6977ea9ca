//! Header values of CloudEvents' binary mode (HTTP binding 1.0.2, 3.1.3.2): what is not printable ASCII, and blanks,
//! quotes and percent signs, are percent-encoded UTF-8.

use std::borrow::Cow;

const HEX: &[u8; 16] = b"0123456789ABCDEF";

/// Writes an attribute as a header value.
pub(super) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if matches!(byte, b'!'..=b'~') && byte != b'"' && byte != b'%' {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
    out
}

/// Reads a header value as an attribute; `None` when it is no UTF-8. A percent sign that begins no code is taken as
/// it stands, and so are characters that need not have been encoded.
pub fn decode(value: &[u8]) -> Option<Cow<'_, str>> {
    let value = value.trim_ascii();
    let is_quoted = value.len() >= 2 && value.starts_with(b"\"") && value.ends_with(b"\"");
    if !is_quoted && !value.contains(&b'%') {
        return std::str::from_utf8(value).ok().map(Cow::Borrowed);
    }
    let unquoted = if is_quoted { unquote(&value[1..value.len() - 1]) } else { value.to_vec() };
    let mut out = Vec::with_capacity(unquoted.len());
    let mut rest = unquoted.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, after) {
            (b'%', [high, low, beyond @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex(*high) << 4 | hex(*low));
                rest = beyond;
            }
            _ => out.push(byte),
        }
    }
    String::from_utf8(out).ok().map(Cow::Owned)
}

/// Takes the backslashes out of what stood in quotes.
fn unquote(inner: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\\' => out.extend(bytes.next()),
            _ => out.push(byte),
        }
    }
    out
}

fn hex(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_written_and_read_as_the_binding_says() {
        for (text, header) in [
            ("Euro € 😀", "Euro%20%E2%82%AC%20%F0%9F%98%80"),
            ("a \"b\" 100%", "a%20%22b%22%20100%25"),
            ("/services/orders?x=1&y=#2", "/services/orders?x=1&y=#2"),
            ("", ""),
        ] {
            assert_eq!(encode(text), header);
            assert_eq!(decode(header.as_bytes()).unwrap(), text);
        }
        for (header, text) in [
            (&b"\"a \\\"b\\\"\""[..], "a \"b\""),
            (b"%41bc", "Abc"),
            (b"%e2%82%ac", "€"),
            (b"100%", "100%"),
            (b"5%zz", "5%zz"),
            (b"  x  ", "x"),
        ] {
            assert_eq!(decode(header).unwrap(), text);
        }
        assert_eq!(decode(b"%ff"), None);
        assert_eq!(decode(&[0xff]), None);
    }

    proptest! {
        #[test]
        fn every_text_comes_back(text in "\\PC{0,60}") {
            let header = encode(&text);
            prop_assert!(header.bytes().all(|byte| matches!(byte, b'!'..=b'~')));
            prop_assert_eq!(decode(header.as_bytes()).unwrap(), text);
        }

        #[test]
        fn any_bytes_decode_or_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = decode(&bytes);
        }
    }
}
