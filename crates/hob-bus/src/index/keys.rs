//! How ids and entities are known: by 128 bits of a keyed hash, which nobody can make collide who does not know the key.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use std::num::ParseIntError;
use std::str::FromStr;

use bytes::Bytes;
use hob_core::random_bytes;
use hob_store::{Expected, Kv, KvError, Tag};
use siphasher::sip128::{Hasher128, SipHasher13};

use crate::Error;

/// Where the key is kept.
const KEY: &str = "index/key";
const KEY_BYTES: usize = 16;

/// The key of this data directory.
pub(crate) struct Keys(SipHasher13);

/// An id of a source within a scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct IdKey(pub(super) [u8; 16]);

/// What anything else is known by, such as a request; written as 32 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Mark(pub(crate) [u8; 16]);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Mark {
    type Err = ParseIntError;

    fn from_str(text: &str) -> Result<Self, ParseIntError> {
        u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes()))
    }
}

/// An entity on a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EntityHash([u8; 16]);

/// An entity on a topic with its name: the topic's tag, a zero byte, the href.
#[derive(Clone, Debug)]
pub(crate) struct EntityName {
    pub(super) hash: EntityHash,
    pub(super) name: Box<[u8]>,
}

impl Keys {
    /// Reads the key, or makes it.
    pub(crate) async fn load(kv: &dyn Kv) -> Result<Self, Error> {
        let made = Bytes::copy_from_slice(&random_bytes::<KEY_BYTES>());
        let value = match kv.get(KEY).await? {
            Some(entry) => entry.value,
            None => match kv.put(KEY, Expected::Absent, made.clone()).await {
                Ok(_) => made,
                Err(KvError::Conflict { .. }) => kv.get(KEY).await?.map_or(made, |entry| entry.value),
                Err(error) => return Err(error.into()),
            },
        };
        let what = || Error::Row { what: KEY.to_owned(), problem: "it is not 16 bytes".to_owned() };
        let key: [u8; KEY_BYTES] = value.as_ref().try_into().map_err(|_| what())?;
        Ok(Self::new(&key))
    }

    pub(crate) fn new(key: &[u8; KEY_BYTES]) -> Self {
        Self(SipHasher13::new_with_key(key))
    }

    /// The scope is written `environment/tenant`; `space` is who the id belongs to.
    pub(crate) fn id(&self, scope: &str, space: &str, id: &str) -> IdKey {
        IdKey(self.mark(&[scope.as_bytes(), space.as_bytes(), id.as_bytes()]).0)
    }

    /// What these parts together are known by.
    pub(crate) fn mark(&self, parts: &[&[u8]]) -> Mark {
        let mut hasher = self.0;
        for part in parts {
            hasher.write(&(part.len() as u32).to_le_bytes());
            hasher.write(part);
        }
        Mark(hasher.finish128().as_bytes())
    }

    pub(crate) fn entity(&self, tag: &Tag, href: &str) -> EntityName {
        let name = name_of(tag, href).into_boxed_slice();
        let mut hasher = self.0;
        hasher.write(&name);
        EntityName { hash: EntityHash(hasher.finish128().as_bytes()), name }
    }
}

/// The name of an entity on a topic; a tag never holds a zero byte.
pub(crate) fn name_of(tag: &Tag, href: &str) -> Vec<u8> {
    [tag.as_str().as_bytes(), b"\0", href.as_bytes()].concat()
}

/// What the names of all entities of a topic begin with.
pub(crate) fn prefix_of(tag: &Tag) -> Vec<u8> {
    name_of(tag, "")
}

/// An entity as deliveries are ordered by it. Two that share a key wait for each other, and no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct EntityKey(u64);

impl EntityKey {
    pub(crate) fn new(tag: &Tag, subject: &str) -> Self {
        let mut hasher = DefaultHasher::new();
        (tag.as_str(), subject).hash(&mut hasher);
        Self(hasher.finish())
    }

    /// The key as a number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// A map by keys that are hashes already.
pub(super) type KeyMap<K, V> = HashMap<K, V, BuildHasherDefault<KeyHasher>>;

/// Takes the first half of a key for its hash.
#[derive(Default)]
pub(super) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }
}

impl Hash for IdKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

impl Hash for EntityHash {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_an_id_do_not_run_into_each_other() {
        let keys = Keys::new(&[7; 16]);
        assert_ne!(keys.id("qa/uk", "orders", "a"), keys.id("qa/uk", "order", "sa"));
        assert_eq!(keys.id("qa/uk", "orders", "a"), keys.id("qa/uk", "orders", "a"));
        assert_ne!(keys.id("qa/uk", "orders", "a"), Keys::new(&[8; 16]).id("qa/uk", "orders", "a"));
    }
}
