//! The settler: takes finished appends in the order of the log, lets readers see what is durable, and answers.

use std::sync::Arc;

use hob_core::Timestamp;
use hob_store::{AppendError, Durable, Tag};
use hob_wire::Published;
use tokio::sync::{mpsc, oneshot, watch};

use super::gate::Room;
use crate::Error;
use crate::clocks::Clocks;
use crate::delayed::{Delayed, Scheduled};
use crate::index::{Index, Note, Outcome};
use crate::positions::Positions;

/// An append on its way to the disk.
pub(super) struct Flight {
    /// None when everything in it was known.
    pub(super) durable: Option<Durable>,
    pub(super) first: u64,
    /// Tag and time (microseconds since 1970) of each record.
    pub(super) places: Vec<(Tag, i64)>,
    /// Those of its records that are held back, counted from the first.
    pub(super) scheduled: Vec<(u64, Scheduled)>,
    pub(super) outcome: watch::Sender<Option<Result<(), AppendError>>>,
    pub(super) answers: Vec<Answer>,
}

/// What a batch will be told.
pub(super) struct Answer {
    /// None when it has been told already.
    pub(super) reply: Option<(oneshot::Sender<Result<Published, Error>>, Published)>,
    /// Earlier appends that it repeats events of: they are settled before this one.
    pub(super) waits: Vec<Outcome>,
    pub(super) _room: Room,
}

/// Settles until the writer is dropped.
pub(super) async fn run(
    mut arriving: mpsc::Receiver<Flight>,
    index: Arc<Index>,
    positions: Arc<Positions>,
    clocks: Arc<Clocks>,
    delayed: Arc<Delayed>,
) {
    while let Some(flight) = arriving.recv().await {
        let Flight { durable, first, places, scheduled, outcome, answers } = flight;
        let was_appended = durable.is_some();
        let settled = match durable {
            Some(durable) => durable.await,
            None => Ok(()),
        };
        let is_time_to_flush = was_appended && index.settle(settled.is_ok());
        match &settled {
            Ok(()) if !places.is_empty() => {
                let times = places.iter().map(|(tag, micros)| (tag, Timestamp::from_micros(*micros)));
                positions.add(times.zip(first..).map(|((tag, time), sequence)| (tag, sequence, time)));
                clocks.told(places.iter().map(|(tag, _)| tag));
                if !scheduled.is_empty() {
                    delayed.add(scheduled.into_iter().map(|(nth, event)| (first + nth, event)));
                }
                positions.move_head(first + places.len() as u64 - 1);
            }
            Ok(()) => {}
            Err(error) => tracing::error!(%error, events = places.len(), "failed to make events durable"),
        }
        if is_time_to_flush {
            index.flush(|| Note::of(positions.snapshot()));
        }
        outcome.send_replace(Some(settled.clone()));
        answers.into_iter().for_each(|answer| tell(answer, &settled));
    }
}

fn tell(answer: Answer, settled: &Result<(), AppendError>) {
    let Some((reply, published)) = answer.reply else { return };
    let failed = answer.waits.iter().find_map(|outcome| outcome.borrow().clone()?.err());
    let told = match failed.or_else(|| settled.clone().err()) {
        None => Ok(published),
        Some(error) => Err(error.into()),
    };
    // That nobody waits any more is fine.
    let _ = reply.send(told);
}
