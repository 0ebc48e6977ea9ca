//! Watches on keys: a bounded backlog of changes, and bounded queues to whoever follows them.
//!
//! A watcher that lags is never waited for and never misses a change in silence: its watch ends with
//! [`KvChange::Relist`].

use std::collections::VecDeque;

use tokio::sync::mpsc;

use crate::kv::{Entry, Revision};

/// Changes that are remembered for watches that begin in the past.
pub(crate) const WATCH_BACKLOG_CHANGES_MAX: usize = 1024;
/// Value bytes that are remembered for watches that begin in the past.
const WATCH_BACKLOG_BYTES_MAX: usize = 4 << 20;
/// Changes that may wait for a watcher beyond the backlog it began with.
const WATCH_QUEUE_CHANGES_MAX: usize = 256;

/// Something that happened to a watched key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvChange {
    /// It was written.
    Put(Entry),
    /// It was deleted.
    Deleted {
        /// The key.
        key: String,
        /// The revision of its absence.
        revision: Revision,
    },
    /// Changes were missed: list the prefix again and watch from the listing's revision. The watch has ended.
    Relist,
}

impl KvChange {
    fn key(&self) -> &str {
        match self {
            Self::Put(entry) => &entry.key,
            Self::Deleted { key, .. } => key,
            Self::Relist => "",
        }
    }

    fn revision(&self) -> Revision {
        match self {
            Self::Put(entry) => entry.revision,
            Self::Deleted { revision, .. } => *revision,
            Self::Relist => Revision::default(),
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put(entry) => entry.value.len(),
            Self::Deleted { .. } | Self::Relist => 0,
        }
    }
}

/// A stream of changes under a prefix.
#[derive(Debug)]
pub struct KvWatch {
    backlog: VecDeque<KvChange>,
    receiver: mpsc::Receiver<KvChange>,
    is_ended: bool,
}

impl KvWatch {
    /// The next change; `None` when the store is closed or after [`KvChange::Relist`]. Safe to cancel.
    pub async fn next(&mut self) -> Option<KvChange> {
        if self.is_ended {
            return None;
        }
        let change = match self.backlog.pop_front() {
            Some(change) => Some(change),
            None => self.receiver.recv().await,
        };
        self.is_ended = matches!(change, None | Some(KvChange::Relist));
        change
    }
}

/// The watches of one store. Its owner serialises access and feeds every change in order of revision.
#[derive(Debug, Default)]
pub(crate) struct Watchers {
    /// Changes up to and including this revision are not in the backlog.
    forgotten: Revision,
    backlog: VecDeque<KvChange>,
    backlog_bytes: usize,
    followers: Vec<Follower>,
}

#[derive(Debug)]
struct Follower {
    prefix: String,
    sender: mpsc::Sender<KvChange>,
}

impl Watchers {
    /// Starts with no memory of anything up to `newest`.
    pub(crate) fn new(newest: Revision) -> Self {
        Self { forgotten: newest, ..Self::default() }
    }

    /// Tells everybody who follows the key, and remembers the change.
    pub(crate) fn publish(&mut self, change: KvChange) {
        self.followers.retain(|follower| {
            if !change.key().starts_with(&follower.prefix) {
                return !follower.sender.is_closed();
            }
            // One place is kept free for the word that ends a lagging watch.
            if follower.sender.capacity() > 1 {
                return follower.sender.try_send(change.clone()).is_ok();
            }
            // A closed channel needs no word; a full one cannot be, because its last place is only used here.
            let _ = follower.sender.try_send(KvChange::Relist);
            false
        });
        self.backlog_bytes += change.value_bytes();
        self.backlog.push_back(change);
        while self.backlog.len() > WATCH_BACKLOG_CHANGES_MAX || self.backlog_bytes > WATCH_BACKLOG_BYTES_MAX {
            let Some(oldest) = self.backlog.pop_front() else { break };
            self.backlog_bytes -= oldest.value_bytes();
            self.forgotten = oldest.revision();
        }
    }

    /// Begins a watch after a revision.
    pub(crate) fn watch(&mut self, prefix: &str, after: Revision) -> KvWatch {
        let (sender, receiver) = mpsc::channel(WATCH_QUEUE_CHANGES_MAX);
        if after < self.forgotten {
            return KvWatch { backlog: [KvChange::Relist].into(), receiver, is_ended: false };
        }
        let missed = self.backlog.iter().filter(|change| change.revision() > after);
        let backlog = missed.filter(|change| change.key().starts_with(prefix)).cloned().collect();
        self.followers.push(Follower { prefix: prefix.to_owned(), sender });
        KvWatch { backlog, receiver, is_ended: false }
    }
}
