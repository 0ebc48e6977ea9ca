//! Entities as they are kept.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use hob_core::Timestamp;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Cells, Role};
use crate::fields::Fields;
use crate::reducers::{Position, Reducer};

/// A text that many rows share.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Word(pub(crate) Arc<str>);

impl Default for Word {
    fn default() -> Self {
        Self("".into())
    }
}

impl Deref for Word {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (*self.0).fmt(f)
    }
}

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(String::deserialize(deserializer)?.into()))
    }
}

/// An entity as it was last seen.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct EntityRow {
    pub(crate) kind: Word,
    /// Its newest representation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fields: Option<Fields>,
    /// Whether the newest fetch succeeded: else its fields are unknown, not stale.
    pub(crate) is_known: bool,
    /// Why they are unknown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trouble: Option<Box<str>>,
    /// Its newest events, oldest first.
    #[serde(default, skip_serializing_if = "VecDeque::is_empty")]
    pub(crate) events: VecDeque<EventRow>,
    /// Where it was last, and when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Box<(Position, Timestamp)>>,
    /// What rules keep of its events.
    #[serde(default, skip_serializing_if = "Reducers::is_empty")]
    pub(crate) reducers: Reducers,
    /// Where rules stand with it.
    pub(crate) cells: Cells,
    /// When it is no longer kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) forget_at: Option<Timestamp>,
    #[serde(skip)]
    pub(crate) live: Live,
}

/// What is derived from an entity's fields and the rules, and not stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Live {
    /// Which figures of its kind count it, a bit each.
    pub(crate) counts: u32,
    /// Where its declared relations lead, by the relation's number.
    pub(crate) links: Box<[(u8, Arc<str>)]>,
}

impl PartialEq for Live {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// An event of an entity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct EventRow {
    pub(crate) time: Timestamp,
    pub(crate) recorded: Timestamp,
    #[serde(rename = "type")]
    pub(crate) kind: Word,
    pub(crate) sequence: u64,
    /// The request that caused it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) request: Option<Box<str>>,
}

/// What rules keep of an entity's events, by the number of the rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Reducers(Vec<(u16, Reducer)>);

impl Reducers {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn get(&self, rule: u16) -> Option<&Reducer> {
        self.0.binary_search_by_key(&rule, |(rule, _)| *rule).ok().map(|index| &self.0[index].1)
    }

    pub(crate) fn get_mut(&mut self, rule: u16) -> Option<&mut Reducer> {
        let index = self.0.binary_search_by_key(&rule, |(rule, _)| *rule).ok()?;
        Some(&mut self.0[index].1)
    }

    pub(crate) fn set(&mut self, rule: u16, reducer: Reducer) {
        match self.0.binary_search_by_key(&rule, |(rule, _)| *rule) {
            Ok(index) => self.0[index].1 = reducer,
            Err(index) => self.0.insert(index, (rule, reducer)),
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Numbers the rules anew; what is no longer there goes.
    pub(crate) fn renumber(&mut self, number: impl Fn(u16) -> Option<u16>) {
        self.0.retain_mut(|(rule, _)| match number(*rule) {
            Some(now) => {
                *rule = now;
                true
            }
            None => false,
        });
        self.0.sort_by_key(|(rule, _)| *rule);
    }
}

/// All entities by href. Looked up by hash; whoever goes through them all does so in the order of their hrefs.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entities {
    rows: HashMap<Arc<str>, Box<EntityRow>>,
}

impl Entities {
    pub(crate) fn get(&self, href: &str) -> Option<&EntityRow> {
        self.rows.get(href).map(|row| &**row)
    }

    pub(crate) fn get_mut(&mut self, href: &str) -> Option<&mut EntityRow> {
        self.rows.get_mut(href).map(|row| &mut **row)
    }

    pub(crate) fn contains_key(&self, href: &str) -> bool {
        self.rows.contains_key(href)
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    pub(crate) fn insert(&mut self, href: Arc<str>, row: EntityRow) {
        self.rows.insert(href, Box::new(row));
    }

    pub(crate) fn remove(&mut self, href: &str) -> Option<Box<EntityRow>> {
        self.rows.remove(href)
    }

    /// The href as it is kept, to be shared.
    pub(crate) fn shared(&self, href: &str) -> Option<Arc<str>> {
        self.rows.get_key_value(href).map(|(href, _)| Arc::clone(href))
    }

    /// All hrefs, in order.
    pub(crate) fn hrefs(&self) -> Vec<Arc<str>> {
        let mut hrefs: Vec<Arc<str>> = self.rows.keys().cloned().collect();
        hrefs.sort_unstable();
        hrefs
    }

    /// All entities, in the order of their hrefs.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &EntityRow)> {
        let mut rows: Vec<(&Arc<str>, &EntityRow)> =
            self.rows.iter().map(|(href, row)| (href, &**row)).collect();
        rows.sort_unstable_by_key(|(href, _)| *href);
        rows.into_iter()
    }

    /// Why a rule cannot tell what it says, of any entity.
    pub(crate) fn reason(&self, rule: u16) -> Option<String> {
        let cells = self.rows.values().filter_map(|row| row.cells.get(rule, Role::Subject));
        cells.filter_map(|cell| cell.reason.clone()).next()
    }

    /// All entities, in no order: for what comes out the same in any.
    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (&Arc<str>, &mut EntityRow)> {
        self.rows.iter_mut().map(|(href, row)| (href, &mut **row))
    }

    /// All entities, in no order: for what comes out the same in any.
    pub(crate) fn rows_mut(&mut self) -> impl Iterator<Item = &mut EntityRow> {
        self.rows.values_mut().map(|row| &mut **row)
    }
}

impl Serialize for Entities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|(href, row)| (&**href, row)))
    }
}

impl<'de> Deserialize<'de> for Entities {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let rows: BTreeMap<String, EntityRow> = BTreeMap::deserialize(deserializer)?;
        Ok(Self { rows: rows.into_iter().map(|(href, row)| (href.into(), Box::new(row))).collect() })
    }
}
