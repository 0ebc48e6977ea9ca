//! What the bus offers to those who publish.

use std::borrow::Cow;
use std::sync::Arc;

use hob_core::{Name, Scope, TopicName};
use hob_wire::{Draft, Incoming, Notice, Published};

use super::{Order, OrderedEvent};
use crate::quota::QuotaLeft;
use crate::topics::Outlet;
use crate::{Bus, Error, Publisher};

/// Leave to publish on one topic: one event of its quota is taken already, so that a flood is turned away before its
/// bodies are read.
pub struct Admission {
    outlet: Arc<Outlet>,
    has_quota: bool,
}

impl Admission {
    /// Gives the event back that it took, since nothing is published.
    pub fn give_back(self) {
        if self.has_quota {
            self.outlet.give_back(1);
        }
    }
}

impl Bus {
    /// Lets one event in; the rest of a batch is counted when it is published.
    pub fn admit(&self, scope: &Scope, service: &Name, topic: &str) -> Result<Admission, Error> {
        self.inner.check_open()?;
        let outlet = self.inner.topics.outlet(scope, service, topic)?;
        let left = outlet.take(1, self.inner.clocks.wall.now())?;
        Ok(Admission { outlet, has_quota: left.is_some() })
    }

    /// Publishes events on the topic that they were admitted to, all or none, and returns once they are durable (or
    /// queued, on a topic that asks for no more), with what is left of the topic's quota.
    pub async fn publish_on(
        &self,
        publisher: &Publisher,
        admission: Admission,
        events: Vec<Incoming<'_>>,
    ) -> Result<(Published, Option<QuotaLeft>), Error> {
        self.inner.check_open()?;
        let Admission { outlet, has_quota } = admission;
        let mut left = None;
        if has_quota {
            outlet.give_back(1);
            left = outlet.take(events.len(), self.inner.clocks.wall.now())?;
        }
        let now = self.inner.clocks.now(&publisher.scope);
        let order = |incoming| OrderedEvent { outlet: Arc::clone(&outlet), now, incoming };
        let events = events.into_iter().map(order).collect();
        Ok((self.publish_ordered(publisher, events).await?, left))
    }

    /// Publishes events that each name their topic, all or none. Of a CloudEvent that names none, the type tells it:
    /// the longest topic that it begins with.
    pub async fn publish_events(
        &self,
        publisher: &Publisher,
        events: Vec<Incoming<'_>>,
    ) -> Result<Published, Error> {
        self.inner.check_open()?;
        let Publisher { scope, service, .. } = publisher;
        let now = self.inner.clocks.now(scope);
        let mut ordered: Vec<OrderedEvent<'_>> = Vec::with_capacity(events.len());
        for (index, incoming) in events.into_iter().enumerate() {
            let name = self.topic_of(scope, index, &incoming)?;
            let same = ordered.last().filter(|last| last.outlet.topic.as_str() == &*name);
            let outlet = match same {
                Some(last) => Arc::clone(&last.outlet),
                None => self.inner.topics.outlet(scope, service, &name)?,
            };
            ordered.push(OrderedEvent { outlet, now, incoming });
        }
        self.take_quotas(&ordered)?;
        self.publish_ordered(publisher, ordered).await
    }

    /// Publishes events, all or none, and returns once they are durable. An event whose id the service has used
    /// before is not appended again. Safe to cancel: the events are then published or not.
    pub async fn publish(&self, publisher: &Publisher, drafts: Vec<Draft>) -> Result<Published, Error> {
        self.publish_events(publisher, drafts.iter().map(Incoming::from).collect()).await
    }

    /// Publishes on one of Hob's own topics (`hob.*`), with the limits of these. `t` defaults to the wall clock.
    pub async fn publish_as_hob(
        &self,
        scope: &Scope,
        topic: &TopicName,
        notices: Vec<Notice>,
    ) -> Result<Published, Error> {
        self.inner.check_open()?;
        let outlet = self.inner.topics.hob_outlet(scope, topic)?;
        let now = self.inner.clocks.wall.now();
        let order =
            |notice| OrderedEvent { outlet: Arc::clone(&outlet), now, incoming: Incoming::from(notice) };
        let events = notices.iter().map(order).collect();
        let service = "hob".parse().expect("hob is a name");
        let publisher = Publisher { scope: scope.clone(), service, request_id: None, traceparent: None };
        self.publish_ordered(&publisher, events).await
    }

    /// Who may publish on a topic.
    pub fn topic_owner(&self, scope: &Scope, topic: &str) -> Result<Name, Error> {
        self.inner.topics.owner(scope, topic)
    }

    /// The topic that an event is for: the one that it names, or that its type begins with.
    pub fn topic_of<'a>(
        &self,
        scope: &Scope,
        index: usize,
        event: &'a Incoming<'_>,
    ) -> Result<Cow<'a, str>, Error> {
        if let Some(topic) = &event.topic {
            return Ok(Cow::Borrowed(topic));
        }
        let found = self.inner.topics.of_type(scope, &event.kind);
        let unknown = || Error::NoTopicOfType { index, kind: event.kind.chars().take(80).collect() };
        found.map(|topic| Cow::Owned(topic.as_str().to_owned())).ok_or_else(unknown)
    }

    /// Takes the events out of the quotas of all their topics, or of none.
    fn take_quotas(&self, events: &[OrderedEvent<'_>]) -> Result<(), Error> {
        let now = self.inner.clocks.wall.now();
        let mut taken: Vec<(&Outlet, usize)> = Vec::new();
        for event in events {
            match taken.iter_mut().find(|(outlet, _)| std::ptr::eq(*outlet, &*event.outlet)) {
                Some((_, count)) => *count += 1,
                None => taken.push((&event.outlet, 1)),
            }
        }
        for (nth, (outlet, count)) in taken.iter().enumerate() {
            if let Err(error) = outlet.take(*count, now) {
                taken[..nth].iter().for_each(|(outlet, count)| outlet.give_back(*count));
                return Err(error);
            }
        }
        Ok(())
    }

    async fn publish_ordered(
        &self,
        publisher: &Publisher,
        events: Vec<OrderedEvent<'_>>,
    ) -> Result<Published, Error> {
        let Publisher { scope, service, request_id, traceparent } = publisher;
        let order = Order {
            scope,
            service,
            request_id: request_id.as_deref(),
            traceparent: traceparent.as_deref(),
            recorded: self.inner.clocks.wall.now(),
            gate: self.inner.topics.gate(scope),
            events,
        };
        self.inner.writer.publish(order).await
    }
}
