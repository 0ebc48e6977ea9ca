//! Tells of subscriptions that stand still although events wait, as conditions, and of those that move again.

use std::collections::HashMap;
use std::time::Duration;

use hob_core::Timestamp;
use hob_wire::{Condition, SubscriptionState};

use crate::handle::Inner;
use crate::lag::{describe, span};
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
        let is_deleted = |key: &SubscriptionKey| all.iter().all(|subscription| subscription.key != *key);
        let deleted: Vec<_> = self.seen.extract_if(|key, _| is_deleted(key)).collect();
        for (key, _) in deleted.into_iter().filter(|(_, seen)| seen.is_told) {
            report(inner, &key, condition(&key, false, "it was deleted".to_owned())).await;
        }
        for subscription in all {
            subscription.rest(now).await;
            if !self.seen.contains_key(&subscription.key) && !subscription.has_waiting(&inner.positions).await
            {
                continue;
            }
            match describe(&subscription, &inner.reader(), &inner.topics, now).await {
                Ok(state) => {
                    if let Some(condition) = self.judge(&subscription.key, &state, now) {
                        report(inner, &subscription.key, condition).await;
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
            format!(
                "{} events wait, and none was acknowledged for {}",
                state.lag_events,
                span(before.since, now)
            )
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

async fn report(inner: &std::sync::Arc<Inner>, key: &SubscriptionKey, condition: Condition) {
    let bus = Bus { inner: std::sync::Arc::clone(inner) };
    if let Err(error) = bus.report_condition(Some(&key.scope), condition).await {
        tracing::warn!(%error, subscription = %key, "failed to report how it stands");
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

#[cfg(test)]
mod tests {
    use hob_core::{Clock, TopicName};
    use hob_store::{Store, StoreOptions};
    use hob_wire::{Ack, CursorAt, Draft, Event, SubscriptionSpec, TopicTerms};

    use super::*;
    use crate::{Filter, Publisher, Pull};

    fn topic() -> TopicName {
        "orders".parse().unwrap()
    }

    async fn publish(bus: &Bus) {
        let service = "orders".parse().unwrap();
        let publisher =
            Publisher { scope: "qa/uk".parse().unwrap(), service, request_id: None, traceparent: None };
        let update = serde_json::json!({"topic": "orders", "type": "update", "href": "http://t/orders/1"});
        let drafts: Vec<Draft> = vec![serde_json::from_value(update).unwrap()];
        bus.publish(&publisher, drafts).await.unwrap();
    }

    /// What was told of the subscription: whether it stands, and why.
    async fn told(bus: &Bus, key: &SubscriptionKey) -> Vec<(bool, String)> {
        let filter = Filter::topics(key.scope.clone(), vec!["hob.conditions".parse().unwrap()]);
        let events = bus.events(&filter, 0, 100).await.unwrap().events;
        let condition = |event: Event| serde_json::from_value::<Condition>(event.data?).ok();
        let stalled = events.into_iter().filter_map(condition).filter(|told| told.condition == "stalled");
        stalled.map(|told| (told.active, told.reason)).collect()
    }

    #[tokio::test]
    async fn one_that_stands_still_is_told_until_it_moves_or_is_deleted() {
        let directory = tempfile::tempdir().unwrap();
        let (clock, hand) = Clock::manual("2026-01-05T12:00:00Z".parse().unwrap());
        let store = Store::open(directory.path(), StoreOptions::default()).await.unwrap();
        let bus = Bus::open(&store, clock).await.unwrap();
        let (scope, service) = ("qa/uk".parse().unwrap(), "mailer".parse().unwrap());
        let key = SubscriptionKey { scope, service, name: "emails".parse().unwrap() };
        let owner = "orders".parse().unwrap();
        bus.put_topic(&key.scope, &owner, &topic(), TopicTerms::default()).await.unwrap();
        let spec =
            SubscriptionSpec { topics: vec![topic()], from: CursorAt::Start, ..SubscriptionSpec::default() };
        bus.put_subscription(&key, spec).await.unwrap();
        let mut watchdog = Watchdog::default();
        watchdog.look(&bus.inner).await;
        publish(&bus).await;
        watchdog.look(&bus.inner).await;
        hand.advance(STANDS_STILL_AFTER - Duration::from_millis(1));
        watchdog.look(&bus.inner).await;
        assert_eq!(told(&bus, &key).await, []);
        hand.advance(Duration::from_secs(2));
        for _ in 0..3 {
            watchdog.look(&bus.inner).await;
        }
        let stands = || (true, "mailer has not pulled since Hob started".to_owned());
        assert_eq!(told(&bus, &key).await, [stands()], "once");

        let pull = Pull { max: 10, wait: Duration::ZERO, lease_for: Duration::from_secs(30) };
        let batch = bus.lease(&key, pull).await.unwrap().unwrap();
        let upto = batch.events.last().map(|event| event.sequence.clone());
        bus.ack(&key, Ack { lease: batch.lease, upto, ..Ack::default() }).await.unwrap();
        watchdog.look(&bus.inner).await;
        let moves = (false, "it moves again".to_owned());
        assert_eq!(told(&bus, &key).await, [stands(), moves.clone()]);

        publish(&bus).await;
        watchdog.look(&bus.inner).await;
        hand.advance(STANDS_STILL_AFTER * 2);
        watchdog.look(&bus.inner).await;
        bus.delete_subscription(&key).await.unwrap();
        watchdog.look(&bus.inner).await;
        let told = told(&bus, &key).await;
        assert_eq!(told.len(), 4);
        assert_eq!((told[2].0, told[3].clone()), (true, (false, "it was deleted".to_owned())));
    }
}
