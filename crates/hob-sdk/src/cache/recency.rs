//! Which href was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The hrefs in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Recency {
    next: u64,
    by_use: BTreeMap<u64, Arc<str>>,
    last_use: HashMap<Arc<str>, u64>,
}

impl Recency {
    /// Makes `href` the one used last.
    pub(super) fn touch(&mut self, href: &str) {
        let name = match self.last_use.get_key_value(href) {
            Some((name, used)) => {
                let name = Arc::clone(name);
                self.by_use.remove(used);
                name
            }
            None => Arc::from(href),
        };
        self.next += 1;
        self.by_use.insert(self.next, Arc::clone(&name));
        self.last_use.insert(name, self.next);
    }

    /// Forgets `href`.
    pub(super) fn remove(&mut self, href: &str) {
        if let Some(used) = self.last_use.remove(href) {
            self.by_use.remove(&used);
        }
    }

    /// The hrefs, the one used longest ago first.
    pub(super) fn oldest_first(&self) -> impl Iterator<Item = &Arc<str>> {
        self.by_use.values()
    }
}
