//! When what is wrong with an order began, as it truly was: for scoring, never for rules.

use std::collections::{BTreeMap, BTreeSet};

use takeaway_world::{Entities, FaultKind, OrderChange, OrderId, Output, RestaurantId, SimTime, Subject};

/// The beginnings of what was wrong, by order. What is harmless is not in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Onsets {
    by_order: BTreeMap<OrderId, BTreeMap<FaultKind, SimTime>>,
    slow: BTreeSet<RestaurantId>,
    offline: BTreeSet<RestaurantId>,
    /// Orders placed with a slow kitchen: their trouble begins when they should be ready.
    cooked_slowly: BTreeSet<OrderId>,
}

impl Onsets {
    /// Takes note of what happened; `entities` know it already.
    pub(crate) fn note(&mut self, outputs: &[Output], entities: &Entities) {
        for output in outputs {
            match output {
                Output::FaultStarted(fault) => self.begin(fault.kind, fault.subject, fault.started, entities),
                Output::FaultEnded(fault) => self.end(fault.kind, fault.subject),
                Output::Order { id, change } => self.order(*id, change, entities),
                _ => {}
            }
        }
    }

    /// When each thing that was wrong with an order began.
    pub(crate) fn of(&self, order: OrderId) -> impl Iterator<Item = (FaultKind, SimTime)> + '_ {
        self.by_order.get(&order).into_iter().flatten().map(|(kind, at)| (*kind, *at))
    }

    fn add(&mut self, order: OrderId, kind: FaultKind, at: SimTime) {
        self.by_order.entry(order).or_default().entry(kind).or_insert(at);
    }

    fn begin(&mut self, kind: FaultKind, subject: Subject, at: SimTime, entities: &Entities) {
        match (kind, subject) {
            (FaultKind::RestaurantSlow, Subject::Restaurant(id)) => drop(self.slow.insert(id)),
            (FaultKind::TabletOffline, Subject::Restaurant(id)) => {
                self.offline.insert(id);
                let tickets = entities.restaurants.get(&id).into_iter().flat_map(|known| &known.tickets);
                for ticket in tickets.filter(|ticket| ticket.expected_ready_at.is_none()) {
                    self.add(ticket.order, kind, ticket.placed_at);
                }
            }
            (FaultKind::RiderStalled, Subject::Rider(id)) => {
                for carried in entities.riders.get(&id).into_iter().flat_map(|rider| &rider.orders) {
                    self.add(carried.order, kind, at);
                }
            }
            (FaultKind::DispatchBlocked, Subject::Order(id)) => self.add(id, kind, at),
            _ => {}
        }
    }

    fn end(&mut self, kind: FaultKind, subject: Subject) {
        let Subject::Restaurant(id) = subject else { return };
        match kind {
            FaultKind::RestaurantSlow => drop(self.slow.remove(&id)),
            FaultKind::TabletOffline => drop(self.offline.remove(&id)),
            _ => {}
        }
    }

    fn order(&mut self, id: OrderId, change: &OrderChange, entities: &Entities) {
        let Some(order) = entities.orders.get(&id) else { return };
        match change {
            OrderChange::Placed(_) => {
                if self.offline.contains(&order.restaurant) {
                    self.add(id, FaultKind::TabletOffline, order.placed_at);
                }
                if self.slow.contains(&order.restaurant) {
                    self.cooked_slowly.insert(id);
                }
            }
            OrderChange::Accepted { expected_ready_at, .. } if self.cooked_slowly.remove(&id) => {
                self.add(id, FaultKind::RestaurantSlow, *expected_ready_at);
            }
            _ => {}
        }
    }
}
