//! The door to shields, nodes, routers and numbers.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_core::{Name, Scope};
use hob_wire::{NewShield, NodeState, NodeSummary, RouteSummary, RouterSummary, ScaleState, ShieldState};

use super::Deploy;
use crate::past::Owner;
use crate::service::{Command, FleetOrder};
use crate::{Error, ServiceScope};

impl Deploy {
    /// Orders a shield in the place of one of the same id. It is in force everywhere once
    /// [`Deploy::taken_in`] says so of its generation.
    pub async fn put_shield(&self, id: &str, new: NewShield, by: &str) -> Result<ShieldState, Error> {
        let (id, new, by) = (id.to_owned(), Box::new(new), by.to_owned());
        self.ask(|reply| Command::Fleet(FleetOrder::PutShield { id, new, by, reply })).await
    }

    /// Lifts a shield.
    pub async fn drop_shield(&self, id: &str, by: &str) -> Result<ShieldState, Error> {
        let (id, by) = (id.to_owned(), by.to_owned());
        self.ask(|reply| Command::Fleet(FleetOrder::DropShield { id, by, reply })).await
    }

    /// The shields in force, in the order in which they count.
    pub fn shields(&self) -> Vec<ShieldState> {
        self.view().shields.clone()
    }

    /// Live routers that do not route by `generation` when `wait` has passed; returns as soon as there is none.
    pub async fn taken_in(&self, generation: u64, wait: Duration) -> Vec<Name> {
        let mut changes = self.changes();
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let waiting = self.view().waiting(generation);
            if waiting.is_empty() {
                return waiting;
            }
            let news = tokio::time::timeout_at(deadline, changes.changed()).await;
            if !matches!(news, Ok(Ok(()))) {
                return self.view().waiting(generation);
            }
        }
    }

    /// Every node that is known.
    pub fn nodes(&self) -> Vec<NodeSummary> {
        self.view().nodes.clone()
    }

    /// Whether a node may speak for an instance: it has it, or had it within the last hour. For some minutes after a start
    /// nobody knows what was there before, and an instance that nobody has is anybody's.
    pub fn speaks_for(&self, node: &Name, instance: &str, service: &Name, scope: &Scope) -> bool {
        let present = self.view().all_instances().get(instance).map(Owner::of);
        let past = self.doors.past();
        match present.or_else(|| past.find(instance)) {
            Some(owner) => (&owner.node, &owner.service, &owner.scope) == (node, service, scope),
            None => past.is_fresh(),
        }
    }

    /// Says what shall become of a node. The last that takes instances is not given up.
    pub async fn set_node(&self, node: &Name, state: NodeState, by: &str) -> Result<(), Error> {
        let (node, by) = (node.clone(), by.to_owned());
        self.ask(|reply| Command::Fleet(FleetOrder::SetNode { node, state, by, reply })).await
    }

    /// Nodes that were given up and have nothing left.
    pub fn nodes_over(&self) -> Vec<Name> {
        let view = self.view();
        let used = |node: &Name| view.all_instances().values().any(|instance| instance.node == *node);
        let nodes = view.nodes.iter().filter(|node| node.state == NodeState::Killed && !used(&node.name));
        nodes.map(|node| node.name.clone()).collect()
    }

    /// Forgets a node that was given up and has nothing left.
    pub async fn forget_node(&self, node: &Name) -> Result<(), Error> {
        let node = node.clone();
        self.ask(|reply| Command::Fleet(FleetOrder::ForgetNode { node, reply })).await
    }

    /// Routers that reported lately, with what they said.
    pub fn router_summaries(&self) -> Vec<RouterSummary> {
        self.view().routers.clone()
    }

    /// Names of the routers that reported within their lease.
    pub fn routers(&self) -> Vec<Name> {
        let view = self.view();
        view.routers.iter().filter(|router| router.live).map(|router| router.name.clone()).collect()
    }

    /// The routes, with what the routers say of each.
    pub fn routes(&self) -> Vec<RouteSummary> {
        self.view().routes.clone()
    }

    /// How many instances a service has, should have, and why.
    pub fn scale_state(&self, service: &Name, scope: &Scope) -> Result<ScaleState, Error> {
        let state = self.view().scale(service, scope);
        state.ok_or_else(|| Error::NotDeployed(service.clone()))
    }

    /// Orders numbers of instances by process; with none, as many as schedule, requests and descriptor say.
    pub async fn scale(
        &self,
        service: &Name,
        scope: &Scope,
        numbers: BTreeMap<Name, u32>,
        by: &str,
    ) -> Result<ScaleState, Error> {
        let home = ServiceScope { service: service.clone(), scope: scope.clone() };
        let by = by.to_owned();
        self.ask(|reply| Command::Fleet(FleetOrder::Scale { home, numbers, by, reply })).await
    }
}
