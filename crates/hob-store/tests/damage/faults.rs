//! A disk that is full or fails.

use std::sync::Arc;

use hob_store::{AppendError, Faults, Log, LogCondition, LogOptions, SegmentedLog};

use crate::specimen::{append, open, read_all, record};

const EIO: i32 = 5;
const ENOSPC: i32 = 28;

fn faulty(directory: &std::path::Path) -> (Arc<dyn Log>, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    let options =
        LogOptions { faults: Some(Arc::clone(&faults)), segment_bytes: 2000, ..LogOptions::default() };
    (Arc::new(SegmentedLog::open(directory, options).unwrap()), faults)
}

#[tokio::test]
async fn a_full_disk_acknowledges_nothing_and_heals_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let (log, faults) = faulty(directory.path());
    for round in 0..20_usize {
        let head = log.head();
        faults.fail_writes(ENOSPC, round * 41);
        let queued: Vec<_> = (0..3).map(|n| log.try_append(vec![record(n, 100)]).unwrap()).collect();
        for appended in queued {
            let error = appended.durable.await.unwrap_err();
            assert!(matches!(error, AppendError::Full { .. }), "{error}");
        }
        let stats = log.stats();
        assert_eq!((stats.head, stats.condition), (head, LogCondition::Full));
        faults.heal();
        assert_eq!(append(&log, vec![record(head + 1, 100)]).await, head + 1);
        assert_eq!(log.stats().condition, LogCondition::Writable);
    }
    drop(log);
    let log = open(directory.path(), 2000);
    let read = read_all(&log).await;
    assert_eq!((read.gaps.len(), log.stats().torn_bytes), (0, 0));
    assert!(read.records.iter().all(|stored| stored.payload == record(stored.seq, 100).payload));
    assert_eq!(read.records.len(), 20);
}

#[tokio::test]
async fn after_a_failed_sync_the_log_is_read_only_until_it_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let (log, faults) = faulty(directory.path());
    append(&log, vec![record(1, 100)]).await;
    faults.fail_syncs(EIO);
    let error = log.append(vec![record(2, 100)]).await.unwrap().durable.await.unwrap_err();
    assert!(matches!(error, AppendError::ReadOnly { .. }), "{error}");
    faults.heal();
    let error = log.append(vec![record(2, 100)]).await.unwrap_err();
    assert!(error.to_string().contains("check the disk, then restart"), "{error}");
    assert!(matches!(log.try_append(vec![record(2, 100)]).unwrap_err(), AppendError::ReadOnly { .. }));
    assert!(matches!(log.stats().condition, LogCondition::ReadOnly { .. }));
    assert_eq!((log.head(), read_all(&log).await.records.len()), (1, 1));
    drop(log);
    let log = open(directory.path(), 2000);
    assert!((1..=2).contains(&log.head()), "what was not acknowledged may be there or not");
    append(&log, vec![record(9, 100)]).await;
}

#[tokio::test]
async fn after_a_failed_write_the_log_is_read_only_and_whole() {
    let directory = tempfile::tempdir().unwrap();
    let (log, faults) = faulty(directory.path());
    append(&log, vec![record(1, 100)]).await;
    faults.fail_writes(EIO, 50);
    let error = log.append(vec![record(2, 100)]).await.unwrap().durable.await.unwrap_err();
    assert!(matches!(error, AppendError::ReadOnly { .. }), "{error}");
    drop(log);
    let log = open(directory.path(), 2000);
    assert_eq!((log.head(), log.stats().torn_bytes), (1, 0));
}
