//! Which orders and riders there are to look at: listed once, kept up to date by notices.

use std::collections::BTreeSet;

use hob_sdk::wire::{Event, EventChange};

/// The hrefs of open orders and of riders.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) orders: BTreeSet<String>,
    pub(crate) riders: BTreeSet<String>,
}

impl Known {
    /// Takes note of a notice. An order that is finished is dropped when it is next read.
    pub(crate) fn note(&mut self, event: &Event) {
        let (Some(href), Some(change)) = (&event.subject, event.change()) else { return };
        let hrefs = match event.topic.as_str() {
            "orders" => &mut self.orders,
            "riders" => &mut self.riders,
            _ => return,
        };
        if change == EventChange::Delete {
            hrefs.remove(href);
        } else if !hrefs.contains(href) {
            hrefs.insert(href.clone());
        }
    }
}
