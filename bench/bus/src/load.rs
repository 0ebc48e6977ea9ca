//! The load: publishers in a closed loop on one thread, consumers on another.

use std::collections::{HashSet, VecDeque};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::{Events as Ready, Interest, Poll, Token};

use crate::events::{Events, Stamps};
use crate::latency::Latency;
use crate::link::{Link, Piece};
use crate::wire::{Consume, Publish};

/// How long nothing may be answered.
const SILENCE_MAX: Duration = Duration::from_secs(30);
/// How long consumers may take for what is left when publishers are done.
const CATCH_UP_MAX: Duration = Duration::from_secs(10);

/// A connected stream, with what was read of it already.
pub struct Open {
    pub stream: TcpStream,
    pub input: Vec<u8>,
}

/// A connection that publishes, and how many units it may have under way.
pub struct Publishing {
    pub open: Open,
    pub wire: Box<dyn Publish>,
    pub window: usize,
}

/// What consumes.
pub enum Consuming {
    /// Connections that ask.
    Connections(Vec<(Open, Box<dyn Consume>)>),
    /// An endpoint that is called.
    Endpoint(TcpListener, fn() -> Box<dyn Consume>),
}

/// What publishing showed.
#[derive(Default)]
pub struct Published {
    /// Units acknowledged while it was measured.
    pub units: u64,
    /// Units acknowledged at all.
    pub units_all: u64,
    /// Units that were never answered, since the server ended.
    pub under_way: u64,
    pub seconds: f64,
    pub acknowledged: Latency,
    /// The stamps of the acknowledged units, each that of its last event.
    pub stamps: Vec<u64>,
    /// When measuring began, in nanoseconds since the run began.
    pub from: u64,
}

struct Publishers<'a> {
    link: Link,
    wire: &'a mut Box<dyn Publish>,
    window: usize,
    first: u64,
    started: VecDeque<Option<(Instant, u64)>>,
    is_gone: bool,
    under_way: usize,
}

impl Publishers<'_> {
    fn top_up(&mut self, events: &mut Events) -> Result<()> {
        while self.under_way < self.window {
            let now = Instant::now();
            self.wire.unit(events, &mut self.link.out);
            self.started.push_back(Some((now, events.stamp)));
            self.under_way += 1;
        }
        self.link.flush()
    }

    /// Takes in what came, as far as it came.
    fn read(&mut self, piece: &mut Piece, done: &mut Vec<u64>) -> Result<()> {
        let flushed = self.link.flush();
        while self.link.fill(piece)? {
            let used = self.wire.read(&self.link.input, done)?;
            self.link.input.drain(..used);
        }
        flushed
    }

    fn done(&mut self, unit: u64) -> Option<(Instant, u64)> {
        let started = self.started.get_mut((unit - self.first) as usize)?.take();
        while self.started.front() == Some(&None) {
            self.started.pop_front();
            self.first += 1;
        }
        self.under_way -= 1;
        started
    }
}

/// How long to publish, and what to do when measuring begins and ends.
pub struct Course<'a> {
    pub warm_up: Duration,
    pub measured: Duration,
    /// Units to publish at least, however long that takes.
    pub units_min: u64,
    /// Whether `ends` ends the server, with units under way: what it acknowledged until then is still taken in.
    pub is_cut: bool,
    pub begins: &'a mut dyn FnMut(),
    pub ends: &'a mut dyn FnMut(),
}

/// Publishes for a while.
pub fn publish(connections: &mut [Publishing], events: &mut Events, course: Course<'_>) -> Result<Published> {
    let mut poll = Poll::new()?;
    let mut publishers = publishers(connections, &poll)?;
    let begun = Instant::now();
    let mut published = Published::default();
    let (mut measuring, mut stopping) = (None, false);
    let (mut ready, mut piece, mut done) = (Ready::with_capacity(1024), Piece::default(), Vec::new());
    for publisher in &mut publishers {
        publisher.top_up(events)?;
    }
    let mut last = Instant::now();
    loop {
        poll.poll(&mut ready, Some(Duration::from_millis(20)))?;
        for event in &ready {
            let publisher = &mut publishers[event.token().0];
            let read = publisher.read(&mut piece, &mut done);
            let now = Instant::now();
            for unit in done.drain(..) {
                last = now;
                let (started, stamp) = publisher.done(unit).context("an answer to nothing")?;
                published.units_all += 1;
                published.stamps.push(stamp);
                if measuring.is_some() && !stopping {
                    published.units += 1;
                    published.acknowledged.add((now - started).as_nanos() as u64);
                }
            }
            match read {
                Err(_) if stopping && course.is_cut => publisher.is_gone = true,
                Err(error) => return Err(error),
                Ok(()) if !stopping => publisher.top_up(events)?,
                Ok(()) => {}
            }
        }
        let now = Instant::now();
        if measuring.is_none() && now - begun >= course.warm_up {
            measuring = Some(now);
            published.from = events.now();
            (course.begins)();
        }
        if let Some(from) = measuring.filter(|from| {
            !stopping && now - *from >= course.measured && published.units_all >= course.units_min
        }) {
            published.seconds = (now - from).as_secs_f64();
            stopping = true;
            (course.ends)();
        }
        if stopping && publishers.iter().all(|publisher| publisher.under_way == 0 || publisher.is_gone) {
            published.under_way = publishers.iter().map(|publisher| publisher.under_way as u64).sum();
            return Ok(published);
        }
        if now - last > SILENCE_MAX {
            bail!("nothing was answered for {SILENCE_MAX:?}");
        }
    }
}

fn publishers<'a>(connections: &'a mut [Publishing], poll: &Poll) -> Result<Vec<Publishers<'a>>> {
    let mut publishers = Vec::new();
    for (at, publishing) in connections.iter_mut().enumerate() {
        let (stream, input) =
            (publishing.open.stream.try_clone()?, std::mem::take(&mut publishing.open.input));
        publishers.push(Publishers {
            link: Link::new(stream, input, poll.registry(), Token(at))?,
            wire: &mut publishing.wire,
            window: publishing.window,
            first: 0,
            started: VecDeque::new(),
            under_way: 0,
            is_gone: false,
        });
    }
    Ok(publishers)
}

/// What the consumers of a run share with its publishers.
#[derive(Default)]
pub struct Watched {
    /// Events seen.
    pub seen: AtomicU64,
    /// Stamps before this one are of the warm-up.
    pub from: AtomicU64,
    /// How many events are to be seen in the end; 0 while that is not known.
    pub expected: AtomicU64,
    pub is_over: AtomicBool,
    /// Connections that began.
    pub ready: AtomicUsize,
    /// Whether the stamps that are seen are kept.
    pub wants_stamps: bool,
    /// Nobody waits any more.
    pub is_abandoned: AtomicBool,
    pub stamps: Mutex<HashSet<u64>>,
}

/// Consumes until everything expected was seen, or nothing more comes. Returns how long deliveries took.
pub fn consume(consuming: Consuming, base: Instant, watched: &Arc<Watched>) -> Result<Latency> {
    let mut poll = Poll::new()?;
    let mut links: Vec<(Link, Box<dyn Consume>, Stamps)> = Vec::new();
    let mut listener = None;
    match consuming {
        Consuming::Connections(connections) => {
            for (open, mut wire) in connections {
                let mut link = Link::new(open.stream, open.input, poll.registry(), Token(links.len()))?;
                wire.start(&mut link.out);
                link.flush()?;
                links.push((link, wire, Stamps::default()));
            }
        }
        Consuming::Endpoint(listening, make) => {
            listening.set_nonblocking(true)?;
            let mut listening = mio::net::TcpListener::from_std(listening);
            poll.registry().register(&mut listening, Token(usize::MAX), Interest::READABLE)?;
            listener = Some((listening, make));
        }
    }
    watched.ready.store(links.len().max(1), Ordering::SeqCst);
    let (mut ready, mut piece, mut latency) =
        (Ready::with_capacity(1024), Piece::default(), Latency::default());
    let (mut over_since, mut found) = (None, Vec::new());
    loop {
        poll.poll(&mut ready, Some(Duration::from_millis(50)))?;
        for event in &ready {
            if event.token() == Token(usize::MAX) {
                let Some((listening, make)) = &mut listener else { continue };
                while let Ok((stream, _)) = listening.accept() {
                    let stream = std::net::TcpStream::from(stream);
                    let link = Link::new(stream, Vec::new(), poll.registry(), Token(links.len()))?;
                    links.push((link, make(), Stamps::default()));
                }
                continue;
            }
            let (link, wire, stamps) = &mut links[event.token().0];
            let from = watched.from.load(Ordering::Relaxed);
            let mut count = 0;
            if listener.is_some() {
                // A client that gives up an idle connection is no fault.
                if link.flush().is_err() {
                    continue;
                }
            } else {
                link.flush()?;
            }
            loop {
                match link.fill(&mut piece) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(_) if listener.is_some() => break,
                    Err(error) => return Err(error),
                }
                let mut seen = |part: &[u8]| {
                    stamps.feed(part, |stamp| {
                        count += 1;
                        if watched.wants_stamps {
                            found.push(stamp);
                        }
                        if from > 0 && stamp >= from {
                            latency.add((base.elapsed().as_nanos() as u64).saturating_sub(stamp));
                        }
                    });
                };
                let used = wire.read(&link.input, &mut link.out, &mut seen)?;
                link.input.drain(..used);
                let _ = link.flush();
            }
            if watched.wants_stamps {
                let mut stamps = watched.stamps.lock().unwrap_or_else(PoisonError::into_inner);
                stamps.extend(found.drain(..));
            }
            watched.seen.fetch_add(count, Ordering::Relaxed);
        }
        if watched.is_abandoned.load(Ordering::SeqCst) {
            return Ok(latency);
        }
        if watched.is_over.load(Ordering::SeqCst) {
            let since = *over_since.get_or_insert_with(Instant::now);
            let is_whole = watched.seen.load(Ordering::Relaxed) >= watched.expected.load(Ordering::Relaxed);
            if is_whole || since.elapsed() > CATCH_UP_MAX {
                return Ok(latency);
            }
        }
    }
}
