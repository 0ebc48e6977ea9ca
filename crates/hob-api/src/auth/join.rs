//! Join tokens: with one, a machine becomes a node, so many times and for so long. Kept as digests; each use is stored
//! before the machine is let in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use hob_core::{Digest, Id, Secret, Timestamp};
use hob_store::{Expected, Kv, KvError};
use hob_wire::{JoinToken, NewJoinToken};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

const PREFIX: &str = "join-tokens/";
/// Join tokens that are good at one time.
const TOKENS_MAX: usize = 100;
/// Machines that may join with one token.
const USES_MAX: u32 = 1000;
/// Seconds for which one is good.
const SECONDS_MAX: u64 = 7 * 24 * 3600;

/// Why a join token was not made, or does not let a machine in.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// What was asked for is over a limit.
    #[error("make a join token: {0}")]
    Order(String),
    /// It has expired, was used up, or was taken back.
    #[error("join with this token: it was used up, has expired or was taken back")]
    Over,
    /// It could not be stored.
    #[error("keep a join token")]
    Kv(#[from] KvError),
}

/// The stored form.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Row {
    digest: Digest,
    uses: u32,
    expires: Timestamp,
    by: String,
}

/// The join tokens that are good. Cheap to clone.
#[derive(Clone)]
pub struct Joins {
    kv: Arc<dyn Kv>,
    rows: Arc<std::sync::RwLock<BTreeMap<String, Row>>>,
    /// Held while a use is counted, so that no use is counted twice.
    counting: Arc<Mutex<()>>,
}

impl Joins {
    pub(super) async fn open(kv: Arc<dyn Kv>) -> Result<Self, KvError> {
        let mut rows = BTreeMap::new();
        for entry in kv.list(PREFIX).await?.entries {
            let id = entry.key.strip_prefix(PREFIX).map(str::to_owned);
            if let (Some(id), Ok(row)) = (id, serde_json::from_slice(&entry.value)) {
                rows.insert(id, row);
            }
        }
        Ok(Self { kv, rows: Arc::new(std::sync::RwLock::new(rows)), counting: Arc::default() })
    }

    /// Makes a token. It is told this once.
    pub async fn make(&self, new: NewJoinToken, by: &str, now: Timestamp) -> Result<JoinToken, JoinError> {
        let refuse = |what: String| Err(JoinError::Order(what));
        if !(1..=USES_MAX).contains(&new.uses) {
            return refuse(format!("it may be used 1 to {USES_MAX} times"));
        }
        if !(1..=SECONDS_MAX).contains(&new.seconds) {
            return refuse(format!("it may be good for 1 to {SECONDS_MAX} seconds"));
        }
        let _counting = self.counting.lock().await;
        self.drop_expired(now).await?;
        if self.rows.read().expect("no holder panics").len() >= TOKENS_MAX {
            return refuse(format!("{TOKENS_MAX} are good already; take one back first"));
        }
        let (id, token) = (Id::short(), Secret::generate("join"));
        let expires = now.plus(Duration::from_secs(new.seconds));
        let row = Row { digest: token.digest(), uses: new.uses, expires, by: by.to_owned() };
        self.put(&id, row.clone()).await?;
        Ok(JoinToken { token: Some(token.expose().to_owned()), ..told(&id, &row) })
    }

    /// The tokens that are good, without themselves.
    pub fn list(&self, now: Timestamp) -> Vec<JoinToken> {
        let rows = self.rows.read().expect("no holder panics");
        rows.iter().filter(|(_, row)| row.expires > now).map(|(id, row)| told(id, row)).collect()
    }

    /// Takes a token back; false when there is none of this id.
    pub async fn take_back(&self, id: &str) -> Result<bool, JoinError> {
        let _counting = self.counting.lock().await;
        self.kv.delete(&format!("{PREFIX}{id}"), Expected::Any).await?;
        Ok(self.rows.write().expect("no holder panics").remove(id).is_some())
    }

    /// Counts a use, which lets one machine in.
    pub async fn count(&self, id: &str, now: Timestamp) -> Result<(), JoinError> {
        let _counting = self.counting.lock().await;
        let row = self.rows.read().expect("no holder panics").get(id).cloned();
        let mut row = row.filter(|row| row.expires > now && row.uses > 0).ok_or(JoinError::Over)?;
        row.uses -= 1;
        if row.uses > 0 {
            return Ok(self.put(id, row).await?);
        }
        self.kv.delete(&format!("{PREFIX}{id}"), Expected::Any).await?;
        self.rows.write().expect("no holder panics").remove(id);
        Ok(())
    }

    /// The id of a token, also of one that has expired: whoever shows it is told so.
    pub(super) fn find(&self, token: &Secret) -> Option<String> {
        let digest = token.digest();
        let rows = self.rows.read().expect("no holder panics");
        rows.iter().find(|(_, row)| row.digest == digest).map(|(id, _)| id.clone())
    }

    async fn put(&self, id: &str, row: Row) -> Result<(), KvError> {
        let value = serde_json::to_vec(&row).expect("a join token has only texts and numbers");
        self.kv.put(&format!("{PREFIX}{id}"), Expected::Any, value.into()).await?;
        self.rows.write().expect("no holder panics").insert(id.to_owned(), row);
        Ok(())
    }

    async fn drop_expired(&self, now: Timestamp) -> Result<(), KvError> {
        let expired: Vec<String> = {
            let rows = self.rows.read().expect("no holder panics");
            rows.iter().filter(|(_, row)| row.expires <= now).map(|(id, _)| id.clone()).collect()
        };
        for id in expired {
            self.kv.delete(&format!("{PREFIX}{id}"), Expected::Any).await?;
            self.rows.write().expect("no holder panics").remove(&id);
        }
        Ok(())
    }
}

fn told(id: &str, row: &Row) -> JoinToken {
    let (id, by) = (id.to_owned(), row.by.clone());
    JoinToken { id, token: None, uses: row.uses, expires: row.expires, by }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hob_store::{Store, StoreOptions};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::EPOCH.plus(Duration::from_secs(seconds))
    }

    #[tokio::test]
    async fn a_token_lets_in_as_often_and_as_long_as_it_says_also_after_a_restart() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), StoreOptions::default()).await.unwrap();
        let joins = Joins::open(Arc::clone(&store.kv)).await.unwrap();
        let made = joins.make(NewJoinToken { uses: 2, seconds: 60 }, "ann", at(0)).await.unwrap();
        let token = Secret::new(made.token.unwrap());
        assert_eq!(joins.find(&token).as_ref(), Some(&made.id));
        assert_eq!(joins.find(&Secret::new("nonsense")), None);
        assert_eq!(joins.list(at(0))[0].token, None, "it is told once");
        joins.count(&made.id, at(1)).await.unwrap();

        let joins = Joins::open(Arc::clone(&store.kv)).await.unwrap();
        assert_eq!(joins.list(at(1))[0].uses, 1);
        assert!(matches!(joins.count(&made.id, at(60)).await, Err(JoinError::Over)), "it has expired");
        joins.count(&made.id, at(59)).await.unwrap();
        assert!(matches!(joins.count(&made.id, at(59)).await, Err(JoinError::Over)), "it is used up");
        assert_eq!(joins.find(&token), None);
        let stored = store.kv.list(PREFIX).await.unwrap().entries;
        assert!(stored.is_empty(), "{stored:?}");
    }

    #[tokio::test]
    async fn limits_are_told_and_expired_tokens_make_room() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path(), StoreOptions::default()).await.unwrap();
        let joins = Joins::open(Arc::clone(&store.kv)).await.unwrap();
        for new in [
            NewJoinToken { uses: 0, seconds: 1 },
            NewJoinToken { uses: USES_MAX + 1, seconds: 1 },
            NewJoinToken { uses: 1, seconds: 0 },
            NewJoinToken { uses: 1, seconds: SECONDS_MAX + 1 },
        ] {
            assert!(matches!(joins.make(new, "ann", at(0)).await, Err(JoinError::Order(_))), "{new:?}");
        }
        let new = NewJoinToken { uses: 1, seconds: 10 };
        for _ in 0..TOKENS_MAX {
            joins.make(new, "ann", at(0)).await.unwrap();
        }
        assert!(matches!(joins.make(new, "ann", at(9)).await, Err(JoinError::Order(_))));
        let made = joins.make(new, "ann", at(10)).await.unwrap();
        assert!(joins.take_back(&made.id).await.unwrap());
        assert!(!joins.take_back(&made.id).await.unwrap());
        assert!(joins.list(at(10)).is_empty());
    }
}
