//! Appends events to their topics when their time has come.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hob_core::{Id, Name, Scope, Timestamp};
use hob_store::{Stored, Tag};
use hob_wire::Condition;

use super::{DONE, delayed_tag, take_topic};
use crate::handle::Inner;
use crate::index::{Asked, IdKey, Told};
use crate::positions::tag_of;
use crate::publish::Prepared;
use crate::rows::{EventRow, Form};
use crate::{Bus, Error};

/// How often clocks are looked at while something waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events that one turn appends.
const TURN_MAX: usize = 200;

/// Looks for due events until the bus is gone or closed.
pub(crate) async fn run(inner: Weak<Inner>) {
    if let Some(strong) = inner.upgrade() {
        tell_of_start(&strong).await;
    }
    loop {
        let Some(strong) = inner.upgrade() else { return };
        if *strong.closed.borrow() {
            return;
        }
        let scopes = strong.writer.delayed.lock().scopes();
        for scope in &scopes {
            if let Err(error) = fire(&strong, scope).await {
                tracing::error!(%error, %scope, "failed to publish events that were held back; trying on");
            }
        }
        // Read first: what is settled by then has been added.
        let settled = strong.positions.head();
        strong.writer.delayed.forward(settled).await;
        drop(strong);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn fire(inner: &Arc<Inner>, scope: &Scope) -> Result<(), Error> {
    let now = inner.clocks.now(scope);
    loop {
        let due = inner.writer.delayed.lock().take_due(scope, now, TURN_MAX);
        if due.is_empty() {
            return Ok(());
        }
        match append(inner, scope, &due).await {
            Ok(lost) => {
                end(inner, scope, &due, &lost);
                if let (Some(first), Some(last)) = (lost.first(), lost.last()) {
                    let count = lost.len();
                    let reason =
                        format!("{count} between {first} and {last} cannot be read, and never appear");
                    report(inner, scope, Some(reason)).await;
                }
            }
            Err(error) => {
                inner.writer.delayed.lock().put_back(scope, &due);
                return Err(error);
            }
        }
    }
}

fn end(inner: &Inner, scope: &Scope, due: &[u64], lost: &BTreeSet<u64>) {
    let mut state = inner.writer.delayed.lock();
    for sequence in due {
        match lost.contains(sequence) {
            true => state.lost(scope, *sequence),
            false => state.done(scope, *sequence),
        }
    }
}

/// Appends events with the record that says that they are done; gives back those that cannot be read.
async fn append(inner: &Inner, scope: &Scope, due: &[u64]) -> Result<BTreeSet<u64>, Error> {
    let tag = delayed_tag(scope)?;
    let mut lost: BTreeSet<u64> = due.iter().copied().collect();
    let records = inner.events.many(&BTreeSet::from([tag]), &lost).await?;
    let mut rows = Vec::with_capacity(due.len());
    for sequence in due {
        let Some(stored) = records.get(sequence) else { continue };
        let Some(mut row) = EventRow::decode(&stored.payload) else { continue };
        let Some(topic) = take_topic(&mut row) else { continue };
        lost.remove(sequence);
        rows.push((stored, tag_of(scope, &topic)?, row));
    }
    let ids = rows.iter().map(|(stored, _, row)| {
        let id = inner.writer.index.keys.id(&scope.to_string(), &row.id_space(), row.id);
        (Asked { id: Some(id), entity: None }, stored.seq)
    });
    let ids: Vec<(Asked, u64)> = ids.collect();
    let have_fired = inner.writer.have_fired(&ids).await?;
    let fresh = rows.into_iter().zip(ids).zip(have_fired).filter(|(_, has_fired)| !has_fired);
    let fresh = fresh.map(|(((stored, tag, row), (asked, _)), _)| prepare(inner, stored, tag, row, asked.id));
    let mut events: Vec<Prepared> = fresh.collect();
    events.push(done(scope, due, inner.clocks.wall.now())?);
    inner.writer.fire(events, inner.topics.gate(scope)).await?;
    Ok(lost)
}

/// The event as it appears.
fn prepare(inner: &Inner, stored: &Stored, tag: Tag, mut row: EventRow<'_>, id: Option<IdKey>) -> Prepared {
    row.entityseq = row.subject.map(|_| 0);
    let entity = row.subject.map(|href| inner.writer.index.keys.entity(&tag, href));
    Prepared {
        asked: Asked { id: None, entity },
        told: Told::of(&tag, &row),
        fired_id: id,
        time: Timestamp::from_micros(stored.time),
        payload: row.encode(),
        tag,
        scheduled: None,
    }
}

/// Tells of records that could not be read at start, or that all can be.
async fn tell_of_start(inner: &Arc<Inner>) {
    for (scope, lost) in &inner.writer.delayed.lost {
        let reason = format!("up to {lost} cannot be read since Hob started, and never appear");
        report(inner, scope, (*lost > 0).then_some(reason)).await;
    }
}

async fn report(inner: &Arc<Inner>, scope: &Scope, lost: Option<String>) {
    let active = lost.is_some();
    let lost = lost.map(|lost| format!("of the events held back by notbefore, {lost}; publish them again"));
    let condition = Condition {
        subject: "events/held-back".to_owned(),
        condition: "damaged".to_owned(),
        active,
        reason: lost.unwrap_or_else(|| "every event held back can be read".to_owned()),
        environment: None,
        tenant: None,
    };
    tracing::debug!(%scope, active, reason = condition.reason, "events held back were looked at");
    let bus = Bus { inner: Arc::clone(inner) };
    if let Err(error) = bus.report_condition(Some(scope), condition).await {
        tracing::warn!(%error, %scope, "failed to report how events held back are");
    }
}

/// The record that says which events are done.
fn done(scope: &Scope, due: &[u64], now: Timestamp) -> Result<Prepared, Error> {
    let id = Id::generate(now);
    let data = serde_json::to_vec(due).expect("numbers are JSON");
    let service: Name = "hob".parse().expect("hob is a name");
    let row = EventRow {
        recorded: now,
        id: &id,
        service: service.as_str(),
        is_notice: false,
        kind: DONE,
        entityseq: None,
        notbefore: None,
        subject: None,
        request_id: None,
        traceparent: None,
        entitytag: None,
        source: None,
        content_type: None,
        data_schema: None,
        extensions: Vec::new(),
        data: Some((Form::Json, &data)),
    };
    let tag = delayed_tag(scope)?;
    Ok(Prepared {
        told: Told::of(&tag, &row),
        tag,
        time: now,
        payload: row.encode(),
        asked: Asked { id: None, entity: None },
        fired_id: None,
        scheduled: None,
    })
}
