//! The table of open orders as the platform shows it: what people scan, oldest first.

use takeaway_world::{OrderChange, OrderId, Output};

/// Orders that are placed and not finished, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct OpenOrders {
    orders: Vec<OrderId>,
    /// The most that were open at once.
    pub(crate) peak: usize,
}

impl OpenOrders {
    /// Takes note of what happened.
    pub(crate) fn note(&mut self, outputs: &[Output]) {
        for output in outputs {
            let Output::Order { id, change } = output else { continue };
            match change {
                OrderChange::Placed(_) => self.orders.push(*id),
                OrderChange::Delivered { .. } | OrderChange::Cancelled { .. } => {
                    self.orders.retain(|open| open != id);
                }
                _ => {}
            }
        }
        self.peak = self.peak.max(self.orders.len());
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = OrderId> + '_ {
        self.orders.iter().copied()
    }
}
