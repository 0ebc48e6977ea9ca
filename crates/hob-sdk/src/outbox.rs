//! The outbox: a change and the notice of it are committed together, in one SQLite transaction, so that neither is ever
//! there without the other.
//!
//! [`Outbox::enqueue`] adds a row in the transaction of the change. A relay, one at a time for each file, posts the rows in
//! order and deletes them once they are acknowledged. An event's id comes from its row, so that Hob takes a row that is
//! posted twice only once.

mod database;
mod lease;
mod relay;
mod rows;

use hob_wire::Draft;
use rusqlite::Transaction;

pub use database::Database;
pub use relay::Relay;

use crate::{Client, Config, RequestContext};

/// What can go wrong with the database or its outbox.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The database file could not be opened or made ready.
    #[error("open the database {path}")]
    Open {
        /// The file.
        path: std::path::PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The folder for the database could not be made.
    #[error("make the folder {path}")]
    Folder {
        /// The folder.
        path: std::path::PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A statement failed.
    #[error("use the database")]
    Statement(#[from] rusqlite::Error),
    /// A row of the outbox holds something that is no draft.
    #[error("read row {row} of the outbox")]
    Row {
        /// Its number.
        row: i64,
        /// Why.
        source: serde_json::Error,
    },
    /// A draft cannot be written as JSON.
    #[error("write a draft into the outbox")]
    Draft(#[source] serde_json::Error),
    /// The work on the database panicked or was cut off by the end of the process.
    #[error("finish the work on the database")]
    Cut,
}

/// The outbox of a database file.
#[derive(Clone, Debug)]
pub struct Outbox {
    database: Database,
}

impl Outbox {
    /// Makes the outbox's tables in a database, if they are not there.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn open(database: &Database) -> Result<Self, Error> {
        database.write(|transaction| Ok::<_, Error>(rows::create(transaction)?)).await?;
        Ok(Self { database: database.clone() })
    }

    /// Adds a notice to the transaction of the change that it tells of. It is posted once the transaction has committed;
    /// notices of one file are posted in the order of their transactions. The ids of the current request go along.
    ///
    /// # Errors
    /// When the row cannot be written: then the transaction must not commit either.
    pub fn enqueue(transaction: &Transaction<'_>, mut draft: Draft) -> Result<(), Error> {
        if let Some(context) = RequestContext::current() {
            draft.notice.requestid.get_or_insert(context.request_id);
            draft.notice.traceparent = draft.notice.traceparent.or(context.traceparent);
        }
        rows::insert(transaction, &draft)
    }

    /// Starts the relay. Each instance runs one; they agree through the file on who works.
    pub fn relay(&self, client: &Client, config: &Config) -> Relay {
        Relay::start(&self.database, client, &config.instance)
    }

    /// Notices that wait to be posted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn waiting(&self) -> Result<u64, Error> {
        self.database.read(rows::count).await
    }
}
