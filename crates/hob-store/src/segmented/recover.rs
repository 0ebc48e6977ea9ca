//! Opens a log's directory: scans its segments, cuts off a torn tail, sets damage aside.
//!
//! A tail is torn only when it ends the newest segment and no sound block follows it; what is cut off is kept in a
//! file beside the segment. Everything else that is not as written is damage: its sequences are quarantined and the
//! rest is served. A killed process leaves at most a torn tail, and never of a record that was acknowledged.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use crate::log::Gap;
use crate::open::OpenError;
use crate::segmented::block;
use crate::segmented::index::{Index, Place, State};
use crate::segmented::scan::{self, Piece, Scan, missing_of};
use crate::segmented::segment::{self, Beginning, LogId, SEGMENT_HEADER_BYTES};
use crate::segmented::writer::Active;

/// A log as it was found, ready to be written on.
pub(super) struct Recovered {
    pub(super) id: LogId,
    pub(super) state: State,
    pub(super) active: Active,
}

/// Opens the log in `directory`, or begins it.
pub(super) fn recover(directory: &Path, tail_bytes_max: usize) -> Result<Recovered, OpenError> {
    segment::create_directory(directory).map_err(OpenError::io("create", directory))?;
    let segments = segment::list(directory).map_err(OpenError::io("list", directory))?;
    let id = identify(directory, &segments)?;
    let state = State::new(tail_bytes_max);
    let mut recovery = Recovery { salt: id.salt(), state, next_seq: 1, last_crc: None };
    let Some(((newest, path), sealed)) = segments.split_last() else {
        return begin(directory, id, recovery);
    };
    for (at, (first_seq, path)) in sealed.iter().enumerate() {
        let bytes = read_segment(path)?;
        let scan = recovery.segment(path, *first_seq, &bytes);
        let next_first = sealed.get(at + 1).map_or(*newest, |(first_seq, _)| *first_seq);
        recovery.seal(path, &bytes, &scan, next_first);
    }
    let bytes = read_segment(path)?;
    let scan = recovery.segment(path, *newest, &bytes);
    let active = recovery.activate(path, id, *newest, &bytes, &scan)?;
    recovery.state.head = recovery.next_seq - 1;
    Ok(Recovered { id, state: recovery.state, active })
}

/// What a recovery would quarantine; changes nothing.
pub(super) fn examine(directory: &Path) -> Result<Vec<Gap>, OpenError> {
    let segments = segment::list(directory).map_err(OpenError::io("list", directory))?;
    let Some(id) = known_id(directory, &segments)?.1 else { return Ok(Vec::new()) };
    let mut recovery = Recovery { salt: id.salt(), state: State::new(0), next_seq: 1, last_crc: None };
    for (at, (first_seq, path)) in segments.iter().enumerate() {
        let bytes = read_segment(path)?;
        let scan = recovery.segment(path, *first_seq, &bytes);
        if let Some((next_first, _)) = segments.get(at + 1) {
            recovery.seal(path, &bytes, &scan, *next_first);
        }
    }
    Ok(Index::new(recovery.state).stats().quarantined)
}

/// Creates the first segment of a new log.
fn begin(directory: &Path, id: LogId, mut recovery: Recovery) -> Result<Recovered, OpenError> {
    let created = segment::create(directory, id, 1);
    let (path, file) = created.map_err(OpenError::io("create a segment in", directory))?;
    let path: Arc<Path> = path.into();
    recovery.state.segments.push_back((1, Arc::clone(&path)));
    recovery.state.bytes = SEGMENT_HEADER_BYTES as u64;
    let active = Active { path, file, end: SEGMENT_HEADER_BYTES as u64, last_crc: 0, next_seq: 1 };
    Ok(Recovered { id, state: recovery.state, active })
}

/// Finds out the log's identity and refuses segments of another log or version.
fn identify(directory: &Path, segments: &[(u64, PathBuf)]) -> Result<LogId, OpenError> {
    let id_path = directory.join("id");
    match known_id(directory, segments)? {
        (Some(id), _) => Ok(id),
        (None, known) => segment::write_id(directory, known).map_err(OpenError::io("write", &id_path)),
    }
}

/// The log's identity as it is recorded, and as it is known from anywhere.
fn known_id(
    directory: &Path,
    segments: &[(u64, PathBuf)],
) -> Result<(Option<LogId>, Option<LogId>), OpenError> {
    let id_path = directory.join("id");
    let recorded = segment::read_id(directory).map_err(OpenError::io("read", &id_path))?;
    let mut known = recorded;
    for (_, path) in segments {
        let mut header = [0; SEGMENT_HEADER_BYTES];
        let file = fs::File::open(path).map_err(OpenError::io("open", path))?;
        // A segment that is too short for a header has a damaged one.
        let beginning = match file.read_exact_at(&mut header, 0) {
            Ok(()) => segment::read_header(&header),
            Err(_) => Beginning::Damaged,
        };
        match beginning {
            Beginning::Sound(id) if known.is_none_or(|known| known == id) => known = Some(id),
            Beginning::Sound(_) => return Err(OpenError::ForeignSegment { path: path.clone() }),
            Beginning::OtherVersion(version) => {
                let (found, expected) = (version.to_string(), segment::VERSION.to_string());
                return Err(OpenError::OtherFormat { path: path.clone(), found, expected });
            }
            Beginning::Damaged => {}
        }
    }
    if known.is_none() && !segments.is_empty() {
        return Err(OpenError::LostIdentity { path: id_path });
    }
    Ok((recorded, known))
}

fn read_segment(path: &Path) -> Result<Bytes, OpenError> {
    Ok(fs::read(path).map_err(OpenError::io("read", path))?.into())
}

/// What is known while the segments are gone through, oldest first.
struct Recovery {
    salt: u32,
    state: State,
    next_seq: u64,
    last_crc: Option<u32>,
}

impl Recovery {
    /// Scans one segment and takes what it holds into the index.
    fn segment(&mut self, path: &Path, first_seq: u64, bytes: &Bytes) -> Scan {
        let is_first = self.state.segments.is_empty();
        if is_first {
            self.next_seq = first_seq;
        }
        let path: Arc<Path> = path.into();
        self.state.segments.push_back((first_seq, Arc::clone(&path)));
        self.state.bytes += bytes.len() as u64;
        let start = SEGMENT_HEADER_BYTES.min(bytes.len());
        let scan = scan::scan(bytes, start, self.next_seq, self.last_crc, self.salt);
        let mut first_seq = self.next_seq;
        for piece in &scan.pieces {
            let (offset, end, last_seq, tag_bits) = match piece {
                Piece::Block { offset, header } => {
                    let tag_bits = block::tag_bits(bytes, *offset);
                    (*offset, offset + header.block_bytes(), header.last_seq(), tag_bits)
                }
                Piece::Damage { offset, end, missing } => {
                    let last_seq = missing.map_or(first_seq - 1, |gap| gap.last);
                    if let Some(gap) = missing {
                        self.damage(&path, bytes, *offset, *end, *gap);
                    }
                    (*offset, *end, last_seq, u64::MAX)
                }
                Piece::Distrusted { offset, end, missing } => {
                    warn_quarantined(&path, *missing, "the chain of checksums is broken");
                    self.state.distrust(*missing);
                    (*offset, *end, missing.last, u64::MAX)
                }
            };
            let (offset, end) = (offset as u64, end as u64);
            self.state.add(Place { path: Arc::clone(&path), offset, end, first_seq, tag_bits });
            first_seq = last_seq + 1;
        }
        self.next_seq = scan.next_seq;
        self.last_crc = scan.last_crc;
        scan
    }

    /// Deals with what is missing between the last block of a sealed segment and the next segment.
    fn seal(&mut self, path: &Path, bytes: &Bytes, scan: &Scan, next_first: u64) {
        if next_first <= scan.next_seq {
            return;
        }
        let gap = Gap { first: scan.next_seq, last: next_first - 1 };
        self.damage(path, bytes, scan.end, bytes.len(), gap);
        let (offset, end) = (scan.end as u64, bytes.len() as u64);
        self.state.add(Place { path: path.into(), offset, end, first_seq: gap.first, tag_bits: u64::MAX });
        self.next_seq = next_first;
        self.last_crc = None;
    }

    /// Quarantines what cannot be salvaged of a damaged range.
    fn damage(&mut self, path: &Path, bytes: &Bytes, offset: usize, end: usize, whole: Gap) {
        let salvaged = scan::salvage(bytes, offset, end, whole, self.salt);
        for gap in missing_of(whole, salvaged.iter().map(|stored| stored.seq)) {
            warn_quarantined(path, gap, "their bytes are damaged");
            self.state.quarantine(gap);
        }
    }

    /// Makes the newest segment ready to be written on: repairs its header and cuts off a torn tail.
    fn activate(
        &mut self,
        path: &Path,
        id: LogId,
        first_seq: u64,
        bytes: &Bytes,
        scan: &Scan,
    ) -> Result<Active, OpenError> {
        let opened = fs::OpenOptions::new().read(true).write(true).open(path);
        let file = opened.map_err(OpenError::io("open", path))?;
        let is_header_sound = matches!(segment::read_header(bytes), Beginning::Sound(_));
        let end = scan.end.max(SEGMENT_HEADER_BYTES);
        let torn = bytes.get(end..).unwrap_or_default();
        if !torn.is_empty() {
            keep_torn(path, end as u64, torn);
            file.set_len(end as u64).map_err(OpenError::io("cut the torn end off", path))?;
        }
        if !is_header_sound {
            tracing::warn!(path = %path.display(), "the segment's header was damaged and is written again");
            let written = file.write_all_at(&segment::header(id, first_seq), 0);
            written.map_err(OpenError::io("write the header of", path))?;
        }
        if !torn.is_empty() || !is_header_sound {
            file.sync_all().map_err(OpenError::io("sync", path))?;
        }
        self.state.torn_bytes = torn.len() as u64;
        self.state.bytes = self.state.bytes - bytes.len() as u64 + end as u64;
        // Where the last checksum is not certain, the scan that will read on from there does not compare it.
        let last_crc = self.last_crc.unwrap_or(0);
        Ok(Active { path: path.into(), file, end: end as u64, last_crc, next_seq: self.next_seq })
    }
}

fn warn_quarantined(path: &Path, gap: Gap, why: &str) {
    let (first, last) = (gap.first, gap.last);
    tracing::error!(path = %path.display(), first, last, "records {first} to {last} are quarantined: {why}");
}

/// Keeps the bytes of an unfinished write for whoever wants to look into it; a disk too full for that is no reason
/// to stay closed.
fn keep_torn(path: &Path, offset: u64, torn: &[u8]) {
    let bytes = torn.len();
    tracing::warn!(path = %path.display(), offset, bytes, "the last write was not finished: it is cut off");
    if torn.iter().all(|byte| *byte == 0) {
        return;
    }
    let kept = segment::torn_path(path, offset);
    if let Err(error) = fs::write(&kept, torn) {
        tracing::warn!(path = %kept.display(), %error, "the bytes cut off could not be kept");
        let _ = fs::remove_file(&kept);
    }
}
