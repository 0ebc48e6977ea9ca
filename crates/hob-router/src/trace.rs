//! Ids that follow a request: `x-request-id`, and the W3C trace context (w3.org/TR/trace-context), made here or carried on.

use hob_core::{Id, Timestamp};
use http::HeaderMap;
use http::header::{HeaderName, HeaderValue};

use crate::headers::Present;
use crate::random;

/// The header of the request's id.
pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The header of the trace's and the caller's id.
pub(crate) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Letters of a request id that is carried on.
const REQUEST_ID_LENGTH_MAX: usize = 128;
/// Bytes of a traceparent of version 0.
const TRACEPARENT_LENGTH: usize = 55;

/// The request's id: the client's when it is one line of visible ASCII, else a new one.
pub(crate) fn request_id(
    headers: &HeaderMap,
    present: Present,
    now: impl FnOnce() -> Timestamp,
) -> HeaderValue {
    let given = if present.has(Present::REQUEST_ID) { headers.get(&REQUEST_ID) } else { None };
    let given = given.filter(|id| is_sane(id.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        let mut random = [0; 10];
        random[..8].copy_from_slice(&random::bits().to_be_bytes());
        random[8..].copy_from_slice(&random::bits().to_be_bytes()[..2]);
        HeaderValue::from_str(&Id::from_parts(now(), random)).expect("an id is ASCII")
    })
}

fn is_sane(id: &[u8]) -> bool {
    (1..=REQUEST_ID_LENGTH_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic)
}

/// Writes the trace context as it goes to the instance: the trace carried on when there is a proper one, else a new
/// one, and in both cases a new parent, which stands for the router.
pub(crate) fn renew(headers: &mut HeaderMap, present: Present) -> HeaderValue {
    let mut text = [b'-'; TRACEPARENT_LENGTH];
    text[..2].copy_from_slice(b"00");
    let carried = if present.has(Present::TRACEPARENT) { only(headers).and_then(parse) } else { None };
    if let Some((trace, flags)) = carried {
        text[3..35].copy_from_slice(trace);
        text[53..].copy_from_slice(flags);
    } else {
        if present.has(Present::TRACESTATE) {
            headers.remove(&TRACESTATE);
        }
        write_hex(&mut text[3..19], random::bits());
        // Never all zeros, which would make the id invalid.
        write_hex(&mut text[19..35], random::bits() | 1);
        text[53..].copy_from_slice(b"01");
    }
    write_hex(&mut text[36..52], random::bits() | 1);
    let value = HeaderValue::from_bytes(&text).expect("hexadecimal digits and dashes");
    headers.insert(TRACEPARENT, value.clone());
    value
}

/// The one traceparent; of several none is good.
fn only(headers: &HeaderMap) -> Option<&[u8]> {
    let mut given = headers.get_all(&TRACEPARENT).iter();
    let one = given.next()?;
    given.next().is_none().then_some(one.as_bytes())
}

/// The trace id and the flags of a proper traceparent; of a later version, as much as version 0 knows.
fn parse(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let version = text.get(..2)?;
    let is_length_right = match version {
        b"ff" => false,
        b"00" => text.len() == TRACEPARENT_LENGTH,
        _ => text.len() == TRACEPARENT_LENGTH || text.get(TRACEPARENT_LENGTH) == Some(&b'-'),
    };
    if !is_length_right || [2, 35, 52].iter().any(|at| text[*at] != b'-') {
        return None;
    }
    let (trace, parent, flags) = (&text[3..35], &text[36..52], &text[53..55]);
    let is_hex = |part: &[u8]| part.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_set = |part: &[u8]| part.iter().any(|byte| *byte != b'0');
    let is_proper =
        [version, trace, parent, flags].iter().all(|part| is_hex(part)) && is_set(trace) && is_set(parent);
    is_proper.then_some((trace, flags))
}

/// Writes 16 digits.
fn write_hex(place: &mut [u8], bits: u64) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in place.chunks_exact_mut(2).zip(bits.to_be_bytes()) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn renewed(given: &[&str]) -> (String, HeaderMap) {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(TRACEPARENT, value.parse().unwrap());
        }
        headers.insert(TRACESTATE, "vendor=1".parse().unwrap());
        let present = Present::of(&headers);
        let value = renew(&mut headers, present);
        (value.to_str().unwrap().to_owned(), headers)
    }

    #[test]
    fn a_proper_trace_is_carried_on_with_a_new_parent() {
        for given in
            [format!("00-{TRACE}-00f067aa0ba902b7-00"), format!("01-{TRACE}-00f067aa0ba902b7-00-more")]
        {
            let (value, headers) = renewed(&[&given]);
            assert!(value.starts_with(&format!("00-{TRACE}-")) && value.ends_with("-00"), "{value}");
            assert!(!value.contains("00f067aa0ba902b7"));
            assert!(headers.contains_key(TRACESTATE));
            assert!(parse(value.as_bytes()).is_some());
        }
    }

    #[test]
    fn anything_else_begins_a_new_trace() {
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        let zeros = "0".repeat(32);
        for given in [
            vec![],
            vec!["nonsense"],
            vec![&format!("ff-{TRACE}-00f067aa0ba902b7-01")],
            vec![&format!("00-{zeros}-00f067aa0ba902b7-01")],
            vec![&format!("00-{TRACE}-0000000000000000-01")],
            vec![&format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase())],
            vec![&format!("{good}-more")],
            vec![&good[..54]],
            vec![&good, &good],
        ] {
            let (value, headers) = renewed(&given);
            assert!(!value.contains(TRACE), "{given:?}");
            assert!(parse(value.as_bytes()).is_some(), "{value}");
            assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
            assert!(!headers.contains_key(TRACESTATE));
        }
    }

    #[test]
    fn request_ids_are_carried_on_when_sane() {
        let check = |given: &str, is_kept: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(REQUEST_ID, HeaderValue::from_str(given).unwrap());
            let id = request_id(&headers, Present::of(&headers), || Timestamp::EPOCH);
            assert_eq!(id == given, is_kept, "{given:?}");
            assert!(is_sane(id.as_bytes()));
        };
        check("a-1", true);
        check(&"x".repeat(128), true);
        check(&"x".repeat(129), false);
        check("two words", false);
        check("", false);
    }
}
