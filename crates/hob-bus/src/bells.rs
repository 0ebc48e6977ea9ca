//! Wakes those who wait for events, each only when one of its topics has something new.
//!
//! A subscription that sleeps costs a publisher nothing: a commit rings the bells of its own topics alone.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};

use hob_store::Tag;
use tokio::sync::Notify;

/// The bells of all topics.
#[derive(Debug, Default)]
pub(crate) struct Bells {
    listeners: RwLock<HashMap<Tag, Vec<Weak<Notify>>>>,
    /// Those who listen to every topic.
    everywhere: RwLock<Vec<Weak<Notify>>>,
    /// Topics that have something new, which readers may not see yet.
    touched: Mutex<BTreeSet<Tag>>,
}

impl Bells {
    /// From now on this bell rings for these topics, and for no others.
    pub(crate) fn listen(&self, tags: &BTreeSet<Tag>, bell: &Arc<Notify>) {
        let mut listeners = self.listeners.write().unwrap_or_else(PoisonError::into_inner);
        let ours = Arc::downgrade(bell);
        listeners.retain(|_, bells| {
            bells.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&ours));
            !bells.is_empty()
        });
        for tag in tags {
            listeners.entry(tag.clone()).or_default().push(ours.clone());
        }
    }

    /// From now on this bell rings whenever the head moves.
    pub(crate) fn listen_to_all(&self, bell: &Arc<Notify>) {
        let mut everywhere = self.everywhere.write().unwrap_or_else(PoisonError::into_inner);
        everywhere.retain(|other| other.strong_count() > 0);
        everywhere.push(Arc::downgrade(bell));
    }

    /// These topics have something new, which readers see once the head moves. Noted also when nobody listens: who
    /// begins to between here and there is not forgotten.
    pub(crate) fn touch<'a>(&self, tags: impl IntoIterator<Item = &'a Tag>) {
        let (mut touched, mut last) = (self.touched(), None);
        for tag in tags {
            if last != Some(tag) && !touched.contains(tag) {
                touched.insert(tag.clone());
            }
            last = Some(tag);
        }
    }

    /// The head has moved: rings for every topic that was touched.
    pub(crate) fn ring(&self) {
        let everywhere = self.everywhere.read().unwrap_or_else(PoisonError::into_inner);
        everywhere.iter().filter_map(Weak::upgrade).for_each(|bell| bell.notify_waiters());
        drop(everywhere);
        let touched = std::mem::take(&mut *self.touched());
        if touched.is_empty() {
            return;
        }
        let listeners = self.listeners.read().unwrap_or_else(PoisonError::into_inner);
        for bell in touched.iter().filter_map(|tag| listeners.get(tag)).flatten() {
            if let Some(bell) = bell.upgrade() {
                bell.notify_waiters();
            }
        }
    }

    fn touched(&self) -> MutexGuard<'_, BTreeSet<Tag>> {
        self.touched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bell_rings_for_its_own_topics_alone() {
        let bells = Bells::default();
        let tag = |text: &str| Tag::new(text).unwrap();
        let (orders, riders) = (tag("qa/uk/orders"), tag("qa/uk/riders"));
        let bell = Arc::new(Notify::new());
        bells.listen(&BTreeSet::from([orders.clone()]), &bell);
        let is_rung = async |touched: &Tag| {
            let mut notified = std::pin::pin!(bell.notified());
            notified.as_mut().enable();
            bells.touch([touched]);
            bells.ring();
            futures_util::future::poll_immediate(notified).await.is_some()
        };
        assert!(is_rung(&orders).await);
        assert!(!is_rung(&riders).await);
        bells.listen(&BTreeSet::from([riders.clone()]), &bell);
        assert!(!is_rung(&orders).await);
        assert!(is_rung(&riders).await);
    }
}
