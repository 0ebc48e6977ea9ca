//! What people ask of entities: the newest state of one by its href, and the list of those that a topic tells of.

use std::collections::{BTreeSet, HashMap};

use hob_core::{Name, Scope, TopicName};
use hob_store::{Stored, Tag};
use hob_wire::{Entity, Event, TopicKind, sequence_text};

use crate::handle::Inner;
use crate::index::{EntityState, name_of, prefix_of};
use crate::positions::tag_of;
use crate::read::{decode, event_of};
use crate::{Bus, Error};

/// Bytes of the newest events of a page, after which it ends.
const LAST_BYTES_MAX: usize = 4 << 20;
/// Entities whose newest events are read at a time.
const LAST_CHUNK: usize = 64;

/// An entity that was not deleted, as its newest event left it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LiveEntity {
    /// The thing.
    pub href: String,
    /// Sequence of its newest event.
    pub sequence: u64,
    /// How many events it had.
    pub entityseq: u64,
    /// The ETag that its newest event told.
    pub entitytag: Option<String>,
}

/// A page of entities in order of their hrefs.
#[derive(Clone, Debug, PartialEq)]
pub struct EntityPage<T> {
    /// The entities; may be none although there is a next page.
    pub entities: Vec<T>,
    /// Ask on after this href; none at the end.
    pub next: Option<String>,
}

impl Bus {
    /// The entity at an href, once for each topic of the scope that tells of it, with its newest event.
    pub async fn entities_at(&self, scope: &Scope, href: &str) -> Result<Vec<Entity>, Error> {
        let (inner, index) = (&self.inner, &self.inner.index);
        let tags: Vec<Tag> = inner.positions.tags_of(scope).into_iter().collect();
        let names = tags.iter().map(|tag| index.keys.entity(tag, href)).collect();
        let mut entities = Vec::new();
        for (tag, state) in tags.iter().zip(index.states(names).await?) {
            let (Some(state), Some((_, topic))) = (state, inner.positions.place(tag)) else { continue };
            let last = match inner.reader().one(scope, state.sequence).await {
                Ok(event) => Some(event),
                Err(Error::EventUnknown { .. }) => None,
                Err(error) => return Err(error),
            };
            entities.extend(inner.describe(scope, &topic, href.to_owned(), state, last));
        }
        Ok(entities)
    }

    /// Entities of a topic after an href, in order of their hrefs; only deleted ones, only live ones, or both. With their
    /// newest events where the topic is compact, for there these say all: then a page ends where they become many bytes.
    /// Entities that come meanwhile are told when their place is yet to come.
    pub async fn entities(
        &self,
        scope: &Scope,
        topic: &TopicName,
        is_deleted: Option<bool>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<EntityPage<Entity>, Error> {
        let inner = &self.inner;
        let is_compact = inner.topics.get(scope, topic)?.terms.kind == TopicKind::Compact;
        let EntityPage { entities: mut found, mut next } = inner.states(scope, topic, after, limit).await?;
        let mut entities = Vec::new();
        let mut bytes = 0;
        while !found.is_empty() {
            if bytes >= LAST_BYTES_MAX {
                next = entities.last().map(|entity: &Entity| entity.href.clone()).or(next);
                break;
            }
            let rest = found.split_off(found.len().min(LAST_CHUNK));
            let mut chunk = std::mem::replace(&mut found, rest);
            chunk.retain(|(_, state)| is_deleted.is_none_or(|wanted| wanted == state.is_deleted));
            let mut newest =
                if is_compact { inner.newest(scope, topic, &chunk).await? } else { HashMap::new() };
            for (href, state) in chunk {
                let last = newest.remove(&state.sequence);
                bytes += last.as_ref().map_or(0, |(_, bytes)| *bytes);
                entities.extend(inner.describe(scope, topic, href, state, last.map(|(event, _)| event)));
            }
        }
        Ok(EntityPage { entities, next })
    }

    /// Entities of a topic that were not deleted, after an href, in order of their hrefs. Looks at most at `limit`
    /// entities, so a page may hold fewer although there is a next one.
    pub async fn live_entities(
        &self,
        scope: &Scope,
        topic: &TopicName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<EntityPage<LiveEntity>, Error> {
        self.inner.live_entities(scope, topic, after, limit).await
    }
}

impl Inner {
    pub(crate) async fn live_entities(
        &self,
        scope: &Scope,
        topic: &TopicName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<EntityPage<LiveEntity>, Error> {
        let page = self.states(scope, topic, after, limit).await?;
        let live = page.entities.into_iter().filter(|(_, state)| !state.is_deleted);
        let live = live.map(|(href, state)| LiveEntity {
            href,
            sequence: state.sequence,
            entityseq: state.entityseq,
            entitytag: state.entitytag.map(Into::into),
        });
        Ok(EntityPage { entities: live.collect(), next: page.next })
    }

    /// The newest events of entities, as far as they are kept, by sequence, each with its bytes.
    async fn newest(
        &self,
        scope: &Scope,
        topic: &TopicName,
        entities: &[(String, EntityState)],
    ) -> Result<HashMap<u64, (Event, usize)>, Error> {
        let tags = BTreeSet::from([tag_of(scope, topic)?]);
        let sequences = entities.iter().map(|(_, state)| state.sequence).collect();
        let stored = self.events.many(&tags, &sequences).await?;
        let events = stored.into_iter().filter_map(|(sequence, stored): (u64, Stored)| {
            let event = event_of(scope.clone(), topic.clone(), &stored, &decode(&stored)?);
            Some((sequence, (event, stored.payload.len())))
        });
        Ok(events.collect())
    }

    async fn states(
        &self,
        scope: &Scope,
        topic: &TopicName,
        after: Option<&str>,
        limit: usize,
    ) -> Result<EntityPage<(String, EntityState)>, Error> {
        let tag = tag_of(scope, topic)?;
        let prefix = prefix_of(&tag);
        let start = name_of(&tag, after.unwrap_or_default());
        let found = self.index.entities(prefix.clone(), start, limit.max(1)).await?;
        let is_full = found.len() >= limit.max(1);
        let href = |name: Vec<u8>| String::from_utf8(name.get(prefix.len()..)?.to_vec()).ok();
        let entities: Vec<(String, EntityState)> =
            found.into_iter().filter_map(|(name, state)| Some((href(name)?, state))).collect();
        let next = entities.last().filter(|_| is_full).map(|(href, _)| href.clone());
        Ok(EntityPage { entities, next })
    }

    /// `None` when nobody knows any more whose it is.
    fn describe(
        &self,
        scope: &Scope,
        topic: &TopicName,
        href: String,
        state: EntityState,
        last: Option<Event>,
    ) -> Option<Entity> {
        let declared = self.topics.get(scope, topic).ok().map(|topic| topic.owner);
        let told = || last.as_ref()?.source.strip_prefix("/services/")?.parse::<Name>().ok();
        Some(Entity {
            href,
            topic: topic.clone(),
            owner: declared.or_else(told)?,
            entityseq: state.entityseq,
            sequence: sequence_text(state.sequence),
            entitytag: state.entitytag.map(Into::into),
            deleted: state.is_deleted,
            last,
            environment: scope.environment.clone(),
            tenant: scope.tenant.clone(),
        })
    }
}
