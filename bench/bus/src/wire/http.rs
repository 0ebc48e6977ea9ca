//! HTTP/1.1 with keep-alive, as Hob's door speaks it.

use anyhow::{Result, bail};
use memchr::memmem;

use super::{Consume, Publish};
use crate::events::Events;

/// Where and as whom to call.
#[derive(Clone)]
pub struct Door {
    pub address: String,
    pub token: String,
}

impl Door {
    /// A request's head, up to the length of its body.
    pub fn head(&self, method: &str, path: &str, more: &str) -> String {
        let Self { address, token } = self;
        format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n{more}")
    }

    /// A whole request with a JSON body.
    pub fn request(&self, method: &str, path: &str, body: &str) -> String {
        let head = self.head(method, path, "content-type: application/json\r\n");
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    }
}

/// A whole answer at the front of the input: its status, its body, its length.
pub fn answer(input: &[u8]) -> Result<Option<(u16, &[u8], usize)>> {
    let Some(end) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let (head, body) = (&input[..end], end + 4);
    let digits = head.get(9..12).map(String::from_utf8_lossy).unwrap_or_default();
    let Ok(status) = digits.parse() else { bail!("no HTTP: {}", String::from_utf8_lossy(head)) };
    let length = match header(head, b"content-length: ") {
        Some(value) => String::from_utf8_lossy(value).parse()?,
        None => 0,
    };
    Ok(input.get(body..body + length).map(|bytes| (status, bytes, body + length)))
}

fn header<'a>(head: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let at = memmem::find(head, name)? + name.len();
    let rest = &head[at..];
    Some(&rest[..memchr::memchr(b'\r', rest).unwrap_or(rest.len())])
}

/// Publishes on a topic, a request a unit.
pub struct Publisher {
    head: Vec<u8>,
    batch: usize,
    body: Vec<u8>,
    answered: u64,
}

impl Publisher {
    pub fn new(door: &Door, topic: &str, batch: usize) -> Self {
        let more = "content-type: application/json\r\ncontent-length: ";
        let head = door.head("POST", &format!("/v1/topics/{topic}/events"), more).into_bytes();
        Self { head, batch, body: Vec::new(), answered: 0 }
    }
}

impl Publish for Publisher {
    fn unit(&mut self, events: &mut Events, out: &mut Vec<u8>) {
        self.body.clear();
        if self.batch == 1 {
            events.write(&mut self.body);
        } else {
            for nth in 0..self.batch {
                self.body.push(if nth == 0 { b'[' } else { b',' });
                events.write(&mut self.body);
            }
            self.body.push(b']');
        }
        out.extend_from_slice(&self.head);
        out.extend_from_slice(self.body.len().to_string().as_bytes());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(&self.body);
    }

    fn read(&mut self, input: &[u8], done: &mut Vec<u64>) -> Result<usize> {
        let mut used = 0;
        while let Some((status, body, length)) = answer(&input[used..])? {
            if status != 201 {
                bail!("a publish was answered {status}: {}", String::from_utf8_lossy(body));
            }
            done.push(self.answered);
            self.answered += 1;
            used += length;
        }
        Ok(used)
    }
}

/// Follows a subscription as server-sent events.
pub struct Follower {
    request: Vec<u8>,
    has_begun: bool,
}

impl Follower {
    pub fn new(door: &Door, path: &str) -> Self {
        let request = door.head("GET", path, "accept: text/event-stream\r\n\r\n").into_bytes();
        Self { request, has_begun: false }
    }
}

impl Consume for Follower {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.request);
    }

    fn read(&mut self, input: &[u8], _: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        if !self.has_begun && !input.starts_with(b"HTTP/1.1 200") && input.len() >= 12 {
            bail!("a stream was answered: {}", String::from_utf8_lossy(input));
        }
        self.has_begun = true;
        seen(input);
        Ok(input.len())
    }
}

/// Leases, and acknowledges with the next lease.
pub struct Puller {
    head: Vec<u8>,
}

/// What a puller asks for, beside its acknowledgements.
const WISH: &str = "\"max\":1000,\"wait_ms\":10000";

impl Puller {
    pub fn new(door: &Door, service: &str, name: &str) -> Self {
        let path = format!("/v1/subscriptions/{name}/lease?service={service}");
        let more = "content-type: application/json\r\ncontent-length: ";
        Self { head: door.head("POST", &path, more).into_bytes() }
    }

    fn ask(&self, wish: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head);
        out.extend_from_slice(format!("{}\r\n\r\n{wish}", wish.len()).as_bytes());
    }
}

impl Consume for Puller {
    fn start(&mut self, out: &mut Vec<u8>) {
        self.ask(&format!("{{{WISH}}}"), out);
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut used = 0;
        while let Some((status, body, length)) = answer(&input[used..])? {
            used += length;
            match status {
                200 => {
                    seen(body);
                    let (lease, last) =
                        (first_text(body, b"\"lease\":\""), last_text(body, b"\"sequence\":\""));
                    let acks = format!("[{{\"lease\":\"{lease}\",\"upto\":\"{last}\"}}]");
                    self.ask(&format!("{{{WISH},\"acks\":{acks}}}"), out);
                }
                // Nothing to lease.
                204 => self.start(out),
                _ => bail!("a puller was answered {status}: {}", String::from_utf8_lossy(body)),
            }
        }
        Ok(used)
    }
}

fn text_at(body: &[u8], at: Option<usize>, name: &[u8]) -> String {
    let rest = at.map_or(&body[..0], |at| &body[at + name.len()..]);
    let end = memchr::memchr(b'"', rest).unwrap_or(0);
    String::from_utf8_lossy(&rest[..end]).into_owned()
}

fn first_text(body: &[u8], name: &[u8]) -> String {
    text_at(body, memmem::find(body, name), name)
}

fn last_text(body: &[u8], name: &[u8]) -> String {
    text_at(body, memmem::rfind(body, name), name)
}

/// The endpoint of a push subscription: answers every request with 204.
#[derive(Default)]
pub struct Sink;

impl Consume for Sink {
    fn start(&mut self, _: &mut Vec<u8>) {}

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let mut used = 0;
        loop {
            let rest = &input[used..];
            let Some(end) = memmem::find(rest, b"\r\n\r\n") else { return Ok(used) };
            let (head, body) = (&rest[..end], end + 4);
            let length = match header(head, b"content-length: ") {
                Some(value) => String::from_utf8_lossy(value).parse()?,
                None => 0,
            };
            let Some(bytes) = rest.get(body..body + length) else { return Ok(used) };
            seen(bytes);
            out.extend_from_slice(b"HTTP/1.1 204 No Content\r\n\r\n");
            used += body + length;
        }
    }
}
