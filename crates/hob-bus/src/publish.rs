//! Publishing: checks a batch, decides what is new, appends it, and answers once it is durable.
//!
//! Whoever publishes prepares its events itself: they are checked and encoded side by side. Then one combiner takes
//! all batches that have arrived, decides and appends them in one turn, so that ids and counts follow the order of
//! the log; and the settler takes finished appends in the order of the log, lets readers see them, and answers.

mod bus;
mod combine;
mod gate;
mod prepare;
mod settle;

use std::sync::Arc;

use hob_core::{Name, Scope, Timestamp};
use hob_store::Log;
use hob_wire::{Incoming, Published};
use tokio::sync::{mpsc, oneshot};

use crate::Error;
use crate::clocks::Clocks;
use crate::delayed::Delayed;
use crate::index::{Asked, Index, Verdict};
use crate::positions::Positions;
use crate::topics::Outlet;

pub use bus::Admission;
pub(crate) use gate::Gate;
pub(crate) use prepare::Prepared;

/// Batches on their way to the combiner. What each scope may have among them is bounded by its [`Gate`].
const JOBS_MAX: usize = 16_384;
/// Appends on their way to the disk.
const FLIGHTS_MAX: usize = 8_192;

/// The one writer of the event log.
pub(crate) struct Writer {
    pub(crate) index: Arc<Index>,
    pub(crate) delayed: Arc<Delayed>,
    jobs: mpsc::Sender<Job>,
}

/// A batch of one scope and service.
pub(crate) struct Order<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) service: &'a Name,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) recorded: Timestamp,
    pub(crate) gate: Arc<Gate>,
    pub(crate) events: Vec<OrderedEvent<'a>>,
}

/// An event of an [`Order`].
pub(crate) struct OrderedEvent<'a> {
    pub(crate) outlet: Arc<Outlet>,
    /// The time when the event tells none: its topic's clock now.
    pub(crate) now: Timestamp,
    pub(crate) incoming: Incoming<'a>,
}

/// A prepared batch on its way to the combiner.
struct Job {
    events: Vec<Prepared>,
    /// How many they are.
    count: usize,
    /// Bytes that its records have.
    bytes: usize,
    /// Whether it is answered as soon as it is queued.
    is_answered_from_memory: bool,
    reply: oneshot::Sender<Result<Published, Error>>,
    room: gate::Room,
}

impl Writer {
    /// A writer whose tasks run until it is dropped.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        index: Arc<Index>,
        positions: Arc<Positions>,
        clocks: Arc<Clocks>,
        delayed: Arc<Delayed>,
    ) -> Self {
        let (jobs, arriving) = mpsc::channel(JOBS_MAX);
        let (flights, flying) = mpsc::channel(FLIGHTS_MAX);
        tokio::spawn(settle::run(flying, Arc::clone(&index), positions, clocks, Arc::clone(&delayed)));
        tokio::spawn(combine::run(arriving, log, Arc::clone(&index), flights));
        Self { index, delayed, jobs }
    }

    pub(crate) async fn publish(&self, order: Order<'_>) -> Result<Published, Error> {
        let answer = self.send(order).await?;
        answer.await.map_err(|_| Error::Closed)?
    }

    /// Appends events whose time has come, and what goes with them.
    pub(crate) async fn fire(&self, events: Vec<Prepared>, gate: Arc<Gate>) -> Result<(), Error> {
        let bytes = events.iter().map(Prepared::bytes).sum();
        let room = gate.enter(bytes).await?;
        let (reply, answer) = oneshot::channel();
        let count = events.len();
        let job = Job { events, count, bytes, is_answered_from_memory: false, reply, room };
        self.jobs.send(job).await.map_err(|_| Error::Closed)?;
        answer.await.map_err(|_| Error::Closed)?.map(drop)
    }

    /// Which of these events, each with the sequence at which it was held back, have been appended since.
    pub(crate) async fn have_fired(&self, held_back: &[(Asked, u64)]) -> Result<Vec<bool>, Error> {
        let asked: Vec<Asked> =
            held_back.iter().map(|(asked, _)| Asked { id: asked.id, entity: None }).collect();
        let verdicts = combine::plan(&asked, &self.index).await?;
        let has_fired = |(verdict, (_, sequence)): (&Verdict, &(Asked, u64))| matches!(verdict, Verdict::Known(known) if known.sequence() != *sequence);
        Ok(verdicts.iter().zip(held_back).map(has_fired).collect())
    }

    /// Prepares a batch and puts it before the combiner.
    async fn send(&self, order: Order<'_>) -> Result<oneshot::Receiver<Result<Published, Error>>, Error> {
        let (events, bytes) = prepare::prepare(&order, &self.index.keys)?;
        let is_answered_from_memory = order.events.iter().all(|event| !event.outlet.terms.ack.is_disk());
        let scheduled = events.iter().filter(|event| event.scheduled.is_some()).count();
        if scheduled > 0 {
            self.delayed.expect(order.scope, scheduled).await?;
        }
        let room = order.gate.enter(bytes).await?;
        let (reply, answer) = oneshot::channel();
        let count = events.len();
        let job = Job { events, count, bytes, is_answered_from_memory, reply, room };
        self.jobs.send(job).await.map_err(|_| Error::Closed)?;
        Ok(answer)
    }
}
