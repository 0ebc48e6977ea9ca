//! Orders about shields, nodes and numbers: checked, stored, and only then seen.

use std::collections::BTreeMap;

use hob_core::{Name, Timestamp};
use hob_wire::{NewShield, NodeState, ScaleState, Shield, ShieldState, When};

use super::{Reply, Service};
use crate::rows::{self, NodeRow, ScaleRow};
use crate::shields::{self, SHIELDS_MAX};
use crate::{Error, ServiceScope, numbers};

/// Instances of one process that people may order.
const REPLICAS_MAX: u32 = 1000;
/// Nodes that are known by what was decided about them.
const NODES_MAX: usize = 1000;

/// What people order. `by` says who.
pub(crate) enum FleetOrder {
    PutShield {
        id: String,
        new: Box<NewShield>,
        by: String,
        reply: Reply<ShieldState>,
    },
    DropShield {
        id: String,
        by: String,
        reply: Reply<ShieldState>,
    },
    SetNode {
        node: Name,
        state: NodeState,
        by: String,
        reply: Reply<()>,
    },
    ForgetNode {
        node: Name,
        reply: Reply<()>,
    },
    /// No numbers at all: as declared again.
    Scale {
        home: ServiceScope,
        numbers: BTreeMap<Name, u32>,
        by: String,
        reply: Reply<ScaleState>,
    },
}

impl Service {
    /// An answer that nobody waits for any more is dropped; what was ordered is done all the same.
    pub(super) async fn obey(&mut self, order: FleetOrder) {
        match order {
            FleetOrder::PutShield { id, new, by, reply } => {
                let answer = self.put_shield(&id, *new, by).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            FleetOrder::DropShield { id, by, reply } => {
                let answer = self.drop_shield(&id, &by).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            FleetOrder::SetNode { node, state, by, reply } => {
                let answer = self.set_node(node, state, by).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            FleetOrder::ForgetNode { node, reply } => {
                let answer = self.forget_node(&node).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
            FleetOrder::Scale { home, numbers, by, reply } => {
                let answer = self.scale(home, numbers, by).await;
                self.publish(self.now());
                let _ = reply.send(answer);
            }
        }
    }

    async fn put_shield(&mut self, id: &str, new: NewShield, by: String) -> Result<ShieldState, Error> {
        let now = self.now();
        let shield = shields::make(id, new, by, now)?;
        self.check_names(&shield)?;
        let is_new = !self.world.rows.shields.contains_key(id);
        if is_new && self.world.rows.shields.len() >= SHIELDS_MAX {
            return Err(Error::TooManyShields { most: SHIELDS_MAX });
        }
        rows::put_shield(self.kv.as_ref(), &shield).await?;
        tracing::info!(shield = id, by = shield.by, does = ?shield.kind, "a shield was ordered");
        self.world.rows.shields.insert(id.to_owned(), shield.clone());
        self.derive(now);
        Ok(self.world.routers.shield(&shield, true, now))
    }

    /// A name that nobody declared is a mistyped one: such a shield would protect nothing.
    fn check_names(&self, shield: &Shield) -> Result<(), Error> {
        let row = self.world.rows.declarations.as_ref().ok_or(Error::NothingDeclared)?;
        let platform = &row.declarations.platform;
        let wrong = |what: String| Err(Error::WrongShield { id: shield.id.clone(), what });
        if let Some(service) = &shield.service
            && !row.declarations.services.contains_key(service)
        {
            return Err(Error::UnknownService(service.clone()));
        }
        if let Some(environment) = &shield.environment
            && !platform.environments.contains(environment)
        {
            return wrong(format!("there is no environment {environment}"));
        }
        if let Some(tenant) = &shield.tenant
            && !platform.tenants.contains(tenant)
        {
            return wrong(format!("there is no tenant {tenant}"));
        }
        Ok(())
    }

    async fn drop_shield(&mut self, id: &str, by: &str) -> Result<ShieldState, Error> {
        let now = self.now();
        let Some(shield) = self.world.rows.shields.get(id).cloned() else {
            return Err(Error::UnknownShield(id.to_owned()));
        };
        rows::drop_shield(self.kv.as_ref(), id).await?;
        tracing::info!(shield = id, by, "a shield was lifted");
        self.world.rows.shields.remove(id);
        self.conditions.lifted(id, by);
        self.derive(now);
        Ok(self.world.routers.shield(&shield, false, now))
    }

    async fn set_node(&mut self, node: Name, state: NodeState, by: String) -> Result<(), Error> {
        let now = self.now();
        let is_known = self.world.nodes.is_known(&node) || self.world.rows.nodes.contains_key(&node);
        if !is_known {
            return Err(Error::UnknownNode(node));
        }
        let present = self.world.rows.nodes.get(&node).map(|row| row.state).unwrap_or_default();
        if present == state {
            return Ok(());
        }
        if present == NodeState::Killed {
            return Err(Error::NodeKilled(node));
        }
        if state == NodeState::Killed && self.is_last(&node, now) {
            return Err(Error::LastNode(node));
        }
        if state == NodeState::Active {
            rows::drop_node(self.kv.as_ref(), &node).await?;
            self.world.rows.nodes.remove(&node);
        } else {
            if self.world.rows.nodes.len() >= NODES_MAX {
                return Err(Error::Unavailable);
            }
            let row = NodeRow { state, since: now, by: by.clone() };
            rows::put_node(self.kv.as_ref(), &node, &row).await?;
            self.world.rows.nodes.insert(node.clone(), row);
        }
        tracing::info!(%node, ?state, by, "the state of a node was ordered");
        self.derive(now);
        Ok(())
    }

    /// Whether a node lives and no other could take what it runs.
    fn is_last(&self, node: &Name, now: Timestamp) -> bool {
        let live = self.world.nodes.live(now);
        live.contains(node)
            && !live.iter().any(|other| other != node && !self.world.rows.nodes.contains_key(other))
    }

    /// A node that was given up and has nothing left is a stranger from then on.
    async fn forget_node(&mut self, node: &Name) -> Result<(), Error> {
        let is_over = |row: &NodeRow| row.state == NodeState::Killed && !self.world.has_members(node);
        if !self.world.rows.nodes.get(node).is_some_and(is_over) {
            return Err(Error::UnknownNode(node.clone()));
        }
        rows::drop_node(self.kv.as_ref(), node).await?;
        self.world.rows.nodes.remove(node);
        self.world.nodes.remove(node);
        Ok(())
    }

    async fn scale(
        &mut self,
        home: ServiceScope,
        numbers: BTreeMap<Name, u32>,
        by: String,
    ) -> Result<ScaleState, Error> {
        let now = self.now();
        let Some(descriptor) = numbers::descriptor(&self.world.rows, &home) else {
            return Err(Error::NotDeployed(home.service));
        };
        for (process, number) in &numbers {
            let wrong = |what: String| Err(Error::WrongScale { service: home.service.clone(), what });
            let Some(declared) = descriptor.processes.get(process) else {
                return wrong(format!("it has no process {process}"));
            };
            if declared.when != When::Always {
                return wrong(format!("{process} runs once for each release, not all the time"));
            }
            if *number > REPLICAS_MAX {
                return wrong(format!("at most {REPLICAS_MAX} instances of {process}"));
            }
        }
        let known = self.world.rows.scales.get(&home);
        let mut by_hand = known.map(|row| row.by_hand.clone()).unwrap_or_default();
        if numbers.is_empty() {
            by_hand.values_mut().for_each(|number| *number = None);
        }
        by_hand.extend(numbers.into_iter().map(|(process, number)| (process, Some(number))));
        let row = ScaleRow { by_hand, since: now, by };
        rows::put_scale(self.kv.as_ref(), &home, &row).await?;
        tracing::info!(service = %home, by = row.by, numbers = ?row.by_hand, "numbers were ordered");
        self.world.rows.scales.insert(home.clone(), row);
        self.world.rescale(now);
        let view = self.doors.view.borrow().clone();
        let state = self.world.numbers.state(&home, &self.world.rows, view.all_instances());
        state.ok_or(Error::NotDeployed(home.service))
    }
}
