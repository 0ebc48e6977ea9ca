//! NATS's protocol, as far as JetStream needs it.

use anyhow::{Result, bail};
use memchr::memmem;

use super::{Consume, InOrder, Publish};
use crate::events::Events;

/// Begins a connection.
pub const CONNECT: &str = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"lang\":\"bench\",\"version\":\"0\"}\r\nPING\r\n";

/// What the server sends.
pub enum Said<'a> {
    /// A message: its subject, where to answer it, its payload.
    Message { reply: &'a [u8], payload: &'a [u8] },
    /// The server asks whether anybody is there.
    Ping,
    /// Something that needs no answer.
    Other,
}

/// What stands at the front of the input, and its length.
pub fn said(input: &[u8]) -> Result<Option<(Said<'_>, usize)>> {
    let Some(end) = memmem::find(input, b"\r\n") else { return Ok(None) };
    let (line, used) = (&input[..end], end + 2);
    if line.starts_with(b"-ERR") {
        bail!("nats says {}", String::from_utf8_lossy(line));
    }
    if line == b"PING" {
        return Ok(Some((Said::Ping, used)));
    }
    let is_headed = line.starts_with(b"HMSG ");
    if !is_headed && !line.starts_with(b"MSG ") {
        return Ok(Some((Said::Other, used)));
    }
    let words: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let number = |word: &[u8]| String::from_utf8_lossy(word).parse::<usize>();
    let bytes = number(words[words.len() - 1])?;
    let numbers = if is_headed { 2 } else { 1 };
    let reply = if words.len() == 4 + numbers { words[3] } else { b"" };
    let Some(payload) = input.get(used..used + bytes) else { return Ok(None) };
    if input.len() < used + bytes + 2 {
        return Ok(None);
    }
    if is_headed {
        let header = number(words[words.len() - 2])?;
        if payload[..header].starts_with(b"NATS/1.0 503") {
            bail!("nats says that nobody answers");
        }
    }
    Ok(Some((Said::Message { reply, payload }, used + bytes + 2)))
}

/// Publishes to a stream and waits for its acknowledgements.
pub struct Publisher {
    batch: usize,
    inbox: String,
    event: Vec<u8>,
    order: InOrder,
}

impl Publisher {
    /// `nth` tells the inboxes of connections apart; the inbox must be subscribed to.
    pub fn new(batch: usize, nth: usize) -> Self {
        Self { batch, inbox: format!("_INBOX.bench{nth}"), event: Vec::new(), order: InOrder::new(batch) }
    }

    /// What subscribes to the inbox.
    pub fn begin(&self) -> String {
        format!("SUB {} 1\r\n", self.inbox)
    }
}

impl Publish for Publisher {
    fn unit(&mut self, events: &mut Events, out: &mut Vec<u8>) {
        for _ in 0..self.batch {
            self.event.clear();
            events.write(&mut self.event);
            let head = format!("PUB bench {} {}\r\n", self.inbox, self.event.len());
            out.extend_from_slice(head.as_bytes());
            out.extend_from_slice(&self.event);
            out.extend_from_slice(b"\r\n");
        }
    }

    fn read(&mut self, input: &[u8], done: &mut Vec<u64>) -> Result<usize> {
        let mut used = 0;
        while let Some((said, length)) = said(&input[used..])? {
            if let Said::Message { payload, .. } = said {
                if memmem::find(payload, b"\"error\"").is_some() {
                    bail!("nats says {}", String::from_utf8_lossy(payload));
                }
                self.order.answered(done);
            }
            used += length;
        }
        Ok(used)
    }
}

/// Takes what a push consumer delivers; acknowledges everything up to the newest of what came at once.
pub struct Consumer {
    subject: String,
}

impl Consumer {
    pub fn new(subject: String) -> Self {
        Self { subject }
    }
}

impl Consume for Consumer {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("SUB {} 1\r\n", self.subject).as_bytes());
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let (mut used, mut newest) = (0, Vec::new());
        while let Some((said, length)) = said(&input[used..])? {
            match said {
                Said::Message { reply, payload } => {
                    seen(payload);
                    newest = reply.to_vec();
                }
                Said::Ping => out.extend_from_slice(b"PONG\r\n"),
                Said::Other => {}
            }
            used += length;
        }
        if !newest.is_empty() {
            out.extend_from_slice(b"PUB ");
            out.extend_from_slice(&newest);
            out.extend_from_slice(b" 0\r\n\r\n");
        }
        Ok(used)
    }
}
