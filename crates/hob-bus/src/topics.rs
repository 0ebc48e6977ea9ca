//! The declared topics: one key each, mirrored in memory, since every publish asks for one.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use hob_core::{Name, Scope, Timestamp, TopicName, nearest};
use hob_store::{Expected, Kv, KvError, Tag};
use hob_wire::{Topic, TopicKind, TopicTerms, sequence_text};

use crate::check::Terms;
use crate::model::{hob_topics, limits::DATA_BYTES_MAX, limits::TOPICS_PER_SCOPE_MAX};
use crate::positions::{Positions, tag_of};
use crate::publish::Gate;
use crate::quota::{Bucket, QuotaLeft};
use crate::rows::{ROW_VERSION, TopicRow, decode_json, encode_json};
use crate::{Error, Put};

const PREFIX: &str = "topics/";
/// Who owns Hob's own topics.
const HOB: &str = "hob";

/// The declared topics.
pub(crate) struct Topics {
    kv: Arc<dyn Kv>,
    positions: Arc<Positions>,
    scopes: RwLock<HashMap<Scope, Declared>>,
}

/// The topics of one scope.
#[derive(Default)]
struct Declared {
    topics: BTreeMap<TopicName, (TopicRow, Arc<Outlet>)>,
    gate: Arc<Gate>,
}

/// A topic as publishing sees it.
pub(crate) struct Outlet {
    pub(crate) topic: TopicName,
    pub(crate) tag: Tag,
    pub(crate) owner: Name,
    pub(crate) terms: Terms,
    bucket: Option<Mutex<Bucket>>,
}

impl Outlet {
    fn new(scope: &Scope, topic: &TopicName, row: &TopicRow, terms: Terms) -> Result<Self, Error> {
        // What the bucket is filled with first counts for nothing: it is full.
        let bucket = row.terms.quota.map(|quota| Mutex::new(Bucket::new(quota, Timestamp::EPOCH)));
        Ok(Self { topic: topic.clone(), tag: tag_of(scope, topic)?, owner: row.owner.clone(), terms, bucket })
    }

    #[cfg(test)]
    pub(crate) fn test(topic: &str, terms: Terms) -> Self {
        let topic: TopicName = topic.parse().expect("a good name");
        let scope: Scope = "qa/uk".parse().expect("a good scope");
        let tag = tag_of(&scope, &topic).expect("a short name");
        Self { topic, tag, owner: HOB.parse().expect("a good name"), terms, bucket: None }
    }

    /// Takes events out of the topic's quota, if it has one.
    pub(crate) fn take(&self, events: usize, now: Timestamp) -> Result<Option<QuotaLeft>, Error> {
        let Some(bucket) = &self.bucket else { return Ok(None) };
        let taken = bucket.lock().unwrap_or_else(PoisonError::into_inner).take(events, now);
        taken.map(Some).map_err(|left| Error::OverQuota { topic: self.topic.clone(), left })
    }

    /// Gives back what was taken, since it was not published.
    pub(crate) fn give_back(&self, events: usize) {
        if let Some(bucket) = &self.bucket {
            bucket.lock().unwrap_or_else(PoisonError::into_inner).give_back(events);
        }
    }
}

impl Topics {
    pub(crate) async fn load(kv: Arc<dyn Kv>, positions: Arc<Positions>) -> Result<Self, Error> {
        let mut scopes: HashMap<Scope, Declared> = HashMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            let (scope, name) = parse_key(&entry.key)?;
            let row: TopicRow = decode_json(&entry.key, &entry.value)?;
            let outlet = Outlet::new(&scope, &name, &row, Terms::of(&row.terms))?;
            scopes.entry(scope).or_default().topics.insert(name, (row, Arc::new(outlet)));
        }
        Ok(Self { kv, positions, scopes: RwLock::new(scopes) })
    }

    pub(crate) async fn put(
        &self,
        scope: &Scope,
        owner: &Name,
        name: &TopicName,
        terms: TopicTerms,
    ) -> Result<Put<Topic>, Error> {
        if name.is_reserved() {
            return Err(Error::TopicReserved { topic: name.clone() });
        }
        check_terms(scope, name, &terms)?;
        let row = TopicRow { version: ROW_VERSION, terms, owner: owner.clone() };
        let key = format!("{PREFIX}{scope}/{name}");
        let known = self.kv.get(&key).await?;
        let expected = match &known {
            None => {
                self.check_room(scope, name)?;
                Expected::Absent
            }
            Some(entry) => {
                let found: TopicRow = decode_json(&key, &entry.value)?;
                check_owner(&found.owner, owner, name)?;
                Expected::Revision(entry.revision)
            }
        };
        let value = Bytes::from(encode_json(&row));
        if known.as_ref().is_none_or(|entry| entry.value != value) {
            match self.kv.put(&key, expected, value).await {
                Ok(_) => {}
                Err(KvError::Conflict { .. }) => return self.lost_race(&key, owner, name).await,
                Err(error) => return Err(error.into()),
            }
        }
        let topic = self.describe(scope, name, &row);
        self.remember(scope, name, row)?;
        Ok(Put { value: topic, created: known.is_none() })
    }

    /// Takes in what was stored. A topic whose quota stays as it was keeps what is left of it.
    fn remember(&self, scope: &Scope, name: &TopicName, row: TopicRow) -> Result<(), Error> {
        let outlet = Arc::new(Outlet::new(scope, name, &row, Terms::of(&row.terms))?);
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        let topics = &mut scopes.entry(scope.clone()).or_default().topics;
        match topics.get_mut(name) {
            Some((known, _)) if *known == row => {}
            Some(known) => *known = (row, outlet),
            None => drop(topics.insert(name.clone(), (row, outlet))),
        }
        Ok(())
    }

    /// Forgets a topic; its events stay for as long as they are kept.
    pub(crate) async fn delete(&self, scope: &Scope, name: &TopicName) -> Result<(), Error> {
        if name.is_reserved() {
            return Err(Error::TopicReserved { topic: name.clone() });
        }
        let key = format!("{PREFIX}{scope}/{name}");
        let known = self.kv.get(&key).await?.ok_or_else(|| self.unknown(scope, name))?;
        self.kv.delete(&key, Expected::Revision(known.revision)).await?;
        let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(declared) = scopes.get_mut(scope) {
            declared.topics.remove(name);
        }
        Ok(())
    }

    /// Somebody else put the topic at the same moment: the first one owns it.
    async fn lost_race(&self, key: &str, owner: &Name, name: &TopicName) -> Result<Put<Topic>, Error> {
        if let Some(entry) = self.kv.get(key).await? {
            let found: TopicRow = decode_json(key, &entry.value)?;
            check_owner(&found.owner, owner, name)?;
        }
        Err(Error::Kv(KvError::Conflict { key: key.to_owned(), current: None }))
    }

    pub(crate) fn list(&self, scope: &Scope) -> Vec<Topic> {
        let hobs = hob_topics::ALL.map(|(name, kind)| (hob_name(name), hob_row(kind)));
        let scopes = self.read();
        let declared = scopes.get(scope).into_iter().flat_map(|declared| &declared.topics);
        let declared = declared.map(|(name, (row, _))| (name.clone(), row.clone()));
        let mut topics: Vec<Topic> =
            declared.chain(hobs).map(|(name, row)| self.describe(scope, &name, &row)).collect();
        topics.sort_by(|a, b| a.name.cmp(&b.name));
        topics
    }

    pub(crate) fn get(&self, scope: &Scope, name: &TopicName) -> Result<Topic, Error> {
        let row = self.row(scope, name).ok_or_else(|| self.unknown(scope, name))?;
        Ok(self.describe(scope, name, &row))
    }

    /// The shortest time that any topic keeps its events, in seconds.
    pub(crate) fn shortest_age(&self) -> Option<u64> {
        let scopes = self.read();
        let rows = scopes.values().flat_map(|declared| declared.topics.values());
        rows.filter_map(|(row, _)| row.terms.retention?.age_seconds).min()
    }

    pub(crate) fn is_declared(&self, scope: &Scope, name: &TopicName) -> bool {
        self.row(scope, name).is_some()
    }

    /// The topic on which a service wants to publish.
    pub(crate) fn outlet(&self, scope: &Scope, service: &Name, name: &str) -> Result<Arc<Outlet>, Error> {
        let found = {
            let scopes = self.read();
            scopes
                .get(scope)
                .and_then(|declared| declared.topics.get(name))
                .map(|(_, outlet)| Arc::clone(outlet))
        };
        let Some(outlet) = found else {
            let parsed: TopicName = name.parse().map_err(|_| self.no_topic(scope, name))?;
            let refused = match parsed.is_reserved() {
                true => Error::TopicReserved { topic: parsed },
                false => self.unknown(scope, &parsed),
            };
            return Err(refused);
        };
        check_owner(&outlet.owner, service, &outlet.topic)?;
        Ok(outlet)
    }

    /// Who owns a topic.
    pub(crate) fn owner(&self, scope: &Scope, name: &str) -> Result<Name, Error> {
        let found = self
            .read()
            .get(scope)
            .and_then(|declared| declared.topics.get(name))
            .map(|(row, _)| row.owner.clone());
        match found {
            Some(owner) => Ok(owner),
            None => {
                let name = name.parse().map_err(|_| self.no_topic(scope, name))?;
                self.row(scope, &name).map(|row| row.owner).ok_or_else(|| self.unknown(scope, &name))
            }
        }
    }

    /// The declared topic that a CloudEvent's type begins with; the longest, when there are several.
    pub(crate) fn of_type(&self, scope: &Scope, kind: &str) -> Option<TopicName> {
        let scopes = self.read();
        let topics = &scopes.get(scope)?.topics;
        let ends = kind.match_indices('.').map(|(at, _)| at).chain([kind.len()]);
        let mut prefixes = ends.filter_map(|end| topics.get_key_value(&kind[..end]));
        prefixes.next_back().map(|(name, _)| name.clone())
    }

    /// The bound of what the scope may have on its way.
    pub(crate) fn gate(&self, scope: &Scope) -> Arc<Gate> {
        let found = self.read().get(scope).map(|declared| Arc::clone(&declared.gate));
        found.unwrap_or_else(|| {
            let mut scopes = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&scopes.entry(scope.clone()).or_default().gate)
        })
    }

    /// One of Hob's own topics.
    pub(crate) fn hob_outlet(&self, scope: &Scope, name: &TopicName) -> Result<Arc<Outlet>, Error> {
        let known = hob_topics::ALL.iter().find(|(hobs, _)| *hobs == name.as_str());
        let (_, kind) = known.ok_or_else(|| self.unknown(scope, name))?;
        Ok(Arc::new(Outlet::new(scope, name, &hob_row(*kind), Terms::of_hobs(*kind))?))
    }

    fn row(&self, scope: &Scope, name: &TopicName) -> Option<TopicRow> {
        if let Some((_, kind)) = hob_topics::ALL.iter().find(|(hobs, _)| *hobs == name.as_str()) {
            return Some(hob_row(*kind));
        }
        self.read().get(scope)?.topics.get(name).map(|(row, _)| row.clone())
    }

    pub(crate) fn unknown(&self, scope: &Scope, name: &TopicName) -> Error {
        let nearest = self.nearest(scope, name.as_str());
        Error::TopicUnknown { topic: name.clone(), scope: scope.clone(), nearest }
    }

    /// What was named is not even a name.
    fn no_topic(&self, scope: &Scope, name: &str) -> Error {
        Error::NoTopic { name: name.chars().take(80).collect(), nearest: self.nearest(scope, name) }
    }

    fn nearest(&self, scope: &Scope, name: &str) -> Option<TopicName> {
        let scopes = self.read();
        let declared = scopes.get(scope).into_iter().flat_map(|declared| declared.topics.keys());
        let hobs = hob_topics::ALL.iter().map(|(name, _)| *name);
        nearest(name, declared.map(TopicName::as_str).chain(hobs)).and_then(|name| name.parse().ok())
    }

    fn describe(&self, scope: &Scope, name: &TopicName, row: &TopicRow) -> Topic {
        let (events, last) = tag_of(scope, name).map_or((0, 0), |tag| self.positions.count(&tag));
        Topic {
            name: name.clone(),
            terms: row.terms.clone(),
            owner: row.owner.clone(),
            environment: scope.environment.clone(),
            tenant: scope.tenant.clone(),
            events,
            last: (last > 0).then(|| sequence_text(last)),
            delayed: 0,
            delayed_lost: 0,
        }
    }

    fn check_room(&self, scope: &Scope, name: &TopicName) -> Result<(), Error> {
        let count = self.read().get(scope).map_or(0, |declared| declared.topics.len());
        if count < TOPICS_PER_SCOPE_MAX {
            return Ok(());
        }
        let problem = format!(
            "the scope has {count} topics, which is the limit; put finer kinds of events on one topic"
        );
        Err(Error::TopicRefused { topic: name.clone(), scope: scope.clone(), problem })
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Scope, Declared>> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Refuses terms that cannot be kept.
fn check_terms(scope: &Scope, topic: &TopicName, terms: &TopicTerms) -> Result<(), Error> {
    tag_of(scope, topic)?;
    let refuse =
        |problem: String| Err(Error::TopicRefused { topic: topic.clone(), scope: scope.clone(), problem });
    if let Some(bytes) = terms.data_bytes_max.filter(|bytes| !(1..=DATA_BYTES_MAX as u64).contains(bytes)) {
        return refuse(format!("data_bytes_max is {bytes}, and may be 1 to {DATA_BYTES_MAX}"));
    }
    if terms.quota.is_some_and(|quota| quota.events_per_second == 0 || quota.burst == Some(0)) {
        return refuse(
            "its quota lets nothing pass; leave it out, or let at least one event pass".to_owned(),
        );
    }
    if terms.retention.is_some_and(|kept| kept.age_seconds == Some(0) || kept.bytes == Some(0)) {
        return refuse("its retention keeps nothing; leave it out to keep events for ever".to_owned());
    }
    Ok(())
}

fn check_owner(owner: &Name, service: &Name, topic: &TopicName) -> Result<(), Error> {
    if owner == service {
        return Ok(());
    }
    Err(Error::TopicOwned { topic: topic.clone(), owner: owner.clone(), service: service.clone() })
}

fn hob_name(name: &str) -> TopicName {
    name.parse().expect("the names of Hob's topics are names")
}

fn hob_row(kind: TopicKind) -> TopicRow {
    let terms = TopicTerms { kind, ..TopicTerms::default() };
    TopicRow { version: ROW_VERSION, terms, owner: HOB.parse().expect("hob is a name") }
}

fn parse_key(key: &str) -> Result<(Scope, TopicName), Error> {
    let parse = || {
        let (scope, name) = key.strip_prefix(PREFIX)?.rsplit_once('/')?;
        Some((scope.parse().ok()?, name.parse().ok()?))
    };
    parse().ok_or_else(|| Error::Row { what: key.to_owned(), problem: "its name is no topic's".to_owned() })
}
