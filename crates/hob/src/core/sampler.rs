//! Writes down how far each subscription is behind and how much each topic has had, so that people can look back.
//!
//! The bus knows only the present. Every ten seconds its figures become samples like any service's:
//! `hob.subscription.lag_events`, `.lag_seconds`, `.parked_keys` and `.dead_letters` (gauges, with the consumer as
//! service and the label `subscription`), and `hob.topic.events` (a count, with the owner as service and the label
//! `topic`). A Hob that is stopped leaves a hole, never a guess.

use std::collections::BTreeMap;
use std::time::Duration;

use hob_bus::Bus;
use hob_core::{Clock, Name, Scope, Timestamp, TopicName};
use hob_deploy::Deploy;
use hob_metrics::{Metrics, Sample, Value};
use hob_wire::{SubscriptionState, Topic};

const EVERY: Duration = Duration::from_secs(10);

/// Reads the bus, and writes series.
pub(super) struct Sampler {
    pub(super) bus: Bus,
    pub(super) deploy: Deploy,
    pub(super) metrics: Metrics,
    pub(super) clock: Clock,
}

impl Sampler {
    /// Samples until the process ends.
    pub(super) async fn run(self) {
        let mut counts = Counts::default();
        let mut is_failing = false;
        loop {
            tokio::time::sleep(EVERY).await;
            let failed = self.sample(&mut counts).await.err();
            if let Some(error) = failed.as_ref().filter(|_| !is_failing) {
                let error = hob_api::chain(error.as_ref());
                tracing::warn!(error, "figures of subscriptions and topics could not be kept; trying on");
            }
            is_failing = failed.is_some();
        }
    }

    async fn sample(&self, counts: &mut Counts) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        let declared = self.deploy.declarations();
        let scopes = declared.map(|(_, declared)| declared.platform.scopes()).unwrap_or_default();
        let mut samples = Vec::new();
        for scope in &scopes {
            let states = self.bus.subscriptions(scope).await?;
            let now = self.clock.now();
            samples.extend(states.iter().flat_map(|state| of_subscription(state, now)));
            samples.extend(self.bus.topics(scope).iter().filter_map(|topic| counts.take(topic, now)));
        }
        Ok(self.metrics.append(samples).await?)
    }
}

fn of_subscription(state: &SubscriptionState, time: Timestamp) -> Vec<Sample> {
    let scope = Scope { environment: state.environment.clone(), tenant: state.tenant.clone() };
    let gauges = [
        ("hob.subscription.lag_events", state.lag_events as f64),
        ("hob.subscription.lag_seconds", state.lag_seconds),
        ("hob.subscription.parked_keys", state.parked_keys as f64),
        ("hob.subscription.dead_letters", state.dead_letters as f64),
    ];
    let sample = |(name, value)| {
        let value = Value::Gauge(value);
        labelled(&scope, &state.service, name, ("subscription", &state.name), value, time)
    };
    gauges.into_iter().map(sample).collect()
}

/// How many events each topic had when it was looked at last.
#[derive(Default)]
struct Counts(BTreeMap<(Scope, TopicName), u64>);

impl Counts {
    /// The events since the last look; nothing at the first one, which only sets the mark, and for a quiet topic.
    fn take(&mut self, topic: &Topic, time: Timestamp) -> Option<Sample> {
        let scope = Scope { environment: topic.environment.clone(), tenant: topic.tenant.clone() };
        let before = self.0.insert((scope.clone(), topic.name.clone()), topic.events)?;
        let count = topic.events.checked_sub(before).filter(|count| *count > 0)?;
        let value = Value::Count(count as f64);
        Some(labelled(&scope, &topic.owner, "hob.topic.events", ("topic", &topic.name), value, time))
    }
}

fn labelled(
    scope: &Scope,
    service: &Name,
    name: &str,
    (label, of): (&str, &TopicName),
    value: Value,
    time: Timestamp,
) -> Sample {
    Sample {
        time,
        scope: scope.clone(),
        service: service.clone(),
        name: name.to_owned(),
        labels: BTreeMap::from([(label.to_owned(), of.to_string())]),
        value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(events: u64) -> Topic {
        serde_json::from_value(serde_json::json!({
            "name": "orders", "owner": "orders", "environment": "demo", "tenant": "uk", "events": events,
        }))
        .unwrap()
    }

    #[test]
    fn a_subscription_becomes_four_gauges_under_its_owner_and_name() {
        let state: SubscriptionState = serde_json::from_value(serde_json::json!({
            "name": "orders.emails", "service": "mailer", "environment": "demo", "tenant": "uk",
            "topics": ["orders"], "delivery": {}, "state": "stalled", "cursor": "00000000000000000007",
            "lag_events": 12, "lag_seconds": 3.5, "in_flight": 0, "parked_keys": 2, "dead_letters": 1,
            "delivered": 7, "failed": 4, "streams": 0,
        }))
        .unwrap();
        let samples = of_subscription(&state, Timestamp::EPOCH);
        let told: Vec<_> = samples.iter().map(|s| (s.name.as_str(), s.value.clone())).collect();
        let gauge = Value::Gauge;
        assert_eq!(
            told,
            [
                ("hob.subscription.lag_events", gauge(12.0)),
                ("hob.subscription.lag_seconds", gauge(3.5)),
                ("hob.subscription.parked_keys", gauge(2.0)),
                ("hob.subscription.dead_letters", gauge(1.0)),
            ]
        );
        for sample in samples {
            assert_eq!((sample.service.as_str(), sample.scope.to_string().as_str()), ("mailer", "demo/uk"));
            assert_eq!(sample.labels["subscription"], "orders.emails");
        }
    }

    #[test]
    fn of_topics_only_what_came_since_the_last_look_counts() {
        let mut counts = Counts::default();
        let mut take = |events| counts.take(&topic(events), Timestamp::EPOCH).map(|sample| sample.value);
        assert_eq!(take(100), None);
        assert_eq!(take(103), Some(Value::Count(3.0)));
        assert_eq!(take(103), None);
        // Retention may take from a topic's count, which is no event.
        assert_eq!(take(50), None);
        assert_eq!(take(51), Some(Value::Count(1.0)));
    }
}
