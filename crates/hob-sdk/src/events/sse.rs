//! Reads the event stream format of the WHATWG HTML standard (9.2, server-sent events) from pieces of a body.

use bytes::BytesMut;

/// Bytes of one message, at most: an event's data is at most 64 KiB, and its envelope is small.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// One message of the stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) id: Option<String>,
    pub(super) event: Option<String>,
    pub(super) data: String,
}

/// A message that is too large to be one.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("read the event stream: a message has more than {MESSAGE_BYTES_MAX} bytes")]
pub(super) struct TooLarge;

/// What has been read of the stream and not yet been handed out.
#[derive(Debug, Default)]
pub(super) struct Parser {
    buffer: BytesMut,
    /// Bytes of `buffer` that are known to hold no end of line.
    scanned: usize,
    frame: Frame,
    has_data: bool,
}

impl Parser {
    /// Takes the next piece of the body.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
    }

    /// The next whole message, when there is one.
    pub(super) fn next(&mut self) -> Result<Option<Frame>, TooLarge> {
        while let Some(offset) = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n') {
            let line = self.buffer.split_to(self.scanned + offset + 1);
            self.scanned = 0;
            let line = &line[..line.len() - 1];
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if line.is_empty() {
                let frame = std::mem::take(&mut self.frame);
                if std::mem::take(&mut self.has_data) {
                    return Ok(Some(frame));
                }
            } else {
                self.field(&String::from_utf8_lossy(line));
            }
        }
        self.scanned = self.buffer.len();
        if self.buffer.len() + self.frame.data.len() > MESSAGE_BYTES_MAX { Err(TooLarge) } else { Ok(None) }
    }

    fn field(&mut self, line: &str) {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.frame.id = Some(value.to_owned()),
            "event" => self.frame.event = Some(value.to_owned()),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // A line without a name is a comment; other names mean nothing to us.
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(chunks: &[&[u8]]) -> Vec<Frame> {
        let mut parser = Parser::default();
        let mut frames = Vec::new();
        for chunk in chunks {
            parser.push(chunk);
            while let Some(frame) = parser.next().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    const STREAM: &str = ": hello\n\nid: 00000000000000000007\nevent: event\ndata: {\"a\":1}\n\n\
                          event: heartbeat\r\ndata: {\"head\":\"7\"}\r\n\r\ndata: a\ndata:b\n\ndata: unfinished\n";

    #[test]
    fn messages_are_read_and_an_unfinished_one_waits() {
        let frames = read(&[STREAM.as_bytes()]);
        assert_eq!(frames.len(), 3);
        assert_eq!(frames[0].id.as_deref(), Some("00000000000000000007"));
        assert_eq!((frames[0].event.as_deref(), frames[0].data.as_str()), (Some("event"), "{\"a\":1}"));
        assert_eq!((frames[1].id.as_deref(), frames[1].data.as_str()), (None, "{\"head\":\"7\"}"));
        assert_eq!(frames[2].data, "a\nb");
    }

    proptest! {
        #[test]
        fn where_the_body_is_cut_does_not_matter(cuts in proptest::collection::vec(0..STREAM.len(), 0..6)) {
            let mut cuts = cuts;
            cuts.extend([0, STREAM.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &STREAM.as_bytes()[pair[0]..pair[1]]).collect();
            prop_assert_eq!(read(&chunks), read(&[STREAM.as_bytes()]));
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        parser.push(&vec![b'x'; MESSAGE_BYTES_MAX + 1]);
        assert_eq!(parser.next(), Err(TooLarge));
    }
}
