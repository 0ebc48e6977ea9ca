//! Hands out what comes next as one run, its text shared with all who pull the same.

use std::sync::Arc;

use hob_core::{Id, Timestamp};

use super::handed::Handed;
use super::{Body, Subscription};
use crate::Filter;
use crate::course::Ask;
use crate::error::Error;
use crate::feed::{Cut, Feed};
use crate::handle::Inner;
use crate::model::Pull;
use crate::step::{Action, Input};
use crate::text::Framing;

impl Subscription {
    /// Takes a run, where there is one; `None` leaves everything to the general way.
    pub(super) async fn take_run(
        &self,
        body: &mut Body,
        inner: &Inner,
        pull: Pull,
        now: Timestamp,
    ) -> Result<Option<Handed>, Error> {
        let (at, head) = (body.state.looked, inner.positions.head());
        if !body.state.may_run() || inner.positions.newest(&body.tags) <= at {
            return Ok(None);
        }
        let feed = self.feed(body, inner);
        let sheet = feed.sheet(inner, at, head).await?;
        body.feed = Some(feed);
        // Again, since retention may have passed by meanwhile.
        body.check_kept(body.state.done(), &inner.reader())?;
        let Cut { text, own, upto } = sheet.cut(at, pull.max);
        if own.is_empty() || !sheet.damage.is_none() {
            return Ok(None);
        }
        let (lease, expires) = (Id::generate(now), now.plus(pull.lease_for));
        let input = Input::Run { lease: lease.clone(), all: Arc::clone(&sheet.fresh), own, upto, expires };
        if self.step(body, input, now).iter().any(|action| matches!(action, Action::Refuse(_))) {
            return Ok(None);
        }
        body.gathering = (upto >= head).then(|| inner.next_moment(super::GATHER_EVERY));
        Ok(Some(Handed { lease, expires, given: Vec::new(), attempts: Vec::new(), list: text }))
    }

    fn feed(&self, body: &Body, inner: &Inner) -> Arc<Feed> {
        if let Some(feed) = &body.feed {
            return Arc::clone(feed);
        }
        let types = body.row.types.clone();
        let filter = Filter { types, ..Filter::topics(self.key.scope.clone(), body.row.topics.clone()) };
        inner.feeds.get(Ask::new(filter, body.filters.clone()), Framing::LIST, inner)
    }

    /// Lets go of the text that it shares when nobody has pulled for a while.
    pub(crate) async fn rest(&self, now: Timestamp) {
        let mut body = self.body.lock().await;
        if body.pulled.is_none_or(|pulled| now.since(pulled) >= super::RESTS_AFTER) {
            body.feed = None;
        }
    }
}
