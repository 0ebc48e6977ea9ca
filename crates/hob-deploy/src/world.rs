//! What was decided and what is seen, together: everything that a step needs, and all that follows from one. No I/O.

use hob_core::Timestamp;
use hob_core::limits::REPORT_LEASE;
use std::sync::Arc;

use crate::model::{Fact, Facts, Input, Member, Set, State};
use crate::nodes::Nodes;
use crate::routers::Routers;
use crate::rows::Rows;
use crate::step::{self, Action};
use crate::tokens::Tokens;
use crate::{Config, ServiceScope, Timings, compose};

/// The state of the loop.
pub(crate) struct World {
    pub(crate) rows: Rows,
    pub(crate) nodes: Nodes,
    pub(crate) routers: Routers,
    started: Timestamp,
    /// Whether states or declarations changed since what nodes should run was last derived.
    is_stale: bool,
}

impl World {
    /// What was stored, seen anew. `first` is above all revisions and generations that were ever given out.
    pub(crate) fn new(mut rows: Rows, first: u64, timings: &Timings, now: Timestamp) -> Self {
        for state in rows.states.values_mut() {
            *state = Arc::new(step::resume(State::clone(state), timings, now));
        }
        let (nodes, routers) = (Nodes::new(first), Routers::new(first, now));
        Self { rows, nodes, routers, started: now, is_stale: true }
    }

    /// The next state of a service in a scope and what to do about it; none when nothing changes.
    pub(crate) fn decide(
        &self,
        home: &ServiceScope,
        input: Input<'_>,
        timings: &Timings,
        now: Timestamp,
    ) -> Option<(State, Vec<Action>)> {
        let known = self.rows.states.get(home).cloned().unwrap_or_default();
        let (next, actions) = step::step(State::clone(&known), input, timings, now);
        (next != *known).then_some((next, actions))
    }

    /// Takes over a state that was stored.
    pub(crate) fn accept(&mut self, home: &ServiceScope, state: State) {
        self.rows.states.insert(home.clone(), Arc::new(state));
        self.is_stale = true;
    }

    /// Notes that the declarations changed.
    pub(crate) fn redeclare(&mut self) {
        self.is_stale = true;
    }

    /// Works out what nodes should run and how requests are routed, and says whether the routes changed. To be called
    /// after every change, before facts are looked at: they are true of what was given out.
    pub(crate) fn derive(&mut self, config: &Config, tokens: &Tokens, now: Timestamp) -> bool {
        if std::mem::take(&mut self.is_stale) {
            self.nodes.intend(compose::intended(&self.rows, config, tokens));
        }
        let (routes, pools) = compose::routing(&self.rows, &self.nodes, now);
        self.routers.publish(routes, pools)
    }

    /// What nodes and routers report of one service in one scope.
    pub(crate) fn facts(&self, home: &ServiceScope, now: Timestamp) -> Facts {
        let settled = now.since(self.started) >= REPORT_LEASE;
        let nodes = self.nodes.live(now);
        let acknowledged = self.routers.has_acknowledged(&compose::pool_name(home), now);
        let mut facts = Facts { settled, acknowledged, ..Facts::default() };
        let sets = self.rows.states.get(home).map(|state| &state.sets);
        for set in sets.into_iter().flat_map(|sets| sets.values()) {
            for member in &set.members {
                let is_lost = member.node.as_ref().is_some_and(|node| settled && !nodes.contains(node));
                facts.instances.insert(member.id.clone(), self.fact(set, member, is_lost, now));
            }
        }
        facts.nodes = nodes;
        facts
    }

    /// Whether the platform declares the service and the scope; also while nothing is declared at all.
    pub(crate) fn is_declared(&self, home: &ServiceScope) -> bool {
        self.rows.declarations.as_ref().is_none_or(|row| {
            let is_known = row.declarations.services.contains_key(&home.service);
            is_known && compose::is_declared(&row.declarations.platform, &home.scope)
        })
    }

    fn fact(&self, set: &Set, member: &Member, is_lost: bool, now: Timestamp) -> Fact {
        let clear = self.routers.is_clear(&member.id, now);
        let Some(node) = &member.node else { return Fact { clear, gone: true, ..Fact::default() } };
        let report = self.nodes.instance(node, &member.id, now);
        let may_be_forgotten = is_lost && !set.plan.is_exclusive(&member.process);
        Fact {
            state: report.map(|report| report.state),
            restarts: report.map_or(0, |report| report.restarts),
            reason: report.and_then(|report| report.reason.clone()),
            clear,
            gone: may_be_forgotten || self.nodes.is_gone(node, &member.id, now),
        }
    }
}
