//! One fetch of a representation at a time: whoever comes second waits, and finds what the first one brought.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedMutexGuard;

type Turns = HashMap<(String, String), Arc<tokio::sync::Mutex<()>>>;

/// The fetches under way.
#[derive(Debug, Default)]
pub(super) struct Flights(Arc<Mutex<Turns>>);

/// The right to fetch a representation; the next one has it when this is dropped.
pub(super) struct Turn {
    guard: Option<OwnedMutexGuard<()>>,
    key: (String, String),
    turns: Arc<Mutex<Turns>>,
}

impl Flights {
    /// Waits until nobody else fetches this representation.
    pub(super) async fn turn(&self, href: &str, variant: &str) -> Turn {
        let key = (href.to_owned(), variant.to_owned());
        let turn = Arc::clone(lock(&self.0).entry(key.clone()).or_default());
        Turn { guard: Some(turn.lock_owned().await), key, turns: Arc::clone(&self.0) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.guard = None;
        let mut turns = lock(&self.turns);
        // Only the table itself holds a turn for which nobody waits.
        if turns.get(&self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(&self.key);
        }
    }
}

fn lock(turns: &Mutex<Turns>) -> std::sync::MutexGuard<'_, Turns> {
    turns.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_at_a_time_and_nothing_is_left_behind() {
        let flights = Flights::default();
        let first = flights.turn("http://a/1", "json").await;
        let other = flights.turn("http://a/2", "json").await;
        let mut second = std::pin::pin!(flights.turn("http://a/1", "json"));
        assert!(futures_util::poll!(&mut second).is_pending());
        drop(first);
        drop(second.await);
        drop(other);
        assert!(lock(&flights.0).is_empty());
    }
}
