//! Reads events from the log: which records a filter means, and how a record becomes an event again.

use std::collections::{BTreeMap, BTreeSet};

use hob_core::{Scope, Timestamp, TopicName};
use hob_store::{Log, ReadLimits, Stored, Tag};
use hob_wire::{Event, sequence_text};

use crate::model::platform_scope;
use crate::parts::keys::{Kind, key};
use crate::parts::{EventLog, Lost, Order, Query};
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
    pub(crate) log: &'a EventLog,
    pub(crate) positions: &'a Positions,
}

/// What one look into the log found.
pub(crate) struct Found {
    pub(crate) records: Vec<Stored>,
    /// Everything up to here was looked at.
    pub(crate) upto: u64,
    /// What could not be read of it.
    pub(crate) lost: Vec<Lost>,
}

impl Reader<'_> {
    /// Events after a sequence, oldest first. What topics no longer keep is left out, unless none of the topics keeps
    /// anything from there on: then the place is told to be gone.
    pub(crate) async fn page(&self, filter: &Filter, after: u64, limit: usize) -> Result<EventPage, Error> {
        let mut page = EventPage { events: Vec::new(), next: None };
        let mut at = self.start(after);
        let head = self.positions.head();
        let tags = self.tags(filter);
        if after > 0 {
            self.check_any_kept(at, &tags)?;
        }
        let mut records_max = limit;
        for _ in 0..PAGE_READS_MAX {
            if at >= head {
                return Ok(page);
            }
            let found = self.look_for(filter, &tags, at, head, records_max).await?;
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

    /// Events before a sequence, or from the newest, newest first.
    pub(crate) async fn page_back(
        &self,
        filter: &Filter,
        before: Option<u64>,
        limit: usize,
    ) -> Result<EventPage, Error> {
        let mut page = EventPage { events: Vec::new(), next: None };
        let newest = self.positions.head() + 1;
        let mut at = before.unwrap_or(newest).min(newest);
        let tags = self.tags(filter);
        let keys = keys_of(filter);
        let query = Query { tags: Some(&tags), keys: &keys, times: times_of(filter) };
        let mut records_max = limit.max(1);
        for _ in 0..PAGE_READS_MAX {
            let limits = ReadLimits { records_max, bytes_max: READ_BYTES_MAX };
            if at <= self.log.oldest() || tags.is_empty() {
                return Ok(page);
            }
            let batch = self.log.find(&query, Order::Falling, at, limits).await?;
            warn_of(&batch.lost);
            records_max = READ_RECORDS_MAX;
            at = batch.next.min(at);
            for stored in &batch.records {
                let Some(event) = self.event(filter, stored) else { continue };
                page.events.push(event);
                if page.events.len() >= limit.max(1) {
                    page.next = (stored.seq > self.log.oldest()).then_some(stored.seq);
                    return Ok(page);
                }
            }
        }
        page.next = (at > self.log.oldest()).then_some(at);
        Ok(page)
    }

    /// A reader who names no place begins with the oldest event kept.
    pub(crate) fn start(&self, after: u64) -> u64 {
        if after == 0 { self.log.oldest().saturating_sub(1) } else { after }
    }

    /// Fails when events of one of these tags, after `after`, are no longer kept. The `forgone` marks tell up to where
    /// topics had lost events already when the reader began: nothing that it misses.
    pub(crate) fn check_kept_but(
        &self,
        after: u64,
        tags: &BTreeSet<Tag>,
        forgone: &BTreeMap<String, u64>,
    ) -> Result<(), Error> {
        let marks = self.log.marks(tags);
        let known = |tag: &Tag| forgone.get(tag.as_str()).copied().unwrap_or(0);
        if !marks.iter().any(|(tag, upto)| *upto > after.max(known(tag))) {
            return Ok(());
        }
        let oldest = marks.values().copied().max().unwrap_or(0) + 1;
        Err(Error::CursorExpired { after, oldest })
    }

    /// What these topics have lost by now, by tag: for a reader who begins with what is there.
    pub(crate) fn forgone(&self, tags: &BTreeSet<Tag>) -> BTreeMap<String, u64> {
        self.log.marks(tags).into_iter().map(|(tag, upto)| (tag.as_str().to_owned(), upto)).collect()
    }

    /// Fails when every one of these topics has lost what came right after `after`.
    fn check_any_kept(&self, after: u64, tags: &BTreeSet<Tag>) -> Result<(), Error> {
        let marks = self.log.marks(tags);
        let kept_from = tags.iter().map(|tag| marks.get(tag).copied().unwrap_or(0)).min().unwrap_or(0);
        if kept_from <= after {
            return Ok(());
        }
        Err(Error::CursorExpired { after, oldest: kept_from + 1 })
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
    /// through none of it when no topic has anything newer. Leaves out what is no longer kept: who must not miss that
    /// asks [`Reader::check_kept_but`] afterwards.
    pub(crate) async fn look(
        &self,
        tags: &BTreeSet<Tag>,
        after: u64,
        head: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Found, Error> {
        let query = Query { tags: Some(tags), ..Query::default() };
        self.look_by(&query, after, head, ReadLimits { records_max: records_max.max(1), bytes_max }).await
    }

    /// The same for what a filter means: passes over parts that cannot have it.
    async fn look_for(
        &self,
        filter: &Filter,
        tags: &BTreeSet<Tag>,
        after: u64,
        head: u64,
        records_max: usize,
    ) -> Result<Found, Error> {
        let keys = keys_of(filter);
        let query = Query { tags: Some(tags), keys: &keys, times: times_of(filter) };
        let limits = ReadLimits { records_max: records_max.max(1), bytes_max: READ_BYTES_MAX };
        self.look_by(&query, after, head, limits).await
    }

    async fn look_by(
        &self,
        query: &Query<'_>,
        after: u64,
        head: u64,
        limits: ReadLimits,
    ) -> Result<Found, Error> {
        if query.tags.is_some_and(|tags| self.positions.newest(tags) <= after || tags.is_empty()) {
            return Ok(Found { records: Vec::new(), upto: head.max(after), lost: Vec::new() });
        }
        let batch = self.log.find(query, Order::Rising, after + 1, limits).await?;
        warn_of(&batch.lost);
        let mut records = batch.records;
        records.retain(|stored| stored.seq <= head);
        let upto = batch.next.saturating_sub(1).min(head).max(after);
        Ok(Found { records, upto, lost: batch.lost })
    }

    /// The event of a record, when the filter means it.
    pub(crate) fn event(&self, filter: &Filter, stored: &Stored) -> Option<Event> {
        let row = decode(stored)?;
        let (scope, topic) = self.positions.place(&stored.tag)?;
        is_meant(filter, &topic, stored, &row).then(|| event_of(scope, topic, stored, &row))
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

fn warn_of(lost: &[Lost]) {
    for Lost { gap, .. } in lost {
        tracing::error!(first = gap.first, last = gap.last, "events are damaged and skipped");
    }
}

/// The keys that every event has that a filter means.
fn keys_of(filter: &Filter) -> Vec<u64> {
    let named =
        [(Kind::Subject, &filter.subject), (Kind::Request, &filter.request_id), (Kind::Id, &filter.id)];
    named.into_iter().filter_map(|(kind, text)| Some(key(kind, text.as_deref()?))).collect()
}

/// The times that a filter means, both included.
fn times_of(filter: &Filter) -> (i64, i64) {
    let from = filter.from.map_or(i64::MIN, Timestamp::as_micros);
    (from, filter.to.map_or(i64::MAX, |to| to.as_micros().saturating_sub(1)))
}

/// The row of a record; one that cannot be understood is told in the log and left out.
pub(crate) fn decode(stored: &Stored) -> Option<EventRow<'_>> {
    let row = EventRow::decode(&stored.payload);
    if row.is_none() {
        tracing::error!(sequence = stored.seq, tag = %stored.tag, "an event cannot be understood and is skipped");
    }
    row
}

/// Whether a filter means the event of a record, which is on one of its topics.
pub(crate) fn is_meant(filter: &Filter, topic: &TopicName, stored: &Stored, row: &EventRow<'_>) -> bool {
    let is_it = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
    is_within(filter, Timestamp::from_micros(stored.time))
        && is_it(&filter.subject, row.subject)
        && is_it(&filter.request_id, row.request_id)
        && is_it(&filter.id, Some(row.id))
        && is_of_type(&filter.types, topic.as_str(), row)
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

pub(crate) fn event_of(scope: Scope, topic: TopicName, stored: &Stored, row: &EventRow<'_>) -> Event {
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
