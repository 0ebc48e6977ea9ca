//! Which runs of a family become one, and how: many walks, the newest run's entry wins.

use std::path::Path;
use std::sync::Arc;

use super::IndexError;
use super::run::{Run, Walk};
use super::write::RunWriter;

/// Runs of about the same size that become one.
const MERGE_RUNS_MIN: usize = 4;

/// How many of the newest runs are to become one; `sizes` are theirs, newest first. A run is taken along while it is
/// not much larger than all the newer ones together, so that an entry is rewritten about once for each fourfold growth.
pub(super) fn choose(sizes: &[u64]) -> Option<usize> {
    let (mut sum, mut count) = (0_u64, 0);
    for size in sizes {
        if count > 0 && size / 2 > sum {
            break;
        }
        sum += size;
        count += 1;
    }
    (count >= MERGE_RUNS_MIN).then_some(count)
}

/// Walks several runs as one, in order of keys; of equal keys the newest run's entry is given alone.
pub(super) struct Merged {
    /// Newest first.
    walks: Vec<Walk>,
    current: usize,
}

impl Merged {
    /// `runs` newest first; stands on the first entry whose key is `from` or greater.
    pub(super) fn new(runs: &[Arc<Run>], from: &[u8]) -> Result<Self, IndexError> {
        let walks: Result<Vec<_>, _> = runs.iter().map(|run| Walk::new(Arc::clone(run), from)).collect();
        let mut merged = Self { walks: walks?, current: 0 };
        merged.settle();
        Ok(merged)
    }

    pub(super) fn entry(&self) -> Option<(&[u8], &[u8])> {
        let walk = self.walks.get(self.current)?;
        Some((walk.key()?, walk.value()))
    }

    pub(super) fn advance(&mut self) -> Result<(), IndexError> {
        let (before, rest) = self.walks.split_at_mut(self.current);
        let Some((current, after)) = rest.split_first_mut() else { return Ok(()) };
        for walk in before.iter_mut().chain(after) {
            if walk.key().is_some() && walk.key() == current.key() {
                walk.advance()?;
            }
        }
        current.advance()?;
        self.settle();
        Ok(())
    }

    /// Finds the smallest key; of equal ones the newest run's.
    fn settle(&mut self) {
        let standing = self.walks.iter().enumerate().filter_map(|(nth, walk)| Some((walk.key()?, nth)));
        self.current = standing.min().map_or(usize::MAX, |(_, nth)| nth);
    }
}

/// Writes runs, newest first, as one. `None` when it was told to stop.
pub(super) fn merge(
    runs: &[Arc<Run>],
    path: &Path,
    is_over: impl Fn() -> bool,
) -> Result<Option<()>, IndexError> {
    let failed = |source| IndexError::io("write", path, source);
    let mut merged = Merged::new(runs, &[])?;
    let mut writer = RunWriter::create(path).map_err(failed)?;
    let mut written = 0_u32;
    while let Some((key, value)) = merged.entry() {
        writer.push(key, value).map_err(failed)?;
        merged.advance()?;
        written = written.wrapping_add(1);
        if written.is_multiple_of(4_096) && is_over() {
            return Ok(None);
        }
    }
    writer.finish().map_err(failed)?;
    Ok(Some(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_like_size_become_one() {
        for (sizes, expect) in [
            (&[][..], None),
            (&[10, 10, 10], None),
            (&[10, 10, 10, 10], Some(4)),
            (&[10, 10, 10, 10, 100], Some(4)),
            (&[10, 10, 10, 1_000], None),
            (&[10, 10, 10, 10, 40, 40, 40], Some(7)),
        ] {
            assert_eq!(choose(sizes), expect, "{sizes:?}");
        }
    }

    #[test]
    fn an_entry_is_rewritten_a_few_times_as_an_index_grows() {
        let (mut sizes, mut rewritten, mut most): (Vec<u64>, u64, usize) = (Vec::new(), 0, 0);
        for _ in 0..10_000 {
            sizes.insert(0, 1);
            most = most.max(sizes.len());
            while let Some(count) = choose(&sizes) {
                let sum = sizes.drain(..count).sum();
                rewritten += sum;
                sizes.insert(0, sum);
            }
        }
        assert!(rewritten < 10_000 * 10 && most < 24, "rewritten {rewritten}, runs {most}");
    }
}
