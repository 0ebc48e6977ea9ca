//! Keys in one redb file, written by one thread that commits all writes which wait for it at once.
//!
//! Every commit is durable before its writers hear of it. Writes that came together are decided one after the
//! other, in the order in which they came. Watchers hear of a change after its commit.

use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures_util::FutureExt;
use redb::{Database, Durability, ReadableDatabase, ReadableTable, Table, TableDefinition, TableError};
use tokio::sync::{mpsc, oneshot};

use crate::BoxFuture;
use crate::kv::{
    Entry, Expected, Kv, KvChange, KvError, KvWatch, Listing, Revision, Watchers, check_key, check_value,
    is_as_expected,
};
use crate::lock::DirectoryLock;
use crate::open::OpenError;

/// Writes that may wait for the thread.
const QUEUE_WRITES_MAX: usize = 256;
/// Writes that one commit may take.
const COMMIT_WRITES_MAX: usize = 64;
/// Memory for the file's pages, in bytes.
const CACHE_BYTES: usize = 8 << 20;
/// Most value and key bytes that one listing may return.
const LIST_BYTES_MAX: usize = 64 << 20;

/// Each key's revision and value.
const KEYS: TableDefinition<&str, (u64, &[u8])> = TableDefinition::new("keys");
/// The store's own numbers.
const COUNTERS: TableDefinition<&str, u64> = TableDefinition::new("counters");
const REVISION: &str = "revision";

/// The embedded key store. Dropping it finishes the writes that wait.
pub(crate) struct RedbKv {
    shared: Arc<Shared>,
    writes: Option<mpsc::Sender<Write>>,
    writer: Option<JoinHandle<()>>,
    /// Given back after the writer has ended.
    _lock: Option<Arc<DirectoryLock>>,
}

struct Shared {
    database: Database,
    place: String,
    watchers: Mutex<Watchers>,
}

/// A write that waits; without a value it deletes.
struct Write {
    key: String,
    expected: Expected,
    value: Option<Bytes>,
    done: oneshot::Sender<Result<Revision, KvError>>,
}

impl RedbKv {
    /// Opens the file, or makes it.
    pub(crate) fn open_locked(path: &Path, lock: Option<Arc<DirectoryLock>>) -> Result<Self, OpenError> {
        let refused = |source: redb::Error| OpenError::Keys { path: path.to_owned(), source: source.into() };
        let created = redb::Builder::new().set_cache_size(CACHE_BYTES).create(path);
        let database = created.map_err(|error| refused(error.into()))?;
        let newest = prepare(&database).map_err(refused)?;
        private(path).map_err(OpenError::io("make private", path))?;
        let place = path.display().to_string();
        let shared = Arc::new(Shared { database, place, watchers: Mutex::new(Watchers::new(newest)) });
        let (writes, waiting) = mpsc::channel(QUEUE_WRITES_MAX);
        let for_writer = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("hob-kv".to_owned());
        let thread = thread.spawn(move || for_writer.write_all(waiting));
        let writer = thread.map_err(OpenError::io("start the writer of", path))?;
        Ok(Self { shared, writes: Some(writes), writer: Some(writer), _lock: lock })
    }

    async fn write(
        &self,
        key: String,
        expected: Expected,
        value: Option<Bytes>,
    ) -> Result<Revision, KvError> {
        check_key(&key)?;
        let (done, outcome) = oneshot::channel();
        let writes = self.writes.as_ref().ok_or(KvError::Closed)?;
        let sent = writes.send(Write { key, expected, value, done }).await;
        sent.map_err(|_| KvError::Closed)?;
        outcome.await.unwrap_or(Err(KvError::Closed))
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Shared) -> Result<T, KvError> + Send + 'static,
    ) -> Result<T, KvError> {
        let shared = Arc::clone(&self.shared);
        let reading = tokio::task::spawn_blocking(move || read(&shared)).await;
        reading.unwrap_or(Err(KvError::Closed))
    }
}

impl Kv for RedbKv {
    fn get(&self, key: &str) -> BoxFuture<'_, Result<Option<Entry>, KvError>> {
        let key = key.to_owned();
        async move {
            check_key(&key)?;
            self.read(move |shared| shared.get(key).map_err(|error| shared.error("read a key", error))).await
        }
        .boxed()
    }

    fn put(&self, key: &str, expected: Expected, value: Bytes) -> BoxFuture<'_, Result<Revision, KvError>> {
        let key = key.to_owned();
        async move {
            check_value(&key, &value)?;
            self.write(key, expected, Some(value)).await
        }
        .boxed()
    }

    fn delete(&self, key: &str, expected: Expected) -> BoxFuture<'_, Result<Revision, KvError>> {
        self.write(key.to_owned(), expected, None).boxed()
    }

    fn list(&self, prefix: &str) -> BoxFuture<'_, Result<Listing, KvError>> {
        let prefix = prefix.to_owned();
        self.read(move |shared| {
            let listing = shared.list(&prefix).map_err(|error| shared.error("list keys", error))?;
            listing.ok_or(KvError::ListTooLarge { prefix, limit: LIST_BYTES_MAX })
        })
        .boxed()
    }

    fn watch(&self, prefix: &str, after: Revision) -> BoxFuture<'_, Result<KvWatch, KvError>> {
        let watch = self.shared.watchers().watch(prefix, after);
        async move { Ok(watch) }.boxed()
    }
}

impl Drop for RedbKv {
    fn drop(&mut self) {
        self.writes = None;
        if let Some(writer) = self.writer.take() {
            // A writer that panicked has said so already.
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn get(&self, key: String) -> Result<Option<Entry>, redb::Error> {
        let keys = self.database.begin_read()?.open_table(KEYS)?;
        let found = keys.get(key.as_str())?;
        Ok(found.map(|found| {
            let (revision, value) = found.value();
            Entry { revision: Revision(revision), value: Bytes::copy_from_slice(value), key }
        }))
    }

    /// `None` when the listing is too large.
    fn list(&self, prefix: &str) -> Result<Option<Listing>, redb::Error> {
        let read = self.database.begin_read()?;
        let revision = read.open_table(COUNTERS)?.get(REVISION)?.map_or(0, |revision| revision.value());
        let mut entries = Vec::new();
        let mut bytes = 0;
        for entry in read.open_table(KEYS)?.range(prefix..)? {
            let (key, stored) = entry?;
            if !key.value().starts_with(prefix) {
                break;
            }
            let (revision, value) = stored.value();
            bytes += key.value().len() + value.len();
            if bytes > LIST_BYTES_MAX {
                return Ok(None);
            }
            let (key, value) = (key.value().to_owned(), Bytes::copy_from_slice(value));
            entries.push(Entry { key, revision: Revision(revision), value });
        }
        Ok(Some(Listing { revision: Revision(revision), entries }))
    }

    fn write_all(&self, mut waiting: mpsc::Receiver<Write>) {
        let mut writes = Vec::new();
        while waiting.blocking_recv_many(&mut writes, COMMIT_WRITES_MAX) > 0 {
            self.commit(std::mem::take(&mut writes));
        }
    }

    fn commit(&self, writes: Vec<Write>) {
        match self.try_commit(&writes) {
            Ok((outcomes, changes)) => {
                let mut watchers = self.watchers();
                changes.into_iter().for_each(|change| watchers.publish(change));
                drop(watchers);
                for (write, outcome) in writes.into_iter().zip(outcomes) {
                    // Whoever stopped waiting does not want to know.
                    let _ = write.done.send(outcome);
                }
            }
            Err(error) => {
                let error = self.error("write keys", error);
                tracing::error!(place = self.place, "failed to {error}");
                for write in writes {
                    let _ = write.done.send(Err(error.clone()));
                }
            }
        }
    }

    fn try_commit(&self, writes: &[Write]) -> Result<Decided, redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate)?;
        let mut outcomes = Vec::new();
        let mut changes = Vec::new();
        {
            let mut counters = transaction.open_table(COUNTERS)?;
            let mut keys = transaction.open_table(KEYS)?;
            let mut newest = counters.get(REVISION)?.map_or(0, |revision| revision.value());
            for write in writes {
                outcomes.push(decide(&mut keys, &mut newest, write, &mut changes)?);
            }
            counters.insert(REVISION, newest)?;
        }
        if changes.is_empty() {
            transaction.abort()?;
        } else {
            transaction.commit()?;
        }
        Ok((outcomes, changes))
    }

    fn watchers(&self) -> MutexGuard<'_, Watchers> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn error(&self, action: &'static str, error: redb::Error) -> KvError {
        KvError::Engine { action, place: self.place.clone(), source: Arc::new(error) }
    }
}

/// Each write's outcome, and what changed.
type Decided = (Vec<Result<Revision, KvError>>, Vec<KvChange>);

/// Decides one write and does it in the open transaction.
fn decide(
    keys: &mut Table<'_, &'static str, (u64, &'static [u8])>,
    newest: &mut u64,
    write: &Write,
    changes: &mut Vec<KvChange>,
) -> Result<Result<Revision, KvError>, redb::Error> {
    let key = write.key.as_str();
    let current = keys.get(key)?.map(|found| Revision(found.value().0));
    if !is_as_expected(write.expected, current) {
        return Ok(Err(KvError::Conflict { key: key.to_owned(), current }));
    }
    if write.value.is_none() && current.is_none() {
        return Ok(Ok(Revision(*newest)));
    }
    *newest += 1;
    let (key, revision) = (key.to_owned(), Revision(*newest));
    match &write.value {
        Some(value) => {
            keys.insert(key.as_str(), (revision.0, value.as_ref()))?;
            changes.push(KvChange::Put(Entry { key, revision, value: value.clone() }));
        }
        None => {
            keys.remove(key.as_str())?;
            changes.push(KvChange::Deleted { key, revision });
        }
    }
    Ok(Ok(revision))
}

/// Makes the tables of a new file and returns the newest revision.
fn prepare(database: &Database) -> Result<Revision, redb::Error> {
    match database.begin_read()?.open_table(COUNTERS) {
        Ok(counters) => return Ok(Revision(counters.get(REVISION)?.map_or(0, |revision| revision.value()))),
        Err(TableError::TableDoesNotExist(_)) => {}
        Err(error) => return Err(error.into()),
    }
    let transaction = database.begin_write()?;
    transaction.open_table(KEYS)?;
    transaction.open_table(COUNTERS)?;
    transaction.commit()?;
    Ok(Revision::default())
}

fn private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))
}
