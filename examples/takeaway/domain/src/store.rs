//! The entities of a service in its SQLite file: each as the JSON that is served, with its ETag.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::str::FromStr;

use hob_sdk::core::{Timestamp, TopicName};
use hob_sdk::rusqlite::{Connection, OptionalExtension, Transaction, params};
use hob_sdk::server::Representation;
use hob_sdk::wire::{Draft, Notice};
use hob_sdk::{Database, Outbox, OutboxError};
use serde_json::Value;
use takeaway_world::{Applied, Entity};

use crate::transition::{self, Flaw, Outcome, Refused, Transition};

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS entity (
        number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, state TEXT, body TEXT NOT NULL, etag TEXT NOT NULL);
    CREATE INDEX IF NOT EXISTS entity_by_state ON entity (state, number);
    CREATE TABLE IF NOT EXISTS transition (id TEXT PRIMARY KEY) WITHOUT ROWID;
";

/// A service's entities.
#[derive(Clone, Debug)]
pub struct Store {
    database: Database,
    outbox: Outbox,
    origin: String,
}

/// An entity as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) number: i64,
    pub(crate) body: String,
    pub(crate) etag: String,
}

/// Which entities a list shows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    /// Only in one of these states, when any are named.
    pub(crate) states: Vec<String>,
    /// Only after this number.
    pub(crate) after: i64,
    pub(crate) limit: usize,
}

impl Store {
    /// Opens the service's file in `folder`; hrefs are made under `origin`.
    ///
    /// # Errors
    /// When the file cannot be made or is no database.
    pub async fn open(folder: &Path, name: &str, origin: &str) -> Result<Self, OutboxError> {
        let database = Database::open(folder.join(format!("{name}.sqlite")), SCHEMA).await?;
        let outbox = Outbox::open(&database).await?;
        Ok(Self { database, outbox, origin: origin.to_owned() })
    }

    /// The notices that wait to be posted.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    pub(crate) async fn find(&self, id: String) -> Result<Option<Row>, OutboxError> {
        self.database.read(move |connection| Ok(find(connection, &id)?)).await
    }

    pub(crate) async fn list(&self, filter: Filter) -> Result<Vec<Row>, OutboxError> {
        self.database.read(move |connection| Ok(list(connection, &filter)?)).await
    }

    /// Applies transitions in their order and commits those that fit, with one notice for each entity that changed.
    ///
    /// # Errors
    /// When the file cannot be written: then nothing has changed.
    pub async fn apply<E>(&self, transitions: Vec<Transition>) -> Result<Outcome, OutboxError>
    where
        E: Entity<Id: FromStr> + 'static,
    {
        let origin = self.origin.clone();
        self.database.write(move |transaction| apply_all::<E>(transaction, &origin, &transitions)).await
    }
}

/// An entity that transitions of this request changed.
struct Dirty<E> {
    entity: E,
    is_new: bool,
    at: Timestamp,
}

fn apply_all<E>(
    transaction: &Transaction<'_>,
    origin: &str,
    transitions: &[Transition],
) -> Result<Outcome, OutboxError>
where
    E: Entity<Id: FromStr>,
{
    let mut outcome = Outcome::default();
    let mut changed: BTreeMap<E::Id, Dirty<E>> = BTreeMap::new();
    for transition in transitions {
        if is_known(transaction, &transition.id)? {
            outcome.already += 1;
            continue;
        }
        match apply_one(transaction, &mut changed, transition) {
            Ok(applied) => {
                remember(transaction, &transition.id)?;
                outcome.applied += usize::from(applied == Applied::Changed);
                outcome.already += usize::from(applied == Applied::Already);
            }
            Err(Failed::Refused(flaw)) => {
                outcome.refused.push(Refused { id: transition.id.clone(), reason: flaw.to_string() });
            }
            Err(Failed::Database(error)) => return Err(error),
        }
    }
    for (id, dirty) in changed {
        save(transaction, origin, id, &dirty)?;
    }
    Ok(outcome)
}

enum Failed {
    Refused(Flaw),
    Database(OutboxError),
}

impl<F: Into<Flaw>> From<F> for Failed {
    fn from(flaw: F) -> Self {
        Self::Refused(flaw.into())
    }
}

fn apply_one<E>(
    transaction: &Transaction<'_>,
    changed: &mut BTreeMap<E::Id, Dirty<E>>,
    transition: &Transition,
) -> Result<Applied, Failed>
where
    E: Entity<Id: FromStr>,
{
    let id: E::Id = transition.entity.parse().map_err(|_| Flaw::Name(transition.entity.clone()))?;
    let known = match changed.get(&id) {
        Some(dirty) => Some(dirty.entity.clone()),
        None => load(transaction, &transition.entity).map_err(Failed::Database)?,
    };
    let is_new = known.is_none();
    let after = transition::apply(known, id, transition)?;
    if after.applied == Applied::Changed {
        match changed.entry(id) {
            Entry::Occupied(mut entry) => {
                let dirty = entry.get_mut();
                (dirty.entity, dirty.at) = (after.entity, after.at);
            }
            Entry::Vacant(entry) => drop(entry.insert(Dirty { entity: after.entity, is_new, at: after.at })),
        }
    }
    Ok(after.applied)
}

fn save<E: Entity>(
    transaction: &Transaction<'_>,
    origin: &str,
    id: E::Id,
    dirty: &Dirty<E>,
) -> Result<(), OutboxError> {
    let value = dirty.entity.to_hal(origin);
    let page = Representation::hal(&value).map_err(OutboxError::Draft)?;
    let state = value.get("state").and_then(Value::as_str);
    let body = std::str::from_utf8(&page.body).unwrap_or_default();
    transaction
        .prepare_cached(
            "INSERT INTO entity (id, state, body, etag) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT (id) DO UPDATE SET state = excluded.state, body = excluded.body, etag = excluded.etag",
        )?
        .execute(params![id.to_string(), state, body, page.etag])?;
    let kind = if dirty.is_new { "create" } else { "update" };
    let notice = Notice {
        href: Some(E::href(origin, id)),
        t: Some(dirty.at),
        entitytag: Some(page.etag),
        ..Notice::new(kind)
    };
    let topic: TopicName = E::COLLECTION.parse().expect("collections are named like topics");
    Outbox::enqueue(transaction, Draft { topic, notice })
}

fn load<E: Entity>(connection: &Connection, id: &str) -> Result<Option<E>, OutboxError> {
    let Some(row) = find(connection, id)? else { return Ok(None) };
    let read = |source| OutboxError::Row { row: row.number, source };
    serde_json::from_str(&row.body).map(Some).map_err(read)
}

fn find(connection: &Connection, id: &str) -> hob_sdk::rusqlite::Result<Option<Row>> {
    let mut select = connection.prepare_cached("SELECT number, body, etag FROM entity WHERE id = ?1")?;
    select.query_row([id], row).optional()
}

fn list(connection: &Connection, filter: &Filter) -> hob_sdk::rusqlite::Result<Vec<Row>> {
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    let states = serde_json::to_string(&filter.states).unwrap_or_default();
    let mut select = connection.prepare_cached(
        "SELECT number, body, etag FROM entity
         WHERE number > ?1 AND (?2 = '[]' OR state IN (SELECT value FROM json_each(?2))) ORDER BY number LIMIT ?3",
    )?;
    select.query_map(params![filter.after, states, limit], row)?.collect()
}

fn row(row: &hob_sdk::rusqlite::Row<'_>) -> hob_sdk::rusqlite::Result<Row> {
    Ok(Row { number: row.get(0)?, body: row.get(1)?, etag: row.get(2)? })
}

fn is_known(transaction: &Transaction<'_>, id: &str) -> hob_sdk::rusqlite::Result<bool> {
    transaction.prepare_cached("SELECT 1 FROM transition WHERE id = ?1")?.exists([id])
}

fn remember(transaction: &Transaction<'_>, id: &str) -> hob_sdk::rusqlite::Result<()> {
    transaction.prepare_cached("INSERT INTO transition (id) VALUES (?1)")?.execute([id]).map(drop)
}
