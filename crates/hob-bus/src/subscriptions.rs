//! All subscriptions: a key for what each asks for, a key for its cursor, and how each is doing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hob_core::{Id, Timestamp, nearest};
use hob_store::{Expected, Kv};
use hob_wire::{Condition, CursorAt, SubscriptionSpec, TopicKind, sequence_text};
use tokio::sync::Mutex;

use crate::filter::Filters;
use crate::model::limits::{SUBSCRIPTION_TOPICS_MAX, SUBSCRIPTION_TYPES_MAX, SUBSCRIPTIONS_PER_SERVICE_MAX};
use crate::positions::{Positions, tags_for};
use crate::push::check_delivery;
use crate::read::Reader;
use crate::rows::{CursorRow, LetterRow, PauseRow, ROW_VERSION, SubscriptionRow, decode_json, encode_json};
use crate::signature::Secrets;
use crate::sink::check_sink;
use crate::step::{Halt, Input, State, Terms};
use crate::subscription::{Subscription, Unsaved};
use crate::topics::Topics;
use crate::{Error, Put, SubscriptionKey};

mod control;
mod handle;
mod seek;

pub use control::DeadLetterPage;

const PREFIX: &str = "subscriptions/";
const CURSORS: &str = "cursors/";
const LETTERS: &str = "dead-letters/";
/// Letters of a type that a subscription names.
const TYPE_LENGTH_MAX: usize = 128;
/// Cursors that are written at the same time.
const SAVES_MAX: usize = 8;

/// All subscriptions.
pub(crate) struct Subscriptions {
    pub(crate) kv: Arc<dyn Kv>,
    known: RwLock<BTreeMap<SubscriptionKey, Arc<Subscription>>>,
    /// One change of the list at a time.
    changing: Mutex<()>,
    unsaved: Arc<Unsaved>,
}

impl Subscriptions {
    /// Reads what is stored. A cursor ahead of the head is brought back to it: nothing may be skipped.
    pub(crate) async fn load(kv: Arc<dyn Kv>, positions: &Positions) -> Result<Self, Error> {
        let unsaved: Arc<Unsaved> = Arc::default();
        let mut cursors = HashMap::new();
        for entry in kv.list(CURSORS).await?.entries {
            let row: CursorRow = decode_json(&entry.key, &entry.value)?;
            cursors.insert(entry.key, row);
        }
        let mut letters = load_letters(kv.as_ref()).await?;
        let mut known = BTreeMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            let key = parse_key(&entry.key)?;
            let row: SubscriptionRow = decode_json(&entry.key, &entry.value)?;
            let filters = compile(&key, &row.filters)?;
            let cursor = cursors.remove(&cursor_key(&key)).filter(|cursor| cursor.of == row.id);
            let own = letters.remove(&letter_prefix(&key)).unwrap_or_default();
            let own = own.into_iter().filter(|(_, letter)| letter.of == row.id);
            let state = resume(&key, &row, cursor, positions.head())?;
            let own: Vec<_> = own.collect();
            let mut state = state.with_letters(own.iter().map(|(sequence, _)| *sequence));
            state.halt = row.paused.as_ref().map(Halt::from);
            let subscription = Arc::new(Subscription::new(key.clone(), row, filters, state, &unsaved));
            subscription.letters_known(own).await;
            subscription.listen(positions).await;
            known.insert(key, subscription);
        }
        // What a deletion left behind when it was interrupted.
        for orphan in cursors.into_keys() {
            kv.delete(&orphan, Expected::Any).await?;
        }
        for (prefix, letters) in letters {
            for (sequence, _) in letters {
                kv.delete(&format!("{prefix}{}", sequence_text(sequence)), Expected::Any).await?;
            }
        }
        Ok(Self { kv, known: RwLock::new(known), changing: Mutex::default(), unsaved })
    }

    pub(crate) fn get(&self, key: &SubscriptionKey) -> Result<Arc<Subscription>, Error> {
        let known = self.read();
        known.get(key).cloned().ok_or_else(|| {
            let own = known.keys().filter(|other| other.scope == key.scope && other.service == key.service);
            let nearest = nearest(key.name.as_str(), own.map(|other| other.name.as_str()));
            let nearest = nearest.and_then(|name| name.parse().ok());
            Error::SubscriptionUnknown { key: Box::new(key.clone()), nearest }
        })
    }

    pub(crate) fn all(&self) -> Vec<Arc<Subscription>> {
        self.read().values().cloned().collect()
    }

    pub(crate) async fn put(
        &self,
        key: &SubscriptionKey,
        mut spec: SubscriptionSpec,
        reader: &Reader<'_>,
        topics: &Topics,
        now: Timestamp,
    ) -> Result<Put<Arc<Subscription>>, Error> {
        check(key, &mut spec, topics)?;
        let filters = compile(key, &spec.filters)?;
        let _changing = self.changing.lock().await;
        let known = self.read().get(key).cloned();
        if let Some(subscription) = known {
            let mut body = subscription.body.lock().await;
            let row = respecified(&body.row, spec);
            if body.row != row {
                self.write_row(key, &row).await?;
                subscription.respecify(&mut body, row, filters, reader.positions, now);
            }
            drop(body);
            return Ok(Put { value: subscription, created: false });
        }
        let own = self
            .read()
            .keys()
            .filter(|other| other.scope == key.scope && other.service == key.service)
            .count();
        if own >= SUBSCRIPTIONS_PER_SERVICE_MAX {
            let problem = format!("{} has {own} subscriptions, which is the limit; delete one", key.service);
            return Err(Error::BadSubscription { name: key.name.clone(), problem });
        }
        let start = match spec.from {
            CursorAt::End => reader.positions.head(),
            CursorAt::Start => reader.log.oldest().saturating_sub(1),
        };
        let id = Id::generate(now);
        let row = SubscriptionRow {
            version: ROW_VERSION,
            id,
            start,
            forgone: reader.forgone(&tags_for(&key.scope, &spec.topics)),
            ..respecified(&SubscriptionRow::default(), spec)
        };
        self.write_row(key, &row).await?;
        let state = State::begin(start, Terms::from(&row.delivery));
        let subscription = Arc::new(Subscription::new(key.clone(), row, filters, state, &self.unsaved));
        subscription.listen(reader.positions).await;
        self.write().insert(key.clone(), Arc::clone(&subscription));
        Ok(Put { value: subscription, created: true })
    }

    /// What is to be told since the last call.
    pub(crate) fn take_news(&self) -> Vec<(SubscriptionKey, Condition)> {
        self.unsaved.take_news()
    }

    pub(crate) async fn delete(&self, key: &SubscriptionKey) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let subscription = self.get(key)?;
        // Held to the end, so that the cursor is not written once more.
        let _saving = subscription.saving.lock().await;
        self.kv.delete(&spec_key(key), Expected::Any).await?;
        subscription.end();
        self.write().remove(key);
        subscription.begins_anew("it was deleted");
        let letters: Vec<u64> = subscription.body.lock().await.letters.keys().copied().collect();
        subscription.letters_gone(&letters).await;
        self.kv.delete(&cursor_key(key), Expected::Any).await?;
        for letter in self.kv.list(&letter_prefix(key)).await?.entries {
            self.kv.delete(&letter.key, Expected::Any).await?;
        }
        Ok(())
    }

    /// Has a subscription hand out nothing, or go on.
    pub(crate) async fn halt(
        &self,
        key: &SubscriptionKey,
        pause: Option<PauseRow>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let subscription = self.get(key)?;
        let mut body = subscription.body.lock().await;
        let row = SubscriptionRow { paused: pause, ..body.row.clone() };
        self.write_row(key, &row).await?;
        let halt = row.paused.as_ref().map(Halt::from);
        body.row = row;
        subscription.step(&mut body, Input::Halted(halt), now);
        Ok(())
    }

    /// Makes a new signing secret; the old one signs beside it for a day.
    pub(crate) async fn rotate_secret(&self, key: &SubscriptionKey, now: Timestamp) -> Result<String, Error> {
        let _changing = self.changing.lock().await;
        let subscription = self.get(key)?;
        let mut body = subscription.body.lock().await;
        if body.row.sink.is_none() {
            return Err(Error::NoSink { name: key.name.clone() });
        }
        let secrets = body.row.secrets.as_ref().and_then(Secrets::from_row);
        let secrets = secrets.map_or_else(Secrets::generate, |secrets| secrets.rotate(now));
        let row = SubscriptionRow { secrets: Some(secrets.to_row()), ..body.row.clone() };
        self.write_row(key, &row).await?;
        body.row = row;
        Ok(secrets.current.expose())
    }

    /// Moves the cursors of those that are read as streams.
    pub(crate) async fn follow_streams(&self, now: Timestamp) {
        for subscription in self.all() {
            subscription.follow_streams(now).await;
        }
    }

    /// Writes the cursors that have moved; says how many could not be written, and why the first could not.
    pub(crate) async fn save(&self, reader: &Reader<'_>, now: Timestamp) -> Option<(usize, Error)> {
        let unsaved: Vec<_> = self.unsaved.take().iter().filter_map(|key| self.get(key).ok()).collect();
        let saves = unsaved
            .into_iter()
            .map(async |subscription| subscription.save(self.kv.as_ref(), reader, now).await);
        let outcomes: Vec<_> = stream::iter(saves).buffer_unordered(SAVES_MAX).collect().await;
        let mut errors = outcomes.into_iter().filter_map(Result::err);
        let first = errors.next()?;
        Some((1 + errors.count(), first))
    }

    pub(crate) async fn write_row(&self, key: &SubscriptionKey, row: &SubscriptionRow) -> Result<(), Error> {
        self.kv.put(&spec_key(key), Expected::Any, Bytes::from(encode_json(row))).await?;
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<SubscriptionKey, Arc<Subscription>>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<SubscriptionKey, Arc<Subscription>>> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses what could never work, and brings the rest into one form.
fn check(key: &SubscriptionKey, spec: &mut SubscriptionSpec, topics: &Topics) -> Result<(), Error> {
    spec.topics.sort();
    spec.topics.dedup();
    spec.types.sort();
    spec.types.dedup();
    let refuse = |problem: String| Err(Error::BadSubscription { name: key.name.clone(), problem });
    if spec.topics.is_empty() {
        return refuse("it names no topic; name at least one".to_owned());
    }
    if spec.topics.len() > SUBSCRIPTION_TOPICS_MAX || spec.types.len() > SUBSCRIPTION_TYPES_MAX {
        return refuse(format!(
            "the limits are {SUBSCRIPTION_TOPICS_MAX} topics and {SUBSCRIPTION_TYPES_MAX} types; make a second one"
        ));
    }
    if let Some(sink) = &spec.sink {
        check_sink(sink).map_err(|flaw| Error::BadSink { name: key.name.clone(), flaw })?;
    }
    if let Err(problem) = check_delivery(&spec.delivery) {
        return refuse(problem);
    }
    if let Some(kind) = spec.types.iter().find(|kind| kind.is_empty() || kind.len() > TYPE_LENGTH_MAX) {
        return refuse(format!(
            "type {kind:?} is empty or longer than {TYPE_LENGTH_MAX} letters; leave it out"
        ));
    }
    let is_notify =
        |topic| topics.get(&key.scope, topic).is_ok_and(|topic| topic.terms.kind == TopicKind::Notify);
    if spec.topics.iter().all(is_notify) {
        let changes = ["create", "update", "delete", "noop"];
        let can_be: Vec<String> =
            spec.topics.iter().flat_map(|topic| changes.map(|change| format!("{topic}.{change}"))).collect();
        if let Some(kind) = spec.types.iter().find(|kind| !can_be.contains(kind)) {
            let hint = nearest(kind, can_be.iter().map(String::as_str)).unwrap_or(&can_be[1]);
            return refuse(format!("its topics have no events of type {kind:?}; for example {hint:?}"));
        }
    }
    Ok(())
}

fn spec_key(key: &SubscriptionKey) -> String {
    format!("{PREFIX}{key}")
}

pub(crate) fn cursor_key(key: &SubscriptionKey) -> String {
    format!("{CURSORS}{key}")
}

fn letter_prefix(key: &SubscriptionKey) -> String {
    format!("{LETTERS}{key}/")
}

pub(crate) fn letter_key(key: &SubscriptionKey, sequence: u64) -> String {
    format!("{LETTERS}{key}/{}", sequence_text(sequence))
}

/// Dead letters by the prefix of their subscription.
async fn load_letters(kv: &dyn Kv) -> Result<HashMap<String, Vec<(u64, LetterRow)>>, Error> {
    let mut letters: HashMap<String, Vec<_>> = HashMap::new();
    for entry in kv.list(LETTERS).await?.entries {
        let row: LetterRow = decode_json(&entry.key, &entry.value)?;
        let place = entry.key.rfind('/').map_or(0, |slash| slash + 1);
        let (prefix, sequence) = entry.key.split_at(place);
        let Ok(sequence) = sequence.parse() else { continue };
        letters.entry(prefix.to_owned()).or_default().push((sequence, row));
    }
    Ok(letters)
}

/// How a subscription goes on after a restart.
fn resume(
    key: &SubscriptionKey,
    row: &SubscriptionRow,
    cursor: Option<CursorRow>,
    head: u64,
) -> Result<State, Error> {
    let terms = Terms::from(&row.delivery);
    let Some(cursor) = cursor else { return Ok(State::begin(row.start.min(head), terms)) };
    let mut looked = cursor.looked.max(cursor.done);
    if looked > head {
        tracing::error!(subscription = %key, cursor = looked, head, "a cursor was ahead of the log and goes back");
        looked = head;
    }
    let unclear =
        || Error::Row { what: cursor_key(key), problem: "what is pending cannot be read".to_owned() };
    let pending = cursor.pending().ok_or_else(unclear)?;
    Ok(State::resume(looked, terms, pending).with_snapshot(cursor.snapshot))
}

fn compile(key: &SubscriptionKey, filters: &[hob_wire::FilterSpec]) -> Result<Filters, Error> {
    Filters::compile(filters).map_err(|flaw| Error::BadFilter { name: key.name.clone(), flaw })
}

/// The same subscription, asking for something else.
fn respecified(row: &SubscriptionRow, spec: SubscriptionSpec) -> SubscriptionRow {
    let SubscriptionSpec { topics, types, filters, sink, delivery, from: _ } = spec;
    let secrets = row.secrets.clone().or_else(|| sink.as_ref().map(|_| Secrets::generate().to_row()));
    SubscriptionRow { topics, types, filters, sink, delivery, secrets, ..row.clone() }
}

fn parse_key(key: &str) -> Result<SubscriptionKey, Error> {
    let parse = || {
        let (rest, name) = key.strip_prefix(PREFIX)?.rsplit_once('/')?;
        let (scope, service) = rest.rsplit_once('/')?;
        Some(SubscriptionKey {
            scope: scope.parse().ok()?,
            service: service.parse().ok()?,
            name: name.parse().ok()?,
        })
    };
    parse().ok_or_else(|| Error::Row {
        what: key.to_owned(),
        problem: "its name is no subscription's".to_owned(),
    })
}
