//! Tells of subscriptions that stand still although events wait, as conditions, and of those that move again.

use std::collections::HashMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Condition, SubscriptionState};

use crate::handle::Inner;
use crate::lag::describe;
use crate::{Bus, SubscriptionKey};

/// How often subscriptions are looked at.
pub(crate) const WATCH_EVERY: Duration = Duration::from_secs(10);
/// A subscription that stands still so long is told.
const STANDS_STILL_AFTER: Duration = Duration::from_secs(60);

/// What the watchdog remembers of subscriptions that have something waiting.
#[derive(Default)]
pub(crate) struct Watchdog {
    seen: HashMap<SubscriptionKey, Seen>,
}

struct Seen {
    cursor: String,
    delivered: u64,
    since: Timestamp,
    is_told: bool,
}

impl Watchdog {
    /// Looks once at every subscription that has something waiting, or had.
    pub(crate) async fn look(&mut self, inner: &std::sync::Arc<Inner>) {
        let now = inner.clocks.wall.now();
        let all = inner.subscriptions.all();
        self.seen.retain(|key, _| all.iter().any(|subscription| subscription.key == *key));
        for subscription in all {
            if !self.seen.contains_key(&subscription.key) && !subscription.has_waiting(&inner.positions).await
            {
                continue;
            }
            match describe(&subscription, &inner.reader(), &inner.topics, now).await {
                Ok(state) => {
                    if let Some(condition) = self.judge(&subscription.key, &state, now) {
                        let bus = Bus { inner: std::sync::Arc::clone(inner) };
                        if let Err(error) =
                            bus.report_condition(Some(&subscription.key.scope), condition).await
                        {
                            tracing::warn!(%error, subscription = %subscription.key, "failed to report how it stands");
                        }
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, subscription = %subscription.key, "failed to look after it")
                }
            }
        }
    }

    /// What is to be told of a subscription, when there is something.
    fn judge(
        &mut self,
        key: &SubscriptionKey,
        state: &SubscriptionState,
        now: Timestamp,
    ) -> Option<Condition> {
        let is_waiting = state.lag_events > 0;
        let moved = |seen: &Seen| seen.cursor != state.cursor || seen.delivered != state.delivered;
        let before = self.seen.remove(key);
        if !is_waiting || before.as_ref().is_some_and(moved) {
            let was_told = before.is_some_and(|seen| seen.is_told);
            if is_waiting {
                self.remember(key, state, now, false);
            }
            return was_told.then(|| condition(key, false, "it moves again".to_owned()));
        }
        let Some(before) = before else {
            self.remember(key, state, now, false);
            return None;
        };
        let is_late = now.since(before.since) >= STANDS_STILL_AFTER;
        let reason = state.stall_reason.clone().unwrap_or_else(|| {
            format!("{} events wait, and none was acknowledged since {}", state.lag_events, before.since)
        });
        self.remember(key, state, before.since, before.is_told || is_late);
        (is_late && !before.is_told).then(|| condition(key, true, reason))
    }

    fn remember(
        &mut self,
        key: &SubscriptionKey,
        state: &SubscriptionState,
        since: Timestamp,
        is_told: bool,
    ) {
        let seen = Seen { cursor: state.cursor.clone(), delivered: state.delivered, since, is_told };
        self.seen.insert(key.clone(), seen);
    }
}

fn condition(key: &SubscriptionKey, active: bool, reason: String) -> Condition {
    Condition {
        subject: format!("subscription/{}/{}", key.service, key.name),
        condition: "stalled".to_owned(),
        active,
        reason,
        environment: None,
        tenant: None,
    }
}
