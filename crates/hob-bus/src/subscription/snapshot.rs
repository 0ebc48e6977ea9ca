//! A snapshot at work: reads pages of live entities and hands out a `noop` for each.

use hob_core::{Timestamp, TopicName};
use hob_wire::{Event, EventChange};

use super::{Body, Subscription};
use crate::entities::LiveEntity;
use crate::error::Error;
use crate::handle::Inner;
use crate::index::EntityKey;
use crate::positions::tag_of;
use crate::step::{Input, Page, Seen};

/// Entities of one page.
const PAGE: usize = 500;

impl Subscription {
    /// Reads the next page of the snapshot, when one is wanted. A place is a topic and the href after which its page
    /// begins.
    pub(super) async fn read_snapshot(
        &self,
        body: &mut Body,
        inner: &Inner,
        now: Timestamp,
    ) -> Result<(), Error> {
        let Some(after) = body.state.snapshot_wants().map(str::to_owned) else { return Ok(()) };
        let (name, href) = after.split_once(' ').unwrap_or((&after, ""));
        let at = body.row.topics.iter().position(|topic| topic.as_str() == name);
        let Some(topic) = at.and_then(|at| body.row.topics.get(at)).cloned() else {
            self.step(body, Input::SnapshotRead(Page { after, entities: Vec::new(), next: None }), now);
            return Ok(());
        };
        let from = (!href.is_empty()).then_some(href);
        let page = inner.live_entities(&self.key.scope, &topic, from, PAGE).await?;
        let tag = tag_of(&self.key.scope, &topic)?;
        let mut entities = Vec::new();
        for entity in page.entities {
            let number = EntityKey::new(&tag, &entity.href).number();
            entities.push(Seen {
                sequence: entity.sequence,
                entity: number,
                change: Some(EventChange::Noop),
            });
            body.noops.insert(entity.sequence, self.noop(&topic, entity, now));
        }
        let following = at.and_then(|at| body.row.topics.get(at + 1)).map(|topic| format!("{topic} "));
        let next = page.next.map(|href| format!("{topic} {href}")).or(following);
        self.step(body, Input::SnapshotRead(Page { after, entities, next }), now);
        let state = &body.state;
        body.noops.retain(|sequence, _| state.has_noop(*sequence));
        Ok(())
    }

    fn noop(&self, topic: &TopicName, entity: LiveEntity, now: Timestamp) -> Event {
        Event {
            specversion: "1.0".to_owned(),
            id: format!("snapshot-{}", hob_core::Id::generate(now)),
            source: format!("/services/{}", self.key.service),
            kind: format!("{topic}.noop"),
            subject: Some(entity.href),
            time: now,
            datacontenttype: None,
            dataschema: None,
            data: None,
            data_base64: None,
            topic: topic.clone(),
            sequence: hob_wire::sequence_text(entity.sequence),
            recordedtime: now,
            requestid: None,
            traceparent: None,
            entityseq: Some(entity.entityseq),
            entitytag: entity.entitytag,
            notbefore: None,
            environment: self.key.scope.environment.clone(),
            tenant: self.key.scope.tenant.clone(),
            extensions: std::collections::BTreeMap::new(),
        }
    }
}
