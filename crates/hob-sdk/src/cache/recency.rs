//! Which href was used longest ago.

use std::collections::{BTreeMap, HashMap};
use std::mem::size_of;
use std::sync::Arc;

/// Bytes that the order keeps of one href, beside its text.
pub(super) const BYTES_EACH: usize = 2 * (size_of::<(u64, Arc<str>)>() + size_of::<(Arc<str>, u64)>());

/// The hrefs in the order of their last use.
#[derive(Debug, Default)]
pub(super) struct Recency {
    next: u64,
    by_use: BTreeMap<u64, Arc<str>>,
    last_use: HashMap<Arc<str>, u64>,
}

impl Recency {
    /// Takes in `href`, as the one used last.
    pub(super) fn insert(&mut self, href: &Arc<str>) {
        self.next += 1;
        if let Some(used) = self.last_use.insert(Arc::clone(href), self.next) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.next, Arc::clone(href));
    }

    /// Makes `href` the one used last, when it is known.
    pub(super) fn touch(&mut self, href: &str) {
        let Some(used) = self.last_use.get_mut(href) else { return };
        let Some(name) = self.by_use.remove(used) else { return };
        self.next += 1;
        *used = self.next;
        self.by_use.insert(self.next, name);
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
