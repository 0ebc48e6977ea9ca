//! What was decided and what is seen, together: everything that a step needs, and all that follows from one. No I/O.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use hob_core::limits::REPORT_LEASE;
use hob_core::{Digest, Name, Scope, Timestamp};
use hob_wire::{NodeState, RolloutState};

use crate::model::{Fact, Facts, Input, Member, Set, Stage, State};
use crate::nodes::Nodes;
use crate::numbers::Numbers;
use crate::routers::Routers;
use crate::rows::{Rows, SeenRow};
use crate::scale::Starts;
use crate::step::{self, Action};
use crate::tokens::Tokens;
use crate::traffic::Traffic;
use crate::{Config, ServiceScope, Timings, compose, shields};

/// How long a node that is given up has to end what it runs, before it counts as dead.
const KILL_TIME: Duration = Duration::from_secs(60);

/// How often what was seen is stored.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// The state of the loop.
pub(crate) struct World {
    pub(crate) rows: Rows,
    pub(crate) nodes: Nodes,
    pub(crate) routers: Routers,
    pub(crate) traffic: Traffic,
    pub(crate) numbers: Numbers,
    started: Timestamp,
    /// When it was last asked what is to be stored of what was seen.
    saved: Timestamp,
    /// Whether routes were given out since the start.
    is_open: bool,
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
        let windows = rows.seen.iter().filter_map(|(home, seen)| Some((home.clone(), seen.window.clone()?)));
        let mut traffic = Traffic::resume(windows.collect());
        let starts = rows.seen.iter().map(|(home, seen)| (home.clone(), seen.starts_ms.clone()));
        let numbers = Numbers::new(now, Starts::resume(starts));
        rows.states.iter().for_each(|(home, state)| traffic.follow(home, state));
        let (started, saved) = (now, now);
        Self { rows, nodes, routers, traffic, numbers, started, saved, is_open: false, is_stale: true }
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
        let mut state = State::clone(&known);
        self.numbers.apply(home, &mut state);
        let (next, actions) = step::step(state, input, timings, now);
        (next != *known).then_some((next, actions))
    }

    /// Takes over a state that was stored.
    pub(crate) fn accept(&mut self, home: &ServiceScope, state: State) {
        self.traffic.follow(home, &state);
        self.rows.states.insert(home.clone(), Arc::new(state));
        self.is_stale = true;
    }

    /// What was seen and is not stored yet; asked at most every few seconds.
    pub(crate) fn unsaved(&mut self, now: Timestamp) -> Vec<(ServiceScope, SeenRow)> {
        if now.since(self.saved) < SAVE_EVERY {
            return Vec::new();
        }
        self.saved = now;
        let row = |home: &ServiceScope| SeenRow {
            window: self.traffic.windows().get(home).cloned(),
            starts_ms: self.numbers.starts().took_ms(home),
        };
        let rows = self.rows.states.keys().map(|home| (home.clone(), row(home)));
        let is_new = |(home, row): &(ServiceScope, SeenRow)| {
            self.rows.seen.get(home).map_or(*row != SeenRow::default(), |known| known != row)
        };
        rows.filter(is_new).collect()
    }

    /// Notes that the declarations changed.
    pub(crate) fn redeclare(&mut self) {
        self.is_stale = true;
    }

    /// Works out what nodes should run and how requests are routed, and says whether the routes changed. To be called
    /// after every change, before facts are looked at: they are true of what was given out.
    pub(crate) fn derive(&mut self, config: &Config, tokens: &Tokens, now: Timestamp) -> bool {
        if std::mem::take(&mut self.is_stale) {
            let packages = compose::packages(&self.rows);
            self.nodes.intend(compose::intended(&self.rows, config, tokens), &packages);
        }
        if !self.is_open && !self.knows_instances(now) {
            return false;
        }
        let opens = !std::mem::replace(&mut self.is_open, true);
        let (routes, pools) = compose::routing(&self.rows, &self.nodes, now);
        let declared = self.rows.declarations.as_ref().map(|row| &row.declarations.platform);
        let trusted = declared.map(|platform| platform.trusted_proxies.as_slice()).unwrap_or_default();
        self.routers.publish(routes, pools, shields::in_order(&self.rows.shields), trusted) || opens
    }

    /// Works out anew how many instances each service should have.
    pub(crate) fn rescale(&mut self, now: Timestamp) {
        self.numbers.look(&self.rows, &self.routers, now);
    }

    /// Nodes that nobody hears any more although they were told to go, or that had their time to.
    pub(crate) fn dead_nodes(&self, live: &BTreeSet<Name>, now: Timestamp) -> BTreeSet<Name> {
        let is_settled = self.is_settled(now);
        let killed = self.rows.nodes.iter().filter(|(_, row)| row.state == NodeState::Killed);
        let is_dead = |name: &Name, since: Timestamp| {
            (is_settled && !live.contains(name)) || now.since(since) >= KILL_TIME
        };
        killed.filter(|(name, row)| is_dead(name, row.since)).map(|(name, _)| name.clone()).collect()
    }

    /// Whether Hob has run for so long that who is silent is lost, not late.
    pub(crate) fn is_settled(&self, now: Timestamp) -> bool {
        now.since(self.started) >= REPORT_LEASE
    }

    /// Whether anything is meant to run, or may not have ended, on a node.
    pub(crate) fn has_members(&self, node: &Name) -> bool {
        let sets = self.rows.states.values().flat_map(|state| state.sets.values());
        sets.flat_map(|set| &set.members).any(|member| member.node.as_ref() == Some(node))
    }

    /// Whether every node on which something should run knows it and has reported, or had its time to. Until then routers go on by
    /// what the Hob before told them: a restart takes no instance out of the routes.
    fn knows_instances(&self, now: Timestamp) -> bool {
        let sets = self.rows.states.values().flat_map(|state| state.sets.values());
        let mut members = sets.flat_map(|set| &set.members).filter(|member| !member.stopped);
        let knows = |node: &Name| self.nodes.has_taken_in(node, now);
        self.is_settled(now) || members.all(|member| member.node.as_ref().is_none_or(knows))
    }

    /// What nodes and routers report of one service in one scope.
    pub(crate) fn facts(&self, home: &ServiceScope, now: Timestamp) -> Facts {
        let settled = self.is_settled(now);
        let mut nodes = self.nodes.live(now);
        let dead = self.dead_nodes(&nodes, now);
        nodes.retain(|node| !dead.contains(node));
        let acknowledged = self.is_open && self.routers.has_acknowledged(&compose::pool_name(home), now);
        let mut facts = Facts { settled, acknowledged, ..Facts::default() };
        let sets = self.rows.states.get(home).map(|state| &state.sets);
        for set in sets.into_iter().flat_map(|sets| sets.values()) {
            for member in &set.members {
                let is_lost = member.node.as_ref().is_some_and(|node| settled && !nodes.contains(node));
                let is_dead = member.node.as_ref().is_some_and(|node| dead.contains(node));
                facts.instances.insert(member.id.clone(), self.fact(set, member, (is_lost, is_dead), now));
            }
        }
        facts.cordoned = self.rows.nodes.keys().cloned().collect();
        facts.load = self.nodes.intended().map(|(node, all)| (node.clone(), all.instances.len())).collect();
        (facts.nodes, facts.dead) = (nodes, dead);
        self.look_at_rollout(home, &mut facts, now);
        facts
    }

    /// What only the rollout under way wants to know.
    fn look_at_rollout(&self, home: &ServiceScope, facts: &mut Facts, now: Timestamp) {
        let state = self.rows.states.get(home);
        let active = state.and_then(|state| state.active.as_ref());
        let set = active.and_then(|active| state?.sets.get(&active.to));
        let (Some(active), Some(plan)) = (active, set.map(|set| &set.plan)) else { return };
        match (active.stage, plan.terms.package) {
            (Stage::Queued, Some(package)) if plan.terms.release.steps.iter().any(|s| s.tenant.is_some()) => {
                let platform = self.rows.declarations.as_ref().map(|row| &row.declarations.platform);
                let tenants = platform.map(|platform| platform.tenants.as_slice()).unwrap_or_default();
                let since = |tenant: &Name| (tenant.clone(), self.runs_since(home, tenant, package));
                facts.tenants = tenants.iter().map(since).collect();
            }
            (Stage::Fetch, Some(package)) => facts.lacking = self.nodes.lacking(&package, now),
            (Stage::Step | Stage::Bake, _) => facts.traffic = self.traffic.of(home),
            _ => {}
        }
    }

    /// Since when another tenant's instances of the service have been of a package, when they are and no rollout goes on.
    fn runs_since(&self, home: &ServiceScope, tenant: &Name, package: Digest) -> Option<Timestamp> {
        let scope = Scope { environment: home.scope.environment.clone(), tenant: tenant.clone() };
        let other = ServiceScope { service: home.service.clone(), scope };
        let state = self.rows.states.get(&other).filter(|state| state.active.is_none())?;
        let routed = state.routed?;
        let release = self.rows.releases.get(&other)?.get(&routed)?;
        let mut rollouts = state.rollouts.iter().rev().filter(|rollout| rollout.to == routed);
        let ended = rollouts.find(|rollout| rollout.state == RolloutState::Complete)?.ended;
        ended.filter(|_| release.package == package)
    }

    /// Whether the platform declares the service and the scope; also while nothing is declared at all.
    pub(crate) fn is_declared(&self, home: &ServiceScope) -> bool {
        self.rows.declarations.as_ref().is_none_or(|row| {
            let is_known = row.declarations.services.contains_key(&home.service);
            is_known && compose::is_declared(&row.declarations.platform, &home.scope)
        })
    }

    fn fact(&self, set: &Set, member: &Member, (is_lost, is_dead): (bool, bool), now: Timestamp) -> Fact {
        let clear = self.routers.is_clear(&member.id, now);
        let Some(node) = &member.node else { return Fact { clear, gone: true, ..Fact::default() } };
        let report = self.nodes.instance(node, &member.id, now).filter(|_| !is_dead);
        let may_be_forgotten = is_dead || (is_lost && !set.plan.is_single(&member.process));
        Fact {
            state: report.map(|report| report.state),
            restarts: report.map_or(0, |report| report.restarts),
            reason: report.and_then(|report| report.reason.clone()),
            clear,
            gone: may_be_forgotten || self.nodes.is_gone(node, &member.id, now),
        }
    }
}
