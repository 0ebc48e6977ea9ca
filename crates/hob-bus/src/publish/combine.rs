//! The combiner: decides and appends, in one turn, all batches that have arrived.

use std::sync::Arc;

use hob_store::{APPEND_BYTES_MAX, APPEND_RECORDS_MAX, Log, Record};
use hob_wire::{Published, sequence_text};
use tokio::sync::{mpsc, watch};

use super::settle::{Answer, Flight};
use super::{Job, Prepared};
use crate::Error;
use crate::index::{Asked, Fetched, Index, Known, Outcome, Verdict};

/// Batches of one turn.
const TURN_JOBS_MAX: usize = 1_024;

/// Takes turns until the writer is dropped.
pub(super) async fn run(
    mut arriving: mpsc::Receiver<Job>,
    log: Arc<dyn Log>,
    index: Arc<Index>,
    flights: mpsc::Sender<Flight>,
) {
    let mut taken = Vec::with_capacity(TURN_JOBS_MAX);
    while arriving.recv_many(&mut taken, TURN_JOBS_MAX).await > 0 {
        // Whoever is about to publish does so first: one turn for all of them costs hardly more than one for each.
        tokio::task::yield_now().await;
        while taken.len() < TURN_JOBS_MAX
            && let Ok(job) = arriving.try_recv()
        {
            taken.push(job);
        }
        let mut jobs = taken.drain(..).peekable();
        while jobs.peek().is_some() {
            let Ok(place) = flights.reserve().await else { return };
            if let Some(flight) = turn(fill(&mut jobs), log.as_ref(), &index).await {
                place.send(flight);
            }
        }
    }
}

/// As many batches as one append takes; at least one.
fn fill(jobs: &mut std::iter::Peekable<impl Iterator<Item = Job>>) -> Vec<Job> {
    let (mut bytes, mut records) = (0, 0);
    let mut filled = Vec::new();
    while let Some(job) = jobs.next_if(|job: &Job| {
        bytes += job.bytes;
        records += job.events.len();
        filled.is_empty() || bytes <= APPEND_BYTES_MAX && records <= APPEND_RECORDS_MAX
    }) {
        filled.push(job);
    }
    filled
}

/// Decides about these batches and appends what is new in them.
async fn turn(mut jobs: Vec<Job>, log: &dyn Log, index: &Index) -> Option<Flight> {
    let count = jobs.iter().map(|job| job.count).sum();
    let (mut asked, mut events): (Vec<Asked>, Vec<_>) =
        (Vec::with_capacity(count), Vec::with_capacity(count));
    for event in jobs.iter_mut().flat_map(|job| std::mem::take(&mut job.events)) {
        let (ask, event) = Prepared::split(event);
        asked.push(ask);
        events.push(event);
    }
    let verdicts = match plan(&asked, index).await {
        Ok(verdicts) => verdicts,
        Err(error) => return refuse(jobs, &error),
    };
    let mut records: Vec<Record> = Vec::with_capacity(events.len());
    let mut remembered = Vec::with_capacity(events.len());
    let mut scheduled = Vec::new();
    for ((event, asked), verdict) in events.into_iter().zip(asked).zip(&verdicts) {
        let Verdict::New(entityseq) = verdict else { continue };
        if let Some(event) = event.scheduled.clone() {
            scheduled.push((records.len() as u64, event));
        }
        let (record, left) = event.into_record(*entityseq, asked);
        records.push(record);
        remembered.push(left);
    }
    let places = records.iter().map(|record| (record.tag.clone(), record.time)).collect();
    let (outcome, wait) = watch::channel(None);
    let (first, durable) = match records.is_empty() {
        true => (0, None),
        false => match log.append(records).await {
            // From here to the end of the turn nothing waits.
            Ok(appended) => {
                index.remember(appended.first, remembered, wait);
                (appended.first, Some(appended.durable))
            }
            Err(error) => return refuse(jobs, &error.into()),
        },
    };
    let answers = answer(jobs, verdicts, first);
    Some(Flight { durable, first, places, scheduled, outcome, answers })
}

/// Reads what the index needs to know, and decides.
pub(super) async fn plan(asked: &[Asked], index: &Index) -> Result<Vec<Verdict>, Error> {
    index.wait_for_room().await?;
    // Most often memory knows all of it.
    if let Some(verdicts) = index.plan(asked, &Fetched::default()) {
        return Ok(verdicts);
    }
    loop {
        let fetched = index.prefetch(asked).await?;
        if let Some(verdicts) = index.plan(asked, &fetched) {
            return Ok(verdicts);
        }
    }
}

/// Tells everybody why nothing was appended. That somebody waits no more is fine.
fn refuse(jobs: Vec<Job>, error: &Error) -> Option<Flight> {
    jobs.into_iter().for_each(|job| drop(job.reply.send(Err(error.clone()))));
    None
}

/// What each batch is told, at once or when its events are durable.
fn answer(jobs: Vec<Job>, verdicts: Vec<Verdict>, first: u64) -> Vec<Answer> {
    let mut verdicts = verdicts.into_iter();
    let mut next = first;
    let mut tell = |job: Job| {
        let mut waits: Vec<Outcome> = Vec::new();
        let (mut lowest, mut highest, mut deduplicated) = (u64::MAX, 0, 0);
        for verdict in verdicts.by_ref().take(job.count) {
            let sequence = match verdict {
                Verdict::New(_) => {
                    next += 1;
                    next - 1
                }
                Verdict::Repeats(nth) => {
                    deduplicated += 1;
                    first + nth as u64
                }
                Verdict::Known(known) => {
                    deduplicated += 1;
                    let sequence = known.sequence();
                    if let Known::InFlight(_, outcome) = known {
                        waits.push(outcome);
                    }
                    sequence
                }
            };
            (lowest, highest) = (lowest.min(sequence), highest.max(sequence));
        }
        let published =
            Published { first: sequence_text(lowest), last: sequence_text(highest), deduplicated };
        let Job { is_answered_from_memory, reply, room, .. } = job;
        let reply = match is_answered_from_memory {
            true => {
                // That nobody waits any more is fine.
                let _ = reply.send(Ok(published));
                None
            }
            false => Some((reply, published)),
        };
        Answer { reply, waits, _room: room }
    };
    jobs.into_iter().map(&mut tell).collect()
}
