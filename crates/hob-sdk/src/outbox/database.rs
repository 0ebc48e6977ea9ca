//! A SQLite file that several instances share: one writer at a time, readers beside it, nothing of it on async threads.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::Notify;

use super::Error;
use crate::RequestContext;

/// How long a statement waits for another instance's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A SQLite file in write-ahead mode. Clones share its connections.
#[derive(Clone)]
pub struct Database {
    inner: Arc<Inner>,
}

struct Inner {
    path: PathBuf,
    writer: Mutex<Connection>,
    reader: Mutex<Connection>,
    lazy: Mutex<Connection>,
    committed: Notify,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Database").field("path", &self.inner.path).finish_non_exhaustive()
    }
}

/// How much a connection's commits withstand.
#[derive(Clone, Copy)]
enum Synchronous {
    /// The power may fail: for changes that are acknowledged.
    Full,
    /// The process may die: for what is done again when it is lost.
    Normal,
}

impl Database {
    /// Opens the file, or makes it, and lets `schema` make its tables (`CREATE TABLE IF NOT EXISTS …`).
    ///
    /// # Errors
    /// When the folder or the file cannot be made or is no database, or `schema` is wrong.
    pub async fn open(path: impl Into<PathBuf>, schema: &'static str) -> Result<Self, Error> {
        let path = path.into();
        blocking(move || {
            if let Some(folder) = path.parent() {
                let failed = |source| Error::Folder { path: folder.to_owned(), source };
                std::fs::create_dir_all(folder).map_err(failed)?;
            }
            let open = |synchronous| {
                connect(&path, synchronous).map_err(|source| Error::Open { path: path.clone(), source })
            };
            let (mut writer, reader, lazy) =
                (open(Synchronous::Full)?, open(Synchronous::Normal)?, open(Synchronous::Normal)?);
            let make = |writer: &mut Connection| {
                let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
                transaction.execute_batch(schema)?;
                transaction.commit()
            };
            make(&mut writer).map_err(|source| Error::Open { path: path.clone(), source })?;
            let (writer, reader, lazy) = (Mutex::new(writer), Mutex::new(reader), Mutex::new(lazy));
            Ok(Self { inner: Arc::new(Inner { path, writer, reader, lazy, committed: Notify::new() }) })
        })
        .await?
    }

    /// Runs `work` in a transaction that commits when it succeeds, and changes nothing when it fails. When this returns,
    /// the change is on disk.
    ///
    /// # Errors
    /// That of `work`, or of the database.
    pub async fn write<T, E, W>(&self, work: W) -> Result<T, E>
    where
        W: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let context = RequestContext::current();
        let run = move || {
            let outcome = transact(&inner.writer, work);
            inner.committed.notify_waiters();
            outcome
        };
        blocking(move || match context {
            Some(context) => context.scope_blocking(run),
            None => run(),
        })
        .await?
    }

    /// Runs `work` with a connection for reading.
    ///
    /// # Errors
    /// That of `work`, or of the database.
    pub async fn read<T, E, W>(&self, work: W) -> Result<T, E>
    where
        W: FnOnce(&Connection) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner.reader.lock().unwrap_or_else(PoisonError::into_inner))).await?
    }

    /// Like [`Database::write`], but does not wait for the disk: what is written so survives the death of the process, and
    /// may be lost with the power, last first. For what is then simply done again.
    ///
    /// # Errors
    /// As [`Database::write`].
    pub async fn write_lazily<T, E, W>(&self, work: W) -> Result<T, E>
    where
        W: FnOnce(&Transaction<'_>) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: From<Error> + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        blocking(move || transact(&inner.lazy, work)).await?
    }

    /// Reads with the relay's own connection, so that it does not wait for long reads.
    pub(super) async fn peek<T, W>(&self, work: W) -> Result<T, Error>
    where
        W: FnOnce(&Connection) -> Result<T, Error> + Send + 'static,
        T: Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        blocking(move || work(&inner.lazy.lock().unwrap_or_else(PoisonError::into_inner))).await?
    }

    /// Waits until this process commits something.
    pub(super) fn committed(&self) -> tokio::sync::futures::Notified<'_> {
        self.inner.committed.notified()
    }
}

fn connect(path: &Path, synchronous: Synchronous) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    let level = match synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", level)?;
    connection.pragma_update(None, "foreign_keys", true)?;
    Ok(connection)
}

fn transact<T, E, W>(connection: &Mutex<Connection>, work: W) -> Result<T, E>
where
    W: FnOnce(&Transaction<'_>) -> Result<T, E>,
    E: From<Error>,
{
    // A panic in earlier work rolled its transaction back; the connection is whole.
    let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
    let transaction =
        connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(Error::Statement)?;
    let done = work(&transaction)?;
    transaction.commit().map_err(Error::Statement)?;
    Ok(done)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Error::Cut)
}
