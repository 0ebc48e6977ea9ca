//! Publishing: checks a batch, decides what is new, appends it, and answers once it is durable.
//!
//! One publisher at a time decides and appends, so that ids and counts follow the order of the log; the waiting for
//! the disk happens outside that turn, so that one commit carries many publishers. The settler takes finished
//! appends in the order of the log and only then lets readers see them.

use std::sync::Arc;

use bytes::Bytes;
use hob_core::limits::PUBLISH_BATCH_MAX;
use hob_core::{Id, Name, Scope, Timestamp};
use hob_store::{APPEND_BYTES_MAX, AppendError, Durable, Log, Record, Tag};
use hob_wire::{Notice, Published, TopicKind, sequence_text};
use tokio::sync::{mpsc, watch};

use crate::Error;
use crate::check::{Sound, Terms, check};
use crate::clocks::Clocks;
use crate::index::{Asked, Index, Known, Note, Outcome, Remembered, Verdict};
use crate::positions::Positions;
use crate::rows::{EventRow, Form, id_space};

/// Appends on their way to the disk.
const FLIGHTS_MAX: usize = 8_192;

/// The one writer of the event log.
pub(crate) struct Writer {
    log: Arc<dyn Log>,
    index: Arc<Index>,
    turn: tokio::sync::Mutex<()>,
    flights: mpsc::Sender<Flight>,
}

/// A batch of one scope and service, each event with the terms and the tag of its topic.
pub(crate) struct Order<'a> {
    pub(crate) scope: &'a Scope,
    pub(crate) service: &'a Name,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) traceparent: Option<&'a str>,
    pub(crate) recorded: Timestamp,
    pub(crate) events: Vec<OrderedEvent>,
}

/// An event of an [`Order`].
pub(crate) struct OrderedEvent {
    pub(crate) tag: Tag,
    pub(crate) terms: Terms,
    /// The time when the event tells none: its topic's clock now.
    pub(crate) now: Timestamp,
    pub(crate) notice: Notice,
}

/// A checked event with its keys.
struct Prepared {
    tag: Tag,
    terms: Terms,
    time: Timestamp,
    id: String,
    sound: Sound,
}

/// An append on its way to the disk.
struct Flight {
    durable: Durable,
    first: u64,
    places: Vec<(Tag, Timestamp)>,
    outcome: watch::Sender<Option<Result<(), AppendError>>>,
}

impl Writer {
    /// A writer whose settler runs until the writer is dropped.
    pub(crate) fn start(
        log: Arc<dyn Log>,
        index: Arc<Index>,
        positions: Arc<Positions>,
        clocks: Arc<Clocks>,
    ) -> Self {
        let (flights, arriving) = mpsc::channel(FLIGHTS_MAX);
        tokio::spawn(settle(arriving, Arc::clone(&index), positions, clocks));
        Self { log, index, turn: tokio::sync::Mutex::new(()), flights }
    }

    pub(crate) async fn publish(&self, mut order: Order<'_>) -> Result<Published, Error> {
        let prepared = prepare(&mut order)?;
        let asked = self.ask(&prepared, &order);
        let (turn, verdicts) = loop {
            let fetched = self.index.prefetch(&asked).await?;
            let turn = self.turn.lock().await;
            if let Some(verdicts) = self.index.plan(&asked, &fetched) {
                break (turn, verdicts);
            }
        };
        let place = self.flights.reserve().await.map_err(|_| Error::Closed)?;
        let mut records = Vec::new();
        let mut remembered = Vec::new();
        let mut places = Vec::new();
        for ((event, asked), verdict) in prepared.iter().zip(asked).zip(&verdicts) {
            if let Verdict::New(entityseq) = verdict {
                let row = row(event, *entityseq, &order);
                let payload = Bytes::from(row.encode());
                records.push(Record { tag: event.tag.clone(), time: event.time.as_micros(), payload });
                remembered.push(Remembered::of(&event.tag, &row, asked));
                places.push((event.tag.clone(), event.time));
            }
        }
        let mut first = 0;
        let mut waits: Vec<Outcome> = Vec::new();
        if !records.is_empty() {
            let appended = self.log.append(records).await?;
            first = appended.first;
            // From here to the end of the turn nothing waits, so that a dropped publisher leaves nothing half done.
            let (outcome, wait) = watch::channel(None);
            self.index.remember(first, remembered, wait.clone());
            place.send(Flight { durable: appended.durable, first, places, outcome });
            waits.push(wait);
        }
        drop(turn);
        let answer = answer(&verdicts, first);
        waits.extend(verdicts.into_iter().filter_map(|verdict| match verdict {
            Verdict::Known(Known::InFlight(_, outcome)) => Some(outcome),
            _ => None,
        }));
        for mut wait in waits {
            let outcome = wait.wait_for(Option::is_some).await.map_err(|_| Error::Closed)?.clone();
            outcome.unwrap_or(Err(AppendError::Closed))?;
        }
        Ok(answer)
    }

    /// What the index must know about each event.
    fn ask(&self, prepared: &[Prepared], order: &Order<'_>) -> Vec<Asked> {
        let (keys, scope) = (&self.index.keys, order.scope.to_string());
        let space = id_space(order.service.as_str(), None);
        let ask = |event: &Prepared| Asked {
            id: event.sound.notice.id.as_deref().map(|id| keys.id(&scope, &space, id)),
            entity: event.sound.notice.href.as_deref().map(|href| keys.entity(&event.tag, href)),
        };
        prepared.iter().map(ask).collect()
    }
}

/// Checks a batch as a whole and each event of it.
fn prepare(order: &mut Order<'_>) -> Result<Vec<Prepared>, Error> {
    let ordered = std::mem::take(&mut order.events);
    let events = ordered.len();
    let refuse = |bytes, problem: String| Err(Error::BadBatch { events, bytes, problem });
    if events == 0 {
        return refuse(0, "there is no event; send at least one".to_owned());
    }
    if events > PUBLISH_BATCH_MAX {
        return refuse(0, format!("the limit is {PUBLISH_BATCH_MAX} events"));
    }
    let (places, notices): (Vec<_>, Vec<_>) = ordered
        .into_iter()
        .map(|OrderedEvent { tag, terms, now, notice }| ((tag, terms, now), (terms, notice)))
        .unzip();
    let sound = check(notices).map_err(|flaws| Error::BadEvents { events, flaws })?;
    let prepared = places.into_iter().zip(sound);
    let prepared: Vec<_> =
        prepared.map(|((tag, terms, now), sound)| prepare_one(tag, terms, now, sound, order)).collect();
    let size = |event: &Prepared| event.sound.data.as_ref().map_or(0, Vec::len) + ROW_BYTES_MAX;
    let bytes: usize = prepared.iter().map(size).sum();
    if bytes > APPEND_BYTES_MAX && events > 1 {
        let with_data: usize = prepared.iter().map(|event| exact_size(event, order)).sum();
        if with_data > APPEND_BYTES_MAX {
            return refuse(with_data, format!("the limit is {APPEND_BYTES_MAX} bytes"));
        }
    }
    Ok(prepared)
}

/// What an event may take beside its data: a bound that spares most batches from being measured.
const ROW_BYTES_MAX: usize = 3_600;

fn exact_size(event: &Prepared, order: &Order<'_>) -> usize {
    event.tag.as_str().len() + row(event, Some(u64::MAX), order).encode().len()
}

fn prepare_one(tag: Tag, terms: Terms, now: Timestamp, sound: Sound, order: &Order<'_>) -> Prepared {
    let id = sound.notice.id.clone().unwrap_or_else(|| Id::generate(order.recorded));
    Prepared { terms, time: sound.notice.t.unwrap_or(now), tag, id, sound }
}

fn row<'a>(event: &'a Prepared, entityseq: Option<u64>, order: &Order<'a>) -> EventRow<'a> {
    let notice = &event.sound.notice;
    EventRow {
        recorded: order.recorded,
        id: &event.id,
        service: order.service.as_str(),
        is_notice: event.terms.kind == TopicKind::Notify,
        kind: &notice.kind,
        entityseq,
        subject: notice.href.as_deref(),
        request_id: notice.requestid.as_deref().or(order.request_id),
        traceparent: notice.traceparent.as_deref().or(order.traceparent),
        entitytag: notice.entitytag.as_deref(),
        data: event.sound.data.as_deref().map(|data| (Form::Json, data)),
        notbefore: notice.notbefore,
        source: None,
        content_type: None,
        data_schema: None,
        extensions: Vec::new(),
    }
}

fn answer(verdicts: &[Verdict], first: u64) -> Published {
    let mut new = first..;
    let mut next = || new.next().unwrap_or(first);
    let sequences: Vec<u64> = verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::New(_) => next(),
            Verdict::Known(known) => known.sequence(),
            Verdict::Repeats(nth) => first + *nth as u64,
        })
        .collect();
    let known = verdicts.iter().filter(|verdict| !matches!(verdict, Verdict::New(_))).count();
    Published {
        first: sequence_text(sequences.iter().copied().min().unwrap_or(0)),
        last: sequence_text(sequences.iter().copied().max().unwrap_or(0)),
        deduplicated: known as u32,
    }
}

/// Takes finished appends in the order of the log, and lets readers see what is durable.
async fn settle(
    mut arriving: mpsc::Receiver<Flight>,
    index: Arc<Index>,
    positions: Arc<Positions>,
    clocks: Arc<Clocks>,
) {
    while let Some(flight) = arriving.recv().await {
        let outcome = flight.durable.await;
        let is_time_to_flush = index.settle(outcome.is_ok());
        match &outcome {
            Ok(()) => {
                let places = flight.places.iter().zip(flight.first..);
                positions.add(places.map(|((tag, time), sequence)| (tag, sequence, *time)));
                clocks.told(flight.places.iter().map(|(tag, _)| tag));
                positions.move_head(flight.first + flight.places.len() as u64 - 1);
            }
            Err(error) => {
                tracing::error!(%error, events = flight.places.len(), "failed to make events durable")
            }
        }
        if is_time_to_flush {
            index.flush(|| Note::of(positions.snapshot()));
        }
        flight.outcome.send_replace(Some(outcome));
    }
}
