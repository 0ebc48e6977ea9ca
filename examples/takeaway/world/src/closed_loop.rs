//! A whole day in one process, as fast as it goes: the world, the entities as the domain services would keep them, and
//! dispatch, which sees only these entities.

use std::collections::BTreeMap;

use crate::day::Day;
use crate::dispatch::{DispatchView, Round};
use crate::entity::{Entity, Illegal, Order, Restaurant, Rider, Zone};
use crate::ids::{OrderId, RestaurantId, RiderId, ZoneId};
use crate::input::Output;
use crate::world::World;

/// The entities of the domain services.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Entities {
    /// By name.
    pub orders: BTreeMap<OrderId, Order>,
    /// By name.
    pub riders: BTreeMap<RiderId, Rider>,
    /// By name.
    pub restaurants: BTreeMap<RestaurantId, Restaurant>,
    /// By name.
    pub zones: BTreeMap<ZoneId, Zone>,
}

impl Entities {
    /// Applies what the world says to the entity that it is about; what is about none changes nothing.
    ///
    /// # Errors
    /// When the change does not fit the entity; none has changed then.
    pub fn apply(&mut self, output: &Output) -> Result<(), Illegal> {
        match output {
            Output::Order { id, change } => apply(&mut self.orders, *id, change),
            Output::Rider { id, change } => apply(&mut self.riders, *id, change),
            Output::Restaurant { id, change } => apply(&mut self.restaurants, *id, change),
            Output::Zone { id, change } => apply(&mut self.zones, *id, change),
            Output::Ping(_) | Output::FaultStarted(_) | Output::FaultEnded(_) | Output::Refused { .. } => {
                Ok(())
            }
        }
    }
}

fn apply<E: Entity>(entities: &mut BTreeMap<E::Id, E>, id: E::Id, change: &E::Change) -> Result<(), Illegal> {
    if let Some(entity) = entities.get_mut(&id) {
        entity.apply(change)?;
    } else {
        entities.insert(id, E::created(id, change)?);
    }
    Ok(())
}

/// A city with dispatch.
#[derive(Debug, Clone)]
pub struct ClosedLoop {
    /// The city.
    pub world: World,
    /// What the platform knows of it.
    pub entities: Entities,
    /// Orders accepted or earlier, so that a decision need not look at the whole day.
    waiting: Vec<OrderId>,
}

impl ClosedLoop {
    /// The city when the day starts.
    pub fn new(day: &Day, seed: u64, fault_scale: f64) -> Self {
        Self { world: World::new(day, seed, fault_scale), entities: Entities::default(), waiting: Vec::new() }
    }

    /// Advances by one step, and at whole minutes lets dispatch decide. Returns everything that happened.
    ///
    /// # Errors
    /// When the world says something that does not fit its entity, which is a flaw of the world.
    pub fn step(&mut self) -> Result<Vec<Output>, Illegal> {
        let mut outputs = self.world.step(&[]);
        self.know(&outputs)?;
        if self.world.now().is_minute() && !self.world.ended() {
            let jobs = self.dispatch()?;
            outputs.extend(jobs);
        }
        Ok(outputs)
    }

    /// Runs until the day ends.
    ///
    /// # Errors
    /// As [`ClosedLoop::step`].
    pub fn run(&mut self) -> Result<(), Illegal> {
        while !self.world.ended() {
            self.step()?;
        }
        Ok(())
    }

    /// Applies outputs to the entities: those of a step, or of an intervention that the caller made.
    ///
    /// # Errors
    /// When one does not fit its entity.
    pub fn know(&mut self, outputs: &[Output]) -> Result<(), Illegal> {
        for output in outputs {
            self.entities.apply(output)?;
            if let Output::Order { id, change } = output
                && matches!(change.name(), "placed" | "unassigned")
            {
                self.waiting.push(*id);
            }
        }
        Ok(())
    }

    fn dispatch(&mut self) -> Result<Vec<Output>, Illegal> {
        let Entities { orders, riders, restaurants, .. } = &self.entities;
        self.waiting.retain(|id| orders.get(id).is_some_and(|order| order.assigned_at.is_none()));
        let waiting = self.waiting.iter().filter_map(|id| orders.get(id));
        let view = DispatchView::of(
            waiting,
            riders.values(),
            |id| restaurants.get(&id),
            self.world.metres_per_minute(),
        );
        let mut round = Round::new(&view, self.world.now());
        let mut outputs = Vec::new();
        while let Some(assignment) = round.next_assignment() {
            match self.world.apply(&assignment.into()) {
                Ok(done) => {
                    self.know(&done)?;
                    outputs.extend(done);
                }
                Err(refusal) => round.refused(&refusal),
            }
        }
        Ok(outputs)
    }
}
