//! What is durable and where it is: shared by the thread that writes and everybody who reads.
//!
//! One run stands for about [`RUN_BYTES`] of neighbouring blocks, so that memory grows with bytes and not with
//! commits. The newest records are kept in memory besides, so that those who follow the tail never touch the disk.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use tokio::sync::watch;

use crate::log::{Gap, LogCondition, LogStats, READ_SCAN_BYTES_MAX, ReadError, Stored};
use crate::segmented::scan::insert_gap;
use crate::segmented::tail::Tail;

/// A run is closed once it has this many bytes.
const RUN_BYTES: u64 = 64 << 10;
/// Runs that one read may pass over or read.
const READ_RUNS_MAX: usize = 4096;

/// Neighbouring blocks of one segment, and damage between them.
#[derive(Debug, Clone)]
struct Run {
    path: Arc<Path>,
    offset: u64,
    end: u64,
    first_seq: u64,
    /// Bits of the tags in it.
    tag_bits: u64,
}

/// A part of a segment that a read looks into.
#[derive(Debug, Clone)]
pub(super) struct Stretch {
    pub(super) path: Arc<Path>,
    pub(super) offset: u64,
    pub(super) end: u64,
    /// Every sequence that belongs in it.
    pub(super) whole: Gap,
    /// Whether it may hold a wanted tag.
    pub(super) is_wanted: bool,
}

/// Where blocks are that have become known.
pub(super) struct Place {
    pub(super) path: Arc<Path>,
    pub(super) offset: u64,
    pub(super) end: u64,
    pub(super) first_seq: u64,
    pub(super) tag_bits: u64,
}

/// The state behind the lock.
#[derive(Debug, Default)]
pub(super) struct State {
    /// First sequence and path of each segment, oldest first; the last one is written to.
    pub(super) segments: VecDeque<(u64, Arc<Path>)>,
    runs: VecDeque<Run>,
    pub(super) tail: Tail,
    pub(super) head: u64,
    pub(super) bytes: u64,
    pub(super) blocks: u64,
    pub(super) syncs: u64,
    pub(super) torn_bytes: u64,
    pub(super) condition: LogCondition,
    quarantined: Vec<Gap>,
    /// The part of `quarantined` that could be read, but must not be believed.
    distrusted: Vec<Gap>,
}

impl State {
    pub(super) fn new(tail_bytes_max: usize) -> Self {
        Self { tail: Tail::new(tail_bytes_max), ..Self::default() }
    }

    pub(super) fn oldest(&self) -> u64 {
        self.segments.front().map_or(1, |(first_seq, _)| *first_seq)
    }

    /// The sequences of each segment but the last, oldest first.
    pub(super) fn closed(&self) -> Vec<Gap> {
        let next = self.segments.iter().skip(1);
        let ranges = self.segments.iter().zip(next);
        ranges.map(|((first, _), (next, _))| Gap { first: *first, last: next - 1 }).collect()
    }

    pub(super) fn add(&mut self, place: Place) {
        match self.runs.back_mut() {
            Some(run)
                if run.path == place.path && run.end == place.offset && run.end - run.offset < RUN_BYTES =>
            {
                run.end = place.end;
                run.tag_bits |= place.tag_bits;
            }
            _ => {
                let Place { path, offset, end, first_seq, tag_bits } = place;
                self.runs.push_back(Run { path, offset, end, first_seq, tag_bits });
            }
        }
    }

    pub(super) fn quarantine(&mut self, gap: Gap) {
        insert_gap(&mut self.quarantined, gap);
    }

    pub(super) fn distrust(&mut self, gap: Gap) {
        insert_gap(&mut self.distrusted, gap);
        self.quarantine(gap);
    }

    fn is_quarantined(&self, gap: Gap) -> bool {
        self.quarantined.iter().any(|known| known.first <= gap.first && gap.last <= known.last)
    }

    /// Forgets the segments that end before `before` and returns their files. The last one always stays.
    fn trim(&mut self, before: u64) -> Vec<Arc<Path>> {
        let mut removed = Vec::new();
        while self.segments.get(1).is_some_and(|(first_seq, _)| *first_seq <= before) {
            removed.extend(self.segments.pop_front().map(|(_, path)| path));
        }
        let oldest = self.oldest();
        while self.runs.front().is_some_and(|run| run.first_seq < oldest) {
            self.runs.pop_front();
        }
        for gaps in [&mut self.quarantined, &mut self.distrusted] {
            gaps.retain(|gap| gap.last >= oldest);
        }
        removed
    }

    /// The stretches from `from` on that one read may look into, oldest first.
    fn stretches(&self, from: u64, wanted_bits: u64) -> Vec<Stretch> {
        let start = self.runs.partition_point(|run| run.first_seq <= from).saturating_sub(1);
        let mut bytes = 0;
        let mut stretches = Vec::new();
        for (at, run) in self.runs.iter().enumerate().skip(start).take(READ_RUNS_MAX) {
            let next = self.runs.get(at + 1).map_or(self.head + 1, |next| next.first_seq);
            let is_wanted = run.tag_bits & wanted_bits != 0;
            bytes += if is_wanted { run.end - run.offset } else { 0 };
            if bytes > READ_SCAN_BYTES_MAX as u64 && !stretches.is_empty() {
                break;
            }
            stretches.push(Stretch {
                path: Arc::clone(&run.path),
                offset: run.offset,
                end: run.end,
                whole: Gap { first: run.first_seq, last: next - 1 },
                is_wanted,
            });
        }
        stretches
    }
}

/// Where a read finds its records.
pub(super) enum Plan {
    /// There are none yet.
    Nothing { head: u64 },
    /// In memory.
    Memory { head: u64, records: Vec<Stored> },
    /// On disk; `distrusted` ranges must not be served.
    Disk { head: u64, stretches: Vec<Stretch>, distrusted: Vec<Gap> },
}

/// The shared index of one log.
#[derive(Debug)]
pub(super) struct Index {
    state: RwLock<State>,
    head: watch::Sender<u64>,
}

impl Index {
    pub(super) fn new(state: State) -> Self {
        let (head, _) = watch::channel(state.head);
        Self { state: RwLock::new(state), head }
    }

    pub(super) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and then tells those who wait, if the head has moved.
    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.write();
        change(&mut state);
        let head = state.head;
        drop(state);
        self.head.send_if_modified(|known| std::mem::replace(known, head) != head);
    }

    pub(super) async fn wait(&self, after: u64) -> Result<u64, ReadError> {
        let mut head = self.head.subscribe();
        let head = head.wait_for(|head| *head > after).await;
        head.map(|head| *head).map_err(|_| ReadError::Closed)
    }

    pub(super) fn plan(
        &self,
        from: u64,
        wanted_bits: u64,
        take: impl FnMut(&Stored) -> bool,
    ) -> Result<Plan, ReadError> {
        let state = self.read();
        let (head, oldest) = (state.head, state.oldest());
        if from < oldest {
            return Err(ReadError::Trimmed { from, oldest });
        }
        if from > head {
            return Ok(Plan::Nothing { head });
        }
        if let Some(records) = state.tail.since(from) {
            return Ok(Plan::Memory { head, records: records.cloned().take_while(take).collect() });
        }
        let stretches = state.stretches(from, wanted_bits);
        Ok(Plan::Disk { head, stretches, distrusted: state.distrusted.clone() })
    }

    /// Remembers a damaged range; `true` when it was not known before.
    pub(super) fn quarantine(&self, gap: Gap) -> bool {
        if self.read().is_quarantined(gap) {
            return false;
        }
        self.write().quarantine(gap);
        true
    }

    pub(super) fn trim(&self, before: u64) -> Vec<Arc<Path>> {
        self.write().trim(before)
    }

    pub(super) fn forget_bytes(&self, bytes: u64) {
        let mut state = self.write();
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    pub(super) fn stats(&self) -> LogStats {
        let state = self.read();
        LogStats {
            head: state.head,
            oldest: state.oldest(),
            bytes: state.bytes,
            segments: state.segments.len() as u64,
            blocks: state.blocks,
            syncs: state.syncs,
            torn_bytes: state.torn_bytes,
            quarantined: state.quarantined.clone(),
            condition: state.condition.clone(),
        }
    }
}
