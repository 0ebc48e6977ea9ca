//! The scopes' clocks: the wall's, or the latest time that a scope's clock topic told.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use hob_core::{Clock, Scope, Timestamp, TopicName};
use hob_store::Tag;
use tokio::sync::watch;

use crate::positions::{Positions, tag_of};

/// The clocks.
pub(crate) struct Clocks {
    pub(crate) wall: Clock,
    positions: Arc<Positions>,
    state: RwLock<State>,
}

#[derive(Default)]
struct State {
    topics: HashMap<Scope, (TopicName, Tag)>,
    watches: HashMap<Scope, watch::Sender<Timestamp>>,
}

impl Clocks {
    pub(crate) fn new(wall: Clock, positions: Arc<Positions>) -> Self {
        Self { wall, positions, state: RwLock::default() }
    }

    pub(crate) fn set(&self, clocks: BTreeMap<Scope, TopicName>) {
        let named = clocks.into_iter().filter_map(|(scope, topic)| {
            let tag = tag_of(&scope, &topic).ok()?;
            Some((scope, (topic, tag)))
        });
        let topics = named.collect();
        let mut state = self.write();
        state.topics = topics;
        for (scope, watch) in &state.watches {
            watch.send_replace(self.read_clock(&state, scope));
        }
    }

    pub(crate) fn topic(&self, scope: &Scope) -> Option<TopicName> {
        self.read().topics.get(scope).map(|(topic, _)| topic.clone())
    }

    pub(crate) fn now(&self, scope: &Scope) -> Timestamp {
        self.read_clock(&self.read(), scope)
    }

    pub(crate) fn watch(&self, scope: &Scope) -> watch::Receiver<Timestamp> {
        let mut state = self.write();
        let now = self.read_clock(&state, scope);
        state.watches.entry(scope.clone()).or_insert_with(|| watch::Sender::new(now)).subscribe()
    }

    /// Moves the watches of scopes whose clock topic is among the tags; their records are durable.
    pub(crate) fn told<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) {
        let state = self.read();
        if state.watches.is_empty() {
            return;
        }
        let tags: Vec<&Tag> = tags.into_iter().collect();
        for (scope, (_, tag)) in state.topics.iter().filter(|(_, (_, clock))| tags.contains(&clock)) {
            let (Some(watch), Some(time)) = (state.watches.get(scope), self.positions.latest(tag)) else {
                continue;
            };
            move_to(watch, time);
        }
    }

    /// Moves the watches of scopes on the wall clock.
    pub(crate) fn tick(&self) {
        let now = self.wall.now();
        let state = self.read();
        let on_wall = state.watches.iter().filter(|(scope, _)| !state.topics.contains_key(*scope));
        on_wall.for_each(|(_, watch)| move_to(watch, now));
    }

    fn read_clock(&self, state: &State, scope: &Scope) -> Timestamp {
        match state.topics.get(scope) {
            Some((_, tag)) => self.positions.latest(tag).unwrap_or(Timestamp::EPOCH),
            None => self.wall.now(),
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn move_to(watch: &watch::Sender<Timestamp>, time: Timestamp) {
    watch.send_if_modified(|known| {
        let is_later = time > *known;
        *known = time.max(*known);
        is_later
    });
}
