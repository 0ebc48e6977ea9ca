//! Processes that share a file, commit changes with their notices and relay them, are killed at random, many times: at
//! the end every committed change was told of exactly once, each entity's in order.
//!
//! The test runs itself as the children.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

#[path = "sdk/bus.rs"]
#[expect(dead_code, reason = "the other tests use the rest of it")]
mod bus;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bus::{Bus, until};
use hob_sdk::wire::Draft;
use hob_sdk::{Client, Database, Outbox, OutboxError};

const ROUNDS: usize = 12;
/// Changes are committed by each child until it is killed, but no more than this.
const CHANGES_MAX: u64 = 2_000;
const ENTITIES: u64 = 5;
const DIRECTORY_VARIABLE: &str = "HOB_OUTBOX_KILL_DIRECTORY";
const ORIGIN_VARIABLE: &str = "HOB_OUTBOX_KILL_ORIGIN";
const SCHEMA: &str =
    "CREATE TABLE IF NOT EXISTS change (number INTEGER PRIMARY KEY AUTOINCREMENT, entity TEXT)";

async fn open(folder: &Path) -> (Database, Outbox) {
    let database = Database::open(folder.join("things.sqlite"), SCHEMA).await.unwrap();
    let outbox = Outbox::open(&database).await.unwrap();
    (database, outbox)
}

/// Commits a change of an entity together with a notice that carries the change's number.
async fn commit(database: &Database, entity: u64) {
    let write = database.write(move |transaction| {
        let entity = format!("http://city.test/things/{entity}");
        transaction.execute("INSERT INTO change (entity) VALUES (?1)", [&entity])?;
        let number = transaction.last_insert_rowid();
        let draft = serde_json::json!({
            "topic": "things", "type": "update", "href": entity, "entitytag": format!("\"{number}\""),
        });
        Outbox::enqueue(transaction, serde_json::from_value::<Draft>(draft).unwrap())
    });
    let _: Result<(), OutboxError> = write.await;
}

/// Commits and relays until it is killed; passes at once when it is not run as the child.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(DIRECTORY_VARIABLE).map(PathBuf::from) else { return };
    let origin = std::env::var_os(ORIGIN_VARIABLE).unwrap().into_string().unwrap();
    let (database, outbox) = open(&folder).await;
    let config = bus::config(&origin, &folder);
    let relay = outbox.relay(&Client::new(&config).unwrap(), &config);
    for number in 0..CHANGES_MAX {
        commit(&database, number % ENTITIES).await;
    }
    until("it is killed", async || false).await;
    drop(relay);
}

fn spawn(folder: &Path, origin: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["child", "--exact", "--test-threads", "1"])
        .env(DIRECTORY_VARIABLE, folder)
        .env(ORIGIN_VARIABLE, origin)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

async fn changes(database: &Database) -> Vec<(i64, String)> {
    let read = database.read(|connection| {
        let mut select = connection.prepare("SELECT number, entity FROM change ORDER BY number")?;
        let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        Ok::<_, OutboxError>(rows.collect::<Result<Vec<_>, _>>()?)
    });
    read.await.unwrap()
}

#[tokio::test]
async fn killed_anywhere_nothing_is_lost_or_told_twice() {
    if std::env::var_os(DIRECTORY_VARIABLE).is_some() {
        return;
    }
    let (bus, folder) = (Bus::start().await, tempfile::tempdir().unwrap());
    let (database, outbox) = open(folder.path()).await;
    let mut children: Vec<Child> = (0..2).map(|_| spawn(folder.path(), &bus.origin)).collect();
    for round in 0..ROUNDS {
        // Killed at once after more was committed or told, wherever the child is by then.
        let (committed, told) = (changes(&database).await.len(), bus.hrefs().len());
        let after = usize::from(hob_sdk::core::random_bytes::<1>()[0] % 40);
        until("something was done", async || {
            let told = bus.hrefs().len() > told + after;
            told || changes(&database).await.len() > committed + 2 * after
        })
        .await;
        let mut child = children.remove(round % 2);
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "the child was killed");
        children.insert(round % 2, spawn(folder.path(), &bus.origin));
    }
    for mut child in children {
        child.kill().unwrap();
        child.wait().unwrap();
    }

    let config = bus::config(&bus.origin, folder.path());
    let relay = outbox.relay(&Client::new(&config).unwrap(), &config);
    until("the outbox is empty", async || outbox.figures().await.unwrap().pending == 0).await;
    relay.stop().await;
    let committed = changes(&database).await;
    let told: Vec<(i64, String)> = bus
        .shared
        .events
        .lock()
        .unwrap()
        .iter()
        .map(|event| {
            let number = event.entitytag.as_deref().unwrap().trim_matches('"').parse().unwrap();
            (number, event.subject.clone().unwrap())
        })
        .collect();
    let mut sorted = told.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, committed, "each exactly once");
    let mut last: HashMap<String, i64> = HashMap::new();
    for (number, entity) in told {
        let before = last.insert(entity, number);
        assert!(before.is_none_or(|before| before < number), "out of order");
    }
    assert!(committed.len() > ROUNDS, "the children did something");
}
