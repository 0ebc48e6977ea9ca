//! News of deploys, put on Hob's own topics.

use std::sync::atomic::{AtomicU64, Ordering};

use hob_bus::{Bus, hob_topics};
use hob_core::{Scope, TopicName};
use hob_deploy::Announce;
use hob_wire::{Condition, EventChange, Instance, Notice, Rollout};
use tokio::sync::mpsc;

/// News that wait to be published; more are dropped and counted. A notice says only that something changed, so whoever
/// missed one learns the same from the next, or from the API.
const WAITING_MAX: usize = 1024;

enum News {
    Notice { scope: Scope, topic: &'static str, change: EventChange, href: String },
    Condition(Condition),
}

/// Puts news into a queue; [`publish`] empties it.
pub(super) struct Announcer {
    queue: mpsc::Sender<News>,
    dropped: AtomicU64,
    origin: String,
}

/// The queue's other end.
pub(super) struct Waiting(mpsc::Receiver<News>);

/// A queue of news about resources of the API at `origin`.
pub(super) fn announcer(origin: String) -> (Announcer, Waiting) {
    let (queue, waiting) = mpsc::channel(WAITING_MAX);
    (Announcer { queue, dropped: AtomicU64::new(0), origin }, Waiting(waiting))
}

impl Announcer {
    fn put(&self, news: News) {
        if self.queue.try_send(news).is_err() {
            let dropped = self.dropped.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::warn!(dropped, "news of a deploy was dropped: the bus does not keep up");
        }
    }
}

impl Announce for Announcer {
    fn instance_changed(&self, instance: &Instance, change: EventChange) {
        let scope = Scope { environment: instance.environment.clone(), tenant: instance.tenant.clone() };
        let href = format!("{}/v1/instances/{}", self.origin, instance.id);
        self.put(News::Notice { scope, topic: hob_topics::INSTANCES, change, href });
    }

    fn rollout_changed(&self, rollout: &Rollout, change: EventChange) {
        let scope = Scope { environment: rollout.environment.clone(), tenant: rollout.tenant.clone() };
        let href = format!("{}/v1/services/{}/rollouts/{}", self.origin, rollout.service, rollout.id);
        self.put(News::Notice { scope, topic: hob_topics::ROLLOUTS, change, href });
    }

    fn condition(&self, condition: Condition) {
        self.put(News::Condition(condition));
    }
}

/// Publishes news until nobody puts any more.
pub(super) async fn publish(mut waiting: Waiting, bus: Bus) {
    while let Some(news) = waiting.0.recv().await {
        let published = match news {
            News::Notice { scope, topic, change, href } => {
                let topic: TopicName = topic.parse().expect("Hob's own topics have good names");
                let notice = Notice { href: Some(href), ..Notice::new(change.as_str()) };
                bus.publish_as_hob(&scope, &topic, vec![notice]).await.map(drop)
            }
            News::Condition(condition) => {
                let scope = match (&condition.environment, &condition.tenant) {
                    (Some(environment), Some(tenant)) => {
                        Some(Scope { environment: environment.clone(), tenant: tenant.clone() })
                    }
                    _ => None,
                };
                bus.report_condition(scope.as_ref(), condition).await.map(drop)
            }
        };
        if let Err(error) = published {
            tracing::warn!(error = hob_api::chain(&error), "news of a deploy could not be published");
        }
    }
}
