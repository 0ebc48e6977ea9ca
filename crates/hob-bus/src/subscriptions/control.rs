//! What people do with a subscription: pause it, put its cursor elsewhere, deal with its dead letters.

use hob_core::{Scope, Timestamp};
use hob_store::{Expected, Stored};
use hob_wire::{
    DeadLetter, DeadLetterChoice, SubscriptionPatch, SubscriptionState, Touched, WantedState, sequence_text,
};

use super::{Subscriptions, letter_key, letter_prefix};
use crate::positions::tags_for;
use crate::read::{Reader, decode, event_of};
use crate::rows::{LetterRow, PauseRow, decode_json};
use crate::step::{Input, Letter};
use crate::subscription::{Subscription, seen_anyhow};
use crate::{Bus, Error, SubscriptionKey};

/// A page of dead letters, by sequence.
pub struct DeadLetterPage {
    /// The letters.
    pub letters: Vec<DeadLetter>,
    /// Ask on after this sequence; none at the end.
    pub next: Option<u64>,
}

impl Bus {
    /// Pauses a subscription, or lets it go on.
    pub async fn patch_subscription(
        &self,
        key: &SubscriptionKey,
        patch: SubscriptionPatch,
    ) -> Result<SubscriptionState, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let now = inner.clocks.wall.now();
        let is_paused = patch.state == WantedState::Paused;
        let refuse = |problem: &str| {
            Err(Error::BadSubscription { name: key.name.clone(), problem: problem.to_owned() })
        };
        match patch.until {
            Some(_) if !is_paused => return refuse("until belongs to a pause; leave it out"),
            Some(until) if until <= now => return refuse("until has passed; name a later time"),
            _ => {}
        }
        let paused = is_paused.then_some(PauseRow { until: patch.until, gone: None });
        let subscription = inner.subscriptions.get(key)?;
        inner.subscriptions.halt(key, paused, now).await?;
        inner.pushes.changed();
        self.describe(&subscription, now).await
    }

    /// Puts the cursor elsewhere: `start`, `end`, `seq:…`, `time:…` or `id:…`. What is leased is no longer, and dead
    /// letters stay.
    pub async fn seek(&self, key: &SubscriptionKey, at: &str) -> Result<SubscriptionState, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let (reader, now) = (inner.reader(), inner.clocks.wall.now());
        let subscription = inner.subscriptions.get(key)?;
        let topics = subscription.body.lock().await.row.topics.clone();
        let to = super::seek::place(key, &topics, at, &reader, now).await?;
        inner.subscriptions.seek(&subscription, &to, &reader, now).await?;
        self.describe(&subscription, now).await
    }

    /// The dead letters after a sequence, oldest first.
    pub async fn dead_letters(
        &self,
        key: &SubscriptionKey,
        after: u64,
        limit: usize,
    ) -> Result<DeadLetterPage, Error> {
        let inner = &self.inner;
        let subscription = inner.subscriptions.get(key)?;
        let rows = inner.subscriptions.letters(&subscription).await?;
        let mut rows = rows.into_iter().filter(|(sequence, _)| *sequence > after);
        let mut page = DeadLetterPage { letters: Vec::new(), next: None };
        for (sequence, row) in rows.by_ref().take(limit.max(1)) {
            let stored = inner.reader().record(&key.scope, sequence).await?;
            let event = stored.as_ref().and_then(|stored| {
                let (scope, topic) = inner.positions.place(&stored.tag)?;
                Some(event_of(scope, topic, stored, &decode(stored)?))
            });
            let is_replaying = subscription.body.lock().await.state.is_replaying(sequence);
            page.letters.push(DeadLetter {
                id: sequence_text(sequence),
                subject: row.subject.or_else(|| event.as_ref()?.subject.clone()),
                event,
                attempts: row.attempts,
                first_failed: row.first_failed,
                last_failed: row.last_failed,
                last_error: row.last_error,
                replaying: is_replaying,
            });
        }
        let last = page.letters.last().and_then(|letter| letter.id.parse().ok());
        page.next = last.filter(|_| rows.next().is_some());
        Ok(page)
    }

    /// Hands dead letters out once more, beside the cursor. One that is acknowledged is gone; one that fails stays.
    pub async fn replay_dead_letters(
        &self,
        key: &SubscriptionKey,
        choice: DeadLetterChoice,
    ) -> Result<Touched, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let subscription = inner.subscriptions.get(key)?;
        let chosen = inner.subscriptions.chosen(&subscription, &choice).await?;
        let mut replayed = Vec::new();
        for (sequence, row) in chosen {
            let Some(stored) = inner.reader().record(&key.scope, sequence).await? else { continue };
            let Some(seen) = seen_anyhow(&stored) else { continue };
            let letter = Letter {
                sequence,
                attempts: row.attempts,
                first_failed: row.first_failed,
                last_failed: row.last_failed,
                error: row.last_error,
            };
            replayed.push((seen, letter));
        }
        let count = replayed.len() as u64;
        let mut body = subscription.body.lock().await;
        subscription.step(&mut body, Input::Replay(replayed), inner.clocks.wall.now());
        Ok(Touched { count })
    }

    /// Forgets dead letters.
    pub async fn drop_dead_letters(
        &self,
        key: &SubscriptionKey,
        choice: DeadLetterChoice,
    ) -> Result<Touched, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let subscription = inner.subscriptions.get(key)?;
        let _saving = subscription.saving.lock().await;
        let chosen = inner.subscriptions.chosen(&subscription, &choice).await?;
        let sequences: Vec<u64> = chosen.into_iter().map(|(sequence, _)| sequence).collect();
        for sequence in &sequences {
            inner.subscriptions.kv.delete(&letter_key(key, *sequence), Expected::Any).await?;
        }
        let count = sequences.len() as u64;
        let mut body = subscription.body.lock().await;
        subscription.step(&mut body, Input::Dropped(sequences.clone()), inner.clocks.wall.now());
        drop(body);
        subscription.letters_gone(&sequences).await;
        Ok(Touched { count })
    }

    /// Tells a subscription, and nobody else, of every live entity of its topics: a `noop` for each. Says how many
    /// entities there are.
    pub async fn snapshot(&self, key: &SubscriptionKey) -> Result<Touched, Error> {
        let inner = &self.inner;
        inner.check_open()?;
        let subscription = inner.subscriptions.get(key)?;
        let topics = subscription.body.lock().await.row.topics.clone();
        let mut count = 0;
        for topic in &topics {
            let mut after = None;
            loop {
                let page = inner.live_entities(&key.scope, topic, after.as_deref(), COUNT_PAGE).await?;
                count += page.entities.len() as u64;
                after = page.next;
                if after.is_none() {
                    break;
                }
            }
        }
        let first = topics.first().map(ToString::to_string).unwrap_or_default();
        let mut body = subscription.body.lock().await;
        subscription.begins_anew("every live entity is told anew");
        subscription.step(
            &mut body,
            Input::SnapshotBegun { after: format!("{first} ") },
            inner.clocks.wall.now(),
        );
        Ok(Touched { count })
    }
}

/// Entities of one page, when they are counted.
const COUNT_PAGE: usize = 4_096;

impl Subscriptions {
    async fn seek(
        &self,
        subscription: &Subscription,
        to: &super::seek::Target,
        reader: &Reader<'_>,
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut body = subscription.body.lock().await;
        subscription.check_alive()?;
        if to.is_start {
            let mut row = body.row.clone();
            row.forgone = reader.forgone(&body.tags);
            self.write_row(&subscription.key, &row).await?;
            body.row = row;
        }
        body.check_kept(to.after, reader)?;
        subscription.begins_anew("its cursor was put elsewhere");
        subscription.step(&mut body, Input::Sought(to.after), now);
        drop(body);
        subscription.save(self.kv.as_ref(), reader, now).await
    }

    async fn letters(&self, subscription: &Subscription) -> Result<Vec<(u64, LetterRow)>, Error> {
        let of = subscription.body.lock().await.row.id.clone();
        let mut letters = Vec::new();
        for entry in self.kv.list(&letter_prefix(&subscription.key)).await?.entries {
            let row: LetterRow = decode_json(&entry.key, &entry.value)?;
            let sequence = entry.key.rsplit('/').next().and_then(|text| text.parse().ok());
            letters.extend(sequence.filter(|_| row.of == of).map(|sequence| (sequence, row)));
        }
        Ok(letters)
    }

    async fn chosen(
        &self,
        subscription: &Subscription,
        choice: &DeadLetterChoice,
    ) -> Result<Vec<(u64, LetterRow)>, Error> {
        let mut letters = self.letters(subscription).await?;
        letters.retain(|(sequence, row)| {
            let is_named = choice.ids.is_empty() || choice.ids.contains(&sequence_text(*sequence));
            is_named && (choice.subject.is_none() || choice.subject == row.subject)
        });
        Ok(letters)
    }
}

impl Reader<'_> {
    /// The record of an event on any topic of a scope, when it can be read.
    pub(crate) async fn record(&self, scope: &Scope, sequence: u64) -> Result<Option<Stored>, Error> {
        let mut tags = self.positions.tags_of(scope);
        let hob = crate::hob_topics::ALL.iter().filter_map(|(name, _)| name.parse().ok());
        tags.extend(tags_for(scope, &hob.collect::<Vec<_>>()));
        let found = self.look(&tags, sequence.saturating_sub(1), sequence, 1, 1).await?;
        Ok(found.records.into_iter().find(|stored| stored.seq == sequence))
    }
}
