//! What has come of a day's orders, counted as they finish.

use serde::{Deserialize, Serialize};

use crate::entity::{Order, acceptable_minutes};
use crate::time::SimTime;

/// Counts of orders.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Placed so far.
    pub placed: usize,
    /// Placed and not finished.
    pub on_their_way: usize,
    /// Delivered.
    pub delivered: usize,
    /// Delivered after the quote.
    pub late: usize,
    /// Given up.
    pub cancelled: usize,
    /// Cancelled, or delivered after the time from which a delivery is unacceptable.
    pub unacceptable: usize,
}

impl Figures {
    /// Counts a delivery.
    pub(crate) fn delivery(&mut self, placed_at: SimTime, quoted_minutes: i64, at: SimTime) {
        let seconds = at.seconds_since(placed_at);
        self.delivered += 1;
        self.late += usize::from(seconds > quoted_minutes * 60);
        self.unacceptable += usize::from(seconds > acceptable_minutes(quoted_minutes) * 60);
    }

    /// Counts an order that is given up.
    pub(crate) fn cancellation(&mut self) {
        self.cancelled += 1;
        self.unacceptable += 1;
    }

    /// Counts orders as the platform knows them.
    pub fn of<'a>(orders: impl IntoIterator<Item = &'a Order>) -> Self {
        let mut figures = Self::default();
        for order in orders {
            figures.placed += 1;
            match (order.delivered_at, order.cancelled_at) {
                (Some(at), _) => figures.delivery(order.placed_at, order.quoted_minutes, at),
                (None, Some(_)) => figures.cancellation(),
                (None, None) => figures.on_their_way += 1,
            }
        }
        figures
    }
}
