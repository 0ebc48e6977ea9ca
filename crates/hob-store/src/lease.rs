//! Leases: a key with a holder, an epoch and an expiry, so that one of many may act.
//!
//! The decision is a pure function over what the key holds and the caller's `now`; the key's revision makes it
//! safe against everybody else. The epoch grows with every change of holder: whoever acts under a lease passes it
//! along, so that a holder who slept through its expiry can be refused.

mod rows;

use bytes::Bytes;

use crate::kv::{Entry, Expected, Kv, KvError, Revision};

/// Longest name of a holder, in bytes.
const HOLDER_BYTES_MAX: usize = 256;
/// Longest lease, in microseconds: a day.
const TTL_MICROS_MAX: i64 = 86_400_000_000;

/// A lease as its holder knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The key that it is kept under.
    pub key: String,
    /// Who holds it.
    pub holder: String,
    /// Grows by one whenever the holder changes.
    pub epoch: u64,
    /// When it ends unless renewed, in microseconds since 1970.
    pub expires: i64,
    /// The key's revision.
    pub revision: Revision,
}

/// Why a lease was not had.
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// Somebody else holds it: try again once it may have expired.
    #[error("take lease {key}: {holder} holds it until {expires}; try again then")]
    Held {
        /// The lease.
        key: String,
        /// Who holds it.
        holder: String,
        /// Until when, in microseconds since 1970.
        expires: i64,
    },
    /// It was lost to somebody else, or given up: stop acting under it.
    #[error("keep lease {key}: it was lost; stop what is done under it and take it again")]
    Lost {
        /// The lease.
        key: String,
    },
    /// The holder's name or the time to live is out of bounds.
    #[error("take lease {key}: {problem}")]
    Bad {
        /// The lease.
        key: String,
        /// What is out of bounds.
        problem: &'static str,
    },
    /// The key does not hold a lease.
    #[error("read lease {key}: its value is not a lease; use another key or delete this one")]
    NotALease {
        /// The key.
        key: String,
    },
    /// The key could not be read or written.
    #[error(transparent)]
    Kv(#[from] KvError),
}

/// What to do about a wish to hold a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Write the key: with this epoch and expiry.
    Grant { epoch: u64, expires: i64 },
    /// Somebody else holds it.
    Held { holder: String, expires: i64 },
}

/// What a lease's key holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub(crate) holder: String,
    pub(crate) epoch: u64,
    pub(crate) expires: i64,
}

/// Decides whether `holder` may have the lease at `now`. A holder who comes back before its expiry keeps its epoch.
pub(crate) fn decide(current: Option<&State>, holder: &str, ttl_micros: i64, now: i64) -> Decision {
    let expires = now.saturating_add(ttl_micros);
    match current {
        None => Decision::Grant { epoch: 1, expires },
        Some(state) if state.expires > now && state.holder == holder => {
            Decision::Grant { epoch: state.epoch, expires: expires.max(state.expires) }
        }
        Some(state) if state.expires > now => {
            Decision::Held { holder: state.holder.clone(), expires: state.expires }
        }
        Some(state) => Decision::Grant { epoch: state.epoch.saturating_add(1), expires },
    }
}

impl Lease {
    /// Takes a lease that is free, expired, or already the holder's own. Times in microseconds. Losing a race
    /// to another taker is [`LeaseError::Held`].
    pub async fn acquire(
        kv: &dyn Kv,
        key: &str,
        holder: &str,
        ttl_micros: i64,
        now: i64,
    ) -> Result<Self, LeaseError> {
        check(key, holder, ttl_micros)?;
        let (state, expected) = match kv.get(key).await? {
            Some(entry) => (Some(read(&entry)?), Expected::Revision(entry.revision)),
            None => (None, Expected::Absent),
        };
        match decide(state.as_ref(), holder, ttl_micros, now) {
            Decision::Held { holder, expires } => {
                Err(LeaseError::Held { key: key.to_owned(), holder, expires })
            }
            Decision::Grant { epoch, expires } => {
                let state = State { holder: holder.to_owned(), epoch, expires };
                match write(kv, key, expected, state).await {
                    Err(LeaseError::Lost { key }) => Err(winner(kv, key, now).await?),
                    outcome => outcome,
                }
            }
        }
    }

    /// Moves the expiry to `now + ttl`; [`LeaseError::Lost`] when anybody wrote the key since, or when it has
    /// expired already: then only [`Lease::acquire`], with a new epoch, may have it back.
    pub async fn renew(&mut self, kv: &dyn Kv, ttl_micros: i64, now: i64) -> Result<(), LeaseError> {
        check(&self.key, &self.holder, ttl_micros)?;
        if self.expires <= now {
            return Err(LeaseError::Lost { key: self.key.clone() });
        }
        let expires = now.saturating_add(ttl_micros);
        let state = State { holder: self.holder.clone(), epoch: self.epoch, expires };
        *self = write(kv, &self.key, Expected::Revision(self.revision), state).await?;
        Ok(())
    }

    /// Gives the lease up, so that the next taker need not wait. Its epoch stays on record.
    pub async fn release(self, kv: &dyn Kv) -> Result<(), LeaseError> {
        let state = State { holder: self.holder, epoch: self.epoch, expires: 0 };
        write(kv, &self.key, Expected::Revision(self.revision), state).await.map(drop)
    }
}

fn check(key: &str, holder: &str, ttl_micros: i64) -> Result<(), LeaseError> {
    let problem = if holder.is_empty() || holder.len() > HOLDER_BYTES_MAX {
        "the holder's name needs 1 to 256 bytes"
    } else if !(1..=TTL_MICROS_MAX).contains(&ttl_micros) {
        "the time to live needs 1 microsecond to 1 day"
    } else {
        return Ok(());
    };
    Err(LeaseError::Bad { key: key.to_owned(), problem })
}

fn read(entry: &Entry) -> Result<State, LeaseError> {
    rows::decode(&entry.value).ok_or_else(|| LeaseError::NotALease { key: entry.key.clone() })
}

async fn write(kv: &dyn Kv, key: &str, expected: Expected, state: State) -> Result<Lease, LeaseError> {
    let value = Bytes::from(rows::encode(&state));
    match kv.put(key, expected, value).await {
        Ok(revision) => {
            let State { holder, epoch, expires } = state;
            Ok(Lease { key: key.to_owned(), holder, epoch, expires, revision })
        }
        Err(KvError::Conflict { key, .. }) => Err(LeaseError::Lost { key }),
        Err(error) => Err(error.into()),
    }
}

/// Who won the race for a key.
async fn winner(kv: &dyn Kv, key: String, now: i64) -> Result<LeaseError, LeaseError> {
    let state = kv.get(&key).await?.map(|entry| read(&entry)).transpose()?;
    Ok(match state {
        Some(State { holder, expires, .. }) => LeaseError::Held { key, holder, expires },
        None => LeaseError::Held { key, holder: "somebody".to_owned(), expires: now },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(holder: &str, epoch: u64, expires: i64) -> State {
        State { holder: holder.to_owned(), epoch, expires }
    }

    #[test]
    fn a_free_lease_is_granted_with_the_first_epoch() {
        assert_eq!(decide(None, "a", 10, 100), Decision::Grant { epoch: 1, expires: 110 });
    }

    #[test]
    fn an_expired_lease_changes_hands_and_epoch() {
        let state = held("a", 3, 100);
        assert_eq!(decide(Some(&state), "b", 10, 100), Decision::Grant { epoch: 4, expires: 110 });
        assert_eq!(decide(Some(&state), "a", 10, 100), Decision::Grant { epoch: 4, expires: 110 });
    }

    #[test]
    fn a_held_lease_is_refused_to_others_and_extended_for_its_holder() {
        let state = held("a", 3, 100);
        let refused = Decision::Held { holder: "a".to_owned(), expires: 100 };
        assert_eq!(decide(Some(&state), "b", 10, 99), refused);
        assert_eq!(decide(Some(&state), "a", 10, 99), Decision::Grant { epoch: 3, expires: 109 });
    }
}
