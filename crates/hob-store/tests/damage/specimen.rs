//! A log whose content and places on disk are known, to be damaged and checked.

use std::collections::BTreeMap;
use std::fs;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use hob_store::{Gap, Log, LogOptions, ReadLimits, Record, SegmentedLog, Stored, Tag};
use tempfile::TempDir;

/// Bytes of a segment's header.
pub(crate) const SEGMENT_HEADER_BYTES: u64 = 48;

/// A block that is known to be in a segment.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) file: PathBuf,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) sequences: RangeInclusive<u64>,
}

/// A log that was closed in good order.
pub(crate) struct Specimen {
    directory: TempDir,
    pub(crate) records: Vec<Stored>,
    pub(crate) blocks: Vec<Place>,
}

pub(crate) fn options(segment_bytes: u64) -> LogOptions {
    LogOptions { segment_bytes, tail_bytes_max: 0, ..LogOptions::default() }
}

pub(crate) fn open(directory: &Path, segment_bytes: u64) -> Arc<dyn Log> {
    Arc::new(SegmentedLog::open(directory, options(segment_bytes)).unwrap())
}

pub(crate) fn record(n: u64, bytes: usize) -> Record {
    let mut payload = format!("record {n} ").into_bytes();
    payload.resize(payload.len() + bytes, n as u8);
    Record {
        tag: Tag::new(["a", "bb", "c/c"][n as usize % 3]).unwrap(),
        time: n as i64,
        payload: payload.into(),
    }
}

pub(crate) async fn append(log: &Arc<dyn Log>, records: Vec<Record>) -> u64 {
    let appended = log.append(records).await.unwrap();
    appended.durable.await.unwrap();
    appended.first
}

impl Specimen {
    /// One block for each of `sizes`, of that many records.
    pub(crate) async fn new(sizes: &[usize], segment_bytes: u64, record_bytes: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let log = open(directory.path(), segment_bytes);
        let (mut records, mut blocks) = (Vec::new(), Vec::new());
        let (mut file, mut before) = (directory.path().join(format!("{:020}.log", 1)), log.stats());
        let mut end = SEGMENT_HEADER_BYTES;
        for size in sizes {
            let first = records.len() as u64 + 1;
            let last = first + *size as u64 - 1;
            let batch: Vec<_> = (first..=last).map(|n| record(n, record_bytes)).collect();
            assert_eq!(append(&log, batch.clone()).await, first);
            let after = log.stats();
            let mut bytes = after.bytes - before.bytes;
            if after.segments > before.segments {
                file = directory.path().join(format!("{first:020}.log"));
                (end, bytes) = (SEGMENT_HEADER_BYTES, bytes - SEGMENT_HEADER_BYTES);
            }
            let start = end;
            end += bytes;
            blocks.push(Place { file: file.clone(), start, end, sequences: first..=last });
            records.extend(batch.into_iter().zip(first..).map(|(record, seq)| Stored {
                seq,
                tag: record.tag,
                time: record.time,
                payload: record.payload,
            }));
            before = after;
        }
        drop(log);
        Self { directory, records, blocks }
    }

    /// A copy to be damaged.
    pub(crate) fn copy(&self) -> TempDir {
        let copy = tempfile::tempdir().unwrap();
        for entry in fs::read_dir(&self.directory).unwrap() {
            let entry = entry.unwrap();
            fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
        }
        copy
    }

    /// The same file in a copy.
    pub(crate) fn file_in(copy: &TempDir, place: &Place) -> PathBuf {
        copy.path().join(place.file.file_name().unwrap())
    }

    /// Opens a damaged copy, reads it, and checks that it tells the truth: what it serves is what was written, and
    /// in order, and what it does not serve up to its head it reports. Returns the sequences that are missing.
    pub(crate) async fn check(&self, copy: &TempDir, segment_bytes: u64) -> Vec<u64> {
        let log = open(copy.path(), segment_bytes);
        let known = log.stats().quarantined;
        let read = read_all(&log).await;
        assert_eq!(known, read.gaps, "what opening found is what reading meets");
        assert!(log.head() <= self.records.len() as u64);
        let served: BTreeMap<u64, &Stored> = read.records.iter().map(|stored| (stored.seq, stored)).collect();
        assert_eq!(served.len(), read.records.len());
        assert!(read.records.is_sorted_by_key(|stored| stored.seq));
        let mut missing = Vec::new();
        for record in &self.records {
            let is_reported = read.gaps.iter().any(|gap| (gap.first..=gap.last).contains(&record.seq));
            match served.get(&record.seq) {
                Some(stored) => assert_eq!((*stored, is_reported), (record, false)),
                None => {
                    assert!(is_reported || record.seq > log.head(), "{} is gone in silence", record.seq);
                    missing.push(record.seq);
                }
            }
        }
        // The log goes on behind what it found, and says the same when it is opened again.
        let next = log.head() + 1;
        assert_eq!(append(&log, vec![record(next, 5)]).await, next);
        drop(log);
        let log = open(copy.path(), segment_bytes);
        let again = read_all(&log).await;
        assert_eq!((again.records.len(), &again.gaps), (read.records.len() + 1, &read.gaps));
        assert_eq!(log.stats().torn_bytes, 0);
        missing
    }
}

pub(crate) struct ReadAll {
    pub(crate) records: Vec<Stored>,
    pub(crate) gaps: Vec<Gap>,
}

pub(crate) async fn read_all(log: &Arc<dyn Log>) -> ReadAll {
    let mut all = ReadAll { records: Vec::new(), gaps: Vec::new() };
    let mut from = log.oldest();
    while from <= log.head() {
        let limits = ReadLimits { records_max: 11, ..ReadLimits::default() };
        let batch = log.read(from, limits).await.unwrap();
        assert!(batch.next > from);
        all.records.extend(batch.records);
        for gap in batch.gaps {
            match all.gaps.last_mut() {
                Some(last) if last.last + 1 == gap.first => last.last = gap.last,
                _ => all.gaps.push(gap),
            }
        }
        from = batch.next;
    }
    all
}

/// Overwrites bytes of a file.
pub(crate) fn overwrite(path: &Path, at: u64, bytes: &[u8]) {
    use std::os::unix::fs::FileExt;
    fs::OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Bytes of a block as they are in a file.
pub(crate) fn bytes_of(place: &Place) -> Bytes {
    Bytes::from(fs::read(&place.file).unwrap()).slice(place.start as usize..place.end as usize)
}

/// A small generator of numbers that look random: SplitMix64, by Steele, Lea and Flood (2014).
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}
