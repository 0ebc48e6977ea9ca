//! The loop that turns notices into observations: reads notices, fetches what they name, publishes what came back.

use std::sync::Arc;
use std::time::Duration;

use hob_bus::{Bus, Filter, TailItem, hob_topics};
use hob_core::{Clock, Scope, TopicName};
use hob_store::{Expected, Kv};
use hob_wire::{Notice, Observation};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::fetch::{Fetch, Fetched};
use crate::fetch_queue::Queue;
use crate::rows::FetchCursorRow;

/// How often a moved cursor is written: a crash fetches again what came since.
const CURSOR_EVERY: Duration = Duration::from_millis(500);
/// The pause after the bus failed.
const PAUSE: Duration = Duration::from_secs(1);
/// Observations in one publish.
const PUBLISH_MAX: usize = 100;

/// What the loop needs.
pub(crate) struct Fetcher {
    pub(crate) scope: Scope,
    pub(crate) bus: Bus,
    pub(crate) kv: Arc<dyn Kv>,
    pub(crate) fetch: Arc<dyn Fetch>,
    /// The wall clock, for pauses.
    pub(crate) clock: Clock,
    /// The topics whose entities are fetched; changes with the rules.
    pub(crate) topics: watch::Receiver<Vec<TopicName>>,
}

impl Fetcher {
    /// Runs until the task is aborted or the bus is closed.
    pub(crate) async fn run(self) {
        let mut topics = self.topics.clone();
        loop {
            let named = topics.borrow_and_update().clone();
            let outcome = tokio::select! {
                outcome = self.follow(named) => outcome,
                changed = topics.changed() => match changed {
                    Ok(()) => Ok(()),
                    Err(_) => return,
                },
            };
            match outcome {
                Ok(()) => {}
                Err(hob_bus::Error::Closed) => return,
                Err(error) => {
                    tracing::error!(scope = %self.scope, %error, "observations stand still: failed to {error}");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    async fn follow(&self, topics: Vec<TopicName>) -> Result<(), hob_bus::Error> {
        if topics.is_empty() {
            return std::future::pending().await;
        }
        let mut cursor = self.read_cursor().await?;
        let mut queue = Queue::new(cursor);
        let mut tail = self.bus.tail(Filter::topics(self.scope.clone(), topics), cursor);
        let mut fetches: JoinSet<(String, Fetched)> = JoinSet::new();
        let mut ticks = tokio::time::interval(CURSOR_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            self.begin(&mut queue, &mut fetches);
            let pause = queue.next_at().map(|at| at.since(self.now()).max(Duration::from_millis(1)));
            tokio::select! {
                item = tail.next(), if !queue.is_full() => match item {
                    Ok(TailItem::Event(event)) => match &event.subject {
                        Some(href) => queue.wanted(href, &event.topic, event.position(), self.now()),
                        None => queue.passed(event.position()),
                    },
                    Ok(TailItem::Heartbeat { head }) => queue.passed(head),
                    Err(hob_bus::Error::CursorExpired { oldest, .. }) => {
                        self.write_cursor(oldest.saturating_sub(1)).await?;
                        return Ok(());
                    }
                    Err(error) => return Err(error),
                },
                Some(done) = fetches.join_next() => {
                    let more = std::iter::from_fn(|| fetches.try_join_next());
                    let done: Vec<_> = std::iter::once(done).chain(more).collect();
                    let mut observations = Vec::new();
                    for done in done {
                        // A fetch that panicked is our bug; starting over fetches its entity again.
                        let Ok((href, fetched)) = done else { return Ok(()) };
                        observations.extend(queue.done(&href, fetched, self.now()));
                    }
                    // The next fetches run while these are made durable.
                    self.begin(&mut queue, &mut fetches);
                    self.publish(observations).await?;
                }
                () = tokio::time::sleep(pause.unwrap_or(CURSOR_EVERY)), if pause.is_some() => {}
                _ = ticks.tick() => {
                    let moved = queue.cursor();
                    if moved > cursor {
                        self.write_cursor(moved).await?;
                        cursor = moved;
                    }
                }
            }
        }
    }

    fn now(&self) -> hob_core::Timestamp {
        self.clock.now()
    }

    fn begin(&self, queue: &mut Queue, fetches: &mut JoinSet<(String, Fetched)>) {
        while let Some(job) = queue.next(self.now(), self.bus.clock(&self.scope)) {
            let fetch = Arc::clone(&self.fetch);
            fetches.spawn(async move {
                let fetched = fetch.fetch(&job.href, job.etag.as_deref()).await;
                (job.href, fetched)
            });
        }
    }

    async fn publish(&self, observations: Vec<Observation>) -> Result<(), hob_bus::Error> {
        let topic: TopicName = hob_topics::OBSERVATIONS.parse().expect("it is a topic's name");
        for chunk in observations.chunks(PUBLISH_MAX) {
            let notices: Vec<Notice> = chunk.iter().map(notice).collect();
            self.bus.publish_as_hob(&self.scope, &topic, notices).await?;
        }
        Ok(())
    }

    fn key(&self) -> String {
        format!("watch/{}/fetched", self.scope)
    }

    async fn read_cursor(&self) -> Result<u64, hob_bus::Error> {
        let entry = self.kv.get(&self.key()).await?;
        let row = entry.and_then(|entry| serde_json::from_slice::<FetchCursorRow>(&entry.value).ok());
        Ok(row.unwrap_or_default().sequence)
    }

    async fn write_cursor(&self, sequence: u64) -> Result<(), hob_bus::Error> {
        let bytes = serde_json::to_vec(&FetchCursorRow { sequence }).expect("rows are JSON");
        self.kv.put(&self.key(), Expected::Any, bytes.into()).await?;
        Ok(())
    }
}

fn notice(observation: &Observation) -> Notice {
    Notice {
        href: Some(observation.href.clone()),
        data: serde_json::to_value(observation).ok(),
        entitytag: observation.etag.clone().filter(|etag| etag.len() <= 256),
        ..Notice::new("observed")
    }
}
