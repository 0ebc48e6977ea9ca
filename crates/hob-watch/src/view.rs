//! What readers see of one scope: issues whose transitions are durable, and the engine for questions of the moment.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use hob_core::{Digest, Scope};
use hob_wire::{Issue, IssueState};
use tokio::sync::watch;

use crate::command::Refusal;
use crate::engine::{Engine, Output};
use crate::handle::{FigureValue, Figures, IssueFilter, RuleSummary};
use crate::model::Mode;
use crate::rows::ScopeClock;

/// Answers to commands that are remembered until their callers have read them.
const ANSWERS_MAX: usize = 1_000;

/// One scope, as readers and the loop share it.
pub(crate) struct View {
    pub(crate) scope: Scope,
    engine: Mutex<Engine>,
    clock: Mutex<ScopeClock>,
    issues: RwLock<BTreeMap<String, Arc<Issue>>>,
    answers: Mutex<BTreeMap<u64, Option<Refusal>>>,
    changes: watch::Sender<u64>,
    /// Everything up to here is taken, and what followed from it is durable.
    taken: watch::Sender<u64>,
    is_restored: watch::Sender<bool>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl View {
    pub(crate) fn new(scope: Scope) -> Self {
        Self {
            engine: Mutex::new(Engine::new(scope.clone())),
            scope,
            clock: Mutex::default(),
            issues: RwLock::default(),
            answers: Mutex::default(),
            changes: watch::Sender::new(0),
            taken: watch::Sender::new(0),
            is_restored: watch::Sender::new(false),
        }
    }

    /// The engine. Never held across a wait.
    pub(crate) fn engine(&self) -> MutexGuard<'_, Engine> {
        lock(&self.engine)
    }

    /// What moves the scope's clock.
    pub(crate) fn clock(&self) -> ScopeClock {
        lock(&self.clock).clone()
    }

    pub(crate) fn set_clock(&self, clock: ScopeClock) {
        *lock(&self.clock) = clock;
    }

    /// Begins anew from a restored engine; what it holds is durable.
    pub(crate) fn restored(&self, engine: Engine, clock: ScopeClock) {
        let sequence = engine.sequence();
        let issues = engine.issues().map(|issue| (issue.id.clone(), Arc::new(issue.clone()))).collect();
        *self.issues.write().unwrap_or_else(PoisonError::into_inner) = issues;
        *self.engine() = engine;
        self.set_clock(clock);
        self.taken_up_to(sequence);
        self.is_restored.send_replace(true);
    }

    /// Shows what followed from inputs; its transitions are durable.
    pub(crate) fn show(&self, outputs: Vec<Output>) {
        let mut issues = self.issues.write().unwrap_or_else(PoisonError::into_inner);
        for output in outputs {
            match output {
                Output::Transition { transition, .. } => {
                    let issue = transition.issue;
                    issues.insert(issue.id.clone(), Arc::new(issue));
                }
                Output::Touched { issue } => {
                    let now = self.engine().issue(&issue).cloned();
                    issues.extend(now.map(|now| (issue, Arc::new(now))));
                }
                Output::Dropped { issue } => drop(issues.remove(&issue)),
                // What is to be done is read from the engine, not from here.
                Output::Do(_) => {}
                Output::Answer { sequence, refusal } => {
                    let mut answers = lock(&self.answers);
                    answers.insert(sequence, refusal);
                    if answers.len() > ANSWERS_MAX {
                        answers.pop_first();
                    }
                }
            }
        }
    }

    /// Says that everything up to a sequence is taken and shown.
    pub(crate) fn taken_up_to(&self, sequence: u64) {
        self.taken.send_if_modified(|taken| {
            let is_later = sequence > *taken;
            *taken = sequence.max(*taken);
            is_later
        });
        self.changes.send_modify(|version| *version += 1);
    }

    /// Waits until everything up to a sequence is taken.
    pub(crate) async fn wait_for(&self, sequence: u64) {
        // The sender lives as long as the view.
        let _ = self.taken.subscribe().wait_for(|taken| *taken >= sequence).await;
    }

    /// Waits until the engine is restored; then what it took and the rules in force.
    pub(crate) async fn rules_when_restored(&self) -> (u64, Option<Digest>, ScopeClock) {
        let _ = self.is_restored.subscribe().wait_for(|is_restored| *is_restored).await;
        let clock = self.clock();
        let engine = self.engine();
        (engine.sequence(), engine.rules().digest(), clock)
    }

    /// The answer to the command at a sequence; outer nothing when the command was never understood.
    pub(crate) fn answer(&self, sequence: u64) -> Option<Option<Refusal>> {
        lock(&self.answers).get(&sequence).cloned()
    }

    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    pub(crate) fn issue(&self, id: &str) -> Option<Arc<Issue>> {
        self.issues.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// By priority; snoozed ones after all others, then resolved ones, newest first.
    pub(crate) fn issues(&self, filter: &IssueFilter) -> Vec<Arc<Issue>> {
        let means = |issue: &&Arc<Issue>| filter.means(issue);
        let known = self.issues.read().unwrap_or_else(PoisonError::into_inner);
        let mut issues: Vec<Arc<Issue>> = known.values().filter(means).cloned().collect();
        drop(known);
        issues.sort_by(|a, b| {
            let is_over = |issue: &Issue| issue.state == IssueState::Resolved;
            let order = is_over(a).cmp(&is_over(b));
            let within = if is_over(a) && is_over(b) {
                b.resolved.cmp(&a.resolved)
            } else {
                let order = a.snoozed.is_some().cmp(&b.snoozed.is_some());
                let soon = |issue: &Issue| (issue.members.worst.is_none(), issue.members.worst);
                let order = order.then(b.priority.cmp(&a.priority));
                order.then(soon(a).cmp(&soon(b))).then(a.opened.cmp(&b.opened))
            };
            order.then(within).then(a.id.cmp(&b.id))
        });
        issues
    }

    pub(crate) fn rule_summaries(&self) -> Vec<RuleSummary> {
        let engine = self.engine();
        let state = engine.state();
        let summary = |(name, rule): (&String, &Arc<crate::model::Rule>)| {
            let is_open = |issue: &&Issue| issue.rule == *name && issue.state != IssueState::Resolved;
            let reason = engine.trouble(name);
            let figures = engine.rule_figures(name);
            RuleSummary {
                name: name.clone(),
                about: rule.about.clone(),
                file: rule.file.clone(),
                mode: match rule.mode {
                    Mode::Enabled => "enabled",
                    Mode::Shadow => "shadow",
                    Mode::Disabled => "disabled",
                },
                by_day: figures.by_day,
                resolved: figures.resolved,
                false_alarms: figures.false_alarms,
                last_opened: figures.last_opened,
                max_open: rule.budget.max_open,
                per_entity: rule.budget.per_entity,
                open: engine.issues().filter(is_open).count() as u64,
                opened_total: state.opened_total.get(name).copied().unwrap_or(0),
                state: if reason.is_some() { "unknown" } else { "watching" },
                reason,
            }
        };
        engine.rules().rules.iter().map(summary).collect()
    }

    pub(crate) fn figures(&self) -> Figures {
        let engine = self.engine();
        let value = |count: crate::engine::Count| FigureValue {
            name: count.name,
            label: count.label,
            value: count.value,
            tone: count.tone,
        };
        Figures { figures: engine.figures().into_iter().map(value).collect(), clock: engine.clock() }
    }
}
