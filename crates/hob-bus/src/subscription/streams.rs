//! The live streams of a subscription, and how far each has come.
//!
//! A reader of a stream says what it has done by acknowledging it, or says nothing: then what was sent counts as
//! delivered, and the cursor follows. It follows the slowest stream, and only while nobody pulls: a look at the stream
//! of a subscription that is pulled or pushed takes nothing away from its consumer.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use hob_core::Timestamp;

use super::{Body, Damage, Subscription};
use crate::Error;
use crate::step::Input;

/// How long ago the last pull was, at least, when streams move the cursor.
const PULLS_OVER_AFTER: Duration = Duration::from_secs(60);

/// What moves the cursor of a subscription that is read as a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// What was sent.
    #[default]
    Sent,
    /// What the reader acknowledges, alone.
    Acknowledged,
}

/// How far one stream has come.
#[derive(Debug)]
pub(super) struct Place {
    progress: Progress,
    /// Everything up to here was sent.
    upto: AtomicU64,
    /// Events sent that are not counted yet.
    events: AtomicU64,
    is_open: AtomicBool,
}

/// One stream of a subscription, for as long as it lives.
pub(crate) struct Streaming {
    subscription: Arc<Subscription>,
    place: Arc<Place>,
    /// Events given out and not yet known to be sent.
    given: u64,
}

impl Streaming {
    pub(crate) fn new(subscription: Arc<Subscription>, progress: Progress) -> Self {
        let (upto, events, is_open) = (AtomicU64::new(0), AtomicU64::new(0), AtomicBool::new(true));
        let place = Arc::new(Place { progress, upto, events, is_open });
        subscription.places().push(Arc::clone(&place));
        Self { subscription, place, given: 0 }
    }

    pub(crate) fn check_alive(&self) -> Result<(), Error> {
        self.subscription.check_alive()
    }

    /// Events are given out to be sent.
    pub(crate) fn gave(&mut self, events: u64) {
        self.given += events;
    }

    /// It came upon damage.
    pub(crate) async fn met(&self, damage: &Damage) {
        self.subscription.count_damage(damage).await;
    }

    /// What was given out has been sent, which is everything up to here.
    pub(crate) fn sent(&mut self, upto: u64) {
        if self.place.upto.swap(upto, Ordering::AcqRel) == upto && self.given == 0 {
            return;
        }
        self.place.events.fetch_add(std::mem::take(&mut self.given), Ordering::AcqRel);
        if self.place.progress == Progress::Sent {
            self.subscription.is_streamed.store(true, Ordering::Release);
        }
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.place.is_open.store(false, Ordering::Release);
        self.subscription.is_streamed.store(true, Ordering::Release);
    }
}

impl Subscription {
    /// How many live streams are open now.
    pub(crate) fn streams(&self) -> u64 {
        self.places().iter().filter(|place| place.is_open()).count() as u64
    }

    /// Moves the cursor over what streams have sent since the last call.
    pub(crate) async fn follow_streams(&self, now: Timestamp) {
        if self.is_streamed.load(Ordering::Acquire) {
            self.streamed(&mut *self.body.lock().await, now);
        }
    }

    /// The same for who has its body.
    pub(crate) fn streamed(&self, body: &mut Body, now: Timestamp) {
        if !self.is_streamed.swap(false, Ordering::AcqRel) {
            return;
        }
        let Some((upto, events)) = self.sent() else { return };
        if body.row.sink.is_some() {
            return;
        }
        if body.pulled.is_some_and(|pulled| now.since(pulled) < PULLS_OVER_AFTER) {
            // To be looked at again when pulls are over.
            self.is_streamed.store(self.streams() > 0, Ordering::Release);
            return;
        }
        self.step(body, Input::Sent { upto, events }, now);
    }

    /// How far the slowest stream that moves the cursor has come, or when there is none any more, the furthest of
    /// those that have ended; and how many events were sent. Those that have ended are forgotten.
    fn sent(&self) -> Option<(u64, u64)> {
        let mut places = self.places();
        if places.iter().any(|place| place.is_open() && place.progress == Progress::Acknowledged) {
            return None;
        }
        let counting = || places.iter().filter(|place| place.progress == Progress::Sent);
        let upto = |place: &Arc<Place>| place.upto.load(Ordering::Acquire);
        let slowest = counting().filter(|place| place.is_open()).map(upto).min();
        let upto = slowest.or_else(|| counting().map(upto).max());
        let events = counting().map(|place| place.events.swap(0, Ordering::AcqRel)).max();
        places.retain(|place| place.is_open());
        upto.zip(events)
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }
}
