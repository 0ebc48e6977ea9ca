//! The outbox as it is stored: rows of drafts in the order of their transactions.

use hob_wire::Draft;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::Error;

/// Numbers are never used again (`AUTOINCREMENT`), and the file has a name of its own: together they make ids that no
/// other row of any file ever has.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS hob_outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, draft TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS hob_outbox_file (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS hob_outbox_lease (
        one INTEGER PRIMARY KEY CHECK (one = 1), holder TEXT NOT NULL, expires_us INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS hob_outbox_refused (
        number INTEGER PRIMARY KEY, draft TEXT NOT NULL, reason TEXT NOT NULL);
";

/// A row that waits to be posted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) draft: Draft,
}

pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    transaction.execute(
        "INSERT INTO hob_outbox_file (one, name) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        [hob_core::Id::short()],
    )?;
    Ok(())
}

pub(super) fn insert(transaction: &Transaction<'_>, draft: &Draft) -> Result<(), Error> {
    let text = serde_json::to_string(draft).map_err(Error::Draft)?;
    transaction.prepare_cached("INSERT INTO hob_outbox (draft) VALUES (?1)")?.execute([text])?;
    Ok(())
}

pub(super) fn count(connection: &Connection) -> Result<u64, Error> {
    let count: i64 = connection.query_row("SELECT count(*) FROM hob_outbox", [], |row| row.get(0))?;
    Ok(u64::try_from(count).unwrap_or(0))
}

/// The oldest rows, with the ids that make them known again.
pub(super) fn oldest(connection: &Connection, limit: usize) -> Result<Vec<Row>, Error> {
    let mut select =
        connection.prepare_cached("SELECT number, draft FROM hob_outbox ORDER BY number LIMIT ?1")?;
    let found = select.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?))
    })?;
    let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
    if found.is_empty() {
        return Ok(Vec::new());
    }
    let name: Option<String> =
        connection.query_row("SELECT name FROM hob_outbox_file", [], |row| row.get(0)).optional()?;
    let name = name.unwrap_or_default();
    let read = |(number, text): (i64, String)| {
        let mut draft: Draft =
            serde_json::from_str(&text).map_err(|source| Error::Row { row: number, source })?;
        draft.notice.id.get_or_insert_with(|| format!("{name}-{number}"));
        Ok(Row { number, draft })
    };
    found.into_iter().map(read).collect()
}

pub(super) fn delete_up_to(transaction: &Transaction<'_>, number: i64) -> Result<(), Error> {
    transaction.prepare_cached("DELETE FROM hob_outbox WHERE number <= ?1")?.execute([number])?;
    Ok(())
}

/// Puts a row aside that Hob will never take, so that those behind it can go.
pub(super) fn set_aside(transaction: &Transaction<'_>, number: i64, reason: &str) -> Result<(), Error> {
    transaction.execute(
        "INSERT OR REPLACE INTO hob_outbox_refused (number, draft, reason)
         SELECT number, draft, ?2 FROM hob_outbox WHERE number = ?1",
        params![number, reason],
    )?;
    transaction.execute("DELETE FROM hob_outbox WHERE number = ?1", [number])?;
    Ok(())
}
