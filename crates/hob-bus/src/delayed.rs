//! Events that are held back until their time has come: each is durable at once, as a record on a tag of its scope
//! that is no topic's, so that no reader sees it. When its topic's clock has reached `notbefore` it is appended to its
//! topic, with its id, and a second record says that it is done.
//!
//! An event that was appended when the core died before the second record was durable is known by its id, and is not
//! appended again.
//!
//! At start the records are read again from a place that is kept for each scope, and that moves on behind the first event
//! still held back. What cannot be read again is lost, and told: as a condition of the scope, and as a count of the topic
//! where that is known.

mod fire;
mod state;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hob_core::{Scope, TopicName};
use hob_store::{Expected, Kv, Log, ReadLimits, Tag};
use hob_wire::Extension;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::rows::{EventRow, ROW_VERSION, decode_json, encode_json};

pub(crate) use fire::run;
pub(crate) use state::Scheduled;
use state::State;

/// Events that may be held back in one scope.
pub(crate) const DELAYED_PER_SCOPE_MAX: usize = 100_000;
/// What follows the scope in the tag: no topic's name begins with a dot.
const LABEL: &str = ".delayed";
/// The member of a row that names the topic meanwhile; publishers cannot say it.
const TOPIC: &str = "topic";
/// The type of a record that says which events are done.
const DONE: &str = ".done";
const PREFIX: &str = "delayed/";
const READ: ReadLimits = ReadLimits { records_max: 4_096, bytes_max: 2 << 20 };

/// The kept place is moved on when it lies so many sequences back.
const FORWARD_AFTER: u64 = 10_000;

/// Where the oldest event held back in a scope may stand, at `delayed/<environment>/<tenant>`.
#[derive(Serialize, Deserialize)]
struct FromRow {
    version: u8,
    from: u64,
}

/// The events held back.
pub(crate) struct Delayed {
    kv: Arc<dyn Kv>,
    log: Arc<dyn Log>,
    state: Mutex<State>,
    /// How many records of each scope could not be read at start, at most.
    lost: HashMap<Scope, u64>,
}

impl Delayed {
    /// Reads back what is held back.
    pub(crate) async fn load(kv: Arc<dyn Kv>, log: Arc<dyn Log>) -> Result<Self, Error> {
        let (mut state, mut lost) = (State::default(), HashMap::new());
        for entry in kv.list(PREFIX).await?.entries {
            let Some(scope) = entry.key.strip_prefix(PREFIX).and_then(|text| text.parse().ok()) else {
                continue;
            };
            let FromRow { from, .. } = decode_json(&entry.key, &entry.value)?;
            state.know(&scope, from);
            let unread = replay(&scope, from, log.as_ref(), &mut state).await?;
            lost.insert(scope, unread);
        }
        Ok(Self { kv, log, state: Mutex::new(state), lost })
    }

    /// Makes sure that events held back in a scope are found again, and that there is room for so many more.
    pub(crate) async fn expect(&self, scope: &Scope, events: usize) -> Result<(), Error> {
        {
            let state = self.lock();
            if state.in_scope(scope) + events > DELAYED_PER_SCOPE_MAX {
                return Err(Error::TooManyDelayed { scope: scope.clone() });
            }
            if state.knows(scope) {
                return Ok(());
            }
        }
        // Whatever is held back from here on stands behind what is durable now.
        let from = self.log.head().max(1);
        if self.kv.get(&key(scope)).await?.is_none() {
            self.put(scope, from).await?;
        }
        self.lock().know(scope, from);
        Ok(())
    }

    /// Moves the kept places on that lie far behind what is still held back. Everything up to `settled` has been added.
    async fn forward(&self, settled: u64) {
        let outdated = self.lock().outdated(settled);
        for (scope, from) in outdated {
            // Not told to be written when it is not: it is tried again after as many events more.
            self.lock().know(&scope, from);
            if let Err(error) = self.put(&scope, from).await {
                tracing::warn!(%error, %scope, "failed to note up to where held back events are done; the next start reads more");
            }
        }
    }

    async fn put(&self, scope: &Scope, from: u64) -> Result<(), Error> {
        let row = FromRow { version: ROW_VERSION, from };
        self.kv.put(&key(scope), Expected::Any, Bytes::from(encode_json(&row))).await?;
        Ok(())
    }

    /// Takes in events that are durable now.
    pub(crate) fn add(&self, events: impl IntoIterator<Item = (u64, Scheduled)>) {
        let mut state = self.lock();
        events.into_iter().for_each(|(sequence, event)| state.add(sequence, event));
    }

    /// How many are held back for a topic.
    pub(crate) fn count(&self, scope: &Scope, topic: &TopicName) -> u64 {
        self.lock().count(scope, topic)
    }

    /// How many of a topic could not be read when their time had come, since Hob started.
    pub(crate) fn lost(&self, scope: &Scope, topic: &TopicName) -> u64 {
        self.lock().lost_of(scope, topic)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(scope: &Scope) -> String {
    format!("{PREFIX}{scope}")
}

/// The tag of a scope's events held back.
pub(crate) fn delayed_tag(scope: &Scope) -> Result<Tag, Error> {
    let problem = || "the scope's name is too long for events to be held back in it".to_owned();
    Tag::new(&format!("{scope}/{LABEL}"))
        .map_err(|_| Error::Row { what: format!("delayed events of {scope}"), problem: problem() })
}

/// The member that names the topic of a row held back.
pub(crate) fn topic_member(topic: &TopicName) -> (&str, Extension<'_>) {
    (TOPIC, Extension::Text(topic.as_str().into()))
}

/// The topic of a row held back, which is taken out of it.
fn take_topic(row: &mut EventRow<'_>) -> Option<TopicName> {
    let place = row.extensions.iter().position(|(name, _)| *name == TOPIC)?;
    match row.extensions.remove(place).1 {
        Extension::Text(topic) => topic.parse().ok(),
        Extension::Boolean(_) | Extension::Integer(_) => None,
    }
}

/// Reads a scope's records again; says how many could not be read, at most.
async fn replay(scope: &Scope, from: u64, log: &dyn Log, state: &mut State) -> Result<u64, Error> {
    let tag = delayed_tag(scope)?;
    let mut from = from.max(log.oldest());
    let mut lost = 0;
    while from <= log.head() {
        let batch = log.read_tagged(from, [tag.clone()].into(), READ).await?;
        lost += batch.gaps.iter().map(|gap| gap.last + 1 - gap.first).sum::<u64>();
        for stored in &batch.records {
            let Some(mut row) = EventRow::decode(&stored.payload) else {
                lost += 1;
                continue;
            };
            if row.kind == DONE {
                let done: Vec<u64> =
                    row.json().and_then(|json| serde_json::from_slice(json).ok()).unwrap_or_default();
                done.iter().for_each(|sequence| state.done(scope, *sequence));
            } else if let (Some(topic), Some(notbefore)) = (take_topic(&mut row), row.notbefore) {
                state.add(stored.seq, Scheduled { scope: scope.clone(), topic, notbefore });
            }
        }
        if batch.next <= from {
            break;
        }
        from = batch.next;
    }
    Ok(lost)
}
