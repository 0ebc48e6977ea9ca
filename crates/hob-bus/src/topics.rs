//! The declared topics: one key each, mirrored in memory, since every publish asks for one.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use hob_core::{Name, Scope, TopicName, nearest};
use hob_store::{Expected, Kv, KvError};
use hob_wire::{Topic, TopicKind, TopicTerms, sequence_text};

use crate::check::Terms;
use crate::model::{hob_topics, limits::TOPICS_PER_SCOPE_MAX};
use crate::positions::{Positions, tag_of};
use crate::rows::{ROW_VERSION, TopicRow, decode_json, encode_json};
use crate::{Error, Put};

const PREFIX: &str = "topics/";
/// Who owns Hob's own topics.
const HOB: &str = "hob";

/// The declared topics.
pub(crate) struct Topics {
    kv: Arc<dyn Kv>,
    positions: Arc<Positions>,
    rows: RwLock<BTreeMap<(Scope, TopicName), TopicRow>>,
}

impl Topics {
    pub(crate) async fn load(kv: Arc<dyn Kv>, positions: Arc<Positions>) -> Result<Self, Error> {
        let mut rows = BTreeMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            rows.insert(parse_key(&entry.key)?, decode_json(&entry.key, &entry.value)?);
        }
        Ok(Self { kv, positions, rows: RwLock::new(rows) })
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
        tag_of(scope, name)?;
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
        let mut rows = self.rows.write().unwrap_or_else(PoisonError::into_inner);
        rows.insert((scope.clone(), name.clone()), row);
        Ok(Put { value: topic, created: known.is_none() })
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
        let rows = self.read();
        let declared = rows
            .iter()
            .filter(|((of, _), _)| of == scope)
            .map(|((_, name), row)| (name.clone(), row.clone()));
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
        self.read().values().filter_map(|row| row.terms.retention?.age_seconds).min()
    }

    pub(crate) fn is_declared(&self, scope: &Scope, name: &TopicName) -> bool {
        self.row(scope, name).is_some()
    }

    /// The terms on which a service may publish on a topic.
    pub(crate) fn terms(&self, scope: &Scope, service: &Name, name: &TopicName) -> Result<Terms, Error> {
        if name.is_reserved() {
            return Err(Error::TopicReserved { topic: name.clone() });
        }
        let row = self.row(scope, name).ok_or_else(|| self.unknown(scope, name))?;
        check_owner(&row.owner, service, name)?;
        Ok(Terms { kind: row.terms.kind, is_hobs: false })
    }

    /// The terms of one of Hob's own topics.
    pub(crate) fn hob_terms(&self, scope: &Scope, name: &TopicName) -> Result<Terms, Error> {
        let known = hob_topics::ALL.iter().find(|(hobs, _)| *hobs == name.as_str());
        let (_, kind) = known.ok_or_else(|| self.unknown(scope, name))?;
        Ok(Terms { kind: *kind, is_hobs: true })
    }

    fn row(&self, scope: &Scope, name: &TopicName) -> Option<TopicRow> {
        if let Some((_, kind)) = hob_topics::ALL.iter().find(|(hobs, _)| *hobs == name.as_str()) {
            return Some(hob_row(*kind));
        }
        self.read().get(&(scope.clone(), name.clone())).cloned()
    }

    pub(crate) fn unknown(&self, scope: &Scope, name: &TopicName) -> Error {
        let rows = self.read();
        let declared = rows.keys().filter(|(of, _)| of == scope).map(|(_, name)| name.as_str());
        let hobs = hob_topics::ALL.iter().map(|(name, _)| *name);
        let nearest = nearest(name.as_str(), declared.chain(hobs)).and_then(|name| name.parse().ok());
        Error::TopicUnknown { topic: name.clone(), scope: scope.clone(), nearest }
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
        }
    }

    fn check_room(&self, scope: &Scope, name: &TopicName) -> Result<(), Error> {
        let count = self.read().keys().filter(|(of, _)| of == scope).count();
        if count < TOPICS_PER_SCOPE_MAX {
            return Ok(());
        }
        let problem = format!(
            "the scope has {count} topics, which is the limit; put finer kinds of events on one topic"
        );
        Err(Error::TopicRefused { topic: name.clone(), scope: scope.clone(), problem })
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<(Scope, TopicName), TopicRow>> {
        self.rows.read().unwrap_or_else(PoisonError::into_inner)
    }
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
