//! Reads a client's bytes before hyper does, and refuses what two readers could frame differently (RFC 9112, 6 and 11.2):
//! a length beside a transfer coding, a length or a host twice, lines that end in a bare LF, folded lines, chunk sizes
//! with anything beside digits. hyper, as the RFC allows, drops a length beside a coding and reads on; whoever stands
//! before the router may have read the other.
//!
//! It follows heads and bodies by itself, so that what it takes for a head is one for hyper, too. Once something is
//! refused, nothing of the connection is passed on any more.

/// Digits of a chunk's size and of a length.
const SIZE_DIGITS_MAX: usize = 15;
const LENGTH_DIGITS_MAX: usize = 18;
/// Bytes of a chunk's extensions.
const EXTENSION_BYTES_MAX: usize = 1024;
/// Bytes of a header's name and value that are kept to be compared; no header that matters is longer.
const KEPT: usize = 48;

/// Follows one connection's requests.
#[derive(Default)]
pub(crate) struct Framing {
    state: State,
    line: Line,
    head: Head,
    poison: u8,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    /// At the beginning of a line of a head; the request's line is the first that is not empty.
    #[default]
    LineStart,
    /// Within a line of a head.
    Line,
    /// After a CR that must be followed by LF.
    LineEnd,
    /// A body with a length.
    Body(u64),
    /// A chunk's size: what was read of it, and how many digits.
    Size(u64, usize),
    /// What follows the size after a semicolon.
    Extension(u64, usize),
    /// The LF after a size.
    SizeEnd(u64),
    /// A chunk's bytes.
    Chunk(u64),
    /// The CR and the LF after a chunk.
    ChunkCr,
    ChunkLf,
    /// Refused: nothing more is passed on.
    Bad,
}

/// The beginning of the line that is being read.
struct Line {
    kept: [u8; KEPT],
    length: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { kept: [0; KEPT], length: 0 }
    }
}

/// What a head has said so far.
#[derive(Default)]
struct Head {
    has_begun: bool,
    /// These lines are the trailers of a chunked body.
    is_trailer: bool,
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
}

impl Framing {
    /// What hyper refuses in place of the first byte that is not good.
    pub(crate) fn poison(&self) -> u8 {
        self.poison
    }

    /// Takes in bytes; returns how many of them are good. The byte after them is the first that is not.
    pub(crate) fn check(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        while at < bytes.len() {
            match self.state {
                State::Bad => return at,
                State::Line => at += self.take_line(&bytes[at..]),
                State::Body(left) => {
                    let step = step(left, bytes.len() - at);
                    at += step;
                    let left = left - step as u64;
                    self.state = if left == 0 { State::LineStart } else { State::Body(left) };
                }
                State::Chunk(left) => {
                    let step = step(left, bytes.len() - at);
                    at += step;
                    let left = left - step as u64;
                    self.state = if left == 0 { State::ChunkCr } else { State::Chunk(left) };
                }
                state => {
                    self.state = self.take(state, bytes[at]);
                    if self.state == State::Bad {
                        // hyper reads over anything but this within a chunk's extensions.
                        self.poison = if matches!(state, State::Extension(..)) { b'\n' } else { 0 };
                        return at;
                    }
                    at += 1;
                }
            }
        }
        at
    }

    /// Takes the line's bytes up to its end.
    fn take_line(&mut self, bytes: &[u8]) -> usize {
        let end = bytes.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
        let text = &bytes[..end.unwrap_or(bytes.len())];
        if let Some(room) = self.line.kept.get_mut(self.line.length..) {
            let kept = room.len().min(text.len());
            room[..kept].copy_from_slice(&text[..kept]);
        }
        self.line.length += text.len();
        if let Some(end) = end {
            self.state = if bytes[end] == b'\r' { State::LineEnd } else { State::Bad };
            return end + usize::from(bytes[end] == b'\r');
        }
        text.len()
    }

    fn take(&mut self, state: State, byte: u8) -> State {
        match (state, byte) {
            (State::LineStart, b'\r') => State::LineEnd,
            (State::LineStart, b' ' | b'\t' | b'\n') => State::Bad,
            (State::LineStart, _) => {
                self.line.kept[0] = byte;
                self.line.length = 1;
                State::Line
            }
            (State::LineEnd, b'\n') => self.end_line(),
            (State::Size(size, digits), _) if byte.is_ascii_hexdigit() && digits < SIZE_DIGITS_MAX => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                State::Size(size << 4 | u64::from(digit), digits + 1)
            }
            (State::Size(size, 1..), b'\r') => State::SizeEnd(size),
            (State::Size(size, 1..), b';') => State::Extension(size, 0),
            (State::Extension(size, _), b'\r') => State::SizeEnd(size),
            (State::Extension(size, bytes), b' '..=b'~' | b'\t') if bytes < EXTENSION_BYTES_MAX => {
                State::Extension(size, bytes + 1)
            }
            (State::SizeEnd(0), b'\n') => {
                self.head = Head { has_begun: true, is_trailer: true, ..Head::default() };
                State::LineStart
            }
            (State::SizeEnd(size), b'\n') => State::Chunk(size),
            (State::ChunkCr, b'\r') => State::ChunkLf,
            (State::ChunkLf, b'\n') => State::Size(0, 0),
            _ => State::Bad,
        }
    }

    /// A line has ended; an empty one ends the head.
    fn end_line(&mut self) -> State {
        let length = std::mem::take(&mut self.line.length);
        if length == 0 {
            return if self.head.has_begun { self.end_head() } else { State::LineStart };
        }
        if !self.head.has_begun {
            self.head.has_begun = true;
            return State::LineStart;
        }
        // Most headers begin with another letter.
        if !matches!(self.line.kept[0] | 0x20, b'c' | b't' | b'h') {
            return State::LineStart;
        }
        let line = &self.line.kept[..length.min(KEPT)];
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return State::LineStart };
        let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted.as_bytes());
        let head = &mut self.head;
        let is_good = if is("content-length") {
            let known = head.length.replace(read_length(value).unwrap_or_default());
            known.is_none() && length <= KEPT && read_length(value).is_some() && !head.is_trailer
        } else if is("transfer-encoding") {
            let is_first = !std::mem::replace(&mut head.is_chunked, true);
            is_first && length <= KEPT && value.eq_ignore_ascii_case(b"chunked") && !head.is_trailer
        } else if is("host") {
            !std::mem::replace(&mut head.has_host, true) && !head.is_trailer
        } else {
            true
        };
        if is_good { State::LineStart } else { State::Bad }
    }

    fn end_head(&mut self) -> State {
        let head = std::mem::take(&mut self.head);
        match (head.is_chunked, head.length) {
            (true, Some(_)) => State::Bad,
            (true, None) => State::Size(0, 0),
            (false, Some(length @ 1..)) => State::Body(length),
            (false, _) => State::LineStart,
        }
    }
}

fn step(left: u64, most: usize) -> usize {
    usize::try_from(left).unwrap_or(usize::MAX).min(most)
}

fn read_length(value: &[u8]) -> Option<u64> {
    let is_number =
        !value.is_empty() && value.len() <= LENGTH_DIGITS_MAX && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| is_number)?.parse().ok()
}

#[cfg(test)]
mod tests;
