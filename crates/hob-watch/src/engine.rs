//! The rule engine: inputs in the order of the log, transitions of issues out.
//!
//! It is pure. It knows no HTTP, no tokio, no wall clock and no randomness, keeps everything in ordered maps, and
//! gives the same outputs for the same inputs whoever drives it: the service over the event log, a replay, or a
//! simulator. Time is the scope's clock, which only inputs move.

mod act;
mod bind;
mod cell;
mod command;
mod counts;
mod day;
mod desk;
mod entity;
mod evidence;
mod family;
mod figures;
mod guard;
mod issue;
mod judge;
mod links;
mod members;
mod outcome;
mod positions;
mod priority;
mod step;
mod storm;
mod sums;
mod timers;
mod wake;
mod warm;

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use hob_core::{Digest, Scope, Timestamp};
use hob_wire::{Action, Event, Issue, Observation, Transition};

use crate::command::{Command, Refusal};
use crate::cost::{Meter, Metered};
use crate::expression::Evaluator;
use crate::fields::Shapes;
use crate::model::Rules;
use crate::rows::{CellRow, FORM, StateRow};
pub use act::ACTIONS_MAX;
use counts::Tally;
use desk::Desk;
pub use figures::Count;
use timers::{Timer, Timers};

/// Entities that one engine keeps; more are refused and counted.
pub const ENTITIES_MAX: usize = 1_000_000;
/// Types of events that entities share; further ones are kept by each.
const WORDS_MAX: usize = 10_000;
/// Resolved issues that one engine keeps, the newest.
pub const RESOLVED_ISSUES_MAX: usize = 2_000;

/// Something that happened, at its place in the log.
#[derive(Clone, Debug)]
pub struct Input {
    /// Its place in the log; greater than that of the input before.
    pub sequence: u64,
    /// When Hob recorded it, by the wall clock.
    pub recorded: Timestamp,
    /// The scope's clock, when this input moves it: a record of the clock topic, or any record where the scope is on
    /// the wall clock. A clock never goes back.
    pub clock: Option<Timestamp>,
    /// What it is.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug)]
pub enum What {
    /// A fetch of an entity returned.
    Observed(Box<Observation>),
    /// A notice about an entity, which becomes evidence, or a record of a stream.
    Event(Box<Event>),
    /// Time passed.
    Clock,
    /// A person decided something.
    Command(Command),
    /// Other rules are in force from here on.
    Rules {
        /// The rules.
        rules: Arc<Rules>,
        /// Whether another clock counts from here on: what was waited for on the one before starts over.
        is_other_clock: bool,
    },
    /// A rule costs too much, as somebody measured: it is off until it is changed.
    Overrun {
        /// Its name.
        rule: String,
        /// What it cost.
        reason: String,
    },
}

/// What follows from an input.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// An issue's state changed. The id names the transition for good: a replay gives it again.
    Transition {
        /// `<issue id>.<number of the transition>`.
        id: String,
        /// The transition.
        transition: Box<Transition>,
    },
    /// An issue changed, but not its state: its priority, or what it touches.
    Touched {
        /// The issue's id.
        issue: String,
    },
    /// An issue is no longer kept.
    Dropped {
        /// The issue's id.
        issue: String,
    },
    /// This is to be done: called, and its result told by [`crate::Verb::Acted`].
    Do(Box<Action>),
    /// What became of the command at this sequence.
    Answer {
        /// The command's sequence.
        sequence: u64,
        /// Nothing when it was done.
        refusal: Option<Refusal>,
    },
}

/// The engine of one scope.
#[derive(Debug)]
pub struct Engine {
    scope: Scope,
    rules: Arc<Rules>,
    state: StateRow,
    evaluator: RefCell<Evaluator>,
    timers: Timers,
    /// Who links to an entity: target → referrers.
    referrers: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// Entities by kind and `id` field, for whoever names no href.
    ids: HashMap<Arc<str>, HashMap<Box<str>, Arc<str>>>,
    /// What rules count for an entity, by the rule's number.
    tallies: HashMap<Arc<str>, BTreeMap<u16, Tally>>,
    /// Names of fields that entities share.
    shapes: Shapes,
    /// Types of events that entities share.
    words: BTreeSet<Arc<str>>,
    meter: Metered,
    /// Whether it only tries rules: then no storm guard stands between a rule and what it would say.
    is_trial: bool,
    /// Rules that began anew with the newest change, until they are warmed.
    fresh: Vec<String>,
    /// Where changes to the cell of what is gone go.
    nowhere: CellRow,
    /// The newest issue of each rule and key.
    newest: BTreeMap<(String, String), String>,
    /// Resolved issues by when they ended.
    resolved: BTreeSet<(Timestamp, String)>,
    /// Entities that count now, by kind, in the order of its figures.
    counting: BTreeMap<String, Vec<u64>>,
    /// Indexes over unresolved issues.
    desk: Desk,
    /// [`StateRow::forgotten`] for looking up.
    forgotten: BTreeSet<String>,
    /// The input that is being taken.
    at: At,
}

/// The place of the input that is being taken.
#[derive(Clone, Copy, Debug, Default)]
struct At {
    sequence: u64,
    recorded: Timestamp,
}

impl Engine {
    /// An engine that has seen nothing and has no rules.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            rules: Arc::new(Rules::default()),
            state: StateRow { form: FORM, ..StateRow::default() },
            evaluator: RefCell::new(Evaluator::new()),
            timers: Timers::default(),
            referrers: HashMap::new(),
            ids: HashMap::new(),
            tallies: HashMap::new(),
            shapes: Shapes::default(),
            words: BTreeSet::new(),
            meter: Metered::default(),
            is_trial: false,
            fresh: Vec::new(),
            nowhere: CellRow::default(),
            newest: BTreeMap::new(),
            resolved: BTreeSet::new(),
            desk: Desk::default(),
            counting: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            at: At::default(),
        }
    }

    /// The engine as it was when [`Engine::state`] was written; `rules` are those that the state names.
    pub(crate) fn restored(scope: Scope, state: StateRow, rules: Arc<Rules>) -> Self {
        let mut engine = Self { rules, state, ..Self::new(scope) };
        engine.evaluator.borrow_mut().set_now(engine.state.clock);
        engine.forgotten = engine.state.forgotten.iter().cloned().collect();
        engine.derive();
        engine
    }

    /// What it remembers.
    pub(crate) fn state(&self) -> &StateRow {
        &self.state
    }

    /// A digest of everything that it remembers: equal engines have equal ones.
    pub fn state_hash(&self) -> Digest {
        Digest::of(&serde_json::to_vec(&self.state).expect("rows are JSON"))
    }

    /// The newest input that was taken.
    pub fn sequence(&self) -> u64 {
        self.state.sequence
    }

    /// The scope's clock.
    pub fn clock(&self) -> Timestamp {
        self.state.clock
    }

    /// The rules in force.
    pub fn rules(&self) -> &Arc<Rules> {
        &self.rules
    }

    /// An issue by its id.
    pub fn issue(&self, id: &str) -> Option<&Issue> {
        self.state.issues.get(id).map(|row| &row.issue)
    }

    /// All issues that are kept, by id.
    pub fn issues(&self) -> impl Iterator<Item = &Issue> {
        self.state.issues.values().map(|row| &row.issue)
    }

    /// Why a rule cannot tell what it says, of one entity of those of which it cannot.
    pub(crate) fn trouble(&self, rule: &str) -> Option<String> {
        if let Some(reason) = self.state.stopped.get(rule) {
            return Some(reason.clone());
        }
        let number = self.rules.number(rule)?;
        self.state.entities.reason(number)
    }

    /// An engine that tries rules: it opens every issue that they ask for, however many. What is too many is for
    /// whoever counts them to say.
    pub(crate) fn trial(scope: Scope) -> Self {
        Self { is_trial: true, ..Self::new(scope) }
    }

    /// Tells a meter of every judgement from here on.
    pub fn metered_by(&mut self, meter: Box<dyn Meter>) {
        self.meter = Metered(Some(meter));
    }

    /// What a rule counts for an entity: the hrefs of those that count now.
    pub fn members(&self, rule: &str, href: &str) -> Vec<String> {
        self.counted(rule, href)
    }

    /// An entity.
    pub(crate) fn entity(&self, href: &str) -> Option<&crate::rows::EntityRow> {
        self.state.entities.get(href)
    }

    /// All entities, by href.
    pub(crate) fn entities(&self) -> impl Iterator<Item = (&Arc<str>, &crate::rows::EntityRow)> {
        self.state.entities.iter()
    }

    /// Makes everything anew that is derived from the state and the rules.
    fn derive(&mut self) {
        self.referrers.clear();
        self.ids.clear();
        self.counting.clear();
        self.tallies.clear();
        self.timers = Timers::default();
        self.derive_all();
        for (href, row) in self.state.entities.iter_mut() {
            for (rule, role, wake, due) in row.cells.wakes() {
                wake.0 = Some(due);
                self.timers.arm(due, Timer::Cell { rule, role, href: Arc::clone(href) });
            }
            if let Some(at) = row.forget_at {
                self.timers.arm(at, Timer::Forget { href: Arc::clone(href) });
            }
        }
        self.derive_desk();
    }
}

#[cfg(test)]
mod tests;
