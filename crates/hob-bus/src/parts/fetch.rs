//! Fetches the pieces of parts: from the cache, else from the blob, checked. What is damaged is set aside and noted.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use hob_store::{BlobError, Gap, KeyFilter, PartIndex, ReadError, Stored, decode_frame, salvage_part};

use super::EventLog;
use super::cache::{Cache, Key, Piece};
use super::rows::{PartRow, RangeRow};
use crate::Error;

/// What a row takes in memory beside its payload, in bytes.
const ROW_COST_BYTES: usize = 96;

/// Why a look did not succeed.
#[derive(Debug)]
pub(super) enum Fault {
    /// What was looked at is gone since: look again.
    Vanished,
    /// It could not be read.
    Read(ReadError),
}

/// What becomes of a part.
pub(crate) enum Change {
    Keep,
    Remove,
    Replace(Box<PartRow>),
}

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl EventLog {
    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The index of a part; of one whose index is lost, what is still sound.
    pub(super) async fn index(&self, part: &PartRow) -> Result<Arc<PartIndex>, Fault> {
        let key = Key::Index(part.name.clone());
        if let Some(Piece::Index(index)) = self.cache().get(&key) {
            return Ok(index);
        }
        let range = PartIndex::tail_range(part.size);
        let mut tail = self.fetch(part, range).await?;
        if let Ok(needs) = PartIndex::needs(&tail)
            && needs > tail.len() as u64
        {
            tail = self.fetch(part, part.size.saturating_sub(needs)..part.size).await?;
        }
        let index = match PartIndex::decode(&tail, part.size) {
            Ok(index) => index,
            Err(error) => self.salvage(part, &error.to_string()).await?,
        };
        let index = Arc::new(index);
        self.cache().put(key, Piece::Index(Arc::clone(&index)), index.size());
        Ok(index)
    }

    async fn salvage(&self, part: &PartRow, why: &str) -> Result<PartIndex, Fault> {
        let bytes = self.fetch(part, 0..part.size).await?;
        let index = salvage_part(&bytes);
        let found: u64 = index.frames().iter().map(|frame| u64::from(frame.rows)).sum();
        let lost = part.rows.saturating_sub(found);
        tracing::error!(
            part = part.name,
            why,
            lost,
            "a part's index is damaged; its frames are looked for one by one"
        );
        if lost > 0 {
            self.note_damage(part, Gap { first: part.first, last: part.last }, lost).await;
        }
        Ok(index)
    }

    /// The filter of a part; none when it is damaged, which costs nothing but time.
    pub(super) async fn filter(&self, part: &PartRow) -> Result<Option<Arc<KeyFilter>>, Fault> {
        let key = Key::Filter(part.name.clone());
        if let Some(Piece::Filter(filter)) = self.cache().get(&key) {
            return Ok(Some(filter));
        }
        let index = self.index(part).await?;
        let bytes = self.fetch(part, index.filter_range()).await?;
        let Ok(filter) = index.filter(&bytes) else { return Ok(None) };
        let filter = Arc::new(filter);
        self.cache().put(key, Piece::Filter(Arc::clone(&filter)), filter.size());
        Ok(Some(filter))
    }

    /// The rows of frames, in the order of the numbers; of a damaged one the sequences between which rows are lost.
    pub(super) async fn frames(
        &self,
        part: &PartRow,
        index: &Arc<PartIndex>,
        numbers: &[u32],
    ) -> Result<Vec<Result<Arc<Vec<Stored>>, Gap>>, Fault> {
        let mut found = Vec::with_capacity(numbers.len());
        let mut rest = numbers;
        while let Some(number) = rest.first() {
            let key = Key::Frame(part.name.clone(), *number);
            if let Some(Piece::Frame(rows)) = self.cache().get(&key) {
                found.push(Ok(rows));
                rest = &rest[1..];
                continue;
            }
            let neighbours = neighbours(rest);
            found.extend(self.read_frames(part, index, &rest[..neighbours]).await?);
            rest = &rest[neighbours..];
        }
        Ok(found)
    }

    async fn read_frames(
        &self,
        part: &PartRow,
        index: &Arc<PartIndex>,
        numbers: &[u32],
    ) -> Result<Vec<Result<Arc<Vec<Stored>>, Gap>>, Fault> {
        let frames: Vec<_> = numbers.iter().map(|number| index.frames()[*number as usize]).collect();
        let start = frames.iter().map(|frame| frame.range().start).min().unwrap_or(0);
        let end = frames.iter().map(|frame| frame.range().end).max().unwrap_or(0);
        let bytes = self.fetch(part, start..end).await?;
        let decoding = tokio::task::spawn_blocking(move || {
            let place = |at: u64| (at - start) as usize;
            let decode = |frame: &hob_store::Frame| {
                let bytes =
                    bytes.get(place(frame.range().start)..place(frame.range().end)).unwrap_or_default();
                (*frame, decode_frame(bytes, frame))
            };
            frames.iter().map(decode).collect::<Vec<_>>()
        });
        let decoded = decoding.await.map_err(|_| Fault::Read(ReadError::Closed))?;
        let mut found = Vec::with_capacity(decoded.len());
        for ((frame, rows), number) in decoded.into_iter().zip(numbers) {
            match rows {
                Ok(rows) => {
                    let cost = rows.iter().map(|row| row.payload.len() + ROW_COST_BYTES).sum();
                    let rows = Arc::new(rows);
                    let key = Key::Frame(part.name.clone(), *number);
                    self.cache().put(key, Piece::Frame(Arc::clone(&rows)), cost);
                    found.push(Ok(rows));
                }
                Err(_) => {
                    let gap = Gap { first: frame.first_seq, last: frame.last_seq };
                    self.note_damage(part, gap, u64::from(frame.rows)).await;
                    found.push(Err(gap));
                }
            }
        }
        Ok(found)
    }

    /// Bytes of a part, fewer than asked for when it is truncated, none when it is lost.
    async fn fetch(&self, part: &PartRow, range: std::ops::Range<u64>) -> Result<bytes::Bytes, Fault> {
        match self.blobs.get_range(&part.name, range).await {
            Ok(bytes) => Ok(bytes),
            Err(BlobError::NotFound { .. }) if self.is_listed(part) => {
                self.note_damage(part, Gap { first: part.first, last: part.last }, part.rows).await;
                Ok(bytes::Bytes::new())
            }
            Err(BlobError::NotFound { .. }) => Err(Fault::Vanished),
            Err(error) => {
                let path = PathBuf::from(&part.name);
                Err(Fault::Read(ReadError::Io { path, source: Arc::new(io::Error::other(error)) }))
            }
        }
    }

    fn is_listed(&self, part: &PartRow) -> bool {
        let view = self.view();
        view.ranges.iter().any(|range| range.parts.iter().any(|known| known.name == part.name))
    }

    /// Remembers for good that rows of a part are damaged.
    pub(crate) async fn note_damage(&self, part: &PartRow, gap: Gap, rows: u64) {
        let is_known = |known: &(u64, u64, u64)| known.0 <= gap.first && gap.last <= known.1;
        let (first, last) = (gap.first, gap.last);
        let noted = self.change(&part.name, |known| {
            if known.damaged.iter().any(is_known) {
                return Change::Keep;
            }
            tracing::error!(
                part = known.name,
                first,
                last,
                rows,
                "{rows} events between {first} and {last} are damaged and quarantined"
            );
            let mut damaged = known.clone();
            damaged.damaged.push((first, last, rows));
            Change::Replace(Box::new(damaged))
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "failed to note the damage of a part; the next look finds it again");
        }
    }

    /// Changes what is known of a part, if it is still there; says whether something was changed.
    pub(crate) async fn change(
        &self,
        name: &str,
        decide: impl FnOnce(&PartRow) -> Change,
    ) -> Result<bool, Error> {
        let _changing = self.changing.lock().await;
        let view = self.view();
        let holds = |range: &&Arc<RangeRow>| range.parts.iter().any(|known| known.name == name);
        let Some(range) = view.ranges.iter().find(holds) else { return Ok(false) };
        let Some(known) = range.parts.iter().find(|known| known.name == name) else { return Ok(false) };
        let replacement = match decide(known) {
            Change::Keep => return Ok(false),
            Change::Remove => None,
            Change::Replace(row) => Some(*row),
        };
        self.put_range(range.with(name, replacement)).await?;
        Ok(true)
    }
}

/// How many of the numbers at the front follow each other, up or down.
fn neighbours(numbers: &[u32]) -> usize {
    let follows = |pair: &&[u32]| pair[0].abs_diff(pair[1]) == 1;
    1 + numbers.windows(2).take_while(follows).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_are_fetched_together() {
        for (numbers, expected) in [(&[3][..], 1), (&[3, 4, 5, 9], 3), (&[9, 8, 6], 2), (&[1, 5], 1)] {
            assert_eq!(neighbours(numbers), expected, "{numbers:?}");
        }
    }
}
