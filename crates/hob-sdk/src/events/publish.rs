//! Publishing, without an outbox: for streams, and for services whose changes need no notice in the same transaction.

use hob_core::TopicName;
use hob_core::limits::PUBLISH_BATCH_MAX;
use hob_wire::{Draft, Notice, Published};

use crate::client::{Client, Error, Request};

/// Publishes events of the topics that the service owns.
#[derive(Clone, Debug)]
pub struct Publisher(Client);

impl Publisher {
    /// A publisher that calls through `client`.
    pub fn new(client: &Client) -> Self {
        Self(client.clone())
    }

    /// Publishes one event. When this returns, it is on disk.
    ///
    /// # Errors
    /// When Hob refuses the event or does not answer; it may then have been taken nevertheless.
    pub async fn publish(&self, topic: &TopicName, notice: Notice) -> Result<Published, Error> {
        let repeatable = notice.id.is_some();
        let request = Request::post(format!("/v1/topics/{topic}/events")).json(&notice);
        let request = if repeatable { request.repeatable() } else { request };
        self.0.send(request).await?.json()
    }

    /// Publishes events of any of the service's topics, in order; more than fit in one request go in several.
    ///
    /// # Errors
    /// As [`Publisher::publish`]; earlier requests of the same call have then been taken.
    pub async fn publish_all(&self, drafts: &[Draft]) -> Result<Option<Published>, Error> {
        let mut all: Option<Published> = None;
        for batch in drafts.chunks(PUBLISH_BATCH_MAX) {
            let repeatable = batch.iter().all(|draft| draft.notice.id.is_some());
            let request = Request::post("/v1/events").json(batch);
            let request = if repeatable { request.repeatable() } else { request };
            let published: Published = self.0.send(request).await?.json()?;
            all = Some(match all {
                None => published,
                Some(before) => Published {
                    first: before.first,
                    last: published.last,
                    deduplicated: before.deduplicated + published.deduplicated,
                },
            });
        }
        Ok(all)
    }
}
