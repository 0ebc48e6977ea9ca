//! The event log as its readers see it: the log's own newest part, and before that the sealed parts.
//!
//! When a segment of the log is closed, its range is sealed ([`crate::seal`]): the rows of topics that are kept alike go
//! into one part, the parts become visible together by one key, then the log is trimmed. A reader sees sequences in
//! order wherever they lie. Retention removes whole parts; what a topic lost by that is told by its mark, so that
//! nobody skips events without knowing. A range is in the parts, in the log, or for a moment in both; it is never in
//! neither: whoever finds a part or segment gone looks again.

mod cache;
pub(crate) mod fetch;
mod find;
pub(crate) mod keeper;
pub(crate) mod keys;
mod many;
pub(crate) mod rows;
mod stats;
mod strand;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use futures_util::FutureExt;
use hob_store::{
    AppendError, Appended, Batch, Blobs, BoxFuture, Expected, Gap, Kv, Log, LogStats, ReadError, ReadLimits,
    Record, Store, Tag, TrimError,
};

use crate::Error;
use crate::model::hob_topics;
use crate::rows::{ROW_VERSION, decode_json, encode_json};
use cache::{CACHE_BYTES_MAX, Cache};
pub(crate) use find::{Lost, Order, Query, Sought};
use rows::{MARKS, MarkRow, RANGES, RangeRow, TagCount};
pub use stats::EventLogStats;

/// The events of the log and of its parts, as one log.
pub(crate) struct EventLog {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) blobs: Arc<dyn Blobs>,
    view: RwLock<View>,
    cache: Mutex<Cache>,
    /// One change of the parts at a time.
    pub(crate) changing: tokio::sync::Mutex<()>,
    /// The disk has so little room that events are refused.
    is_full: AtomicBool,
    /// Superseded events that compaction removed since the bus was opened.
    pub(crate) compacted: AtomicU64,
}

/// What there is, at one moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct View {
    /// Sealed ranges, oldest first.
    pub(crate) ranges: Arc<Vec<Arc<RangeRow>>>,
    pub(crate) marks: Arc<HashMap<Tag, MarkRow>>,
}

impl View {
    /// Everything up to here is sealed.
    pub(crate) fn sealed(&self) -> u64 {
        self.ranges.last().map_or(0, |range| range.last)
    }

    /// Up to where a topic's events are gone.
    pub(crate) fn mark(&self, tag: &Tag) -> u64 {
        self.marks.get(tag).map_or(0, |mark| mark.upto)
    }
}

impl EventLog {
    /// Reads what is known about parts, and trims from the log what a crash left there after it was sealed.
    pub(crate) async fn open(store: &Store) -> Result<Arc<Self>, Error> {
        let (log, kv, blobs) = (Arc::clone(&store.events), Arc::clone(&store.kv), Arc::clone(&store.blobs));
        let mut ranges: Vec<Arc<RangeRow>> = Vec::new();
        for entry in kv.list(RANGES).await?.entries {
            ranges.push(Arc::new(decode_json(&entry.key, &entry.value)?));
        }
        let mut marks = HashMap::new();
        for entry in kv.list(MARKS).await?.entries {
            let tag = entry.key.strip_prefix(MARKS).and_then(|text| Tag::new(text).ok());
            marks.extend(tag.zip(decode_json(&entry.key, &entry.value).ok()));
        }
        let view = View { ranges: Arc::new(ranges), marks: Arc::new(marks) };
        let sealed = view.sealed();
        let events = Arc::new(Self {
            log,
            kv,
            blobs,
            view: RwLock::new(view),
            cache: Mutex::new(Cache::new(CACHE_BYTES_MAX)),
            changing: tokio::sync::Mutex::default(),
            is_full: AtomicBool::new(false),
            compacted: AtomicU64::new(0),
        });
        if sealed >= events.log.oldest()
            && let Err(error) = events.log.trim(sealed + 1).await
        {
            tracing::warn!(%error, "sealed segments could not be removed; this is tried again");
        }
        Ok(events)
    }

    pub(crate) fn view(&self) -> View {
        self.view.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Replaces a range, or adds the next one, or leaves one without parts out: on disk, then for readers.
    pub(crate) async fn put_range(&self, row: RangeRow) -> Result<(), Error> {
        let key = row.key();
        if row.parts.is_empty() && row.last < self.view().sealed() {
            self.kv.delete(&key, Expected::Any).await?;
        } else {
            self.kv.put(&key, Expected::Any, Bytes::from(encode_json(&row))).await?;
        }
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut ranges: Vec<_> =
            view.ranges.iter().filter(|range| range.first != row.first).cloned().collect();
        if !row.parts.is_empty() || ranges.last().is_none_or(|last| last.last < row.last) {
            let at = ranges.partition_point(|range| range.first < row.first);
            ranges.insert(at, Arc::new(row));
        }
        view.ranges = Arc::new(ranges);
        Ok(())
    }

    /// Moves a topic's mark: on disk, then for readers. Never back.
    pub(crate) async fn mark(&self, tag: &Tag, upto: u64, lost: &TagCount) -> Result<(), Error> {
        let known = self.view().marks.get(tag).copied().unwrap_or_default();
        if known.upto >= upto {
            return Ok(());
        }
        let (events, bytes) = (known.events + lost.rows, known.bytes + lost.bytes);
        let row = MarkRow { version: ROW_VERSION, upto, events, bytes };
        self.kv.put(&format!("{MARKS}{tag}"), Expected::Any, Bytes::from(encode_json(&row))).await?;
        let mut view = self.view.write().unwrap_or_else(PoisonError::into_inner);
        let mut marks = HashMap::clone(&view.marks);
        marks.insert(tag.clone(), row);
        view.marks = Arc::new(marks);
        Ok(())
    }

    /// The newest durable sequence.
    pub(crate) fn head(&self) -> u64 {
        self.log.head()
    }

    /// The oldest sequence that is kept of any topic.
    pub(crate) fn oldest(&self) -> u64 {
        let first = |range: &Arc<RangeRow>| range.parts.iter().map(|part| part.first).min();
        self.view().ranges.iter().find_map(first).unwrap_or_else(|| self.log.oldest())
    }

    /// Up to where events of each of these topics are gone by retention; topics that lost none are left out.
    pub(crate) fn marks<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) -> BTreeMap<Tag, u64> {
        let view = self.view();
        tags.into_iter().map(|tag| (tag.clone(), view.mark(tag))).filter(|(_, upto)| *upto > 0).collect()
    }

    /// Events that retention removed, of all topics, and their bytes.
    pub(crate) fn expired(&self) -> (u64, u64) {
        let view = self.view();
        view.marks.values().fold((0, 0), |(events, bytes), mark| (events + mark.events, bytes + mark.bytes))
    }

    /// Refuses events from now on, or takes them again. Says whether that is a change.
    pub(crate) fn set_full(&self, is_full: bool) -> bool {
        self.is_full.swap(is_full, Ordering::Relaxed) != is_full
    }

    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// What keeps the last room of the disk for the keys, and for telling that it is full.
    fn check_room(&self, records: &[Record]) -> Result<(), AppendError> {
        let is_condition =
            |record: &Record| record.tag.as_str().rsplit('/').next() == Some(hob_topics::CONDITIONS);
        if !self.is_full() || records.iter().all(is_condition) {
            return Ok(());
        }
        let source = Arc::new(io::Error::from(io::ErrorKind::StorageFull));
        Err(AppendError::Full { path: PathBuf::from("log/events"), source })
    }

    async fn read_rising(
        &self,
        from: u64,
        tags: Option<BTreeSet<Tag>>,
        limits: ReadLimits,
    ) -> Result<Batch, ReadError> {
        let query = Query { tags: tags.as_ref(), ..Query::default() };
        let Sought { records, lost, next, head } = self.find(&query, Order::Rising, from, limits).await?;
        Ok(Batch { records, gaps: lost.into_iter().map(|lost| lost.gap).collect(), next, head })
    }
}

impl Log for EventLog {
    fn append(&self, records: Vec<Record>) -> BoxFuture<'_, Result<Appended, AppendError>> {
        match self.check_room(&records) {
            Ok(()) => self.log.append(records),
            Err(error) => async move { Err(error) }.boxed(),
        }
    }

    fn try_append(&self, records: Vec<Record>) -> Result<Appended, AppendError> {
        self.check_room(&records)?;
        self.log.try_append(records)
    }

    fn read(&self, from: u64, limits: ReadLimits) -> BoxFuture<'_, Result<Batch, ReadError>> {
        self.read_rising(from, None, limits).boxed()
    }

    fn read_tagged(
        &self,
        from: u64,
        tags: BTreeSet<Tag>,
        limits: ReadLimits,
    ) -> BoxFuture<'_, Result<Batch, ReadError>> {
        self.read_rising(from, Some(tags), limits).boxed()
    }

    fn head(&self) -> u64 {
        EventLog::head(self)
    }

    fn oldest(&self) -> u64 {
        EventLog::oldest(self)
    }

    fn wait(&self, after: u64) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.log.wait(after)
    }

    fn trim(&self, before: u64) -> BoxFuture<'_, Result<u64, TrimError>> {
        self.log.trim(before)
    }

    fn closed(&self) -> Vec<Gap> {
        self.log.closed()
    }

    fn close_active(&self) -> BoxFuture<'_, Result<(), AppendError>> {
        self.log.close_active()
    }

    /// Those of the log, with the bytes, the oldest sequence and the damage of the parts.
    fn stats(&self) -> LogStats {
        let (view, stats) = (self.view(), self.log.stats());
        let sizes = view.ranges.iter().flat_map(|range| &range.parts).map(|part| part.size);
        let bytes = stats.bytes + sizes.sum::<u64>();
        let mut quarantined: Vec<Gap> = view.ranges.iter().flat_map(|range| range.gaps()).collect();
        quarantined.extend(&stats.quarantined);
        quarantined.sort();
        LogStats { bytes, oldest: EventLog::oldest(self), quarantined, ..stats }
    }
}
