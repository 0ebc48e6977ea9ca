//! The outbox as it is stored: rows of drafts in the order of their transactions.

use hob_core::Timestamp;
use hob_core::limits::REQUEST_BODY_BYTES_MAX;
use hob_wire::Draft;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{Error, Figures, SetAside};

/// Bytes of the rows of one post, at most: a part of what Hob takes, as ids and commas come on top.
const BATCH_BYTES_MAX: usize = REQUEST_BODY_BYTES_MAX / 2;
/// Rows that are set aside, at most: then the oldest are given up, which is logged and counted.
pub(super) const SET_ASIDE_MAX: i64 = 10_000;

/// Numbers are never used again (`AUTOINCREMENT`), and the file has a name of its own: together they make ids that no
/// other row of any file ever has.
const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS hob_outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, draft TEXT NOT NULL, at_us INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS hob_outbox_file (one INTEGER PRIMARY KEY CHECK (one = 1), name TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS hob_outbox_lease (
        one INTEGER PRIMARY KEY CHECK (one = 1), holder TEXT NOT NULL, expires_us INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS hob_outbox_refused (
        number INTEGER PRIMARY KEY, draft TEXT NOT NULL, reason TEXT NOT NULL, at_us INTEGER NOT NULL DEFAULT 0);
    CREATE TABLE IF NOT EXISTS hob_outbox_given_up (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER NOT NULL);
";
/// Tables that were made before rows knew their time.
const WITHOUT_TIME: [&str; 2] = ["hob_outbox", "hob_outbox_refused"];

/// A row that waits to be posted.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) number: i64,
    pub(super) draft: Draft,
}

pub(super) fn create(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    transaction.execute_batch(SCHEMA)?;
    for table in WITHOUT_TIME {
        let known = format!("SELECT 1 FROM pragma_table_info('{table}') WHERE name = 'at_us'");
        if transaction.query_row(&known, [], |_| Ok(())).optional()?.is_none() {
            let add = format!("ALTER TABLE {table} ADD COLUMN at_us INTEGER NOT NULL DEFAULT 0");
            transaction.execute(&add, [])?;
        }
    }
    transaction.execute(
        "INSERT INTO hob_outbox_file (one, name) VALUES (1, ?1) ON CONFLICT DO NOTHING",
        [hob_core::Id::short()],
    )?;
    Ok(())
}

pub(super) fn insert(transaction: &Transaction<'_>, draft: &Draft, now: Timestamp) -> Result<(), Error> {
    let text = serde_json::to_string(draft).map_err(Error::Draft)?;
    transaction
        .prepare_cached("INSERT INTO hob_outbox (draft, at_us) VALUES (?1, ?2)")?
        .execute(params![text, now.as_micros()])?;
    Ok(())
}

pub(super) fn figures(connection: &Connection, now: Timestamp) -> Result<Figures, Error> {
    let count = |sql: &str| -> rusqlite::Result<u64> {
        let count: Option<i64> = connection.query_row(sql, [], |row| row.get(0)).optional()?;
        Ok(u64::try_from(count.unwrap_or(0)).unwrap_or(0))
    };
    let oldest: Option<i64> = connection
        .query_row("SELECT at_us FROM hob_outbox ORDER BY number LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let oldest = oldest.filter(|micros| *micros > 0).map(Timestamp::from_micros);
    Ok(Figures {
        pending: count("SELECT count(*) FROM hob_outbox")?,
        oldest_ms: oldest.map(|at| u64::try_from(now.since(at).as_millis()).unwrap_or(u64::MAX)),
        set_aside: count("SELECT count(*) FROM hob_outbox_refused")?,
        given_up: count("SELECT count FROM hob_outbox_given_up")?,
    })
}

/// What stands next in the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Next {
    /// Rows to be posted, with the ids that make them known again; none when there are none.
    Rows(Vec<Row>),
    /// A row that nobody can read.
    Unreadable { number: i64, reason: String },
}

/// The oldest rows, as many as `limit` and the bytes of one post allow.
pub(super) fn oldest(connection: &Connection, limit: usize) -> Result<Next, Error> {
    let mut select =
        connection.prepare_cached("SELECT number, draft FROM hob_outbox ORDER BY number LIMIT ?1")?;
    let mut found = select.query([i64::try_from(limit).unwrap_or(i64::MAX)])?;
    let (mut rows, mut bytes, mut name) = (Vec::new(), 0, None);
    while let Some(row) = found.next()? {
        let (number, text): (i64, String) = (row.get(0)?, row.get(1)?);
        bytes += text.len();
        if bytes > BATCH_BYTES_MAX && !rows.is_empty() {
            break;
        }
        let mut draft: Draft = match serde_json::from_str(&text) {
            Ok(draft) => draft,
            // Those before it go first.
            Err(_) if !rows.is_empty() => break,
            Err(error) => return Ok(Next::Unreadable { number, reason: format!("read the row: {error}") }),
        };
        if name.is_none() {
            name = Some(file_name(connection)?);
        }
        draft.notice.id.get_or_insert_with(|| format!("{}-{number}", name.as_deref().unwrap_or_default()));
        rows.push(Row { number, draft });
    }
    Ok(Next::Rows(rows))
}

fn file_name(connection: &Connection) -> Result<String, Error> {
    Ok(connection.query_row("SELECT name FROM hob_outbox_file", [], |row| row.get(0))?)
}

/// Deletes rows that Hob has, and no other: one that was put back may stand among them.
pub(super) fn delete(transaction: &Transaction<'_>, numbers: &[i64]) -> Result<(), Error> {
    let mut delete = transaction.prepare_cached("DELETE FROM hob_outbox WHERE number = ?1")?;
    for number in numbers {
        delete.execute([number])?;
    }
    Ok(())
}

/// Puts a row aside that Hob will never take, so that those behind it can go. Returns how many rows were given up to
/// make room for it.
pub(super) fn set_aside(
    transaction: &Transaction<'_>,
    number: i64,
    reason: &str,
    set_aside_max: i64,
) -> Result<usize, Error> {
    transaction.execute(
        "INSERT OR REPLACE INTO hob_outbox_refused (number, draft, reason, at_us)
         SELECT number, draft, ?2, at_us FROM hob_outbox WHERE number = ?1",
        params![number, reason],
    )?;
    transaction.execute("DELETE FROM hob_outbox WHERE number = ?1", [number])?;
    let given_up = transaction.execute(
        "DELETE FROM hob_outbox_refused WHERE number IN (
             SELECT number FROM hob_outbox_refused ORDER BY number DESC LIMIT -1 OFFSET ?1)",
        [set_aside_max],
    )?;
    if given_up > 0 {
        transaction.execute(
            "INSERT INTO hob_outbox_given_up (one, count) VALUES (1, ?1)
             ON CONFLICT (one) DO UPDATE SET count = count + excluded.count",
            [i64::try_from(given_up).unwrap_or(i64::MAX)],
        )?;
    }
    Ok(given_up)
}

/// The rows that were set aside, the oldest first.
pub(super) fn all_set_aside(connection: &Connection) -> Result<Vec<SetAside>, Error> {
    let mut select =
        connection.prepare("SELECT number, draft, reason, at_us FROM hob_outbox_refused ORDER BY number")?;
    let rows = select.query_map([], |row| {
        let (draft, at_us): (String, i64) = (row.get(1)?, row.get(3)?);
        let draft = serde_json::from_str(&draft).ok();
        Ok(SetAside {
            number: row.get(0)?,
            draft,
            reason: row.get(2)?,
            enqueued: Timestamp::from_micros(at_us),
        })
    })?;
    Ok(rows.collect::<rusqlite::Result<_>>()?)
}

/// Puts a row back into its place, under its old number and so with its old id.
pub(super) fn put_back(transaction: &Transaction<'_>, number: i64) -> Result<bool, Error> {
    let put = transaction.execute(
        "INSERT INTO hob_outbox (number, draft, at_us)
         SELECT number, draft, at_us FROM hob_outbox_refused WHERE number = ?1",
        [number],
    )?;
    transaction.execute("DELETE FROM hob_outbox_refused WHERE number = ?1", [number])?;
    Ok(put == 1)
}

/// Forgets a row that was set aside.
pub(super) fn drop_set_aside(transaction: &Transaction<'_>, number: i64) -> Result<bool, Error> {
    Ok(transaction.execute("DELETE FROM hob_outbox_refused WHERE number = ?1", [number])? == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(topic: &str) -> Draft {
        serde_json::from_value(serde_json::json!({ "topic": topic, "type": "update" })).unwrap()
    }

    #[test]
    fn what_is_set_aside_is_bounded_and_goes_back_to_its_place() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        create(&transaction).unwrap();
        for _ in 0..4 {
            insert(&transaction, &draft("things"), Timestamp::from_micros(1_000_000)).unwrap();
        }
        let given_up = |number| set_aside(&transaction, number, "no", 2).unwrap();
        assert_eq!([given_up(1), given_up(2), given_up(3)], [0, 0, 1]);
        let figures = figures(&transaction, Timestamp::from_micros(3_000_000)).unwrap();
        let expect = Figures { pending: 1, oldest_ms: Some(2000), set_aside: 2, given_up: 1 };
        assert_eq!(figures, expect);
        assert!(put_back(&transaction, 3).unwrap() && !put_back(&transaction, 3).unwrap());
        assert!(drop_set_aside(&transaction, 2).unwrap());
        let Next::Rows(rows) = oldest(&transaction, 9).unwrap() else { panic!("unreadable") };
        assert_eq!(rows.iter().map(|row| row.number).collect::<Vec<_>>(), [3, 4]);
        assert!(rows[0].draft.notice.id.as_ref().unwrap().ends_with("-3"));
    }

    #[test]
    fn a_row_that_nobody_can_read_is_found_once_it_is_first() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        create(&transaction).unwrap();
        insert(&transaction, &draft("things"), Timestamp::EPOCH).unwrap();
        transaction.execute("INSERT INTO hob_outbox (draft) VALUES ('{}')", []).unwrap();
        assert!(matches!(oldest(&transaction, 9).unwrap(), Next::Rows(rows) if rows.len() == 1));
        delete(&transaction, &[1]).unwrap();
        assert!(matches!(oldest(&transaction, 9).unwrap(), Next::Unreadable { number: 2, .. }));
        set_aside(&transaction, 2, "no", 9).unwrap();
        assert_eq!(all_set_aside(&transaction).unwrap()[0].draft, None);
    }

    #[test]
    fn a_file_from_before_rows_knew_their_time_is_taken_over() {
        let mut connection = Connection::open_in_memory().unwrap();
        let transaction = connection.transaction().unwrap();
        let old = "CREATE TABLE hob_outbox (number INTEGER PRIMARY KEY AUTOINCREMENT, draft TEXT NOT NULL)";
        transaction.execute(old, []).unwrap();
        create(&transaction).unwrap();
        create(&transaction).unwrap();
        insert(&transaction, &draft("things"), Timestamp::from_micros(1)).unwrap();
    }
}
