//! What is kept: which day is played, how far, and every decision with the step at which it was taken.
//!
//! A decision is on disk before anything of it is told. How far the day is may be lost with the power: the steps are then
//! taken again, come out the same, and are told again to services that know them already.

use std::path::Path;

use hob_sdk::rusqlite::{Connection, OptionalExtension, Row, params};
use hob_sdk::{Database, OutboxError};
use serde_json::Value;
use takeaway_domain::{Decided, Decision};

use crate::status::{Status, Truth};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS play (
        one INTEGER PRIMARY KEY CHECK (one = 1), identity TEXT NOT NULL, steps INTEGER NOT NULL, status TEXT, truth TEXT);
    CREATE TABLE IF NOT EXISTS decision (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL, step INTEGER, outcome TEXT);
    CREATE INDEX IF NOT EXISTS decision_open ON decision (number) WHERE outcome IS NULL;
";

/// The city's file.
#[derive(Debug, Clone)]
pub(crate) struct Rows(Database);

/// Which day is played and how far it is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Play {
    pub(crate) identity: String,
    pub(crate) steps: u64,
    pub(crate) held_seconds: f64,
}

/// A decision that dispatch sent.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Recorded {
    pub(crate) number: i64,
    pub(crate) decision: Decision,
    /// After how many steps it was taken; none when it has not been yet.
    pub(crate) step: Option<u64>,
}

impl Rows {
    pub(crate) async fn open(folder: &Path) -> Result<Self, OutboxError> {
        Database::open(folder.join("city.sqlite"), SCHEMA).await.map(Self)
    }

    /// The play that goes on, or the one that begins now with this identity.
    pub(crate) async fn begin(&self, identity: &str) -> Result<Play, OutboxError> {
        let identity = identity.to_owned();
        self.0
            .write(move |transaction| {
                transaction.execute(
                    "INSERT INTO play (one, identity, steps) VALUES (1, ?1, 0) ON CONFLICT DO NOTHING",
                    [&identity],
                )?;
                let play = transaction.query_row("SELECT identity, steps, status FROM play", [], |row| {
                    let status: Option<String> = row.get(2)?;
                    let status = status.and_then(|text| serde_json::from_str::<Status>(&text).ok());
                    let held_seconds = status.map_or(0.0, |status| status.held_seconds);
                    Ok(Play {
                        identity: row.get(0)?,
                        steps: row.get::<_, i64>(1)?.unsigned_abs(),
                        held_seconds,
                    })
                })?;
                Ok(play)
            })
            .await
    }

    /// All decisions that were taken, in their order.
    pub(crate) async fn taken(&self) -> Result<Vec<Recorded>, OutboxError> {
        self.0.read(|connection| select(connection, "step IS NOT NULL")).await
    }

    /// Decisions that have no outcome yet, in their order.
    pub(crate) async fn open_decisions(&self) -> Result<Vec<Recorded>, OutboxError> {
        self.0.read(|connection| select(connection, "outcome IS NULL")).await
    }

    /// Takes a decision at a step. One that does anything is on disk when this returns.
    pub(crate) async fn take(&self, recorded: &Recorded, step: u64) -> Result<(), OutboxError> {
        let number = recorded.number;
        let update = move |transaction: &hob_sdk::rusqlite::Transaction<'_>| {
            transaction
                .prepare_cached("UPDATE decision SET step = ?2 WHERE number = ?1")?
                .execute(params![number, signed(step)])?;
            Ok::<_, OutboxError>(())
        };
        if recorded.decision.jobs.is_empty() && recorded.decision.interventions.is_empty() {
            self.0.write_lazily(update).await
        } else {
            self.0.write(update).await
        }
    }

    /// Keeps what became of a decision, for whoever sent it.
    pub(crate) async fn decided(&self, number: i64, decided: &Decided) -> Result<(), OutboxError> {
        let text = serde_json::to_string(decided).map_err(OutboxError::Draft)?;
        self.0
            .write_lazily(move |transaction| {
                transaction
                    .prepare_cached("UPDATE decision SET outcome = ?2 WHERE number = ?1")?
                    .execute(params![number, text])?;
                Ok(())
            })
            .await
    }

    /// Keeps how far the day is. The truth is written only when it has changed.
    pub(crate) async fn progress(
        &self,
        steps: u64,
        status: &Status,
        truth: Option<&[Truth]>,
    ) -> Result<(), OutboxError> {
        let status = serde_json::to_string(status).map_err(OutboxError::Draft)?;
        let truth = truth.map(serde_json::to_string).transpose().map_err(OutboxError::Draft)?;
        self.0
            .write_lazily(move |transaction| {
                transaction
                    .prepare_cached("UPDATE play SET steps = ?1, status = ?2, truth = coalesce(?3, truth)")?
                    .execute(params![signed(steps), status, truth])?;
                Ok(())
            })
            .await
    }

    /// Adds a decision, unless it is there.
    pub(crate) async fn add(&self, decision: &Decision) -> Result<(), OutboxError> {
        let (id, body) = (decision.id.clone(), serde_json::to_string(decision).map_err(OutboxError::Draft)?);
        self.0
            .write_lazily(move |transaction| {
                transaction
                    .prepare_cached("INSERT INTO decision (id, body) VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
                    .execute(params![id, body])?;
                Ok(())
            })
            .await
    }

    /// What became of a decision, once it is known.
    pub(crate) async fn outcome(&self, id: &str) -> Result<Option<Decided>, OutboxError> {
        let id = id.to_owned();
        self.0
            .read(move |connection| {
                let mut select =
                    connection.prepare_cached("SELECT number, outcome FROM decision WHERE id = ?1")?;
                let found: Option<(i64, Option<String>)> =
                    select.query_row([id], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let Some((row, Some(text))) = found else { return Ok(None) };
                serde_json::from_str(&text).map(Some).map_err(|source| OutboxError::Row { row, source })
            })
            .await
    }

    /// The status and the truth as the worker last wrote them.
    pub(crate) async fn shown(&self) -> Result<(Option<Value>, Option<Value>), OutboxError> {
        let read = |text: Option<String>| text.and_then(|text| serde_json::from_str(&text).ok());
        self.0
            .read(move |connection| {
                let mut select = connection.prepare_cached("SELECT status, truth FROM play")?;
                let found = select.query_row([], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
                let (status, truth) = found.unwrap_or_default();
                Ok((read(status), read(truth)))
            })
            .await
    }
}

fn select(connection: &Connection, which: &str) -> Result<Vec<Recorded>, OutboxError> {
    let columns = |row: &Row<'_>| {
        Ok((
            row.get::<_, i64>(0)?,
            row.get::<_, String>(1)?,
            row.get::<_, Option<i64>>(2)?.map(i64::unsigned_abs),
        ))
    };
    let text = format!("SELECT number, body, step FROM decision WHERE {which} ORDER BY number");
    let mut select = connection.prepare_cached(&text)?;
    let rows = select.query_map([], columns)?.collect::<Result<Vec<_>, _>>()?;
    let read = |(number, body, step): (i64, String, Option<u64>)| {
        let decision =
            serde_json::from_str(&body).map_err(|source| OutboxError::Row { row: number, source })?;
        Ok(Recorded { number, decision, step })
    };
    rows.into_iter().map(read).collect()
}

/// SQLite's whole numbers have a sign; a day has a few thousand steps.
fn signed(steps: u64) -> i64 {
    i64::try_from(steps).unwrap_or(i64::MAX)
}
