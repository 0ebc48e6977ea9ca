//! The scrubber: reads parts again, one after the other, so that damage is found while a copy may still exist.

use hob_store::{BlobError, Gap, PartCheck, PartIndex, check_part, salvage_part};

use crate::Error;
use crate::parts::EventLog;
use crate::parts::rows::PartRow;

/// A part that was read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Scrubbed {
    /// Its place among the parts, to go on behind.
    pub(crate) place: (u64, String),
    pub(crate) is_sound: bool,
}

/// What is wrong with a part's bytes.
struct Found {
    /// Frames whose rows are lost.
    lost: Vec<(Gap, u64)>,
    check: PartCheck,
}

impl EventLog {
    /// Reads the part behind a place, or the first one when there is none; notes what is damaged. `None` when there is
    /// no part.
    pub(crate) async fn scrub(&self, after: &(u64, String)) -> Result<Option<Scrubbed>, Error> {
        let view = self.view();
        let all = || view.ranges.iter().flat_map(|range| range.parts.iter().map(|part| (range.first, part)));
        let behind = all().filter(|(first, part)| (*first, part.name.as_str()) > (after.0, after.1.as_str()));
        let order = |(first, part): &(u64, &std::sync::Arc<PartRow>)| (*first, part.name.clone());
        let Some((first, part)) = behind.min_by_key(order).or_else(|| all().min_by_key(order)) else {
            return Ok(None);
        };
        let place = (first, part.name.clone());
        let bytes = match self.blobs.get(&part.name).await {
            Ok(bytes) => bytes,
            Err(BlobError::NotFound { .. }) => {
                // Removed meanwhile, or lost: the note is taken only of a part that is still listed.
                self.note_damage(part, Gap { first: part.first, last: part.last }, part.rows).await;
                return Ok(Some(Scrubbed { place, is_sound: false }));
            }
            Err(error) => return Err(error.into()),
        };
        let row = std::sync::Arc::clone(part);
        let checking = tokio::task::spawn_blocking(move || examine(&bytes, &row));
        let found = checking.await.map_err(|_| Error::Closed)?;
        for (gap, rows) in &found.lost {
            self.note_damage(part, *gap, *rows).await;
        }
        if !found.check.is_sound() {
            let (frames, pieces) = (found.check.frames.len(), &found.check.pieces);
            tracing::error!(
                part = part.name,
                frames,
                ?pieces,
                "a part is not as it was written; restore it from a copy"
            );
        }
        Ok(Some(Scrubbed { place, is_sound: found.check.is_sound() }))
    }
}

fn examine(bytes: &[u8], part: &PartRow) -> Found {
    let check = check_part(bytes);
    let lost = match PartIndex::decode(bytes, bytes.len() as u64) {
        Ok(index) => {
            let frames = check.frames.iter().filter_map(|number| index.frames().get(*number as usize));
            let lost = |frame: &hob_store::Frame| {
                (Gap { first: frame.first_seq, last: frame.last_seq }, u64::from(frame.rows))
            };
            frames.map(lost).collect()
        }
        Err(_) => {
            let found: u64 = salvage_part(bytes).frames().iter().map(|frame| u64::from(frame.rows)).sum();
            let rows = part.rows.saturating_sub(found);
            if rows == 0 { Vec::new() } else { vec![(Gap { first: part.first, last: part.last }, rows)] }
        }
    };
    Found { lost, check }
}
