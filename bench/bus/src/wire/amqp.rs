//! AMQP 0-9-1, as far as a quorum queue needs it.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::TcpStream;

use anyhow::{Result, bail};

use super::{Consume, Publish};
use crate::events::Events;

const METHOD: u8 = 1;
const HEADER: u8 = 2;
const BODY: u8 = 3;
const FRAME_END: u8 = 0xCE;

/// Bytes of a method's arguments.
#[derive(Default)]
pub struct Arguments(Vec<u8>);

impl Arguments {
    pub fn method(class: u16, method: u16) -> Self {
        Self::default().u16(class).u16(method)
    }

    pub fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }

    pub fn u16(mut self, value: u16) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn u32(mut self, value: u32) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn u64(mut self, value: u64) -> Self {
        self.0.extend(value.to_be_bytes());
        self
    }

    pub fn short(mut self, text: &str) -> Self {
        self.0.push(text.len() as u8);
        self.0.extend(text.as_bytes());
        self
    }

    pub fn long(self, text: &[u8]) -> Self {
        let mut with = self.u32(text.len() as u32);
        with.0.extend(text);
        with
    }

    /// A table of texts.
    pub fn table(self, entries: &[(&str, &str)]) -> Self {
        let mut inner = Self::default();
        for (name, value) in entries {
            inner = inner.short(name).u8(b'S').long(value.as_bytes());
        }
        self.long(&inner.0)
    }

    /// The frame of this method.
    pub fn frame(self, channel: u16) -> Vec<u8> {
        let mut out = Vec::new();
        frame(&mut out, METHOD, channel, &self.0);
        out
    }
}

fn frame(out: &mut Vec<u8>, kind: u8, channel: u16, payload: &[u8]) {
    out.push(kind);
    out.extend(channel.to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(payload);
    out.push(FRAME_END);
}

/// The frame at the front of the input: its kind, its payload, its length.
fn read_frame(input: &[u8]) -> Option<(u8, &[u8], usize)> {
    let head = input.first_chunk::<7>()?;
    let length = u32::from_be_bytes([head[3], head[4], head[5], head[6]]) as usize;
    let payload = input.get(7..7 + length)?;
    (input.len() > 7 + length).then_some((head[0], payload, length + 8))
}

fn ids(payload: &[u8]) -> (u16, u16) {
    let at = |at: usize| u16::from_be_bytes([payload[at], payload[at + 1]]);
    (at(0), at(2))
}

fn u64_at(payload: &[u8], at: usize) -> u64 {
    payload[at..at + 8].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// A connection with one open channel, on which calls wait for their answers.
pub struct Calls {
    pub stream: TcpStream,
    pub input: Vec<u8>,
}

impl Calls {
    pub fn open(port: u16) -> Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        let mut calls = Self { stream, input: Vec::new() };
        calls.stream.write_all(b"AMQP\0\0\x09\x01")?;
        calls.wait(10, 10)?;
        let start =
            Arguments::method(10, 11).table(&[("product", "bench")]).short("PLAIN").long(b"\0guest\0guest");
        calls.call(start.short("en_US"), 0, 10, 30)?;
        let tune = Arguments::method(10, 31).u16(64).u32(131_072).u16(0).frame(0);
        calls.stream.write_all(&tune)?;
        calls.call(Arguments::method(10, 40).short("/").short("").u8(0), 0, 10, 41)?;
        calls.call(Arguments::method(20, 10).short(""), 1, 20, 11)?;
        Ok(calls)
    }

    /// Sends a method and waits for its answer.
    pub fn call(&mut self, arguments: Arguments, channel: u16, class: u16, method: u16) -> Result<()> {
        self.ask(arguments, channel, class, method).map(drop)
    }

    /// Sends a method and waits for its answer, which it returns.
    pub fn ask(&mut self, arguments: Arguments, channel: u16, class: u16, method: u16) -> Result<Vec<u8>> {
        self.stream.write_all(&arguments.frame(channel))?;
        self.wait(class, method)
    }

    fn wait(&mut self, class: u16, method: u16) -> Result<Vec<u8>> {
        loop {
            while let Some((kind, payload, length)) = read_frame(&self.input) {
                let found = (kind == METHOD).then(|| ids(payload));
                let payload = payload.to_vec();
                self.input.drain(..length);
                match found {
                    Some(ids) if ids == (class, method) => return Ok(payload),
                    Some((10, 50) | (20, 40)) => {
                        bail!("rabbitmq closes: {}", String::from_utf8_lossy(&payload))
                    }
                    _ => {}
                }
            }
            let mut piece = [0; 4096];
            let count = self.stream.read(&mut piece)?;
            if count == 0 {
                bail!("rabbitmq hung up");
            }
            self.input.extend(&piece[..count]);
        }
    }
}

/// Publishes to an exchange and counts confirms.
pub struct Publisher {
    batch: usize,
    before: Vec<u8>,
    event: Vec<u8>,
    sent: u64,
    /// For each unit that waits: its number and how many confirms it lacks.
    waiting: VecDeque<(u64, usize)>,
    /// Messages that are confirmed or waiting, from this delivery tag on.
    first_tag: u64,
    confirmed: VecDeque<bool>,
}

impl Publisher {
    /// The channel must be in confirm mode.
    pub fn new(batch: usize, exchange: &str) -> Self {
        let before = Arguments::method(60, 40).u16(0).short(exchange).short("").u8(0).frame(1);
        Self {
            batch,
            before,
            event: Vec::new(),
            sent: 0,
            waiting: VecDeque::new(),
            first_tag: 1,
            confirmed: VecDeque::new(),
        }
    }

    fn confirm(&mut self, tag: u64, multiple: bool, done: &mut Vec<u64>) {
        let last = (tag + 1).saturating_sub(self.first_tag) as usize;
        let first = if multiple { 0 } else { last.saturating_sub(1) };
        let last = last.min(self.confirmed.len());
        (first..last).for_each(|at| self.confirmed[at] = true);
        while self.confirmed.front() == Some(&true) {
            self.confirmed.pop_front();
            self.first_tag += 1;
            let Some(front) = self.waiting.front_mut() else { continue };
            front.1 -= 1;
            if front.1 == 0 {
                done.push(front.0);
                self.waiting.pop_front();
            }
        }
    }
}

impl Publish for Publisher {
    fn unit(&mut self, events: &mut Events, out: &mut Vec<u8>) {
        for _ in 0..self.batch {
            self.event.clear();
            events.write(&mut self.event);
            out.extend_from_slice(&self.before);
            // Content of class 60, with one property: delivery mode 2, persistent.
            let header = Arguments::default().u16(60).u16(0).u64(self.event.len() as u64).u16(0x1000).u8(2);
            frame(out, HEADER, 1, &header.0);
            frame(out, BODY, 1, &self.event);
            self.confirmed.push_back(false);
        }
        self.waiting.push_back((self.sent, self.batch));
        self.sent += 1;
    }

    fn read(&mut self, input: &[u8], done: &mut Vec<u64>) -> Result<usize> {
        let mut used = 0;
        while let Some((kind, payload, length)) = read_frame(&input[used..]) {
            if kind == METHOD {
                match ids(payload) {
                    (60, 80) => self.confirm(u64_at(payload, 4), payload[12] & 1 == 1, done),
                    (60, 120) => bail!("rabbitmq refuses a message"),
                    (10, 50) | (20, 40) => bail!("rabbitmq closes: {}", String::from_utf8_lossy(payload)),
                    _ => {}
                }
            }
            used += length;
        }
        Ok(used)
    }
}

/// Consumes a queue; acknowledges everything up to the newest of what came at once.
pub struct Consumer {
    queue: String,
}

impl Consumer {
    pub fn new(queue: String) -> Self {
        Self { queue }
    }
}

impl Consume for Consumer {
    fn start(&mut self, out: &mut Vec<u8>) {
        out.extend(Arguments::method(60, 10).u32(0).u16(2_000).u8(0).frame(1));
        let consume = Arguments::method(60, 20).u16(0).short(&self.queue).short("c").u8(0b1000);
        out.extend(consume.table(&[]).frame(1));
    }

    fn read(&mut self, input: &[u8], out: &mut Vec<u8>, seen: &mut dyn FnMut(&[u8])) -> Result<usize> {
        let (mut used, mut newest) = (0, None);
        while let Some((kind, payload, length)) = read_frame(&input[used..]) {
            match kind {
                METHOD => match ids(payload) {
                    (60, 60) => newest = Some(u64_at(payload, 5 + payload[4] as usize)),
                    (10, 50) | (20, 40) => bail!("rabbitmq closes: {}", String::from_utf8_lossy(payload)),
                    _ => {}
                },
                BODY => seen(payload),
                _ => {}
            }
            used += length;
        }
        if let Some(tag) = newest {
            out.extend(Arguments::method(60, 80).u64(tag).u8(1).frame(1));
        }
        Ok(used)
    }
}
