//! The loop of one scope: reads its inputs from the event log, steps the engine, publishes what follows.
//!
//! Each transition is published exactly once, whenever the process dies. After a restart the engine goes on from a
//! checkpoint and finds the same transitions again under the same ids; those that stand on `hob.issues` already are
//! passed over, the others are published. A checkpoint is written only when all that led to it is durable.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_bus::{Bus, Filter, Tail, TailItem, hob_topics};
use hob_core::{Digest, TopicName};
use hob_store::Store;
use hob_wire::{Condition, Event, Notice};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::Error;
use crate::checkpoint::{Checkpoints, Restored, load_rules};
use crate::cost::{Overruns, Stopwatch};
use crate::engine::{Input, Output, What};
use crate::inputs::{OVERRUN, Taken, hob_topic, take, topics};
use crate::rows::{CommandRow, ScopeClock};
use crate::view::View;

/// Inputs that are taken before what follows from them is published.
const BATCH_MAX: usize = 1_000;
/// Transitions in one publish.
const PUBLISH_MAX: usize = 50;
/// The pause before starting over after a failure.
const PAUSE: Duration = Duration::from_secs(1);
/// Events of the past that changed rules are warmed with.
const WARM_INPUTS_MAX: usize = 200_000;
/// Events of one look through the log at the start.
const PAGE: usize = 1_000;

/// When checkpoints are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// How old a checkpoint may become while inputs come.
    pub(crate) every: Duration,
    /// Inputs after which a checkpoint is written earlier.
    pub(crate) inputs: u64,
    /// The least time between checkpoints, however many inputs come.
    pub(crate) pause: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { every: Duration::from_secs(30), inputs: 10_000, pause: Duration::from_secs(5) }
    }
}

/// What the loop needs.
pub(crate) struct Service {
    pub(crate) pace: Pace,
    pub(crate) bus: Bus,
    pub(crate) store: Store,
    pub(crate) view: Arc<View>,
    /// Tells the fetcher which topics' entities to fetch.
    pub(crate) fetched_topics: watch::Sender<Vec<TopicName>>,
    pub(crate) stop: watch::Receiver<bool>,
}

/// Why the loop leaves off.
enum End {
    OtherRules,
    Stopped,
}

/// How the loop stands.
struct Run<'a> {
    service: &'a Service,
    checkpoints: Checkpoints,
    /// Transitions after the checkpoint that stand in the log already.
    published: BTreeSet<String>,
    since_checkpoint: u64,
    last_checkpoint: Instant,
    overruns: Overruns,
}

impl Service {
    /// Runs until it is told to stop or the bus is closed. After a failure it starts over from the checkpoint.
    pub(crate) async fn run(self) {
        let mut stop = self.stop.clone();
        let mut has_failed = false;
        loop {
            match self.run_once(&mut stop, has_failed).await {
                Ok(()) | Err(Error::Bus(hob_bus::Error::Closed)) => return,
                Err(error) => {
                    tracing::error!(scope = %self.view.scope, %error, "rules stand still: failed to {error}");
                    has_failed = true;
                    self.report(true, error.to_string()).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                _ = stop.wait_for(|stop| *stop) => return,
            }
        }
    }

    async fn report(&self, active: bool, reason: String) {
        let condition = Condition {
            subject: format!("watch/{}", self.view.scope),
            condition: "rules_stand_still".to_owned(),
            active,
            reason,
            environment: None,
            tenant: None,
        };
        if let Err(error) = self.bus.report_condition(Some(&self.view.scope), condition).await {
            tracing::warn!(%error, "the condition of the rules cannot be reported");
        }
    }

    async fn run_once(&self, stop: &mut watch::Receiver<bool>, has_failed: bool) -> Result<(), Error> {
        let checkpoints = Checkpoints::new(&self.store, &self.view.scope);
        let Restored { mut engine, clock } = checkpoints.restore().await?;
        let overruns = Overruns::default();
        engine.metered_by(Box::new(Stopwatch::new(overruns.clone())));
        let published = self.published_after(engine.sequence()).await?;
        self.view.restored(engine, clock);
        if has_failed {
            self.report(false, "rules are watched again".to_owned()).await;
        }
        let last_checkpoint = Instant::now();
        let mut run =
            Run { service: self, checkpoints, published, since_checkpoint: 0, last_checkpoint, overruns };
        loop {
            let mut tail = run.tail();
            match run.follow(&mut tail, stop).await {
                Ok(End::OtherRules) => {}
                Ok(End::Stopped) => return run.checkpoint().await,
                Err(Error::Bus(hob_bus::Error::CursorExpired { oldest, .. })) => run.skip_to(oldest),
                Err(error) => return Err(error),
            }
        }
    }

    /// The transitions that the log holds after a sequence.
    async fn published_after(&self, sequence: u64) -> Result<BTreeSet<String>, Error> {
        let filter = Filter::topics(self.view.scope.clone(), vec![hob_topic(hob_topics::ISSUES)]);
        let mut published = BTreeSet::new();
        let mut after = Some(sequence);
        while let Some(from) = after {
            let page = match self.bus.events(&filter, from, PAGE).await {
                Err(hob_bus::Error::CursorExpired { oldest, .. }) if oldest > from + 1 => {
                    after = Some(oldest - 1);
                    continue;
                }
                page => page?,
            };
            published.extend(page.events.into_iter().map(|event| event.id));
            after = page.next;
        }
        Ok(published)
    }
}

impl Run<'_> {
    fn view(&self) -> &View {
        &self.service.view
    }

    /// Reads on from what the engine has taken, on the topics that its rules name.
    fn tail(&self) -> Tail {
        let clock = self.view().clock();
        let (topics, fetched, sequence) = {
            let engine = self.view().engine();
            let rules = engine.rules();
            (topics(rules, &clock), rules.topics(), engine.sequence())
        };
        let fetched: Vec<TopicName> = fetched.into_iter().collect();
        self.service.fetched_topics.send_if_modified(|known| {
            let is_other = *known != fetched;
            known.clone_from(&fetched);
            is_other
        });
        self.service.bus.tail(Filter::topics(self.view().scope.clone(), topics), sequence)
    }

    /// What was trimmed cannot be replayed: the engine goes on behind it with what it knows.
    fn skip_to(&self, oldest: u64) {
        let scope = &self.view().scope;
        tracing::warn!(%scope, oldest, "the log's beginning is gone; rules go on from what is kept");
        let input = Input {
            sequence: oldest.saturating_sub(1),
            recorded: hob_core::Timestamp::EPOCH,
            clock: None,
            what: What::Clock,
        };
        self.view().engine().step(input, &mut Vec::new());
    }

    /// Takes inputs until other rules are in force, which means other topics, or until it is told to stop. It stops
    /// only between batches, when what the engine has taken is published.
    async fn follow(&mut self, tail: &mut Tail, stop: &mut watch::Receiver<bool>) -> Result<End, Error> {
        loop {
            let mut batch = Vec::new();
            let pause = self.service.pace.every.saturating_sub(self.last_checkpoint.elapsed());
            let first = tokio::select! {
                item = tail.next() => Some(item?),
                () = tokio::time::sleep(pause), if self.since_checkpoint > 0 => None,
                _ = stop.wait_for(|stop| *stop) => return Ok(End::Stopped),
            };
            let mut next = first;
            let mut upto = None;
            while let Some(item) = next {
                match item {
                    TailItem::Event(event) => batch.push(*event),
                    // True only once what came before it is taken.
                    TailItem::Heartbeat { head } => upto = Some(head),
                }
                next = match batch.len() < BATCH_MAX {
                    true => ready(tail).await?,
                    false => None,
                };
            }
            let has_other_rules = self.take_batch(batch).await?;
            self.checkpoint_if_due().await?;
            if has_other_rules {
                return Ok(End::OtherRules);
            }
            if let Some(head) = upto {
                self.view().taken_up_to(head);
            }
        }
    }

    /// Takes a batch up to the first change of rules; whether there was one.
    async fn take_batch(&mut self, batch: Vec<Event>) -> Result<bool, Error> {
        let clock = self.view().clock();
        let mut inputs = Vec::with_capacity(batch.len());
        for event in batch {
            match take(event, &clock) {
                Taken::Input(input) => inputs.push(*input),
                Taken::Nothing => {}
                Taken::Rules { input, digest, clock } => {
                    self.step(inputs).await?;
                    self.take_rules(*input, digest, clock).await?;
                    return Ok(true);
                }
            }
        }
        self.step(inputs).await?;
        Ok(false)
    }

    async fn take_rules(&mut self, input: Input, digest: Digest, clock: ScopeClock) -> Result<(), Error> {
        let is_other_clock = self.view().clock() != clock;
        let what = match load_rules(&*self.service.store.blobs, &digest).await {
            Ok(rules) => What::Rules { rules, is_other_clock },
            // Rules of another version that this one does not read: those in force stay, and the log goes on.
            Err(error @ Error::BadRules { .. }) => {
                tracing::error!(%digest, %error, "rules in the log cannot be read by this version");
                return self.step(vec![input]).await;
            }
            Err(error) => return Err(error),
        };
        self.view().set_clock(clock);
        let sequence = input.sequence;
        self.step(vec![Input { what, ..input }]).await?;
        self.warm(sequence).await
    }

    /// Lets rules that are new or changed see what the log has before their record, as far back as they look.
    async fn warm(&mut self, before: u64) -> Result<(), Error> {
        let clock = self.view().clock();
        let (topics, from) = {
            let engine = self.view().engine();
            let back = engine.looks_back();
            if back.is_zero() || engine.clock() == hob_core::Timestamp::EPOCH {
                return Ok(());
            }
            (topics(engine.rules(), &clock), engine.clock().minus(back))
        };
        let filter = Filter::topics(self.view().scope.clone(), topics);
        let mut past = Vec::new();
        let mut next = Some(before);
        while let Some(before) = next {
            let page = match self.service.bus.events_back(&filter, Some(before), PAGE).await {
                Err(hob_bus::Error::CursorExpired { .. }) => break,
                page => page?,
            };
            next = page.next;
            for event in page.events {
                if let Taken::Input(input) = take(event, &clock) {
                    let is_before = input.clock.is_some_and(|clock| clock < from);
                    past.push(*input);
                    if is_before || past.len() >= WARM_INPUTS_MAX {
                        next = None;
                        break;
                    }
                }
            }
        }
        past.reverse();
        let mut outputs = Vec::new();
        self.view().engine().warm(past, &mut outputs);
        self.publish(&outputs).await?;
        self.view().show(outputs);
        Ok(())
    }

    async fn step(&mut self, inputs: Vec<Input>) -> Result<(), Error> {
        let Some(last) = inputs.last().map(|input| input.sequence) else { return Ok(()) };
        self.since_checkpoint += inputs.len() as u64;
        let mut outputs = Vec::new();
        {
            let mut engine = self.view().engine();
            for input in inputs {
                engine.step(input, &mut outputs);
            }
        }
        self.publish(&outputs).await?;
        self.view().show(outputs);
        self.view().taken_up_to(last);
        self.tell_overruns().await
    }

    /// Writes into the log that a rule costs too much: the engine switches it off where the log says so.
    async fn tell_overruns(&self) -> Result<(), Error> {
        for (rule, cost) in self.overruns.take() {
            let reason = format!("it costs {} µs a judgement; change the rule", cost.as_micros());
            tracing::warn!(scope = %self.view().scope, rule, reason, "a rule is switched off");
            let condition = Condition {
                subject: format!("rule/{rule}"),
                condition: "rule_costs_too_much".to_owned(),
                active: true,
                reason: reason.clone(),
                environment: None,
                tenant: None,
            };
            self.service.bus.report_condition(Some(&self.view().scope), condition).await?;
            let row =
                CommandRow { actor: "hob".to_owned(), reason, rule: Some(rule), ..CommandRow::default() };
            let notice = Notice { data: serde_json::to_value(row).ok(), ..Notice::new(OVERRUN) };
            self.service
                .bus
                .publish_as_hob(&self.view().scope, &hob_topic(hob_topics::COMMANDS), vec![notice])
                .await?;
        }
        Ok(())
    }

    async fn publish(&mut self, outputs: &[Output]) -> Result<(), Error> {
        let mut notices = Vec::new();
        for output in outputs {
            let Output::Transition { id, transition } = output else { continue };
            if self.published.remove(id) {
                continue;
            }
            notices.push(Notice {
                href: Some(transition.issue.about.clone()),
                id: Some(id.clone()),
                data: serde_json::to_value(transition).ok(),
                ..Notice::new(transition.transition.clone())
            });
        }
        let topic = hob_topic(hob_topics::ISSUES);
        let mut notices = notices.into_iter().peekable();
        while notices.peek().is_some() {
            let chunk = notices.by_ref().take(PUBLISH_MAX).collect();
            self.service.bus.publish_as_hob(&self.view().scope, &topic, chunk).await?;
        }
        Ok(())
    }

    async fn checkpoint_if_due(&mut self) -> Result<(), Error> {
        let age = self.last_checkpoint.elapsed();
        let pace = self.service.pace;
        let many = self.since_checkpoint >= pace.inputs && age >= pace.pause;
        if many || (age >= pace.every && self.since_checkpoint > 0) {
            self.checkpoint().await?;
        }
        Ok(())
    }

    async fn checkpoint(&mut self) -> Result<(), Error> {
        if self.since_checkpoint == 0 {
            return Ok(());
        }
        let (sequence, bytes) = {
            let engine = self.view().engine();
            (engine.sequence(), serde_json::to_vec(engine.state()).expect("rows are JSON"))
        };
        self.checkpoints.write(sequence, bytes, self.view().clock()).await?;
        self.since_checkpoint = 0;
        self.last_checkpoint = Instant::now();
        Ok(())
    }
}

/// The next item if it is there already.
async fn ready(tail: &mut Tail) -> Result<Option<TailItem>, Error> {
    tokio::select! {
        biased;
        item = tail.next() => Ok(Some(item?)),
        () = std::future::ready(()) => Ok(None),
    }
}

#[cfg(test)]
mod tests;
