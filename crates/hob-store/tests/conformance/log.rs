//! What every log promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_store::{
    APPEND_RECORDS_MAX, AppendError, Batch, Log, LogOptions, RECORD_BYTES_MAX, ReadError, ReadLimits, Record,
    SegmentedLog, Stored, SyncPolicy, Tag,
};

const SEGMENT_BYTES: u64 = 4096;

fn memory() -> LogOptions {
    LogOptions { segment_bytes: SEGMENT_BYTES, ..LogOptions::default() }
}

fn disk() -> LogOptions {
    LogOptions { tail_bytes_max: 0, ..memory() }
}

fn tiny() -> LogOptions {
    LogOptions { segment_bytes: 0, ..disk() }
}

fn late() -> LogOptions {
    LogOptions { sync: SyncPolicy::Every(Duration::from_millis(5)), ..memory() }
}

fn open(directory: &Path, options: LogOptions) -> Arc<dyn Log> {
    Arc::new(SegmentedLog::open(directory, options).unwrap())
}

fn record(tag: &str, payload: impl Into<Bytes>) -> Record {
    Record { tag: Tag::new(tag).unwrap(), time: -5, payload: payload.into() }
}

async fn append(log: &Arc<dyn Log>, records: Vec<Record>) -> (u64, u64) {
    let appended = log.append(records).await.unwrap();
    appended.durable.await.unwrap();
    (appended.first, appended.last)
}

async fn read_all(log: &Arc<dyn Log>, limits: ReadLimits) -> Vec<Stored> {
    let mut records = Vec::new();
    let mut from = 1;
    while from <= log.head() {
        let batch = log.read(from, limits).await.unwrap();
        assert!(batch.next > from && batch.gaps.is_empty(), "a read moves on: {batch:?}");
        records.extend(batch.records);
        from = batch.next;
    }
    records
}

async fn keeps_order_and_content(log: Arc<dyn Log>) {
    assert_eq!((log.head(), log.oldest()), (0, 1));
    let empty = log.read(1, ReadLimits::default()).await.unwrap();
    assert_eq!(empty, Batch { next: 1, ..Batch::default() });
    let mut expected = Vec::new();
    for round in 0_u64..40 {
        let size = if round == 20 { RECORD_BYTES_MAX } else { round as usize * 13 };
        let batch: Vec<_> = (0..3).map(|n| record(["a", "b/c", "ä"][n], vec![round as u8; size])).collect();
        let first = expected.len() as u64 + 1;
        assert_eq!(append(&log, batch.clone()).await, (first, first + 2));
        expected.extend(batch.into_iter().zip(first..).map(|(record, seq)| Stored {
            seq,
            tag: record.tag,
            time: record.time,
            payload: record.payload,
        }));
        assert_eq!(log.head(), first + 2);
    }
    for limits in [
        ReadLimits::default(),
        ReadLimits { records_max: 1, bytes_max: 1 },
        ReadLimits { records_max: 7, bytes_max: 600 },
    ] {
        assert!(read_all(&log, limits).await == expected, "the same is read with {limits:?}");
    }
    let batch = log.read(10, ReadLimits { records_max: 2, ..ReadLimits::default() }).await.unwrap();
    assert_eq!((batch.records[0].seq, batch.records.len(), batch.next), (10, 2, 12));
    let future = log.read(1000, ReadLimits::default()).await.unwrap();
    assert_eq!((future.records.len(), future.next, future.head), (0, 1000, 120));
}

async fn filters_by_tag(log: Arc<dyn Log>) {
    for n in 0_u8..200 {
        let tag = if n % 50 == 7 { "rare" } else { "often" };
        append(&log, vec![record(tag, vec![n; 200])]).await;
    }
    let wanted = BTreeSet::from([Tag::new("rare").unwrap(), Tag::new("absent").unwrap()]);
    let mut found = Vec::new();
    let mut from = 1;
    while from <= log.head() {
        let limits = ReadLimits { records_max: 3, ..ReadLimits::default() };
        let batch = log.read_tagged(from, wanted.clone(), limits).await.unwrap();
        found.extend(batch.records.iter().map(|stored| stored.seq));
        from = batch.next;
    }
    assert_eq!(found, [8, 58, 108, 158]);
}

async fn refuses_what_is_over_a_limit(log: Arc<dyn Log>) {
    let too_large = |error| matches!(error, AppendError::TooLarge { .. });
    let append = |records| log.try_append(records).unwrap_err();
    assert!(matches!(append(vec![]), AppendError::Empty));
    assert!(too_large(append(vec![record("a", vec![0; RECORD_BYTES_MAX + 1])])));
    assert!(too_large(append(vec![record("a", ""); APPEND_RECORDS_MAX + 1])));
    assert!(too_large(append(vec![record("a", vec![0; RECORD_BYTES_MAX]); 5])));
    assert!(Tag::new("").is_err() && Tag::new(&"x".repeat(129)).is_err());
    let appended = log.append(vec![record("a", "fine")]).await.unwrap();
    assert_eq!((appended.first, appended.last), (1, 1));
    appended.durable.await.unwrap();
}

async fn wakes_whoever_waits_for_the_tail(log: Arc<dyn Log>) {
    let waiting = tokio::spawn({
        let log = Arc::clone(&log);
        async move { log.wait(2).await }
    });
    append(&log, vec![record("a", "1"), record("a", "2")]).await;
    assert_eq!(log.wait(0).await.unwrap(), 2);
    assert_eq!(log.wait(1).await.unwrap(), 2);
    append(&log, vec![record("a", "3")]).await;
    assert_eq!(waiting.await.unwrap().unwrap(), 3);
}

async fn trims_what_is_old(log: Arc<dyn Log>) {
    for n in 0_u8..100 {
        append(&log, vec![record("a", vec![n; 300])]).await;
    }
    let before = log.stats();
    assert_eq!(log.trim(1).await.unwrap(), 1);
    let oldest = log.trim(60).await.unwrap();
    assert!(oldest > 1 && oldest <= 60, "{oldest}");
    assert_eq!(log.oldest(), oldest);
    let after = log.stats();
    assert!(after.bytes < before.bytes && after.segments < before.segments);
    let error = log.read(oldest - 1, ReadLimits::default()).await.unwrap_err();
    assert!(matches!(error, ReadError::Trimmed { oldest: o, .. } if o == oldest));
    let batch = log.read(oldest, ReadLimits::default()).await.unwrap();
    assert_eq!((batch.records[0].seq, batch.next), (oldest, 101));
    log.trim(1_000).await.unwrap();
    assert_eq!((log.head(), append(&log, vec![record("a", "")]).await), (100, (101, 101)));
}

async fn closes_what_can_be_trimmed_whole(log: Arc<dyn Log>) {
    log.close_active().await.unwrap();
    assert_eq!(log.closed(), vec![], "a file without records is not closed");
    for n in 0_u8..100 {
        append(&log, vec![record("a", vec![n; 300])]).await;
    }
    log.close_active().await.unwrap();
    let closed = log.closed();
    assert_eq!((closed[0].first, closed[closed.len() - 1].last), (1, 100));
    assert!(closed.windows(2).all(|pair| pair[0].last + 1 == pair[1].first));
    let appended = log.append(vec![record("a", "next")]).await.unwrap();
    log.close_active().await.unwrap();
    appended.durable.await.unwrap();
    append(&log, vec![record("a", "last")]).await;
    assert_eq!(log.trim(closed[closed.len() - 1].last + 1).await.unwrap(), 101);
    let batch = log.read(101, ReadLimits::default()).await.unwrap();
    assert_eq!(batch.records.iter().map(|stored| stored.seq).collect::<Vec<_>>(), [101, 102]);
}

async fn gathers_commits(log: Arc<dyn Log>) {
    let durable: Vec<_> =
        (0..1000).map(|_| log.try_append(vec![record("a", vec![1; 100])]).unwrap()).collect();
    for (appended, seq) in durable.into_iter().zip(1..) {
        assert_eq!(appended.first, seq);
        appended.durable.await.unwrap();
    }
    let stats = log.stats();
    assert_eq!(stats.head, 1000);
    assert!(stats.syncs < 500, "1000 appends in flight shared {} syncs", stats.syncs);
}

async fn says_busy_instead_of_growing(log: Arc<dyn Log>) {
    let batch = vec![record("a", vec![1; RECORD_BYTES_MAX]); 3];
    let mut accepted = Vec::new();
    let refused = loop {
        match log.try_append(batch.clone()) {
            Ok(appended) => accepted.push(appended),
            Err(error) => break error,
        }
        assert!(accepted.len() < 1000, "the queue has a limit");
    };
    assert!(matches!(refused, AppendError::Busy { .. }));
    let waited = log.append(batch).await.unwrap();
    assert_eq!(waited.first, accepted.last().unwrap().last + 1);
    waited.durable.await.unwrap();
}

async fn many_publishers_keep_their_order(log: Arc<dyn Log>) {
    let publishers = (0..8_u8).map(|publisher| {
        let log = Arc::clone(&log);
        tokio::spawn(async move {
            let mut last = 0;
            for n in 0..20_u8 {
                let (first, _) = append(&log, vec![record("a", vec![publisher, n])]).await;
                assert!(first > last);
                last = first;
            }
        })
    });
    for publisher in publishers.collect::<Vec<_>>() {
        publisher.await.unwrap();
    }
    let records = read_all(&log, ReadLimits::default()).await;
    assert!(records.iter().map(|stored| stored.seq).eq(1..=160));
    for publisher in 0..8 {
        let own = records.iter().filter(|stored| stored.payload[0] == publisher);
        assert!(own.map(|stored| stored.payload[1]).eq(0..20));
    }
}

macro_rules! promises {
    ($($promise:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $promise() {
            for options in [memory(), disk(), tiny(), late()] {
                let directory = tempfile::tempdir().unwrap();
                super::$promise(open(directory.path(), options)).await;
            }
        }
    )*};
}

mod segmented {
    use super::*;

    promises!(
        keeps_order_and_content,
        filters_by_tag,
        refuses_what_is_over_a_limit,
        wakes_whoever_waits_for_the_tail,
        trims_what_is_old,
        closes_what_can_be_trimmed_whole,
        gathers_commits,
        says_busy_instead_of_growing,
        many_publishers_keep_their_order,
    );

    #[tokio::test]
    async fn what_was_durable_is_there_after_reopening() {
        let directory = tempfile::tempdir().unwrap();
        for round in 0_u64..5 {
            let log = open(directory.path(), memory());
            assert_eq!(log.head(), round * 30);
            for n in 0..30_u8 {
                append(&log, vec![record("t", vec![n; 100])]).await;
            }
            drop(log.append(vec![record("t", "queued, then the log is dropped")]).await.unwrap());
            drop(log);
            let log = open(directory.path(), memory());
            assert_eq!((log.stats().torn_bytes, log.stats().quarantined), (0, vec![]));
            assert_eq!(read_all(&log, ReadLimits::default()).await.len() as u64, round * 30 + 31);
            drop(log);
            trim_last(directory.path());
        }
    }

    /// Cuts the last record off, so that the rounds stay even.
    fn trim_last(directory: &Path) {
        let mut segments: Vec<_> = std::fs::read_dir(directory).unwrap().map(|e| e.unwrap().path()).collect();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
        let newest = segments.iter().max().unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(newest).unwrap();
        file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    }
}
