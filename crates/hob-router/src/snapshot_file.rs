//! The last snapshot on disk, so that a router that starts while the core is away still routes.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hob_wire::RoutingSnapshot;
use tokio::sync::watch;

/// Reads the snapshot that was kept; none when there is none, or none that can be read, which is told in the log.
pub(crate) fn read(path: &Path) -> Option<RoutingSnapshot> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "the kept routing snapshot cannot be read");
            return None;
        }
    };
    serde_json::from_slice(&bytes)
        .inspect_err(
            |error| tracing::warn!(path = %path.display(), %error, "the kept routing snapshot is damaged"),
        )
        .ok()
}

/// Keeps each newest snapshot; those that come while one is written are passed over but for the last.
pub(crate) async fn keep(path: PathBuf, mut snapshots: watch::Receiver<Option<Arc<RoutingSnapshot>>>) {
    while snapshots.changed().await.is_ok() {
        let Some(snapshot) = snapshots.borrow_and_update().clone() else { continue };
        let target = path.clone();
        let written = tokio::task::spawn_blocking(move || write(&target, &snapshot)).await;
        if let Ok(Err(error)) = written {
            tracing::warn!(path = %path.display(), %error, "the routing snapshot was not kept");
        }
    }
}

/// Replaces the file whole: after a crash it holds this snapshot or the one before, never half of one.
fn write(path: &Path, snapshot: &RoutingSnapshot) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(directory)?;
    // A router that hands over and the next may write at the same time.
    let new = path.with_extension(format!("new.{}", std::process::id()));
    let mut file = File::create(&new)?;
    file.write_all(&serde_json::to_vec(snapshot)?)?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_and_damage_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("below/routing.json");
        assert_eq!(read(&path), None);
        let snapshot = RoutingSnapshot { generation: 7, ..RoutingSnapshot::default() };
        write(&path, &snapshot).unwrap();
        assert_eq!(read(&path), Some(snapshot));
        fs::write(&path, b"{\"generation\":").unwrap();
        assert_eq!(read(&path), None);
    }
}
