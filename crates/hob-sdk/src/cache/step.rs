//! What may be served from memory: the decisions of the cache, without any I/O or clock.
//!
//! Each href has a generation, which every event and every write of our own raises. Each representation is kept with the
//! generation that was current before its fetch began, so that whatever changed during the fetch makes it outdated, in
//! every variant. Events are ordered by their place in the log and not by `entityseq`: several topics may tell of one
//! entity, and each counts by itself. An epoch plays the part of the generation for all hrefs at once, when events may
//! have been missed. Times are counted from when the cache was made.

use std::collections::HashMap;
use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use hob_wire::EventChange;
use http::StatusCode;

use super::figures::{Figures, Recent};
use super::policy::Policy;
use super::recency::{self, Recency};
use super::variant::{Ask, Stored, Variant, is_same_tag};
use super::{CacheOptions, Source};

/// Representations kept of one href; the one fetched longest ago makes room.
const VARIANTS_MAX: usize = 16;
/// The part of the limit that one representation may take: a larger one would drive out everything else.
const SHARE_MAX: usize = 8;
/// Bytes that an href costs beside its text: its place in a table that may be half empty, and in the order of use.
const ENTITY_BYTES: usize = 2 * size_of::<(Arc<str>, Entity)>() + recency::BYTES_EACH + 16;

/// An owner's answer and what may be done with it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) not_modified: bool,
    pub(super) policy: Policy,
    pub(super) stored: Stored,
}

/// What was known when a fetch began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    epoch: u64,
    generation: u64,
    begun: Duration,
    is_second: bool,
    /// The tag to ask with.
    pub(super) etag: Option<String>,
    /// The date to ask with.
    pub(super) modified: Option<String>,
}

/// A representation for a reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Served {
    pub(super) stored: Arc<Stored>,
    pub(super) source: Source,
    /// How old it is by what its owner said, or how long ago an event said that the entity is gone.
    pub(super) age: Duration,
}

/// What to do for a reader. A fetch pins the href until [`State::unpin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Fresh(Served),
    Fetch(Ticket),
}

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve(Served),
    /// An event said that the entity changed, and yet it looks as before: its owner may have published before it committed.
    AskLater(Ticket),
    /// What the answer confirms is no longer here.
    AskAnew(Ticket),
}

/// What an event says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Told<'a> {
    pub(super) href: &'a str,
    pub(super) change: EventChange,
    /// Its place in the event log.
    pub(super) position: u64,
    pub(super) tag: Option<&'a str>,
    /// Since when Hob has had it.
    pub(super) lag: Option<Duration>,
}

#[derive(Debug, Default)]
struct Entity {
    generation: u64,
    /// The place of the newest event that raised it.
    position: u64,
    /// The place of the newest event of all when it became known. Older ones may come again, and then tell nothing sure.
    known_from: u64,
    /// The tag of the newest representation, when the newest event told it.
    told_tag: Option<String>,
    /// Since when an event has said that the entity is gone.
    gone: Option<Duration>,
    /// The generation since our own last write. A tag that an event tells may be from before it, and must not make
    /// anything count as current that was fetched before it.
    written: u64,
    pins: u32,
    variants: Vec<Variant>,
}

/// All that a cache knows.
#[derive(Debug)]
pub(super) struct State {
    options: CacheOptions,
    epoch: u64,
    entities: HashMap<Arc<str>, Entity>,
    recency: Recency,
    /// The place of the newest event of all.
    position: u64,
    live_until: Duration,
    bytes: usize,
    tombstones: u64,
    figures: Figures,
    ages: Recent,
    lags: Recent,
    gone: Arc<Stored>,
}

impl State {
    pub(super) fn new(options: CacheOptions) -> Self {
        Self {
            options,
            epoch: 0,
            entities: HashMap::new(),
            recency: Recency::default(),
            position: 0,
            live_until: Duration::ZERO,
            bytes: 0,
            tombstones: 0,
            figures: Figures::default(),
            ages: Recent::default(),
            lags: Recent::default(),
            gone: Arc::new(Stored::empty(StatusCode::GONE)),
        }
    }

    pub(super) fn is_live(&self, now: Duration) -> bool {
        now < self.live_until
    }

    pub(super) fn figures(&mut self, now: Duration) -> Figures {
        self.ages.turn(now);
        self.lags.turn(now);
        Figures {
            entities: self.entities.len() as u64,
            tombstones: self.tombstones,
            bytes: self.bytes as u64,
            age_ms_p50: self.ages.quantile_ms(0.5),
            age_ms_p99: self.ages.quantile_ms(0.99),
            lag_ms_p50: self.lags.quantile_ms(0.5),
            lag_ms_p99: self.lags.quantile_ms(0.99),
            ..self.figures
        }
    }

    /// What may be served at once to a reader who asked at `asked`.
    pub(super) fn hit(&mut self, ask: &Ask<'_>, now: Duration, asked: Duration) -> Option<Served> {
        let live = self.is_live(now);
        let entity = self.entities.get(ask.href)?;
        let (stored, age) = match entity.gone.filter(|_| live) {
            Some(since) => (Arc::clone(&self.gone), now.saturating_sub(since)),
            None => {
                let kept = entity.variants.iter().find(|kept| kept.fits(ask))?;
                // Whoever waited for a fetch that was under way is served with what it brought.
                let fetched_since = kept.ended > asked && kept.epoch == self.epoch;
                let followed = live && kept.epoch == self.epoch;
                let young = !live && kept.policy.is_fresh(now.saturating_sub(kept.begun));
                if kept.generation < entity.generation || !(followed || fetched_since || young) {
                    return None;
                }
                (Arc::clone(&kept.stored), kept.age(now))
            }
        };
        self.recency.touch(ask.href);
        self.figures.hits += 1;
        self.ages.record(age, now);
        Some(Served { stored, source: Source::Hit, age })
    }

    /// What to do for a reader whose turn it is to fetch.
    pub(super) fn look(&mut self, ask: &Ask<'_>, now: Duration, asked: Duration) -> Look {
        if let Some(served) = self.hit(ask, now, asked) {
            return Look::Fresh(served);
        }
        let epoch = self.epoch;
        let entity = self.entity(ask.href);
        entity.pins += 1;
        let kept = entity.variants.iter().find(|kept| kept.fits(ask)).map(|kept| &kept.stored);
        Look::Fetch(Ticket {
            epoch,
            generation: entity.generation,
            begun: now,
            is_second: false,
            etag: kept.and_then(|stored| stored.etag.clone()),
            modified: kept.and_then(|stored| stored.modified.clone()),
        })
    }

    /// The entity at `href`, made known when it is not.
    fn entity(&mut self, href: &str) -> &mut Entity {
        if self.entities.contains_key(href) {
            self.recency.touch(href);
        } else {
            let href: Arc<str> = Arc::from(href);
            self.bytes += href.len() + ENTITY_BYTES;
            self.recency.insert(&href);
            let known_from = self.position;
            self.entities.insert(href, Entity { known_from, ..Entity::default() });
        }
        self.entities.get_mut(href).expect("it was put there above")
    }

    /// The same ticket for a fetch that begins now; the href is still pinned.
    pub(super) fn again(&self, href: &str, ticket: Ticket, now: Duration) -> Ticket {
        let generation = self.entities.get(href).map_or(ticket.generation, |entity| entity.generation);
        Ticket { epoch: self.epoch, generation, begun: now, ..ticket }
    }

    /// Lets go of an href that was fetched.
    pub(super) fn unpin(&mut self, href: &str) {
        let Some(entity) = self.entities.get_mut(href) else { return };
        entity.pins = entity.pins.saturating_sub(1);
        if entity.is_blank() && entity.written == 0 {
            self.forget(href);
        }
        self.evict();
    }

    /// Takes an owner's answer to the fetch of `ticket`.
    pub(super) fn answered(
        &mut self,
        ask: &Ask<'_>,
        ticket: Ticket,
        answer: Answer,
        now: Duration,
    ) -> Verdict {
        let age = answer.policy.age + now.saturating_sub(ticket.begun);
        let serve = |stored, source| Verdict::Serve(Served { stored, source, age });
        let Some(entity) = self.entities.get_mut(ask.href) else {
            self.figures.misses += 1;
            return serve(Arc::new(answer.stored), Source::Fetched);
        };
        let place = entity.variants.iter().position(|kept| kept.fits(ask));
        let kept = place.map(|place| &entity.variants[place]);
        if answer.not_modified && !kept.is_some_and(|kept| ticket.asked_with(&kept.stored)) {
            return Verdict::AskAnew(Ticket { etag: None, modified: None, ..ticket });
        }
        let tag = answer.stored.etag.as_deref().or(ticket.etag.as_deref().filter(|_| answer.not_modified));
        // What carries the tag that the newest event told is that newest representation, whenever its fetch began.
        let is_newest = ticket.generation >= entity.written
            && tag.zip(entity.told_tag.as_deref()).is_some_and(|(tag, told)| is_same_tag(tag, told));
        let looks_as_before =
            |kept: &Variant| looks_as_before(entity, kept, &ticket, tag, answer.not_modified);
        if !is_newest && kept.is_some_and(looks_as_before) {
            self.figures.asked_again += 1;
            return Verdict::AskLater(Ticket { is_second: true, ..ticket });
        }
        let generation = if is_newest { entity.generation } else { ticket.generation };
        if let Some(kept) = kept.filter(|kept| kept.epoch == self.epoch && kept.generation > generation) {
            self.figures.misses += 1;
            return serve(Arc::clone(&kept.stored), Source::Fetched);
        }
        let before = place.map(|place| entity.variants.swap_remove(place));
        self.bytes -= before.as_ref().map_or(0, Variant::cost);
        let (stored, policy, source) = match before {
            Some(kept) if answer.not_modified => {
                (kept.stored, kept.policy.confirmed(answer.policy), Source::Revalidated)
            }
            _ => (Arc::new(answer.stored), answer.policy, Source::Fetched),
        };
        match source {
            Source::Revalidated => self.figures.revalidations += 1,
            _ => self.figures.misses += 1,
        }
        if policy.may_store {
            let (epoch, begun) = (ticket.epoch, ticket.begun);
            let kept = Variant::new(ask, policy, Arc::clone(&stored));
            self.keep(ask.href, Variant { epoch, generation, begun, ended: now, ..kept });
        }
        serve(stored, source)
    }

    fn keep(&mut self, href: &str, kept: Variant) {
        let cost = kept.cost();
        let Some(entity) = self.entities.get_mut(href).filter(|_| cost <= self.options.bytes_max / SHARE_MAX)
        else {
            return;
        };
        if entity.variants.len() == VARIANTS_MAX {
            let oldest = (0..VARIANTS_MAX).min_by_key(|place| entity.variants[*place].begun).unwrap_or(0);
            self.bytes -= entity.variants.swap_remove(oldest).cost();
        }
        self.bytes += cost;
        entity.variants.push(kept);
    }

    /// What may stand in for an owner that does not answer. While events flow, what they have, or may have, outdated
    /// may do so only when [`CacheOptions::outdated_for`] allows it.
    pub(super) fn stale(&mut self, ask: &Ask<'_>, now: Duration) -> Option<Served> {
        let live = self.is_live(now);
        let entity = self.entities.get(ask.href).filter(|entity| entity.gone.is_none() || !live)?;
        let kept = entity.variants.iter().find(|kept| kept.fits(ask))?;
        let since = now.saturating_sub(kept.begun);
        let is_outdated = kept.generation < entity.generation || kept.epoch < self.epoch;
        if !kept.policy.may_stand_in(since, self.options.stale_for)
            || (live && is_outdated && since >= self.options.outdated_for)
        {
            return None;
        }
        let (stored, age) = (Arc::clone(&kept.stored), kept.age(now));
        self.figures.stale_served += 1;
        self.ages.record(age, now);
        Some(Served { stored, source: Source::Stale, age })
    }

    /// An event says what happened to an entity.
    pub(super) fn event(&mut self, told: Told<'_>, now: Duration) {
        if let Some(lag) = told.lag {
            self.lags.record(lag, now);
        }
        let epoch = self.epoch;
        self.position = self.position.max(told.position);
        let Some(entity) = self.entities.get_mut(told.href) else { return };
        if told.change == EventChange::Noop {
            // It exists: whoever has seen that it does not looks again.
            if entity.variants.iter().any(|kept| kept.stored.is_absence()) {
                entity.generation += 1;
                self.figures.events += 1;
            }
            return;
        }
        if told.position <= entity.position {
            return;
        }
        entity.position = told.position;
        entity.generation += 1;
        let was_gone = entity.gone.is_some();
        // What we read or wrote ourselves may be newer than this deletion: then its owner is asked.
        let is_sure = entity.written == 0 && told.position > entity.known_from;
        entity.gone = (told.change == EventChange::Delete && is_sure).then_some(now);
        self.tombstones = self.tombstones + u64::from(entity.gone.is_some()) - u64::from(was_gone);
        entity.told_tag = told.tag.filter(|_| told.change != EventChange::Delete).map(str::to_owned);
        if entity.gone.is_some() {
            let freed: usize = entity.variants.drain(..).map(|kept| kept.cost()).sum();
            self.bytes -= freed;
        }
        let Entity { generation, written, told_tag, variants, .. } = entity;
        for kept in variants {
            let tags = kept.stored.etag.as_deref().zip(told_tag.as_deref());
            let is_told = tags.is_some_and(|(kept, told)| is_same_tag(kept, told));
            if is_told && kept.epoch == epoch && kept.generation >= *written {
                kept.generation = *generation;
                self.figures.spared += 1;
            }
        }
        self.figures.events += 1;
    }

    /// We wrote to `href` ourselves. That is remembered also of what was not known, for as long as there is room: events
    /// from before the write may yet come.
    pub(super) fn wrote(&mut self, href: &str) {
        let entity = self.entity(href);
        entity.generation += 1;
        entity.written = entity.generation;
        entity.told_tag = None;
        let was_gone = entity.gone.take().is_some();
        self.tombstones -= u64::from(was_gone);
        self.evict();
    }

    /// All events up to now have been brought.
    pub(super) fn heartbeat(&mut self, now: Duration) {
        self.live_until = now + self.options.live_for;
    }

    /// Events may have been missed: nothing that was fetched before may be served without asking. It is kept to ask with.
    pub(super) fn reset(&mut self) {
        self.epoch += 1;
        self.live_until = Duration::ZERO;
        self.tombstones = 0;
        let mut empty = Vec::new();
        for (href, entity) in &mut self.entities {
            entity.position = 0;
            entity.told_tag = None;
            entity.gone = None;
            if entity.is_blank() {
                empty.push(Arc::clone(href));
            }
        }
        for href in empty {
            self.forget(&href);
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.options.bytes_max {
            let unpinned = |href: &&Arc<str>| self.entities.get(*href).is_none_or(|entity| entity.pins == 0);
            let Some(href) = self.recency.oldest_first().find(unpinned).map(Arc::clone) else { return };
            self.forget(&href);
            self.figures.evictions += 1;
        }
    }

    fn forget(&mut self, href: &str) {
        self.recency.remove(href);
        let Some(entity) = self.entities.remove(href) else { return };
        self.tombstones -= u64::from(entity.gone.is_some());
        let variants: usize = entity.variants.iter().map(Variant::cost).sum();
        self.bytes -= variants + href.len() + ENTITY_BYTES;
    }
}

impl Entity {
    /// Whether nothing is kept of it, and nobody fetches it.
    fn is_blank(&self) -> bool {
        self.pins == 0 && self.variants.is_empty() && self.gone.is_none()
    }
}

impl Ticket {
    /// Whether it was this representation that the owner was asked to confirm.
    fn asked_with(&self, stored: &Stored) -> bool {
        let has_asked = self.etag.is_some() || self.modified.is_some();
        has_asked && self.etag == stored.etag && self.modified == stored.modified
    }
}

/// Whether an event has outdated what is kept, and yet the answer is the same once more.
fn looks_as_before(
    entity: &Entity,
    kept: &Variant,
    ticket: &Ticket,
    tag: Option<&str>,
    not_modified: bool,
) -> bool {
    let is_outdated = kept.generation < ticket.generation && entity.written < ticket.generation;
    let is_same = not_modified
        || kept.stored.etag.as_deref().zip(tag).is_some_and(|(kept, tag)| is_same_tag(kept, tag));
    is_outdated && is_same && !ticket.is_second
}

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
