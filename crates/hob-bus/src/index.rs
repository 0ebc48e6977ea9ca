//! What publishing must remember: which ids it has seen, and how many events each entity had.
//!
//! The truth is the log. What came since the last flush is kept exactly, in memory; the rest is in the store's
//! disposable index, and a bounded number of the entities that changed last stay in memory beside it. A flush takes
//! what is durable up to one sequence and puts it there sorted, with that sequence as a watermark: opening reads the
//! log from there on. Nothing enters the index before it is durable in the log.
//!
//! Publishing asks in two steps, because a batch is planned while no other may be: [`Index::prefetch`] reads what
//! memory does not know, outside that turn; [`Index::plan`] decides from memory and from what was fetched.

mod flush;
mod heal;
mod keys;
mod lookup;
mod memory;
mod note;
mod state;

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hob_store::{AppendError, Kv};
use tokio::sync::{Notify, RwLock, watch};

use crate::Error;
pub(crate) use keys::{EntityKey, IdKey, Keys, Mark, name_of, prefix_of};
#[cfg(test)]
mod tests;
pub(crate) use lookup::Fetched;
pub use memory::IndexLimits;
use memory::Memory;
pub(crate) use memory::{Asked, Remembered, Told};
pub(crate) use note::Note;
pub(crate) use state::EntityState;

/// How an append ended; `None` while it is on its way.
pub(crate) type Outcome = watch::Receiver<Option<Result<(), AppendError>>>;

/// Where an id is in the log.
#[derive(Clone, Debug)]
pub(crate) enum Known {
    /// On disk, at this sequence.
    Durable(u64),
    /// On its way there.
    InFlight(u64, Outcome),
}

impl Known {
    pub(crate) fn sequence(&self) -> u64 {
        match self {
            Self::Durable(sequence) | Self::InFlight(sequence, _) => *sequence,
        }
    }
}

/// What to do with one event of a batch.
#[derive(Clone, Debug)]
pub(crate) enum Verdict {
    /// Append it, with this count of its entity when it has one.
    New(Option<u64>),
    /// It is known from an earlier batch.
    Known(Known),
    /// It repeats the n-th new event of this batch.
    Repeats(usize),
}

/// The index.
pub(crate) struct Index {
    pub(crate) keys: Keys,
    engine: Arc<hob_store::Index>,
    memory: Mutex<Memory>,
    /// A flush has ended.
    flushed: Notify,
    /// Held for writing while what is on disk is made anew.
    disk: RwLock<()>,
    /// Rings when damage was found on disk.
    pub(crate) damaged: Arc<Notify>,
    /// It was made anew.
    healed: Notify,
    /// How often it was.
    heals: AtomicU64,
}

impl Index {
    /// The index over what the store keeps. The keys by which ids are known are made once for a data directory.
    pub(crate) async fn open(
        engine: Arc<hob_store::Index>,
        kv: &dyn Kv,
        limits: IndexLimits,
    ) -> Result<Self, Error> {
        Ok(Self::with(Keys::load(kv).await?, engine, limits))
    }

    fn with(keys: Keys, engine: Arc<hob_store::Index>, limits: IndexLimits) -> Self {
        Self {
            keys,
            engine,
            memory: Mutex::new(Memory::new(limits)),
            flushed: Notify::new(),
            disk: RwLock::default(),
            damaged: Arc::default(),
            healed: Notify::new(),
            heals: AtomicU64::new(0),
        }
    }

    /// Decides about a batch, without remembering it. `None` when something that it needs was flushed since it was
    /// fetched: fetch again.
    pub(crate) fn plan(&self, events: &[Asked], fetched: &Fetched) -> Option<Vec<Verdict>> {
        self.memory().plan(events, fetched)
    }

    /// Remembers events that were appended, in the order of their sequences from `first` on.
    pub(crate) fn remember(&self, first: u64, events: Vec<Remembered>, outcome: Outcome) {
        self.memory().remember(first, events, outcome);
    }

    /// Takes note that the oldest append on its way is durable, or that it never will be, and says whether it is time
    /// for [`Index::flush`].
    pub(crate) fn settle(&self, is_durable: bool) -> bool {
        self.memory().settle(is_durable)
    }

    /// Takes in an event that was read back from the log, and says whether it is time for a flush.
    pub(crate) fn recall(&self, sequence: u64, event: Remembered) -> bool {
        self.memory().recall(sequence, event)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
