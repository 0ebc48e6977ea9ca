//! The keeper: what is done from time to time for the event log. Watches the disk's room, seals closed segments,
//! removes what is no longer kept, reads old parts again, and reports what it finds as conditions.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hob_store::{Expected, Log, LogCondition, ReadLimits, Tag};
use hob_wire::Condition;

use crate::handle::Inner;
use crate::parts::rows::{PartRow, SCRUB, ScrubRow};
use crate::rows::{ROW_VERSION, decode_json, encode_json};
use crate::seal::{Keeping, recorded};
use crate::{Bus, Error};

/// How often the keeper looks.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Every so many looks it removes what is no longer kept, and sees whether the active segment is old.
const EXPIRE_LOOKS: u64 = 30;
/// Every so many looks it reads an old part again.
const SCRUB_LOOKS: u64 = 60;
/// Events are refused while the disk has less room than this, so that keys can still be written.
pub(crate) const RESERVE_BYTES: u64 = 16 << 20;
/// They are taken again once it has this much.
pub(crate) const RELIEF_BYTES: u64 = 24 << 20;
/// The active segment is closed when its first event has this share of the shortest age that topics are kept for.
const CLOSE_SHARE: u64 = 8;
/// But not before this.
const CLOSE_AFTER_MIN: Duration = Duration::from_secs(60);
/// And not later than this.
const CLOSE_AFTER_MAX: Duration = Duration::from_secs(24 * 3600);

/// What the keeper remembers from look to look.
#[derive(Debug, Default)]
pub(crate) struct Keeper {
    looks: u64,
    /// Up to where ranges were sealed when superseded events were last looked for.
    compacted: u64,
    /// Damaged ranges that were reported.
    damaged: Option<usize>,
    is_failing: bool,
}

/// Looks after the log until the last handle is gone.
pub(crate) async fn run(inner: Weak<Inner>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        if *inner.closed.borrow() {
            return;
        }
        let mut keeper = inner.keeper.lock().await;
        if keeper.looks == 0
            && let Err(error) = inner.events.remove_orphans().await
        {
            tracing::warn!(%error, "parts that an interrupted pass left behind could not be removed");
        }
        keeper.looks += 1;
        let looks = keeper.looks;
        let bus = Bus { inner: Arc::clone(&inner) };
        let outcome = bus.look_after(&mut keeper, looks).await;
        if let Some(error) = outcome.as_ref().err().filter(|_| !keeper.is_failing) {
            tracing::error!(%error, "failed to look after the event log; this is tried again");
        }
        keeper.is_failing = outcome.is_err();
    }
}

impl Bus {
    async fn look_after(&self, keeper: &mut Keeper, looks: u64) -> Result<(), Error> {
        let room = self.watch_room().await;
        if looks.is_multiple_of(EXPIRE_LOOKS) {
            self.expire(keeper).await?;
            self.close_old().await?;
        }
        self.seal_closed(room).await?;
        if looks.is_multiple_of(SCRUB_LOOKS) {
            self.scrub_one().await?;
        }
        self.report_damage(keeper).await;
        Ok(())
    }

    /// Does at once what is otherwise done from time to time: closes the active segment of the event log, seals what is
    /// closed, removes what is no longer kept. Says up to where events are sealed.
    pub async fn tend_log(&self) -> Result<u64, Error> {
        let inner = &self.inner;
        let mut keeper = inner.keeper.lock().await;
        inner.events.close_active().await?;
        let room = self.watch_room().await;
        self.seal_closed(room).await?;
        self.expire(&mut keeper).await?;
        self.report_damage(&mut keeper).await;
        Ok(inner.events.view().sealed())
    }

    /// Reads every sealed part again, and says how many of them are not as they were written.
    pub async fn scrub_log(&self) -> Result<u64, Error> {
        let events = &self.inner.events;
        let mut keeper = self.inner.keeper.lock().await;
        let (mut place, mut damaged) = ((0, String::new()), 0);
        while let Some(scrubbed) = events.scrub(&place).await? {
            if scrubbed.place <= place {
                break;
            }
            damaged += u64::from(!scrubbed.is_sound);
            place = scrubbed.place;
        }
        self.report_damage(&mut keeper).await;
        Ok(damaged)
    }

    /// Looks at the disk: refuses events before nothing at all can be written any more. Says how much room there is.
    async fn watch_room(&self) -> Option<u64> {
        let events = &self.inner.events;
        let room = match events.blobs.room().await {
            Ok(room) => room,
            Err(error) => {
                tracing::warn!(%error, "failed to ask how much room the disk has");
                None
            }
        };
        let log_is_full = events.log.stats().condition == LogCondition::Full;
        let was_full = events.is_full();
        let is_full = is_full(room, was_full) || (log_is_full && room.is_none_or(|room| room < RELIEF_BYTES));
        if events.set_full(is_full) {
            tracing::warn!(?room, is_full, "events are refused while the disk is full");
        }
        let reason = match room {
            Some(room) if is_full => format!(
                "{} MiB are left; events are refused until there are {}",
                room >> 20,
                RELIEF_BYTES >> 20
            ),
            _ if is_full => "the disk takes no more; events are refused".to_owned(),
            _ => "there is room".to_owned(),
        };
        // Told again and again until it could be published: an unchanged condition is not published twice.
        self.tell("disk", "full", is_full, reason).await;
        room
    }

    /// Seals what is closed, unless that could take the last room.
    async fn seal_closed(&self, room: Option<u64>) -> Result<(), Error> {
        let events = &self.inner.events;
        for closed in events.log.closed() {
            let mut sealed = events.view().sealed();
            while sealed < closed.last {
                let stats = events.log.stats();
                let needed = stats.bytes / stats.segments.max(1) + RESERVE_BYTES;
                if room.is_some_and(|room| room < needed) {
                    tracing::warn!(?room, needed, "a segment is not sealed: the disk has too little room");
                    return Ok(());
                }
                let range = hob_store::Gap { first: closed.first.max(sealed + 1), last: closed.last };
                sealed = events.seal(range, |tag| self.keeping(tag, None)).await?;
            }
            events.log.trim(closed.last + 1).await.map_err(|error| Error::Row {
                what: "the event log".to_owned(),
                problem: format!("failed to {error}"),
            })?;
        }
        Ok(())
    }

    async fn expire(&self, keeper: &mut Keeper) -> Result<(), Error> {
        let (events, now) = (&self.inner.events, self.inner.clocks.wall.now());
        let keeping = |tag: &Tag, part: &PartRow| self.keeping(tag, Some(part));
        let expired = events.expire(keeping, now).await?;
        if expired > 0 {
            tracing::info!(events = expired, "events that are no longer kept were removed");
        }
        let sealed = events.view().sealed();
        if sealed > keeper.compacted {
            let removed = events.compact(keeping, now).await?;
            if removed > 0 {
                tracing::info!(events = removed, "superseded events of compact topics were removed");
            }
            keeper.compacted = sealed;
        }
        Ok(())
    }

    /// Closes the active segment when its first event is old enough, so that topics lose their events in time on a
    /// quiet system too.
    async fn close_old(&self) -> Result<(), Error> {
        let events = &self.inner.events;
        let Some(shortest) = self.inner.topics.shortest_age() else { return Ok(()) };
        let first = events.log.closed().last().map_or(events.log.oldest(), |closed| closed.last + 1);
        let batch = events.log.read(first, ReadLimits { records_max: 1, bytes_max: 1 }).await?;
        let Some(stored) = batch.records.first() else { return Ok(()) };
        if self.inner.clocks.wall.now().since(recorded(stored)) >= close_after(shortest) {
            events.log.close_active().await?;
        }
        Ok(())
    }

    /// How a topic is kept; when it is declared no more, as its part says.
    fn keeping(&self, tag: &Tag, part: Option<&PartRow>) -> Keeping {
        let inner = &self.inner;
        let place = inner.positions.place(tag);
        let topic = place.and_then(|(scope, topic)| inner.topics.get(&scope, &topic).ok());
        match topic {
            Some(topic) => Keeping::of(&topic.terms),
            None => Keeping { age: part.and_then(|part| part.age), ..Keeping::default() },
        }
    }

    async fn scrub_one(&self) -> Result<(), Error> {
        let events = &self.inner.events;
        let entry = events.kv.get(SCRUB).await?;
        let place: ScrubRow = match &entry {
            Some(entry) => decode_json(SCRUB, &entry.value)?,
            None => ScrubRow::default(),
        };
        if let Some(scrubbed) = events.scrub(&place.after).await? {
            let row = ScrubRow { version: ROW_VERSION, after: scrubbed.place };
            events.kv.put(SCRUB, Expected::Any, Bytes::from(encode_json(&row))).await?;
        }
        Ok(())
    }

    /// Tells whether events are damaged, as a condition of the platform's, when that has changed.
    pub(crate) async fn report_damage(&self, keeper: &mut Keeper) {
        let damaged = self.inner.events.stats().quarantined;
        if Some(damaged.len()) == keeper.damaged {
            return;
        }
        let first = damaged.first();
        let words = first.map(|gap| format!("events between {} and {} cannot be read", gap.first, gap.last));
        let others = damaged.len().saturating_sub(1);
        let words =
            words.map(|words| if others > 0 { format!("{words}, and {others} more ranges") } else { words });
        let reason = words.unwrap_or_else(|| "every event can be read".to_owned());
        if self.tell("log/events", "damaged", !damaged.is_empty(), reason).await {
            keeper.damaged = Some(damaged.len());
        }
    }

    async fn tell(&self, subject: &str, condition: &str, active: bool, reason: String) -> bool {
        let condition = Condition {
            subject: subject.to_owned(),
            condition: condition.to_owned(),
            active,
            reason,
            environment: None,
            tenant: None,
        };
        let told = self.report_condition(None, condition).await;
        if let Err(error) = &told {
            tracing::debug!(%error, subject, "a condition could not be told yet");
        }
        told.is_ok()
    }
}

/// Whether events are to be refused: from less than the reserve until there is relief.
fn is_full(room: Option<u64>, was_full: bool) -> bool {
    room.is_some_and(|room| room < if was_full { RELIEF_BYTES } else { RESERVE_BYTES })
}

/// How old the first event of the active segment may become, when the shortest that a topic is kept is so many seconds.
fn close_after(shortest_age: u64) -> Duration {
    Duration::from_secs(shortest_age / CLOSE_SHARE).clamp(CLOSE_AFTER_MIN, CLOSE_AFTER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_relieved_only_with_some_room() {
        for (room, was_full, expected) in [
            (None, false, false),
            (Some(RESERVE_BYTES), false, false),
            (Some(RESERVE_BYTES - 1), false, true),
            (Some(RESERVE_BYTES), true, true),
            (Some(RELIEF_BYTES), true, false),
        ] {
            assert_eq!(is_full(room, was_full), expected, "{room:?} {was_full}");
        }
    }

    #[test]
    fn the_active_segment_is_closed_within_a_share_of_the_shortest_age() {
        for (age, expected) in [(0, 60), (480, 60), (8_000, 1_000), (30 * 86_400, 86_400)] {
            assert_eq!(close_after(age), Duration::from_secs(expected), "{age}");
        }
    }

    async fn open(directory: &std::path::Path) -> (hob_store::Store, Bus) {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let store = loop {
            match hob_store::Store::open(directory, hob_store::StoreOptions::default()).await {
                Err(hob_store::OpenError::InUse { .. }) if tokio::time::Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                opened => break opened.unwrap(),
            }
        };
        let (clock, _) = hob_core::Clock::manual("2026-01-05T12:00:00Z".parse().unwrap());
        let bus = Bus::open(&store, clock).await.unwrap();
        (store, bus)
    }

    async fn scrubbed(store: &hob_store::Store) -> Option<(u64, String)> {
        let entry = store.kv.get(SCRUB).await.unwrap()?;
        Some(decode_json::<ScrubRow>(SCRUB, &entry.value).unwrap().after)
    }

    #[tokio::test]
    async fn the_scrubber_reads_a_part_at_its_time_and_goes_on_where_it_was_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let (mut store, mut bus) = open(directory.path()).await;
        let (scope, topic): (hob_core::Scope, hob_core::TopicName) =
            ("qa/uk".parse().unwrap(), "orders".parse().unwrap());
        let owner: hob_core::Name = "orders".parse().unwrap();
        bus.put_topic(&scope, &owner, &topic, hob_wire::TopicTerms::default()).await.unwrap();
        let publisher = crate::Publisher { scope, service: owner, request_id: None, traceparent: None };
        for _ in 0..3 {
            let update = serde_json::json!({"topic": "orders", "type": "update", "href": "http://t/1"});
            bus.publish(&publisher, vec![serde_json::from_value(update).unwrap()]).await.unwrap();
            bus.tend_log().await.unwrap();
        }
        let view = bus.inner.events.view();
        let all = view
            .ranges
            .iter()
            .flat_map(|range| range.parts.iter().map(|part| (range.first, part.name.clone())));
        let mut parts: Vec<(u64, String)> = all.collect();
        parts.sort();
        drop(view);
        assert!(parts.len() >= 3);
        let mut seen = Vec::new();
        for _ in 0..parts.len() + 1 {
            // Nothing is read again before it is time; then one part is.
            let before = scrubbed(&store).await;
            let mut keeper = Keeper::default();
            bus.look_after(&mut keeper, SCRUB_LOOKS - 1).await.unwrap();
            assert_eq!(scrubbed(&store).await, before);
            bus.look_after(&mut keeper, SCRUB_LOOKS).await.unwrap();
            seen.extend(scrubbed(&store).await);
            bus.close().await;
            drop((bus, store));
            (store, bus) = open(directory.path()).await;
        }
        // Each in turn, whatever was restarted in between, and then the first again.
        let mut expect = parts.clone();
        expect.push(parts[0].clone());
        assert_eq!(seen, expect);
    }
}
