//! All subscriptions: a key for what each asks for, a key for its cursor, and how each is doing.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use hob_core::{Id, Timestamp, nearest};
use hob_store::{Expected, Kv};
use hob_wire::{CursorAt, DeliverySpec, SubscriptionSpec, SubscriptionState, TopicKind, sequence_text};
use tokio::sync::Mutex;

use crate::model::limits::{SUBSCRIPTION_TOPICS_MAX, SUBSCRIPTION_TYPES_MAX, SUBSCRIPTIONS_PER_SERVICE_MAX};
use crate::positions::tags_for;
use crate::read::Reader;
use crate::rows::{CursorRow, ROW_VERSION, SubscriptionRow, decode_json, encode_json};
use crate::step::State;
use crate::subscription::Subscription;
use crate::topics::Topics;
use crate::{Error, Put, SubscriptionKey};

const PREFIX: &str = "subscriptions/";
const CURSORS: &str = "cursors/";
/// Letters of a type that a subscription names.
const TYPE_LENGTH_MAX: usize = 128;
/// Cursors that are written at the same time.
const SAVES_MAX: usize = 8;

/// All subscriptions.
pub(crate) struct Subscriptions {
    kv: Arc<dyn Kv>,
    known: RwLock<BTreeMap<SubscriptionKey, Arc<Subscription>>>,
    /// One change of the list at a time.
    changing: Mutex<()>,
}

impl Subscriptions {
    /// Reads what is stored. A cursor ahead of `head` is brought back to it: nothing may be skipped.
    pub(crate) async fn load(kv: Arc<dyn Kv>, head: u64) -> Result<Self, Error> {
        let mut cursors = HashMap::new();
        for entry in kv.list(CURSORS).await?.entries {
            let row: CursorRow = decode_json(&entry.key, &entry.value)?;
            cursors.insert(entry.key, row);
        }
        let mut known = BTreeMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            let key = parse_key(&entry.key)?;
            let row: SubscriptionRow = decode_json(&entry.key, &entry.value)?;
            let cursor = cursors.remove(&cursor_key(&key)).filter(|cursor| cursor.of == row.id);
            let (mut done, acked) =
                cursor.map_or((row.start, Vec::new()), |cursor| (cursor.done, cursor.acked));
            if done > head {
                tracing::error!(subscription = %key, cursor = done, head, "a cursor was ahead of the log and goes back");
                done = head;
            }
            let state = State::resume(done, acked.into_iter().filter(|sequence| *sequence <= head));
            known.insert(key.clone(), Arc::new(Subscription::new(key, row, state)));
        }
        // What a deletion left behind when it was interrupted.
        for orphan in cursors.into_keys() {
            kv.delete(&orphan, Expected::Any).await?;
        }
        Ok(Self { kv, known: RwLock::new(known), changing: Mutex::default() })
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
        let _changing = self.changing.lock().await;
        let known = self.read().get(key).cloned();
        if let Some(subscription) = known {
            let mut body = subscription.body.lock().await;
            if body.row.topics != spec.topics || body.row.types != spec.types {
                let row = SubscriptionRow { topics: spec.topics, types: spec.types, ..body.row.clone() };
                self.write_row(key, &row).await?;
                subscription.respecify(&mut body, row, now);
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
        let (id, topics, types) = (Id::generate(now), spec.topics, spec.types);
        let forgone = reader.forgone(&tags_for(&key.scope, &topics));
        let row = SubscriptionRow { version: ROW_VERSION, id, topics, types, start, forgone };
        self.write_row(key, &row).await?;
        let subscription = Arc::new(Subscription::new(key.clone(), row, State::resume(start, [])));
        self.write().insert(key.clone(), Arc::clone(&subscription));
        Ok(Put { value: subscription, created: true })
    }

    pub(crate) async fn delete(&self, key: &SubscriptionKey) -> Result<(), Error> {
        let _changing = self.changing.lock().await;
        let subscription = self.get(key)?;
        // Held to the end, so that the cursor is not written once more.
        let _body = subscription.body.lock().await;
        self.kv.delete(&spec_key(key), Expected::Any).await?;
        subscription.end();
        self.write().remove(key);
        self.kv.delete(&cursor_key(key), Expected::Any).await?;
        Ok(())
    }

    /// Writes the cursors that have moved; says how many could not be written, and why the first could not.
    pub(crate) async fn save(&self) -> Option<(usize, Error)> {
        let saves = self.all().into_iter().map(|subscription| async move {
            subscription.save(self.kv.as_ref(), &cursor_key(&subscription.key)).await
        });
        let outcomes: Vec<_> = stream::iter(saves).buffer_unordered(SAVES_MAX).collect().await;
        let mut errors = outcomes.into_iter().filter_map(Result::err);
        let first = errors.next()?;
        Some((1 + errors.count(), first))
    }

    async fn write_row(&self, key: &SubscriptionKey, row: &SubscriptionRow) -> Result<(), Error> {
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

fn cursor_key(key: &SubscriptionKey) -> String {
    format!("{CURSORS}{key}")
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

/// How a subscription is doing, to the last detail that can be had by one bounded look into the log.
pub(crate) async fn describe(
    subscription: &Subscription,
    reader: &Reader<'_>,
    topics: &Topics,
    now: Timestamp,
) -> Result<SubscriptionState, Error> {
    let key = &subscription.key;
    let body = subscription.body.lock().await;
    let lag = crate::lag::measure(&body, reader).await?;
    let is_leased = body.state.leased_until(now).is_some();
    let streams = subscription.streams.load(Ordering::Relaxed);
    let stall = crate::lag::stall_reason(key, &body, reader, topics, &lag, streams, now);
    Ok(SubscriptionState {
        name: key.name.clone(),
        service: key.service.clone(),
        environment: key.scope.environment.clone(),
        tenant: key.scope.tenant.clone(),
        topics: body.row.topics.clone(),
        types: body.row.types.clone(),
        filters: Vec::new(),
        sink: None,
        delivery: DeliverySpec::default(),
        paused_until: None,
        oldest: lag.oldest,
        parked_keys: 0,
        dead_letters: 0,
        delivered: 0,
        failed: 0,
        last_error: None,
        next_attempt: body.state.due(now),
        breaker: None,
        stall: None,
        secret: None,
        state: if is_leased { "leased" } else { "active" }.to_owned(),
        cursor: sequence_text(body.state.done),
        lag_events: lag.events,
        lag_seconds: lag.oldest.map_or(0.0, |oldest| now.since(oldest).as_secs_f64()),
        in_flight: if is_leased { body.state.in_flight() as u64 } else { 0 },
        streams,
        stall_reason: stall,
    })
}
