//! The frames, indexes and filters of parts that were read last, bounded by their bytes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hob_store::{KeyFilter, PartIndex, Stored};

/// Bytes that are kept.
pub(crate) const CACHE_BYTES_MAX: usize = 16 << 20;

/// Which piece of which part.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Key {
    Index(String),
    Filter(String),
    Frame(String, u32),
}

/// A piece of a part.
#[derive(Clone, Debug)]
pub(crate) enum Piece {
    Index(Arc<PartIndex>),
    Filter(Arc<KeyFilter>),
    Frame(Arc<Vec<Stored>>),
}

/// The pieces, and in which order they were last asked for.
#[derive(Debug)]
pub(crate) struct Cache {
    pieces: HashMap<Key, (Piece, usize, u64)>,
    order: BTreeMap<u64, Key>,
    bytes: usize,
    bytes_max: usize,
    tick: u64,
}

impl Cache {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self { pieces: HashMap::new(), order: BTreeMap::new(), bytes: 0, bytes_max, tick: 0 }
    }

    pub(crate) fn get(&mut self, key: &Key) -> Option<Piece> {
        let (piece, _, tick) = self.pieces.get_mut(key)?;
        self.tick += 1;
        self.order.remove(tick);
        *tick = self.tick;
        self.order.insert(self.tick, key.clone());
        Some(piece.clone())
    }

    /// Keeps a piece; one that alone is over the limit is not kept.
    pub(crate) fn put(&mut self, key: Key, piece: Piece, bytes: usize) {
        self.remove(&key);
        if bytes > self.bytes_max {
            return;
        }
        self.tick += 1;
        self.bytes += bytes;
        self.order.insert(self.tick, key.clone());
        self.pieces.insert(key, (piece, bytes, self.tick));
        while self.bytes > self.bytes_max {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.remove(&oldest);
        }
    }

    fn remove(&mut self, key: &Key) {
        if let Some((_, bytes, tick)) = self.pieces.remove(key) {
            self.bytes -= bytes;
            self.order.remove(&tick);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_asked_for_longest_goes_first() {
        let mut cache = Cache::new(10);
        let key = |number| Key::Frame("a".to_owned(), number);
        let piece = || Piece::Frame(Arc::default());
        (1..=3).for_each(|number| cache.put(key(number), piece(), 3));
        assert!(cache.get(&key(1)).is_some());
        cache.put(key(4), piece(), 4);
        let kept: Vec<bool> = (1..=4).map(|number| cache.get(&key(number)).is_some()).collect();
        assert_eq!(kept, [true, false, true, true]);
        cache.put(key(5), piece(), 11);
        assert!(cache.get(&key(5)).is_none());
        assert_eq!((cache.bytes, cache.pieces.len(), cache.order.len()), (10, 3, 3));
    }
}
