//! The outbox: a change and the notice of it are committed together, in one SQLite transaction, so that neither is ever
//! there without the other.
//!
//! [`Outbox::enqueue`] adds a row in the transaction of the change. A relay, one at a time for each file, posts the rows in
//! order and deletes them once they are acknowledged. An event's id comes from its row, so that Hob takes a row that is
//! posted twice only once. A row that Hob will never take is set aside, so that those behind it can go, also those about
//! the same entity: they tell of its newer state. [`Outbox::set_aside`] lists them, and [`Outbox::put_back`] gives them
//! another chance. What Hob does not take now (429, 503, no answer) waits in its place, and all behind it.

mod database;
mod lease;
mod relay;
mod rows;

use std::time::Duration;

use hob_core::{Clock, Timestamp};
use hob_wire::Draft;
use rusqlite::Transaction;
use serde::Serialize;

pub use database::Database;
pub use relay::Relay;

use crate::{Client, Config, RequestContext, Statsd};

/// How often figures are sent as metrics.
const REPORT_EVERY: Duration = Duration::from_secs(1);

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
    /// A row of the database holds something that it should not.
    #[error("read row {row} of the database")]
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

/// How an outbox is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Notices that wait to be posted.
    pub pending: u64,
    /// How long the oldest of them has waited, in milliseconds.
    pub oldest_ms: Option<u64>,
    /// Notices that Hob will not take and that were set aside.
    pub set_aside: u64,
    /// Notices that were set aside and given up, because there were too many.
    pub given_up: u64,
}

/// A notice that Hob will not take.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SetAside {
    /// Its row.
    pub number: i64,
    /// The notice; none when it cannot be read.
    pub draft: Option<Draft>,
    /// Why it was refused.
    pub reason: String,
    /// When its change was committed.
    pub enqueued: Timestamp,
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
        rows::insert(transaction, &draft, Clock::system().now())
    }

    /// Starts the relay. Each instance runs one; they agree through the file on who works.
    pub fn relay(&self, client: &Client, config: &Config) -> Relay {
        Relay::start(&self.database, client, &config.instance)
    }

    /// How it is doing.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn figures(&self) -> Result<Figures, Error> {
        self.database.read(|connection| rows::figures(connection, Clock::system().now())).await
    }

    /// Notices that Hob will not take, the oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn set_aside(&self) -> Result<Vec<SetAside>, Error> {
        self.database.read(rows::all_set_aside).await
    }

    /// Puts a notice that was set aside back into its place, to be posted once more; whether there is one of that number.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn put_back(&self, number: i64) -> Result<bool, Error> {
        self.database.write(move |transaction| rows::put_back(transaction, number)).await
    }

    /// Gives up a notice that was set aside; whether there is one of that number.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn give_up(&self, number: i64) -> Result<bool, Error> {
        self.database.write(move |transaction| rows::drop_set_aside(transaction, number)).await
    }

    /// Sends the figures as gauges every second, named `<name>.pending` and so on, until the task that it returns is
    /// aborted.
    pub fn report(&self, statsd: &Statsd, name: &str) -> tokio::task::JoinHandle<()> {
        let (outbox, statsd, name) = (self.clone(), statsd.clone(), name.to_owned());
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(REPORT_EVERY).await;
                let Ok(figures) = outbox.figures().await else { continue };
                statsd.gauge(&format!("{name}.pending"), figures.pending as f64);
                statsd.gauge(&format!("{name}.oldest_ms"), figures.oldest_ms.unwrap_or(0) as f64);
                statsd.gauge(&format!("{name}.set_aside"), figures.set_aside as f64);
                statsd.gauge(&format!("{name}.given_up"), figures.given_up as f64);
            }
        })
    }
}
