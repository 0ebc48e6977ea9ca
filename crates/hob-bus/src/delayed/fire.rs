//! Appends events to their topics when their time has come.

use std::sync::Weak;
use std::time::Duration;

use hob_core::{Id, Name, Scope, Timestamp};
use hob_store::{Log as _, ReadLimits};

use super::{DONE, delayed_tag, take_topic};
use crate::Error;
use crate::handle::Inner;
use crate::index::Asked;
use crate::positions::tag_of;
use crate::publish::Prepared;
use crate::rows::{EventRow, Form};

/// How often clocks are looked at while something waits.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Events that one turn appends.
const TURN_MAX: usize = 200;

/// Looks for due events until the bus is gone or closed.
pub(crate) async fn run(inner: Weak<Inner>) {
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
        drop(strong);
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

async fn fire(inner: &Inner, scope: &Scope) -> Result<(), Error> {
    let now = inner.clocks.now(scope);
    loop {
        let due = inner.writer.delayed.lock().take_due(scope, now, TURN_MAX);
        if due.is_empty() {
            return Ok(());
        }
        let fired = append(inner, scope, &due).await;
        let mut state = inner.writer.delayed.lock();
        match fired {
            Ok(()) => due.iter().for_each(|sequence| state.done(scope, *sequence)),
            Err(error) => {
                state.put_back(scope, &due);
                return Err(error);
            }
        }
    }
}

async fn append(inner: &Inner, scope: &Scope, due: &[u64]) -> Result<(), Error> {
    let mut events = Vec::with_capacity(due.len() + 1);
    for sequence in due {
        events.extend(prepare(inner, scope, *sequence).await?);
    }
    events.push(done(scope, due, inner.clocks.wall.now())?);
    inner.writer.fire(events, inner.topics.gate(scope)).await
}

/// The event as it appears; none when it has appeared already, or cannot be read.
async fn prepare(inner: &Inner, scope: &Scope, sequence: u64) -> Result<Option<Prepared>, Error> {
    let one = ReadLimits { records_max: 1, bytes_max: 1 };
    let batch = inner.events.read(sequence, one).await?;
    let stored = batch.records.into_iter().find(|stored| stored.seq == sequence);
    let row = stored.as_ref().and_then(|stored| EventRow::decode(&stored.payload));
    let topic_and_row = row.and_then(|mut row| Some((take_topic(&mut row)?, row)));
    let Some((stored, (topic, mut row))) = stored.as_ref().zip(topic_and_row) else {
        tracing::error!(sequence, %scope, "an event that was held back cannot be read and is left out");
        return Ok(None);
    };
    let tag = tag_of(scope, &topic)?;
    row.entityseq = row.subject.map(|_| 0);
    let keys = &inner.writer.index.keys;
    let id = keys.id(&scope.to_string(), &row.id_space(), row.id);
    if inner.writer.has_fired(&Asked { id: Some(id), entity: None }, sequence).await? {
        return Ok(None);
    }
    Ok(Some(Prepared {
        asked: Asked { id: None, entity: row.subject.map(|href| keys.entity(&tag, href)) },
        fired_id: Some(id),
        time: Timestamp::from_micros(stored.time),
        payload: row.encode(),
        tag,
        scheduled: None,
    }))
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
    Ok(Prepared {
        tag: delayed_tag(scope)?,
        time: now,
        payload: row.encode(),
        asked: Asked { id: None, entity: None },
        fired_id: None,
        scheduled: None,
    })
}
