//! Reads events from the log: which records a filter means, and how a record becomes an event again.

use std::collections::BTreeSet;

use hob_core::{Scope, Timestamp};
use hob_store::{Log, ReadLimits, Stored, Tag};
use hob_wire::{Event, sequence_text};

use crate::model::platform_scope;
use crate::positions::{Positions, tags_for};
use crate::rows::{EventRow, Form};
use crate::{Error, EventPage, Filter};

/// Reads of the log that one page may take; each looks through a bounded number of bytes.
const PAGE_READS_MAX: usize = 4;
/// Payload bytes that one read of the log returns.
const READ_BYTES_MAX: usize = 2 << 20;
/// Records that one read of the log returns when the first has shown that few are meant.
const READ_RECORDS_MAX: usize = 8_000;

/// Reads events for everybody.
pub(crate) struct Reader<'a> {
    pub(crate) log: &'a dyn Log,
    pub(crate) positions: &'a Positions,
}

/// What one look into the log found.
pub(crate) struct Found {
    pub(crate) records: Vec<Stored>,
    /// Everything up to here was looked at.
    pub(crate) upto: u64,
}

impl Reader<'_> {
    pub(crate) async fn page(&self, filter: &Filter, after: u64, limit: usize) -> Result<EventPage, Error> {
        let mut page = EventPage { events: Vec::new(), next: None };
        let mut at = self.start(after);
        let head = self.positions.head();
        let tags = self.tags(filter);
        self.check_kept(at, &tags)?;
        let mut records_max = limit;
        for _ in 0..PAGE_READS_MAX {
            if at >= head {
                return Ok(page);
            }
            let found = self.look(&tags, at, head, records_max, READ_BYTES_MAX).await?;
            records_max = READ_RECORDS_MAX;
            at = found.upto;
            for stored in &found.records {
                let Some(event) = self.event(filter, stored) else { continue };
                page.events.push(event);
                if page.events.len() >= limit.max(1) {
                    page.next = (stored.seq < head).then_some(stored.seq);
                    return Ok(page);
                }
            }
        }
        page.next = (at < head).then_some(at);
        Ok(page)
    }

    /// A reader who names no place begins with the oldest event kept.
    pub(crate) fn start(&self, after: u64) -> u64 {
        if after == 0 { self.log.oldest().saturating_sub(1) } else { after }
    }

    /// Fails when events of one of these tags, right after `after`, are no longer kept.
    pub(crate) fn check_kept(&self, after: u64, _tags: &BTreeSet<Tag>) -> Result<(), Error> {
        let oldest = self.log.oldest();
        if after + 1 < oldest { Err(Error::CursorExpired { after, oldest }) } else { Ok(()) }
    }

    /// The tags that a filter means, as of the head that the caller has read before.
    pub(crate) fn tags(&self, filter: &Filter) -> BTreeSet<Tag> {
        if filter.topics.is_empty() {
            self.positions.tags_of(&filter.scope)
        } else {
            tags_for(&filter.scope, &filter.topics)
        }
    }

    /// Looks for records of these tags after `after`, up to `head`. Looks through a bounded part of the log, or
    /// through none of it when no topic has anything newer.
    pub(crate) async fn look(
        &self,
        tags: &BTreeSet<Tag>,
        after: u64,
        head: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Found, Error> {
        if self.positions.newest(tags) <= after || tags.is_empty() {
            return Ok(Found { records: Vec::new(), upto: head.max(after) });
        }
        let limits = ReadLimits { records_max: records_max.max(1), bytes_max };
        let batch = self.log.read_tagged(after + 1, tags.clone(), limits).await?;
        for gap in &batch.gaps {
            tracing::error!(first = gap.first, last = gap.last, "events are damaged and skipped");
        }
        let mut records = batch.records;
        records.retain(|stored| stored.seq <= head);
        Ok(Found { records, upto: batch.next.saturating_sub(1).min(head).max(after) })
    }

    /// The event of a record, when the filter means it.
    pub(crate) fn event(&self, filter: &Filter, stored: &Stored) -> Option<Event> {
        if !is_within(filter, Timestamp::from_micros(stored.time)) {
            return None;
        }
        let row = decode(stored)?;
        let is_meant =
            |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        if !is_meant(&filter.subject, row.subject)
            || !is_meant(&filter.request_id, row.request_id)
            || !is_meant(&filter.id, Some(row.id))
        {
            return None;
        }
        let (scope, topic) = self.positions.place(&stored.tag)?;
        is_of_type(&filter.types, topic.as_str(), &row).then(|| event_of(scope, topic, stored, &row))
    }

    /// One event, when the scope may see it.
    pub(crate) async fn one(&self, scope: &Scope, sequence: u64) -> Result<Event, Error> {
        let unknown = || Error::EventUnknown { sequence, scope: scope.clone() };
        if sequence == 0 || sequence > self.positions.head() || sequence < self.log.oldest() {
            return Err(unknown());
        }
        let batch = self.log.read(sequence, ReadLimits { records_max: 1, bytes_max: 1 }).await?;
        let stored = batch.records.into_iter().find(|stored| stored.seq == sequence).ok_or_else(unknown)?;
        let (of, topic) = self.positions.place(&stored.tag).ok_or_else(unknown)?;
        if of != *scope && of != platform_scope() {
            return Err(unknown());
        }
        let row = decode(&stored).ok_or_else(unknown)?;
        Ok(event_of(of, topic, &stored, &row))
    }
}

/// The row of a record; one that cannot be understood is told in the log and left out.
pub(crate) fn decode(stored: &Stored) -> Option<EventRow<'_>> {
    let row = EventRow::decode(&stored.payload);
    if row.is_none() {
        tracing::error!(sequence = stored.seq, tag = %stored.tag, "an event cannot be understood and is skipped");
    }
    row
}

/// Whether an event is of one of the types; any will do when there are none.
pub(crate) fn is_of_type(types: &[String], topic: &str, row: &EventRow<'_>) -> bool {
    let is_it = |wanted: &String| match row.is_notice {
        true => wanted.strip_prefix(topic).and_then(|rest| rest.strip_prefix('.')) == Some(row.kind),
        false => wanted == row.kind,
    };
    types.is_empty() || types.iter().any(is_it)
}

fn is_within(filter: &Filter, time: Timestamp) -> bool {
    filter.from.is_none_or(|from| time >= from) && filter.to.is_none_or(|to| time < to)
}

pub(crate) fn event_of(
    scope: Scope,
    topic: hob_core::TopicName,
    stored: &Stored,
    row: &EventRow<'_>,
) -> Event {
    let (data, data_base64) = match row.data {
        None => (None, None),
        Some((Form::Json, json)) => (serde_json::from_slice(json).ok(), None),
        Some((Form::Text, text)) => (Some(String::from_utf8_lossy(text).into_owned().into()), None),
        Some((Form::Bytes, bytes)) => (None, Some(hob_wire::base64_text(bytes))),
    };
    let content_type = row.content_type.or(row.json().map(|_| "application/json"));
    let owned = |text: Option<&str>| text.map(str::to_owned);
    Event {
        specversion: "1.0".to_owned(),
        id: row.id.to_owned(),
        source: owned(row.source).unwrap_or_else(|| format!("/services/{}", row.service)),
        kind: if row.is_notice { format!("{topic}.{}", row.kind) } else { row.kind.to_owned() },
        subject: owned(row.subject),
        time: Timestamp::from_micros(stored.time),
        datacontenttype: owned(content_type),
        dataschema: owned(row.data_schema),
        data,
        data_base64,
        topic,
        sequence: sequence_text(stored.seq),
        recordedtime: row.recorded,
        requestid: owned(row.request_id),
        traceparent: owned(row.traceparent),
        entityseq: row.entityseq,
        entitytag: owned(row.entitytag),
        notbefore: row.notbefore,
        environment: scope.environment,
        tenant: scope.tenant,
        extensions: row
            .extensions
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.to_value()))
            .collect(),
    }
}
