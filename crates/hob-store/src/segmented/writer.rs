//! The thread that writes: gathers what arrived during the last sync, writes it as blocks, syncs once, tells all.
//!
//! Nothing is acknowledged or visible before its sync has returned. A full disk takes the segment back to its last
//! durable block and the next append tries again. Any other failure leaves unknown what is on disk: the log is
//! read-only then, until it is opened again and recovered.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use crate::log::{AppendError, LogCondition, Record, Stored};
use crate::segmented::LogOptions;
use crate::segmented::block::{self, Written};
use crate::segmented::index::{Index, Place, State};
use crate::segmented::queue::{Pending, Queue, Taken};
use crate::segmented::segment::{self, LogId, SEGMENT_HEADER_BYTES};

/// The write buffer is given back when a commit needed more than this.
const BUFFER_KEPT_BYTES_MAX: usize = 1 << 20;

/// The segment that is written to.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) path: Arc<Path>,
    pub(super) file: File,
    /// End of the last durable block.
    pub(super) end: u64,
    pub(super) last_crc: u32,
    /// The sequence after the last durable one.
    pub(super) next_seq: u64,
}

/// All that the writing thread owns and shares.
pub(super) struct Writer {
    pub(super) id: LogId,
    pub(super) options: LogOptions,
    pub(super) queue: Arc<Queue>,
    pub(super) index: Arc<Index>,
    pub(super) active: Active,
    pub(super) buffer: Vec<u8>,
}

/// What a failed commit leaves behind.
enum Failure {
    /// Nothing: the segment is as it was.
    Full(io::Error),
    /// Nobody knows.
    Unknown { action: &'static str, source: io::Error },
}

impl Writer {
    /// Writes until the queue is closed and empty.
    pub(super) fn run(mut self) {
        let _closing = CloseOnExit(Arc::clone(&self.queue));
        while let Some(Taken { batch, closings }) = self.queue.take(self.options.sync.gather()) {
            if !closings.is_empty() {
                let closed = self.close_active();
                // That nobody waits for it any more is fine.
                closings.into_iter().for_each(|closing| drop(closing.send(closed.clone())));
            }
            if !batch.is_empty() {
                self.commit(batch);
            }
        }
    }

    /// Begins the next segment unless the active one is empty. When that fails the active one is written on.
    fn close_active(&mut self) -> Result<(), AppendError> {
        if self.active.end == SEGMENT_HEADER_BYTES as u64 {
            return Ok(());
        }
        let path = self.active.path.to_path_buf();
        self.roll().map_err(|failure| match failure {
            Failure::Full(source) => AppendError::Full { path, source: Arc::new(source) },
            Failure::Unknown { action, source } => AppendError::ReadOnly {
                reason: format!("{action} {} failed: {source}", path.display()),
                path,
            },
        })
    }

    fn commit(&mut self, mut batch: Vec<Pending>) {
        match self.write(&batch) {
            Ok(written) => {
                self.publish(&written, &mut batch);
                batch.into_iter().for_each(|pending| pending.finish(Ok(())));
            }
            Err(failure) => self.fail(failure, batch),
        }
        self.buffer.clear();
        self.buffer.shrink_to(BUFFER_KEPT_BYTES_MAX);
    }

    /// Puts the records on disk, behind the last durable block.
    fn write(&mut self, batch: &[Pending]) -> Result<Vec<Written>, Failure> {
        let is_empty = self.active.end == SEGMENT_HEADER_BYTES as u64;
        if self.active.end >= self.options.segment_bytes && !is_empty {
            self.roll()?;
        }
        let records: Vec<&Record> = batch.iter().flat_map(|pending| &pending.records).collect();
        let (mut next_seq, mut last_crc) = (self.active.next_seq, self.active.last_crc);
        debug_assert_eq!(batch.first().map(|pending| pending.first_seq), Some(next_seq));
        let mut written = Vec::new();
        let mut rest = records.as_slice();
        while !rest.is_empty() {
            let salt = self.id.salt();
            let (count, block) = block::encode(&mut self.buffer, rest, next_seq, last_crc, salt);
            (next_seq, last_crc) = (next_seq + count as u64, block.crc);
            written.push(block);
            rest = &rest[count..];
        }
        if let Err(source) = self.write_buffer() {
            return Err(self.take_back(source));
        }
        self.sync().map_err(|source| Failure::Unknown { action: "sync", source })?;
        (self.active.next_seq, self.active.last_crc) = (next_seq, last_crc);
        self.active.end += self.buffer.len() as u64;
        Ok(written)
    }

    fn write_buffer(&self) -> io::Result<()> {
        let Active { file, end, .. } = &self.active;
        match self.options.faults.as_ref().and_then(|faults| faults.write()) {
            None => file.write_all_at(&self.buffer, *end),
            Some((written, error)) => {
                file.write_all_at(&self.buffer[..written.min(self.buffer.len())], *end)?;
                Err(error)
            }
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.options.faults.as_ref().map_or(Ok(()), |faults| faults.sync())?;
        self.active.file.sync_data()
    }

    /// After a failed write, takes the segment back to its last durable block.
    fn take_back(&self, source: io::Error) -> Failure {
        match self.active.file.set_len(self.active.end) {
            Ok(()) if is_full(&source) => Failure::Full(source),
            Ok(()) => Failure::Unknown { action: "write", source },
            Err(source) => Failure::Unknown { action: "take back a failed write", source },
        }
    }

    /// Begins the next segment; the last one is whole and durable.
    fn roll(&mut self) -> Result<(), Failure> {
        let directory = self.active.path.parent().unwrap_or(Path::new("."));
        let created = match self.options.faults.as_ref().and_then(|faults| faults.write()) {
            Some((_, error)) => Err(error),
            None => segment::create(directory, self.id, self.active.next_seq),
        };
        let (path, file) = created.map_err(|source| match is_full(&source) {
            true => Failure::Full(source),
            false => Failure::Unknown { action: "begin a segment after", source },
        })?;
        let Active { last_crc, next_seq, .. } = self.active;
        let end = SEGMENT_HEADER_BYTES as u64;
        self.active = Active { path: path.into(), file, end, last_crc, next_seq };
        let segment = (next_seq, Arc::clone(&self.active.path));
        self.index.update(|state| {
            state.segments.push_back(segment);
            state.bytes += end;
        });
        Ok(())
    }

    /// Makes what is durable visible.
    fn publish(&self, written: &[Written], batch: &mut [Pending]) {
        let start = self.active.end - self.buffer.len() as u64;
        let ends = written.iter().skip(1).map(|block| block.offset).chain([self.buffer.len()]);
        self.index.update(|state| {
            for (block, end) in written.iter().zip(ends) {
                state.add(Place {
                    path: Arc::clone(&self.active.path),
                    offset: start + block.offset as u64,
                    end: start + end as u64,
                    first_seq: block.first_seq,
                    tag_bits: block.tag_bits,
                });
            }
            batch.iter_mut().for_each(|pending| remember(state, pending));
            state.head = self.active.next_seq - 1;
            state.bytes += self.buffer.len() as u64;
            state.blocks += written.len() as u64;
            state.syncs += 1;
            state.condition = LogCondition::Writable;
        });
    }

    fn fail(&self, failure: Failure, batch: Vec<Pending>) {
        let path = &self.active.path;
        let (error, condition) = match failure {
            Failure::Full(source) => {
                let error = AppendError::Full { path: path.to_path_buf(), source: Arc::new(source) };
                (error, LogCondition::Full)
            }
            Failure::Unknown { action, source } => {
                let reason = format!("{action} {} failed: {source}", path.display());
                let error = AppendError::ReadOnly { path: path.to_path_buf(), reason: reason.clone() };
                self.queue.close(error.clone());
                (error, LogCondition::ReadOnly { reason })
            }
        };
        if self.index.read().condition != condition {
            tracing::error!(path = %path.display(), "failed to {error}");
        }
        self.index.update(|state| state.condition = condition);
        self.queue.fail(&error, self.active.next_seq);
        batch.into_iter().for_each(|pending| pending.finish(Err(error.clone())));
    }
}

fn remember(state: &mut State, pending: &mut Pending) {
    let records = std::mem::take(&mut pending.records);
    for (Record { tag, time, payload }, seq) in records.into_iter().zip(pending.first_seq..) {
        state.tail.push(Stored { seq, tag, time, payload });
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// However the thread ends, nobody waits for it for ever.
struct CloseOnExit(Arc<Queue>);

impl Drop for CloseOnExit {
    fn drop(&mut self) {
        self.0.close(AppendError::Closed);
        self.0.fail(&AppendError::Closed, u64::MAX);
    }
}
