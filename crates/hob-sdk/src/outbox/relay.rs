//! The relay: posts the outbox's rows in order and deletes what Hob has acknowledged.
//!
//! It may be killed anywhere: rows stay until they are acknowledged, and rows that were acknowledged but not yet deleted
//! are posted again and known by their ids.

use std::time::Duration;

use hob_core::{Clock, Id};
use hob_wire::Draft;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::database::Database;
use super::rows::Row;
use super::{Error, lease, rows};
use crate::client::{Client, Error as ClientError};
use crate::events::Publisher;

/// Rows posted in one request.
const BATCH_MAX: usize = 500;
/// How often rows are looked for that another instance wrote; our own wake the relay.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often an instance without the lease tries to take it.
const TRY_LEASE_EVERY: Duration = Duration::from_millis(500);
/// The pause after a post that failed; it doubles up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// The longest pause between posts.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long a stopping relay goes on posting what is there.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// A running relay. It stops when this is dropped; [`Relay::stop`] lets it finish.
#[derive(Debug)]
pub struct Relay {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(super) fn start(database: &Database, client: &Client, instance: &str) -> Self {
        let (stop, stopped) = watch::channel(false);
        let worker = Worker {
            database: database.clone(),
            publisher: Publisher::new(client),
            holder: format!("{instance}-{}", Id::short()),
            clock: Clock::system(),
            held_since: None,
            failures: 0,
            batch_max: BATCH_MAX,
        };
        Self { stop, task: tokio::spawn(worker.run(stopped)) }
    }

    /// Posts what is there, for two seconds at most, and gives the lease back, so that another instance goes on at once.
    pub async fn stop(mut self) {
        let _ = self.stop.send(true);
        let _ = tokio::time::timeout(DRAIN_MAX, &mut self.task).await;
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Worker {
    database: Database,
    publisher: Publisher,
    holder: String,
    clock: Clock,
    held_since: Option<Instant>,
    failures: u32,
    batch_max: usize,
}

/// What came of a round.
#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// There may be more.
    Posted,
    /// There was nothing.
    Empty,
    /// Another instance has the lease.
    NotOurs,
    /// Hob did not take it now.
    Failed,
}

impl Worker {
    async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let database = self.database.clone();
            let committed = database.committed();
            let mut committed = std::pin::pin!(committed);
            // From here on a commit wakes us, also one between the look and the wait.
            committed.as_mut().enable();
            let round = self.round().await.unwrap_or_else(|error| {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the outbox cannot be read or written"
                );
                self.failures += 1;
                Round::Failed
            });
            let stopping = *stopped.borrow();
            let pause = match round {
                Round::Posted => continue,
                Round::Empty | Round::NotOurs if stopping => break,
                Round::Empty => LOOK_EVERY,
                Round::NotOurs => TRY_LEASE_EVERY,
                Round::Failed => PAUSE_MIN.saturating_mul(1 << self.failures.min(10)).min(PAUSE_MAX),
            };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = &mut committed, if round == Round::Empty => {}
                changed = stopped.changed() => if changed.is_err() { break },
            }
        }
        let holder = self.holder.clone();
        if self.held_since.is_some() {
            let _ =
                self.database.write_lazily(move |transaction| lease::give_back(transaction, &holder)).await;
        }
    }

    async fn round(&mut self) -> Result<Round, Error> {
        if !self.hold().await? {
            return Ok(Round::NotOurs);
        }
        let limit = self.batch_max;
        let rows = self.database.peek(move |connection| rows::oldest(connection, limit)).await?;
        let Some(last) = rows.last().map(|row| row.number) else { return Ok(Round::Empty) };
        let drafts: Vec<Draft> = rows.iter().map(|row| row.draft.clone()).collect();
        match self.publisher.publish_all(&drafts).await {
            Ok(_) => {
                self.database.write_lazily(move |transaction| rows::delete_up_to(transaction, last)).await?;
                self.failures = 0;
                self.batch_max = BATCH_MAX;
                Ok(Round::Posted)
            }
            Err(error) if is_refusal(&error) => self.refused(&rows, &error).await,
            Err(error) => {
                self.failures += 1;
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    waiting = rows.len(),
                    attempt = self.failures,
                    "notices wait in the outbox"
                );
                Ok(Round::Failed)
            }
        }
    }

    /// One bad row must not hold up the others for ever: it is found by posting rows one by one, and put aside.
    async fn refused(&mut self, rows: &[Row], error: &ClientError) -> Result<Round, Error> {
        if let [row] = rows {
            let (number, reason) = (row.number, error.to_string());
            tracing::error!(reason, topic = %row.draft.topic, href = row.draft.notice.href, "a notice was refused and put aside");
            self.database
                .write_lazily(move |transaction| rows::set_aside(transaction, number, &reason))
                .await?;
        } else {
            self.batch_max = 1;
        }
        Ok(Round::Posted)
    }

    async fn hold(&mut self) -> Result<bool, Error> {
        if self.held_since.is_some_and(|since| since.elapsed() < lease::RENEW_AFTER) {
            return Ok(true);
        }
        let (holder, now, begun) = (self.holder.clone(), self.clock.now(), Instant::now());
        let is_ours =
            self.database.write_lazily(move |transaction| lease::take(transaction, &holder, now)).await?;
        self.held_since = is_ours.then_some(begun);
        Ok(is_ours)
    }
}

/// Whether Hob will not take these events however often they are posted.
fn is_refusal(error: &ClientError) -> bool {
    error.status().is_some_and(|status| matches!(status.as_u16(), 400 | 413 | 415 | 422))
}
