//! What a publisher does for itself: its events are checked and encoded before the combiner sees them, but for the
//! count of the entity, which only the combiner knows.

use std::borrow::Cow;

use hob_core::limits::PUBLISH_BATCH_MAX;
use hob_core::{Id, Timestamp};
use hob_store::{APPEND_BYTES_MAX, Record, Tag};
use hob_wire::Payload;

use super::{Order, OrderedEvent};
use crate::Error;
use crate::check::{check, short_kind};
use crate::delayed::{Scheduled, delayed_tag, topic_member};
use crate::index::{Asked, IdKey, Keys, Remembered, Told};
use crate::rows::{EventRow, Form, id_space, set_entityseq};

/// A checked and encoded event with its keys.
pub(crate) struct Prepared {
    pub(crate) tag: Tag,
    pub(crate) time: Timestamp,
    pub(crate) payload: Vec<u8>,
    pub(crate) asked: Asked,
    pub(crate) told: Told,
    /// The id under which it is remembered, when that is not the one that was asked about.
    pub(crate) fired_id: Option<IdKey>,
    /// When it is held back, for what.
    pub(crate) scheduled: Option<Scheduled>,
}

/// A prepared event without what was asked about it.
pub(super) struct Encoded {
    tag: Tag,
    time: Timestamp,
    payload: Vec<u8>,
    told: Told,
    fired_id: Option<IdKey>,
    pub(super) scheduled: Option<Scheduled>,
}

impl Prepared {
    /// Bytes of its record.
    pub(super) fn bytes(&self) -> usize {
        self.payload.len() + self.tag.as_str().len()
    }

    pub(super) fn split(self) -> (Asked, Encoded) {
        let Self { tag, time, payload, asked, told, fired_id, scheduled } = self;
        (asked, Encoded { tag, time, payload, told, fired_id, scheduled })
    }
}

impl Encoded {
    /// The record, with the count of its entity, and what it leaves behind in the index.
    pub(super) fn into_record(self, entityseq: Option<u64>, asked: Asked) -> (Record, Remembered) {
        let Self { tag, time, mut payload, told, fired_id, .. } = self;
        if let Some(entityseq) = entityseq {
            set_entityseq(&mut payload, entityseq);
        }
        let remembered = told.remembered(entityseq, Asked { id: fired_id.or(asked.id), ..asked });
        (Record { tag, time: time.as_micros(), payload: payload.into() }, remembered)
    }
}

/// Checks a batch as a whole and each event of it, and encodes it. Gives also the bytes that it will have.
pub(super) fn prepare(order: &Order<'_>, keys: &Keys) -> Result<(Vec<Prepared>, usize), Error> {
    let events = order.events.len();
    let refuse = |bytes, problem: String| Err(Error::BadBatch { events, bytes, problem });
    if events == 0 {
        return refuse(0, "there is no event; send at least one".to_owned());
    }
    if events > PUBLISH_BATCH_MAX {
        return refuse(0, format!("the limit is {PUBLISH_BATCH_MAX} events"));
    }
    let flaws = check(order.events.iter().map(|event| (&*event.outlet, event.now, &event.incoming)));
    if !flaws.is_empty() {
        return Err(Error::BadEvents { events, flaws });
    }
    let scope = order.scope.to_string();
    let prepared: Vec<_> =
        order.events.iter().map(|event| prepare_one(event, &scope, order, keys)).collect::<Result<_, _>>()?;
    let bytes = prepared.iter().map(Prepared::bytes).sum();
    if bytes > APPEND_BYTES_MAX && events > 1 {
        return refuse(bytes, format!("the limit is {APPEND_BYTES_MAX} bytes"));
    }
    Ok((prepared, bytes))
}

fn prepare_one(
    event: &OrderedEvent<'_>,
    scope: &str,
    order: &Order<'_>,
    keys: &Keys,
) -> Result<Prepared, Error> {
    let OrderedEvent { outlet, now, incoming } = event;
    let service = order.service.as_str();
    let id = match &incoming.id {
        Some(id) => Cow::Borrowed(&**id),
        None => Cow::Owned(Id::generate(order.recorded)),
    };
    let own = |source: &str| source.strip_prefix("/services/") == Some(service);
    let source = incoming.source.as_deref().filter(|source| !own(source));
    let subject = incoming.subject.as_deref();
    let held_back = incoming.notbefore.filter(|notbefore| notbefore > now);
    let row = EventRow {
        recorded: order.recorded,
        id: &id,
        service,
        is_notice: outlet.terms.is_notice(),
        kind: short_kind(outlet, &incoming.kind),
        // What is held back is counted when it appears.
        entityseq: subject.filter(|_| held_back.is_none()).map(|_| 0),
        notbefore: incoming.notbefore,
        subject,
        request_id: incoming.requestid.as_deref().or(order.request_id),
        traceparent: incoming.traceparent.as_deref().or(order.traceparent),
        entitytag: incoming.entitytag.as_deref(),
        source,
        content_type: incoming.content_type.as_deref().filter(|_| incoming.data.is_some()),
        data_schema: incoming.data_schema.as_deref(),
        extensions: incoming
            .extensions
            .iter()
            .map(|(name, value)| (&**name, value.clone()))
            .chain(held_back.map(|_| topic_member(&outlet.topic)))
            .collect(),
        data: incoming.data.as_ref().map(|data| (form(data), data.as_bytes())),
    };
    let tag = if held_back.is_some() { delayed_tag(order.scope)? } else { outlet.tag.clone() };
    let is_known_by_id = incoming.id.is_some() || held_back.is_some();
    Ok(Prepared {
        time: incoming.time.or(held_back).unwrap_or(*now),
        payload: row.encode(),
        asked: Asked {
            // Nobody else can have used an id that Hob makes; one that is held back must be known when it is due.
            id: is_known_by_id.then(|| keys.id(scope, &id_space(service, source), &id)),
            entity: subject.filter(|_| held_back.is_none()).map(|href| keys.entity(&outlet.tag, href)),
        },
        told: Told::of(&tag, &row),
        fired_id: None,
        tag,
        scheduled: held_back.map(|notbefore| Scheduled {
            scope: order.scope.clone(),
            topic: outlet.topic.clone(),
            notbefore,
        }),
    })
}

fn form(data: &Payload<'_>) -> Form {
    match data {
        Payload::Json(_) => Form::Json,
        Payload::Text(_) => Form::Text,
        Payload::Bytes(_) => Form::Bytes,
    }
}
