//! The relay: posts the outbox's rows in order and deletes what Hob has acknowledged.
//!
//! It may be killed anywhere: rows stay until they are acknowledged, and rows that were acknowledged but not yet deleted
//! are posted again and known by their ids. What Hob refuses for good is searched for by halving, and set aside.

use std::time::Duration;

use hob_core::{Clock, Id};
use hob_wire::Draft;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::database::Database;
use super::rows::{Next, Row, SET_ASIDE_MAX};
use super::{Error, lease, rows};
use crate::client::{Client, Error as ClientError};
use crate::events::Publisher;
use crate::pause::{self, Pauses};

/// Rows posted in one request.
const BATCH_MAX: usize = 500;
/// The longest pause that Hob may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(60);
/// How often rows are looked for that another instance wrote; our own wake the relay.
const LOOK_EVERY: Duration = Duration::from_millis(25);
/// How often an instance without the lease tries to take it.
const TRY_LEASE_EVERY: Duration = Duration::from_millis(500);
/// Pauses after posts that failed.
const PAUSES: Pauses = Pauses { first: Duration::from_millis(50), longest: Duration::from_secs(5) };
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
    /// Hob did not take it now, and may have said when to try again.
    Failed { retry_after: Option<Duration> },
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
                Round::Failed { retry_after: None }
            });
            let stopping = *stopped.borrow();
            let pause = match round {
                Round::Posted => continue,
                Round::Empty | Round::NotOurs if stopping => break,
                Round::Empty => LOOK_EVERY,
                Round::NotOurs => TRY_LEASE_EVERY,
                Round::Failed { retry_after } => {
                    let asked = retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                    PAUSES.after(self.failures, pause::random()).max(asked)
                }
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
        let rows = match self.database.peek(move |connection| rows::oldest(connection, limit)).await? {
            Next::Rows(rows) => rows,
            Next::Unreadable { number, reason } => return self.set_aside(number, reason).await,
        };
        if rows.is_empty() {
            return Ok(Round::Empty);
        }
        let numbers: Vec<i64> = rows.iter().map(|row| row.number).collect();
        let drafts: Vec<Draft> = rows.iter().map(|row| row.draft.clone()).collect();
        match self.publisher.publish_all(&drafts).await {
            Ok(_) => {
                self.database.write_lazily(move |transaction| rows::delete(transaction, &numbers)).await?;
                self.failures = 0;
                // Towards a bad row in small steps again, beyond it in large ones.
                self.batch_max = (self.batch_max * 2).min(BATCH_MAX);
                Ok(Round::Posted)
            }
            Err(error) if is_refusal(&error) => self.refused(&rows, &error).await,
            Err(error) => {
                self.failures += 1;
                let retry_after = error.retry_after();
                let error = &error as &dyn std::error::Error;
                tracing::warn!(
                    error,
                    waiting = rows.len(),
                    attempt = self.failures,
                    "notices wait in the outbox"
                );
                Ok(Round::Failed { retry_after })
            }
        }
    }

    /// One bad row must not hold up the others for ever: it is found by posting half as many rows at a time, and set aside.
    async fn refused(&mut self, rows: &[Row], error: &ClientError) -> Result<Round, Error> {
        if let [row] = rows {
            tracing::error!(topic = %row.draft.topic, href = row.draft.notice.href, "a notice is refused");
            return self.set_aside(row.number, error.to_string()).await;
        }
        self.batch_max = (rows.len() / 2).max(1);
        Ok(Round::Posted)
    }

    async fn set_aside(&mut self, number: i64, reason: String) -> Result<Round, Error> {
        tracing::error!(row = number, reason, "a notice was set aside in hob_outbox_refused");
        let given_up = self
            .database
            .write_lazily(move |transaction| rows::set_aside(transaction, number, &reason, SET_ASIDE_MAX))
            .await?;
        if given_up > 0 {
            tracing::error!(given_up, "too many notices are set aside: the oldest were given up");
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

/// Whether Hob will not take these events however often they are posted. That a topic is not ours or not there is
/// believed when Hob itself says so, and not something on the way to it.
fn is_refusal(error: &ClientError) -> bool {
    let ClientError::Status { status, problem, is_gateways_own, .. } = error else { return false };
    match status.as_u16() {
        400 | 413 | 415 | 422 => true,
        403 | 404 | 410 => problem.is_some() && !is_gateways_own,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn only_what_hob_itself_refuses_for_good_is_set_aside() {
        let problem = |status: u16| {
            let problem =
                serde_json::json!({ "type": "x", "title": "x", "status": status, "code": "HOB-0001" });
            Some(Box::new(serde_json::from_value(problem).unwrap()))
        };
        let check = |status: u16, told: bool, is_gateways_own: bool, expect: bool| {
            let error = ClientError::Status {
                subject: String::new(),
                status: StatusCode::from_u16(status).unwrap(),
                problem: if told { problem(status) } else { None },
                retry_after: None,
                is_gateways_own,
            };
            assert_eq!(is_refusal(&error), expect, "{status}");
        };
        check(404, true, true, false);
        for (status, told, expect) in [
            (422, false, true),
            (413, false, true),
            (410, true, true),
            (404, true, true),
            (404, false, false),
            (401, true, false),
            (409, true, false),
            (429, true, false),
            (503, true, false),
            (507, true, false),
        ] {
            check(status, told, false, expect);
        }
    }
}
