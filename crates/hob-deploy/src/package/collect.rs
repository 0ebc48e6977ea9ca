//! Removes packages that no release needs any more. It takes no hints: it looks at what is stored and at what is needed, and may be
//! killed anywhere; what it left is found the next time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hob_core::{Clock, Digest, Timestamp};
use hob_store::{BlobError, Blobs};

use super::{archive_name, manifest_name};

/// A package that was sent or asked for so lately is kept, whether a release needs it or not: one may be on its way.
const LATELY: Duration = Duration::from_secs(3600);

/// When packages were last sent or asked for. After a start nothing is known, and everything counts as asked for then.
pub(crate) struct Touched {
    clock: Clock,
    started: Timestamp,
    at: BTreeMap<Digest, Timestamp>,
}

impl Touched {
    pub(crate) fn new(clock: Clock) -> Self {
        Self { started: clock.now(), clock, at: BTreeMap::new() }
    }

    pub(crate) fn touch(&mut self, digest: Digest) {
        let now = self.clock.now();
        self.at.retain(|_, at| now.since(*at) < LATELY);
        self.at.insert(digest, now);
    }

    /// What was touched lately; none when that may be anything.
    pub(crate) fn lately(&self) -> Option<BTreeSet<Digest>> {
        let now = self.clock.now();
        let is_late = |at: &Timestamp| now.since(*at) < LATELY;
        let lately = self.at.iter().filter(|(_, at)| is_late(at)).map(|(digest, _)| *digest).collect();
        (!is_late(&self.started)).then_some(lately)
    }
}

/// Removes every package but `kept`. The manifest goes first: a package without one is not there.
pub(crate) async fn collect(blobs: &dyn Blobs, kept: &BTreeSet<Digest>) -> Result<Vec<Digest>, BlobError> {
    let stored = blobs.list("packages").await?;
    let digest = |name: &str| -> Option<Digest> {
        let hex = name.strip_prefix("packages/")?.split('/').next()?;
        format!("sha256:{hex}").parse().ok()
    };
    let found: BTreeSet<Digest> = stored.iter().filter_map(|blob| digest(&blob.name)).collect();
    let unneeded: Vec<Digest> = found.difference(kept).copied().collect();
    for digest in &unneeded {
        blobs.delete(&manifest_name(digest)).await?;
        blobs.delete(&archive_name(digest)).await?;
    }
    Ok(unneeded)
}
