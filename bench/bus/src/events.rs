//! What is published: notices of a fixed size about a fixed number of entities, each stamped with when it was sent, so
//! that whoever sees its bytes, in whatever frame, knows how long it took.

use std::time::Instant;

/// Stands before the stamp.
pub const MARK: &[u8] = b"T~";
/// Digits of the stamp: nanoseconds since the run began.
pub const STAMP_DIGITS: usize = 16;
/// Entities that events are about, unless a cell says otherwise.
pub const ENTITIES: u64 = 10_000;
/// Digits of an entity's number.
const ENTITY_DIGITS: usize = 8;
/// Text that payloads are cut from: what repeats in every event would flatter whoever compresses.
const POOL_BYTES: usize = 64 << 10;

/// Makes events.
#[derive(Clone)]
pub struct Events {
    template: Vec<u8>,
    entity_at: usize,
    stamp_at: usize,
    data: Option<(usize, usize)>,
    pool: Vec<u8>,
    entities: u64,
    made: u64,
    /// The newest; no two are the same.
    pub stamp: u64,
    base: Instant,
}

impl Events {
    /// Events of `bytes` bytes. `base` is the instant that stamps count from.
    pub fn new(bytes: usize, entities: u64, base: Instant) -> Self {
        let zeros = |count: usize| "0".repeat(count);
        let head = r#"{"type":"update","href":"http://t"#;
        let middle = r#"/o/"#;
        let tag = r#"","entitytag":"T~"#;
        let fixed = head.len() + middle.len() + ENTITY_DIGITS + tag.len() + STAMP_DIGITS + 2;
        let wants_data = bytes > 200;
        let pad = if wants_data { 8 } else { bytes.saturating_sub(fixed) };
        let mut text = format!("{head}{}{middle}", "x".repeat(pad));
        let entity_at = text.len();
        text.push_str(&zeros(ENTITY_DIGITS));
        text.push_str(tag);
        let stamp_at = text.len();
        text.push_str(&zeros(STAMP_DIGITS));
        let mut data = None;
        if wants_data {
            text.push_str(r#"","data":""#);
            let length = bytes - text.len() - 2;
            data = Some((text.len(), length));
            text.push_str(&zeros(length));
        }
        text.push_str("\"}");
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let pool =
            (0..POOL_BYTES).map(|_| b"0123456789abcdefghijklmnopqrstuv"[(next(&mut state) % 32) as usize]);
        let pool = pool.collect();
        Self {
            template: text.into_bytes(),
            entity_at,
            stamp_at,
            data,
            pool,
            entities,
            made: 0,
            stamp: 0,
            base,
        }
    }

    /// Nanoseconds since the run began.
    pub fn now(&self) -> u64 {
        self.base.elapsed().as_nanos() as u64
    }

    /// Appends one.
    pub fn write(&mut self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&self.template);
        // Prime to any round number of entities: neighbours differ, and after that many events each had its turn.
        let entity = self.made.wrapping_mul(7_919) % self.entities;
        write_digits(&mut out[at + self.entity_at..][..ENTITY_DIGITS], entity);
        self.stamp = self.now().max(self.stamp + 1);
        write_digits(&mut out[at + self.stamp_at..][..STAMP_DIGITS], self.stamp);
        if let Some((start, length)) = self.data {
            let from = (self.made as usize * 257) % (POOL_BYTES - length);
            out[at + start..][..length].copy_from_slice(&self.pool[from..from + length]);
        }
        self.made += 1;
    }
}

/// A step of a small generator of numbers.
pub fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn write_digits(out: &mut [u8], mut number: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Finds stamps in a stream of bytes that comes in pieces.
pub struct Stamps {
    finder: memchr::memmem::Finder<'static>,
    kept: Vec<u8>,
}

impl Default for Stamps {
    fn default() -> Self {
        Self { finder: memchr::memmem::Finder::new(MARK), kept: Vec::new() }
    }
}

impl Stamps {
    /// Calls `seen` with each stamp of a piece, and of what it completes.
    pub fn feed(&mut self, piece: &[u8], mut seen: impl FnMut(u64)) {
        const WHOLE: usize = MARK.len() + STAMP_DIGITS;
        let mut joined = Vec::new();
        let bytes = if self.kept.is_empty() {
            piece
        } else {
            joined.append(&mut self.kept);
            joined.extend_from_slice(piece);
            &joined
        };
        let mut at = 0;
        while let Some(found) = self.finder.find(&bytes[at..]) {
            let Some(mark) = bytes.get(at + found..at + found + WHOLE) else {
                self.kept = bytes[at + found..].to_vec();
                return;
            };
            let digits = &mark[MARK.len()..];
            if digits.iter().all(u8::is_ascii_digit) {
                seen(digits.iter().fold(0, |number, digit| number * 10 + u64::from(digit - b'0')));
            }
            at += found + WHOLE;
        }
        if bytes[at..].last() == Some(&MARK[0]) {
            self.kept = MARK[..1].to_vec();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_their_size_and_are_json() {
        for bytes in [90, 1024] {
            let mut events = Events::new(bytes, 100, Instant::now());
            let mut out = Vec::new();
            events.write(&mut out);
            assert_eq!(out.len(), bytes);
            assert!(serde_json::from_slice::<serde_json::Value>(&out).is_ok());
        }
    }

    #[test]
    fn stamps_are_found_wherever_the_stream_is_cut() {
        let mut events = Events::new(90, 100, Instant::now());
        let mut out = Vec::new();
        for _ in 0..3 {
            events.write(&mut out);
        }
        for cut in 0..out.len() {
            let (mut stamps, mut seen) = (Stamps::default(), 0);
            stamps.feed(&out[..cut], |_| seen += 1);
            stamps.feed(&out[cut..], |_| seen += 1);
            assert_eq!(seen, 3, "cut at {cut}");
        }
    }
}
