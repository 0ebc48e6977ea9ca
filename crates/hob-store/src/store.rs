//! One data directory with its logs, keys and blobs, used by one process at a time.
//!
//! ```text
//! <data>/format        the version of this layout
//! <data>/lock          held while a process uses the directory
//! <data>/log/events    <data>/log/signals    <data>/kv.redb    <data>/blobs
//! <data>/index         derived from the events; made anew when it is missing
//! ```

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::blobs::DirBlobs;
use crate::kv::RedbKv;
use crate::lock::DirectoryLock;
use crate::open::OpenError;
use crate::segmented::segment::{create_directory, write_durably};
use crate::segmented::{LogOptions, SegmentedLog, SyncPolicy};
use crate::{Blobs, Index, Kv, Log};

/// The version of the layout; there are no migrations.
const FORMAT: &str = "1";
const INDEX_DIRECTORY: &str = "index";
const FORMAT_FILE: &str = "format";
/// Signals are on disk at most this long after they arrived.
const SIGNALS_SYNC: Duration = Duration::from_millis(200);
/// A segment of events is closed, and may be sealed, once it has this many bytes.
const EVENTS_SEGMENT_BYTES: u64 = 32 << 20;

/// Everything durable that a Hob has. Cheap to clone; the directory stays locked until the last handle of any of
/// its parts is dropped.
#[derive(Clone)]
pub struct Store {
    /// Events of every topic, durable before they are acknowledged.
    pub events: Arc<dyn Log>,
    /// Log lines, samples, spans and other telemetry, durable within 200 ms.
    pub signals: Arc<dyn Log>,
    /// Small keys.
    pub kv: Arc<dyn Kv>,
    /// Immutable files.
    pub blobs: Arc<dyn Blobs>,
    /// What is derived from the events and may be deleted.
    pub index: Arc<Index>,
}

/// How the parts of a store are kept.
#[derive(Debug, Clone)]
pub struct StoreOptions {
    /// The log of events.
    pub events: LogOptions,
    /// The log of signals.
    pub signals: LogOptions,
}

impl Default for StoreOptions {
    fn default() -> Self {
        let signals = LogOptions { sync: SyncPolicy::Every(SIGNALS_SYNC), ..LogOptions::default() };
        let events = LogOptions { segment_bytes: EVENTS_SEGMENT_BYTES, ..LogOptions::default() };
        Self { events, signals }
    }
}

impl Store {
    /// Opens a data directory, or makes one, and recovers what is in it. Needs a tokio runtime.
    pub async fn open(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        let owned = directory.to_owned();
        let opening = tokio::task::spawn_blocking(move || Self::open_blocking(&owned, options));
        let stopped = |error| Err(OpenError::io("open", directory)(io::Error::other(error)));
        opening.await.unwrap_or_else(stopped)
    }

    fn open_blocking(directory: &Path, options: StoreOptions) -> Result<Self, OpenError> {
        make(directory.to_owned())?;
        let lock = Arc::new(DirectoryLock::take(directory)?);
        check_format(directory)?;
        let logs = make(directory.join("log"))?;
        let blobs = make(directory.join("blobs"))?;
        let blobs = DirBlobs::open(&blobs, Arc::clone(&lock)).map_err(OpenError::io("open", &blobs))?;
        let kv = RedbKv::open_locked(&directory.join("kv.redb"), Some(Arc::clone(&lock)))?;
        let open_log = |name: &str, options| {
            SegmentedLog::open_locked(&logs.join(name), options, Some(Arc::clone(&lock)))
        };
        Ok(Self {
            events: Arc::new(open_log("events", options.events)?),
            signals: Arc::new(open_log("signals", options.signals)?),
            kv: Arc::new(kv),
            blobs: Arc::new(blobs),
            index: Arc::new(Index::open_locked(&directory.join(INDEX_DIRECTORY), Some(Arc::clone(&lock)))?),
        })
    }
}

fn make(directory: PathBuf) -> Result<PathBuf, OpenError> {
    create_directory(&directory).map_err(OpenError::io("create", &directory))?;
    Ok(directory)
}

/// Refuses a directory of another version, and marks a new one.
fn check_format(directory: &Path) -> Result<(), OpenError> {
    let path = directory.join(FORMAT_FILE);
    let found = match fs::read(&path) {
        Ok(found) => String::from_utf8_lossy(&found).trim().chars().take(40).collect::<String>(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let holds_data =
                directory.join("log").try_exists().map_err(OpenError::io("look into", directory))?;
            if holds_data {
                let (found, expected) = ("missing".to_owned(), FORMAT.to_owned());
                return Err(OpenError::OtherFormat { path, found, expected });
            }
            let text = format!("{FORMAT}\n");
            let written = write_durably(directory, FORMAT_FILE, text.as_bytes());
            return written.map_err(OpenError::io("write", &path));
        }
        Err(error) => return Err(OpenError::io("read", &path)(error)),
    };
    if found == FORMAT {
        return Ok(());
    }
    Err(OpenError::OtherFormat { path, found, expected: FORMAT.to_owned() })
}
