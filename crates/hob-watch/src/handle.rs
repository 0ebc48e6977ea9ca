//! The handle that everybody else calls: cheap to clone, safe to use from many tasks.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hob_bus::{Bus, Filter, hob_topics};
use hob_core::{Clock, Digest, Scope, Timestamp, TopicName};
use hob_store::Store;
use hob_wire::{Action, ActionsState, Event, FileText, Flaw, Issue, IssueDay, Notice, Place, WatchedEntity};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::act::Act;
use crate::checkpoint::store_rules;
use crate::command::{Command, Refusal, Verb};
use crate::fetch::Fetch;
use crate::fetcher::Fetcher;
use crate::inputs::{RULES, hob_topic};
use crate::performer::Performer;
pub use crate::question::{EntityFilter, IssueFilter, Parent, RuleSummary};
use crate::rows::{CommandRow, ScopeClock};
use crate::service::{Pace, Service};
use crate::view::View;
use crate::{Error, Rules, compile};

/// How long a caller waits until the engine has come to a command.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Events of one look through the log.
const PAGE: usize = 1_000;
/// How long stopping may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// A number on the live strip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FigureValue {
    /// Its name, unique in the scope.
    pub name: String,
    /// What people read.
    pub label: String,
    /// How many entities.
    pub value: u64,
    /// `good`, `neutral`, `warn` or `bad`.
    pub tone: Option<String>,
}

/// The live strip.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// In the order of the files.
    pub figures: Vec<FigureValue>,
    /// The scope's clock as the engine has it.
    pub clock: Timestamp,
}

/// The watch. Clones share one.
#[derive(Clone)]
pub struct Watch {
    inner: Arc<Inner>,
}

struct Inner {
    pace: Pace,
    store: Store,
    bus: Bus,
    fetch: Arc<dyn Fetch>,
    act: Arc<dyn Act>,
    scopes: RwLock<BTreeMap<Scope, Watched>>,
    /// One change of rules at a time.
    changing: tokio::sync::Mutex<()>,
}

/// A scope that is watched.
struct Watched {
    view: Arc<View>,
    stop: watch::Sender<bool>,
    service: JoinHandle<()>,
    fetcher: JoinHandle<()>,
    performer: JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.fetcher.abort();
        self.performer.abort();
        self.service.abort();
    }
}

impl Watch {
    /// Opens the watch over a store and a bus: for each scope, restores the engine from its newest checkpoint, reads
    /// on from there, fetches what notices name, and does what rules and people want done. Must be called within a tokio runtime.
    pub async fn open(
        store: &Store,
        bus: &Bus,
        fetch: Arc<dyn Fetch>,
        act: Arc<dyn Act>,
        scopes: Vec<Scope>,
    ) -> Result<Self, Error> {
        Ok(Self::open_at_pace(store, bus, (fetch, act), scopes, Pace::default()))
    }

    pub(crate) fn open_at_pace(
        store: &Store,
        bus: &Bus,
        (fetch, act): (Arc<dyn Fetch>, Arc<dyn Act>),
        scopes: Vec<Scope>,
        pace: Pace,
    ) -> Self {
        let inner = Inner {
            pace,
            store: store.clone(),
            bus: bus.clone(),
            fetch,
            act,
            scopes: RwLock::default(),
            changing: tokio::sync::Mutex::default(),
        };
        inner.set_scopes(scopes);
        Self { inner: Arc::new(inner) }
    }

    /// Reads and checks rule files without taking them.
    pub fn check(files: &[FileText]) -> Result<(), Vec<Flaw>> {
        compile(files).map(drop)
    }

    /// Takes rule files in every scope, and the scopes themselves: whole or not at all. Returns once the change is
    /// durable. Safe to repeat: rules that are the same already change nothing. Clocks are those of the bus.
    pub async fn set_rules(&self, scopes: Vec<Scope>, files: &[FileText]) -> Result<(), Error> {
        let rules = compile(files).map_err(|flaws| Error::BadRules { flaws })?;
        let Some(digest) = rules.digest() else { return Ok(()) };
        let _one_at_a_time = self.inner.changing.lock().await;
        store_rules(&*self.inner.store.blobs, &digest, files).await?;
        self.inner.set_scopes(scopes);
        let views: Vec<Arc<View>> =
            self.inner.read().values().map(|watched| Arc::clone(&watched.view)).collect();
        for view in views {
            self.inner.put_in_force(&view, digest).await?;
        }
        Ok(())
    }

    /// The scopes that are watched, in order.
    pub fn scopes(&self) -> Vec<Scope> {
        self.inner.read().keys().cloned().collect()
    }

    /// Issues by priority, the most urgent first; resolved ones, newest first, after all others.
    pub fn issues(&self, scope: &Scope, filter: &IssueFilter) -> Result<Vec<Arc<Issue>>, Error> {
        Ok(self.inner.view(scope)?.issues(filter))
    }

    /// One issue, or [`Error::IssueUnknown`].
    pub fn issue(&self, scope: &Scope, id: &str) -> Result<Arc<Issue>, Error> {
        self.inner.view(scope)?.issue(id).ok_or_else(|| unknown(scope, id))
    }

    /// Does what a person decided about an issue, and returns it as it is then. Durable when it returns. Refused with
    /// who was first when somebody was quicker.
    pub async fn decide(&self, scope: &Scope, command: Command) -> Result<Arc<Issue>, Error> {
        let view = self.inner.view(scope)?;
        // Nothing is recorded about an issue that nobody knows.
        let id = command.issue.clone();
        view.issue(&id).ok_or_else(|| unknown(scope, &id))?;
        self.inner.command(&view, command).await?;
        view.issue(&id).ok_or_else(|| unknown(scope, &id))
    }

    /// Stops all actions, or lets them be done again. Durable when it returns.
    pub async fn switch_actions(
        &self,
        scope: &Scope,
        is_paused: bool,
        actor: &str,
        reason: &str,
    ) -> Result<ActionsState, Error> {
        let view = self.inner.view(scope)?;
        let verb = if is_paused { Verb::PauseActions } else { Verb::ResumeActions };
        let (actor, reason) = (actor.to_owned(), reason.to_owned());
        let command = Command { verb, issue: String::new(), actor, reason, revision: None };
        self.inner.command(&view, command).await?;
        let state = view.engine().actions_state();
        Ok(state)
    }

    /// What was done, was to be done or is proposed, newest first.
    pub fn actions(&self, scope: &Scope) -> Result<Vec<Action>, Error> {
        Ok(self.inner.view(scope)?.engine().actions().cloned().collect())
    }

    /// Whether anything may act.
    pub fn actions_state(&self, scope: &Scope) -> Result<ActionsState, Error> {
        Ok(self.inner.view(scope)?.engine().actions_state())
    }

    /// How far the rule engine of a scope is, and a digest of everything that it remembers. Slow: it is for comparing.
    pub fn standing(&self, scope: &Scope) -> Result<(u64, Timestamp, Digest), Error> {
        let view = self.inner.view(scope)?;
        let engine = view.engine();
        Ok((engine.sequence(), engine.clock(), engine.state_hash()))
    }

    /// Figures of issues by day, the newest day first.
    pub fn days(&self, scope: &Scope) -> Result<Vec<IssueDay>, Error> {
        Ok(self.inner.view(scope)?.engine().days())
    }

    /// Entities of a kind as the rules know them, by href, and where to go on.
    pub fn entities(
        &self,
        scope: &Scope,
        filter: &EntityFilter,
    ) -> Result<(Vec<WatchedEntity>, Option<String>), Error> {
        self.inner.view(scope)?.entities(filter)
    }

    /// Everything that has a position.
    pub fn places(&self, scope: &Scope) -> Result<Vec<Place>, Error> {
        Ok(self.inner.view(scope)?.places())
    }

    /// The stream that tells where an entity is: its topic, the member of its records that names the entity, and how.
    pub fn stream_of(&self, scope: &Scope, href: &str) -> Result<Option<(TopicName, String, String)>, Error> {
        Ok(self.inner.view(scope)?.stream_of(href))
    }

    /// The rules by name, and how they do in a scope.
    pub fn rules(&self, scope: &Scope) -> Result<Vec<RuleSummary>, Error> {
        Ok(self.inner.view(scope)?.rule_summaries())
    }

    /// The live strip of a scope.
    pub fn figures(&self, scope: &Scope) -> Result<Figures, Error> {
        Ok(self.inner.view(scope)?.figures())
    }

    pub(crate) fn blobs(&self) -> &dyn hob_store::Blobs {
        &*self.inner.store.blobs
    }

    pub(crate) fn bus(&self) -> &Bus {
        &self.inner.bus
    }

    /// The rules in force in a scope.
    pub(crate) fn in_force(&self, scope: &Scope) -> Result<Arc<Rules>, Error> {
        Ok(Arc::clone(self.inner.view(scope)?.engine().rules()))
    }

    pub(crate) fn clock_of(&self, scope: &Scope) -> Result<ScopeClock, Error> {
        Ok(self.inner.view(scope)?.clock())
    }

    #[cfg(test)]
    pub(crate) async fn taken(&self, scope: &Scope, sequence: u64) {
        self.inner.view(scope).expect("the test's scope").wait_for(sequence).await;
    }

    #[cfg(test)]
    pub(crate) fn state_hash(&self, scope: &Scope) -> Digest {
        self.inner.view(scope).expect("the test's scope").engine().state_hash()
    }

    /// Moves whenever issues, rules or figures of the scope changed; many changes may be one move.
    pub fn changes(&self, scope: &Scope) -> Result<watch::Receiver<u64>, Error> {
        Ok(self.inner.view(scope)?.changes())
    }

    /// Writes checkpoints and stops. Handles may be dropped without it: the next start then replays more.
    pub async fn close(&self) {
        let scopes = std::mem::take(&mut *self.inner.scopes.write().unwrap_or_else(PoisonError::into_inner));
        for mut watched in scopes.into_values() {
            let _ = watched.stop.send(true);
            if tokio::time::timeout(CLOSE_MAX, &mut watched.service).await.is_err() {
                tracing::warn!(scope = %watched.view.scope, "rules did not stop in time; the next start replays more");
            }
        }
    }
}

fn unknown(scope: &Scope, id: &str) -> Error {
    Error::IssueUnknown { id: id.chars().take(80).collect(), scope: scope.clone() }
}

impl Inner {
    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<Scope, Watched>> {
        self.scopes.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn view(&self, scope: &Scope) -> Result<Arc<View>, Error> {
        let watched = self.read().get(scope).map(|watched| Arc::clone(&watched.view));
        watched.ok_or_else(|| Error::ScopeUnknown { scope: scope.clone() })
    }

    /// Watches these scopes and no others. A scope that is gone keeps its checkpoints.
    fn set_scopes(&self, scopes: Vec<Scope>) {
        let mut known = self.scopes.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|scope, _| scopes.contains(scope));
        for scope in scopes {
            known.entry(scope).or_insert_with_key(|scope| self.watch(scope));
        }
    }

    fn watch(&self, scope: &Scope) -> Watched {
        let view = Arc::new(View::new(scope.clone()));
        let (stop, stopped) = watch::channel(false);
        let (fetched_topics, topics) = watch::channel(Vec::<TopicName>::new());
        let fetcher = Fetcher {
            scope: scope.clone(),
            bus: self.bus.clone(),
            kv: Arc::clone(&self.store.kv),
            fetch: Arc::clone(&self.fetch),
            clock: Clock::system(),
            topics,
        };
        let service = Service {
            pace: self.pace,
            bus: self.bus.clone(),
            store: self.store.clone(),
            view: Arc::clone(&view),
            fetched_topics,
            stop: stopped,
        };
        let performer =
            Performer { bus: self.bus.clone(), view: Arc::clone(&view), act: Arc::clone(&self.act) };
        Watched {
            view,
            stop,
            service: tokio::spawn(service.run()),
            fetcher: tokio::spawn(fetcher.run()),
            performer: tokio::spawn(performer.run()),
        }
    }

    /// Writes a change of rules into the scope's log, unless they are in force.
    async fn put_in_force(&self, view: &View, digest: Digest) -> Result<(), Error> {
        let clock_topic = self.bus.clock_topic(&view.scope);
        let clock = ScopeClock::from(clock_topic.clone());
        let restored = tokio::time::timeout(ANSWER_MAX, view.rules_when_restored()).await;
        let (sequence, mut in_force, mut its_clock) = restored.map_err(|_| Error::Store {
            action: "restore the rules' state".to_owned(),
            reason: "it takes too long".to_owned(),
        })?;
        // The engine may be behind: what the log says last counts.
        for event in self.commands_after(&view.scope, sequence).await? {
            let row = event.data.and_then(|data| serde_json::from_value::<CommandRow>(data).ok());
            if let Some(CommandRow { rules: Some(rules), clock_topic, .. }) = row {
                (in_force, its_clock) = (Some(rules), clock_topic.into());
            }
        }
        if in_force == Some(digest) && its_clock == clock {
            return Ok(());
        }
        let row =
            CommandRow { actor: "hob".to_owned(), rules: Some(digest), clock_topic, ..CommandRow::default() };
        let sequence = self.tell(&view.scope, RULES, row).await?;
        if tokio::time::timeout(ANSWER_MAX, view.wait_for(sequence)).await.is_err() {
            tracing::warn!(scope = %view.scope, "rules are recorded, and take effect once the engine has caught up");
        }
        Ok(())
    }

    /// Changes of rules in the log after a sequence.
    async fn commands_after(&self, scope: &Scope, sequence: u64) -> Result<Vec<Event>, Error> {
        let topics = vec![hob_topic(hob_topics::COMMANDS)];
        let filter = Filter { types: vec![RULES.to_owned()], ..Filter::topics(scope.clone(), topics) };
        let mut events = Vec::new();
        let mut after = Some(sequence);
        while let Some(from) = after {
            let page = match self.bus.events(&filter, from, PAGE).await {
                Err(hob_bus::Error::CursorExpired { oldest, .. }) if oldest > from + 1 => {
                    after = Some(oldest - 1);
                    continue;
                }
                page => page?,
            };
            events.extend(page.events);
            after = page.next;
        }
        Ok(events)
    }

    /// Appends a command to the log and returns its sequence.
    async fn tell(&self, scope: &Scope, command: &str, row: CommandRow) -> Result<u64, Error> {
        let notice = Notice { data: serde_json::to_value(row).ok(), ..Notice::new(command) };
        let topic = hob_topic(hob_topics::COMMANDS);
        let published = self.bus.publish_as_hob(scope, &topic, vec![notice]).await?;
        Ok(published.first.parse().unwrap_or(0))
    }

    /// Records a command, waits until the engine has come to it, and tells why it was refused if it was.
    async fn command(&self, view: &View, command: Command) -> Result<(), Error> {
        let Command { verb, issue: id, actor, reason, revision } = command;
        let name = verb.name();
        let row = CommandRow {
            verb: Some(verb),
            issue: Some(id.clone()).filter(|id| !id.is_empty()),
            actor,
            reason,
            revision,
            ..CommandRow::default()
        };
        let sequence = self.tell(&view.scope, name, row).await?;
        let behind = || Error::Behind { id: id.clone(), seconds: ANSWER_MAX.as_secs() };
        tokio::time::timeout(ANSWER_MAX, view.wait_for(sequence)).await.map_err(|_| behind())?;
        match view.answer(sequence).ok_or_else(behind)? {
            None => Ok(()),
            Some(refusal) => Err(refused(&view.scope, name, id, refusal)),
        }
    }
}

fn refused(scope: &Scope, command: &'static str, id: String, refusal: Refusal) -> Error {
    match refusal {
        Refusal::Unknown => unknown(scope, &id),
        Refusal::Already { state, by } => {
            let by = by.map(|by| format!(", by {by}")).unwrap_or_default();
            Error::IssueState { command, id, state, by }
        }
        Refusal::Changed { what } => Error::IssueChanged { command, id, what },
        Refusal::Holds => Error::IssueHolds { id },
        Refusal::Children(children) => Error::IssueChildren { command, id, children },
        Refusal::Action { why } => Error::ActionRefused { id, why },
        Refusal::Paused { by, reason } => {
            let reason = if reason.is_empty() { reason } else { format!(": {reason}") };
            Error::ActionsPaused { id, by, reason }
        }
        Refusal::Senseless { why } => Error::Senseless { command, id, why },
    }
}
