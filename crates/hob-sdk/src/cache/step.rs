//! What may be served from memory: the decisions of the cache, without any I/O or clock.
//!
//! Each href has a generation, which every event and every write of our own raises. Each representation is kept with the
//! generation that was current before its fetch began, so that whatever changed during the fetch makes it outdated, in
//! every variant. An epoch plays the same part for all hrefs at once, when events may have been missed. Times are counted
//! from when the cache was made.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hob_wire::EventChange;
use http::StatusCode;

use super::Source;
use super::figures::Figures;
use super::recency::Recency;

/// How long after a heartbeat what is kept counts as fresh.
pub(super) const LIVE_FOR: Duration = Duration::from_secs(10);
/// How long after its fetch a representation may stand in for an owner that does not answer.
const STALE_FOR: Duration = Duration::from_secs(300);
/// Bytes that an href and each of its representations cost beside their texts, roughly.
const OVERHEAD_BYTES: usize = 256;

/// What an owner answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) status: StatusCode,
    pub(super) etag: Option<String>,
    pub(super) body: Bytes,
}

/// An owner's answer and what may be done with it.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) not_modified: bool,
    pub(super) may_store: bool,
    pub(super) max_age: Option<Duration>,
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
}

/// What to do for a reader. A fetch pins the href until [`State::unpin`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Look {
    Fresh(Arc<Stored>),
    Fetch(Ticket),
}

/// What to do with an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Serve(Arc<Stored>, Source),
    /// An event said that the entity changed, and yet it looks as before: its owner may have published before it committed.
    AskAgain,
}

#[derive(Debug, Default)]
struct Entity {
    generation: u64,
    /// The number, counted by the bus for this entity, of the newest event.
    sequence: Option<u64>,
    /// The tag of the newest representation, when the newest event told it.
    told_tag: Option<String>,
    is_gone: bool,
    /// The generation since our own last write. A tag that an event tells may be from before it, and must not make
    /// anything count as current that was fetched before it.
    written: u64,
    pins: u32,
    variants: HashMap<String, Variant>,
}

#[derive(Debug)]
struct Variant {
    epoch: u64,
    generation: u64,
    begun: Duration,
    ended: Duration,
    max_age: Option<Duration>,
    stored: Arc<Stored>,
}

/// All that a cache knows.
#[derive(Debug)]
pub(super) struct State {
    epoch: u64,
    entities: HashMap<Arc<str>, Entity>,
    recency: Recency,
    live_until: Duration,
    bytes: usize,
    bytes_max: usize,
    figures: Figures,
    gone: Arc<Stored>,
}

impl State {
    pub(super) fn new(bytes_max: usize) -> Self {
        let gone = Stored { status: StatusCode::GONE, etag: None, body: Bytes::new() };
        Self {
            epoch: 0,
            entities: HashMap::new(),
            recency: Recency::default(),
            live_until: Duration::ZERO,
            bytes: 0,
            bytes_max,
            figures: Figures::default(),
            gone: Arc::new(gone),
        }
    }

    pub(super) fn is_live(&self, now: Duration) -> bool {
        now < self.live_until
    }

    pub(super) fn figures(&self) -> Figures {
        Figures { entities: self.entities.len() as u64, bytes: self.bytes as u64, ..self.figures }
    }

    /// What may be served at once to a reader who asked at `asked`.
    pub(super) fn hit(
        &mut self,
        href: &str,
        variant: &str,
        now: Duration,
        asked: Duration,
    ) -> Option<Arc<Stored>> {
        let live = self.is_live(now);
        let entity = self.entities.get(href)?;
        let stored = if entity.is_gone && live {
            Arc::clone(&self.gone)
        } else {
            let kept = entity.variants.get(variant)?;
            // Whoever waited for a fetch that was under way is served with what it brought.
            let fetched_since = kept.ended > asked && kept.epoch == self.epoch;
            let followed = live && kept.epoch == self.epoch;
            let young = !live && kept.max_age.is_some_and(|age| now < kept.begun + age);
            if kept.generation < entity.generation || !(followed || fetched_since || young) {
                return None;
            }
            Arc::clone(&kept.stored)
        };
        self.recency.touch(href);
        self.figures.hits += 1;
        Some(stored)
    }

    /// What to do for a reader whose turn it is to fetch.
    pub(super) fn look(&mut self, href: &str, variant: &str, now: Duration, asked: Duration) -> Look {
        if let Some(stored) = self.hit(href, variant, now, asked) {
            return Look::Fresh(stored);
        }
        if !self.entities.contains_key(href) {
            self.entities.insert(Arc::from(href), Entity::default());
            self.bytes += href.len() + OVERHEAD_BYTES;
        }
        self.recency.touch(href);
        let epoch = self.epoch;
        let entity = self.entities.get_mut(href).expect("it was put there above");
        entity.pins += 1;
        let etag = entity.variants.get(variant).and_then(|kept| kept.stored.etag.clone());
        Look::Fetch(Ticket { epoch, generation: entity.generation, begun: now, is_second: false, etag })
    }

    /// The ticket of a second fetch after [`Verdict::AskAgain`]; the href is pinned once more.
    pub(super) fn again(&mut self, href: &str, ticket: Ticket, now: Duration) -> Ticket {
        let epoch = self.epoch;
        let Some(entity) = self.entities.get_mut(href) else { return Ticket { is_second: true, ..ticket } };
        entity.pins += 1;
        Ticket { epoch, generation: entity.generation, begun: now, is_second: true, etag: ticket.etag }
    }

    /// Lets go of an href that was fetched.
    pub(super) fn unpin(&mut self, href: &str) {
        let Some(entity) = self.entities.get_mut(href) else { return };
        entity.pins = entity.pins.saturating_sub(1);
        if entity.pins == 0 && entity.variants.is_empty() && !entity.is_gone {
            self.forget(href);
        }
        self.evict();
    }

    /// Takes an owner's answer to the fetch of `ticket`.
    pub(super) fn answered(
        &mut self,
        href: &str,
        variant: &str,
        ticket: &Ticket,
        answer: Answer,
        now: Duration,
    ) -> Verdict {
        let Some(entity) = self.entities.get_mut(href) else {
            self.figures.misses += 1;
            return Verdict::Serve(Arc::new(answer.stored), Source::Fetched);
        };
        let before = entity.variants.remove(variant);
        self.bytes -= before.as_ref().map_or(0, |kept| cost(variant, &kept.stored));
        let tag = answer.stored.etag.clone().or_else(|| ticket.etag.clone().filter(|_| answer.not_modified));
        if let Some(kept) = &before {
            let outdated = kept.generation < ticket.generation && entity.written < ticket.generation;
            if outdated && !ticket.is_second && tag.is_some() && kept.stored.etag == tag {
                self.bytes += cost(variant, &kept.stored);
                entity.variants.insert(variant.to_owned(), before.expect("it is there"));
                return Verdict::AskAgain;
            }
        }
        let (stored, source) = match before {
            Some(kept) if answer.not_modified => (kept.stored, Source::Revalidated),
            _ => (Arc::new(answer.stored), Source::Fetched),
        };
        match source {
            Source::Revalidated => self.figures.revalidations += 1,
            _ => self.figures.misses += 1,
        }
        if answer.may_store && stored.status != StatusCode::NOT_MODIFIED {
            // What carries the tag that the newest event told is that newest representation, whenever its fetch began.
            let is_newest = tag.is_some() && tag == entity.told_tag && ticket.generation >= entity.written;
            let generation = if is_newest { entity.generation } else { ticket.generation };
            let (epoch, begun, max_age) = (ticket.epoch, ticket.begun, answer.max_age);
            let kept = Variant { epoch, generation, begun, ended: now, max_age, stored: Arc::clone(&stored) };
            self.bytes += cost(variant, &stored);
            entity.variants.insert(variant.to_owned(), kept);
        }
        Verdict::Serve(stored, source)
    }

    /// What may stand in for an owner that does not answer.
    pub(super) fn stale(&mut self, href: &str, variant: &str, now: Duration) -> Option<Arc<Stored>> {
        let entity = self.entities.get(href).filter(|entity| !entity.is_gone)?;
        let kept = entity.variants.get(variant).filter(|kept| now < kept.begun + STALE_FOR)?;
        self.figures.stale_served += 1;
        Some(Arc::clone(&kept.stored))
    }

    /// An event says what happened to `href`.
    pub(super) fn event(
        &mut self,
        href: &str,
        change: EventChange,
        sequence: Option<u64>,
        tag: Option<&str>,
    ) {
        let epoch = self.epoch;
        let Some(entity) = self.entities.get_mut(href) else { return };
        if sequence.is_some() && entity.sequence >= sequence {
            return;
        }
        entity.sequence = entity.sequence.max(sequence);
        if change == EventChange::Noop {
            return;
        }
        entity.generation += 1;
        entity.is_gone = change == EventChange::Delete;
        entity.told_tag = tag.filter(|_| !entity.is_gone).map(str::to_owned);
        if entity.is_gone {
            let freed: usize = entity.variants.drain().map(|(name, kept)| cost(&name, &kept.stored)).sum();
            self.bytes -= freed;
        }
        for kept in entity.variants.values_mut() {
            let is_told = tag.is_some() && kept.stored.etag.as_deref() == tag;
            if is_told && kept.epoch == epoch && kept.generation >= entity.written {
                kept.generation = entity.generation;
            }
        }
        self.figures.events += 1;
    }

    /// We wrote to `href` ourselves.
    pub(super) fn wrote(&mut self, href: &str) {
        let Some(entity) = self.entities.get_mut(href) else { return };
        entity.generation += 1;
        entity.written = entity.generation;
        entity.is_gone = false;
        entity.told_tag = None;
    }

    /// All events up to now have been brought.
    pub(super) fn heartbeat(&mut self, now: Duration) {
        self.live_until = now + LIVE_FOR;
    }

    /// Events may have been missed: nothing that was fetched before may be served without asking.
    pub(super) fn reset(&mut self) {
        self.epoch += 1;
        self.live_until = Duration::ZERO;
        for entity in self.entities.values_mut() {
            entity.sequence = None;
            entity.told_tag = None;
            entity.is_gone = false;
        }
    }

    fn evict(&mut self) {
        while self.bytes > self.bytes_max {
            let unpinned = |href: &&Arc<str>| self.entities.get(*href).is_none_or(|entity| entity.pins == 0);
            let Some(href) = self.recency.oldest_first().find(unpinned).map(Arc::clone) else { return };
            self.forget(&href);
            self.figures.evictions += 1;
        }
    }

    fn forget(&mut self, href: &str) {
        self.recency.remove(href);
        let Some(entity) = self.entities.remove(href) else { return };
        let variants: usize = entity.variants.iter().map(|(name, kept)| cost(name, &kept.stored)).sum();
        self.bytes -= variants + href.len() + OVERHEAD_BYTES;
    }
}

fn cost(variant: &str, stored: &Stored) -> usize {
    variant.len() + stored.body.len() + stored.etag.as_ref().map_or(0, String::len) + OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;
