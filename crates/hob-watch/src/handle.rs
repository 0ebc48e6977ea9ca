//! The handle that everybody else calls: cheap to clone, safe to use from many tasks.

use std::sync::Arc;

use hob_bus::Bus;
use hob_core::{Scope, Timestamp};
use hob_store::Store;
use hob_wire::{FileText, Flaw, Issue, IssueState};
use tokio::sync::watch;

use crate::Error;
use crate::fetch::Fetch;


/// Which issues are meant. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IssueFilter {
    /// In one of these states; in any when empty.
    pub states: Vec<IssueState>,
    /// Opened by this rule.
    pub rule: Option<String>,
    /// About this href.
    pub about: Option<String>,
}

/// A rule, and how it does in a scope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    /// Its name.
    pub name: String,
    /// The kind of entity that it is about.
    pub about: String,
    /// The file that declares it.
    pub file: String,
    /// Issues of it that are not resolved.
    pub open: u64,
    /// Issues that it ever opened.
    pub opened_total: u64,
    /// `watching`, or `unknown` when its expressions could not be answered for some entity lately.
    pub state: &'static str,
    /// Why, when `unknown`.
    pub reason: Option<String>,
}

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
    _inner: Arc<()>,
}

impl Watch {
    /// Opens the watch over a store and a bus: for each scope, restores the engine from its newest checkpoint, reads
    /// on from there, and fetches what notices name. Must be called within a tokio runtime.
    pub async fn open(
        _store: &Store,
        _bus: &Bus,
        _fetch: Arc<dyn Fetch>,
        _scopes: Vec<Scope>,
    ) -> Result<Self, Error> {
        unimplemented!()
    }

    /// Reads and checks rule files without taking them.
    pub fn check(_files: &[FileText]) -> Result<(), Vec<Flaw>> {
        unimplemented!()
    }

    /// Takes rule files in every scope, and the scopes themselves: whole or not at all. Returns once the change is
    /// durable. Safe to repeat: rules that are the same already change nothing.
    pub async fn set_rules(&self, _scopes: Vec<Scope>, _files: &[FileText]) -> Result<(), Error> {
        unimplemented!()
    }

    /// The scopes that are watched, in order.
    pub fn scopes(&self) -> Vec<Scope> {
        unimplemented!()
    }

    /// Issues by priority, the most urgent first; resolved ones, newest first, after all others.
    pub fn issues(&self, _scope: &Scope, _filter: &IssueFilter) -> Result<Vec<Arc<Issue>>, Error> {
        unimplemented!()
    }

    /// One issue, or [`Error::IssueUnknown`].
    pub fn issue(&self, _scope: &Scope, _id: &str) -> Result<Arc<Issue>, Error> {
        unimplemented!()
    }

    /// Says that somebody attends to an issue, and returns it as it is then. Durable when it returns.
    /// [`Error::IssueState`] when it is acknowledged or resolved already.
    pub async fn acknowledge(
        &self,
        _scope: &Scope,
        _id: &str,
        _actor: &str,
        _reason: &str,
    ) -> Result<Arc<Issue>, Error> {
        unimplemented!()
    }

    /// Says that an issue is over, and returns it as it is then. Durable when it returns. While its condition holds
    /// on, the rule opens no new one. [`Error::IssueState`] when it is resolved already.
    pub async fn resolve(
        &self,
        _scope: &Scope,
        _id: &str,
        _actor: &str,
        _reason: &str,
    ) -> Result<Arc<Issue>, Error> {
        unimplemented!()
    }

    /// The rules by name, and how they do in a scope.
    pub fn rules(&self, _scope: &Scope) -> Result<Vec<RuleSummary>, Error> {
        unimplemented!()
    }

    /// The live strip of a scope.
    pub fn figures(&self, _scope: &Scope) -> Result<Figures, Error> {
        unimplemented!()
    }

    /// Moves whenever issues, rules or figures of the scope changed; many changes may be one move.
    pub fn changes(&self, _scope: &Scope) -> Result<watch::Receiver<u64>, Error> {
        unimplemented!()
    }

    /// Writes checkpoints and stops. Handles may be dropped without it: the next start then replays more.
    pub async fn close(&self) {
        unimplemented!()
    }
}
