//! Keys by which a publisher makes a request safe to repeat: the same key with the same body gets the first answer again.
//!
//! An answer is kept as one small key of the store, durable before it is given, for a day. What a crash leaves between
//! the events and that key is covered by the events' ids: those that name none get ids made from key and body, so that
//! the repeated request finds its events known and is answered with their sequences. A dropped ticket leaves the key
//! unused, as a refused request should.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hob_core::{Clock, Scope, Timestamp};
use hob_store::{Expected, Kv};

use crate::index::{Index, Mark};
use crate::model::limits::{IDEMPOTENCY_KEYS_MAX, IDEMPOTENCY_WINDOW};
use crate::rows::{IdempotencyRow, ROW_VERSION, decode_json, encode_json};
use crate::{Bus, Error};

const PREFIX: &str = "idempotency/";
/// Keys that are forgotten for one that is begun.
const EXPIRE_AT_ONCE_MAX: usize = 8;

/// The keys of this data directory.
#[derive(Clone)]
pub struct Idempotency {
    shared: Arc<Shared>,
}

struct Shared {
    kv: Arc<dyn Kv>,
    index: Arc<Index>,
    wall: Clock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    flying: HashSet<Mark>,
    /// Answered keys with the time of their answer, oldest first.
    kept: VecDeque<(Timestamp, Mark)>,
}

/// What a request with a key is to do.
#[derive(Debug)]
pub enum Begun {
    /// Go on, and give the answer to [`Ticket::finish`].
    New(Ticket),
    /// Give this answer again.
    Replay(Bytes),
    /// Refuse: the first request is still under way.
    InFlight,
    /// Refuse: the key was used with another body.
    Mismatch,
}

/// The right to answer for a key. Dropping it leaves the key unused.
pub struct Ticket {
    shared: Arc<Shared>,
    mark: Mark,
    body: Mark,
}

impl std::fmt::Debug for Ticket {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ticket").field("mark", &self.mark.to_string()).finish_non_exhaustive()
    }
}

impl Bus {
    /// The keys that make requests safe to repeat.
    pub fn idempotency(&self) -> &Idempotency {
        &self.inner.idempotency
    }
}

impl Idempotency {
    pub(crate) async fn load(kv: Arc<dyn Kv>, index: Arc<Index>, wall: Clock) -> Result<Self, Error> {
        let mut kept = Vec::new();
        for entry in kv.list(PREFIX).await?.entries {
            let row: IdempotencyRow = decode_json(&entry.key, &entry.value)?;
            let mark = entry.key.strip_prefix(PREFIX).and_then(|text| text.parse().ok());
            kept.extend(mark.map(|mark| (Timestamp::from_micros(row.answered), mark)));
        }
        kept.sort_unstable_by_key(|(answered, _)| *answered);
        let state = Mutex::new(State { kept: kept.into(), ..State::default() });
        Ok(Self { shared: Arc::new(Shared { kv, index, wall, state }) })
    }

    /// Begins a request of a caller under a key. Fails with [`Error::TooManyIdempotencyKeys`] when as many as are kept
    /// have been used within a day.
    pub async fn begin(&self, scope: &Scope, caller: &str, key: &str, body: &[u8]) -> Result<Begun, Error> {
        let shared = &self.shared;
        let scope = scope.to_string();
        let mark = shared.index.keys.mark(&[scope.as_bytes(), caller.as_bytes(), key.as_bytes()]);
        let body = shared.index.keys.mark(&[&mark.0, body]);
        if !shared.state().flying.insert(mark) {
            return Ok(Begun::InFlight);
        }
        let ticket = Ticket { shared: Arc::clone(shared), mark, body };
        shared.expire().await?;
        let key = format!("{PREFIX}{mark}");
        if let Some(entry) = shared.kv.get(&key).await? {
            let row: IdempotencyRow = decode_json(&key, &entry.value)?;
            if !shared.is_over(Timestamp::from_micros(row.answered)) {
                let is_same = row.body == body.to_string();
                return Ok(if is_same { Begun::Replay(row.answer.into()) } else { Begun::Mismatch });
            }
        }
        if shared.state().kept.len() >= IDEMPOTENCY_KEYS_MAX {
            return Err(Error::TooManyIdempotencyKeys);
        }
        Ok(Begun::New(ticket))
    }
}

impl Ticket {
    /// The id of the n-th event of the request, when it names none.
    pub fn event_id(&self, nth: usize) -> String {
        format!("{}-{nth}", self.body)
    }

    /// Keeps the answer, which may be given once this returns.
    pub async fn finish(self, answer: &str) -> Result<(), Error> {
        let now = self.shared.wall.now();
        let (body, answer) = (self.body.to_string(), answer.to_owned());
        let row = IdempotencyRow { version: ROW_VERSION, answered: now.as_micros(), body, answer };
        let key = format!("{PREFIX}{}", self.mark);
        self.shared.kv.put(&key, Expected::Any, encode_json(&row).into()).await?;
        self.shared.state().kept.push_back((now, self.mark));
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.shared.state().flying.remove(&self.mark);
    }
}

impl Shared {
    /// Forgets some of the keys that are over, so that few are kept and no request waits for many.
    async fn expire(&self) -> Result<(), Error> {
        for _ in 0..EXPIRE_AT_ONCE_MAX {
            let Some(mark) = self.take_over() else { return Ok(()) };
            let key = format!("{PREFIX}{mark}");
            let Some(entry) = self.kv.get(&key).await? else { continue };
            let row: IdempotencyRow = decode_json(&key, &entry.value)?;
            // A key that was used again since then stands in line a second time.
            if self.is_over(Timestamp::from_micros(row.answered)) {
                self.kv.delete(&key, Expected::Revision(entry.revision)).await?;
            }
        }
        Ok(())
    }

    /// Takes the oldest key out of the line, when it is over.
    fn take_over(&self) -> Option<Mark> {
        let mut state = self.state();
        let is_over = state.kept.front().is_some_and(|(answered, _)| self.is_over(*answered));
        is_over.then(|| state.kept.pop_front()).flatten().map(|(_, mark)| mark)
    }

    fn is_over(&self, answered: Timestamp) -> bool {
        self.wall.now().as_micros() - answered.as_micros() > IDEMPOTENCY_WINDOW.as_micros() as i64
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
