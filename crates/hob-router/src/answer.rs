//! The bodies of answers: an instance's as it comes, or a text of the router's own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::activity::Activity;
use crate::relay::{Cut, Relay};

/// An answer's body on its way to the client. When it is dropped, the client's connection is idle again.
pub(crate) struct Answer {
    kind: Kind,
    activity: Arc<Activity>,
}

enum Kind {
    Text(Option<Bytes>),
    Relay(Box<Relay>),
}

impl Answer {
    /// The router's own words.
    pub(crate) fn text(text: Bytes, activity: &Arc<Activity>) -> Self {
        let text = Some(text).filter(|text| !text.is_empty());
        Self { kind: Kind::Text(text), activity: Arc::clone(activity) }
    }

    /// What an instance sends.
    pub(crate) fn relay(relay: Box<Relay>, activity: &Arc<Activity>) -> Self {
        Self { kind: Kind::Relay(relay), activity: Arc::clone(activity) }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Cut;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        match &mut self.get_mut().kind {
            Kind::Text(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Kind::Relay(relay) => relay.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Text(text) => text.is_none(),
            Kind::Relay(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Text(text) => SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64)),
            Kind::Relay(relay) => relay.size_hint(),
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.activity.idle();
    }
}
