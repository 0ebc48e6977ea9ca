//! An answer's body on its way from the instance to the client, passed on as it comes. It drives the connection to the
//! instance, and gives it back once the body has ended.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, header};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::account::{Account, Ending};
use crate::link::Link;
use crate::random;
use crate::tape::Tape;

/// An answer's body on its way.
pub(crate) struct Relay {
    incoming: Incoming,
    /// The connection; none when it has a task of its own, and none once the body has ended.
    link: Option<Link>,
    /// The request's body, which may still be on its way.
    tape: Tape,
    account: Account,
    farewell: Option<Farewell>,
    is_over: bool,
}

type Farewell = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The answer ends here, although more was announced.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cut {
    #[error("read the instance's answer")]
    Broken(#[source] hyper::Error),
    #[error("read the instance's answer in time")]
    Slow,
}

impl Relay {
    /// Begins to pass on a body. `head` is the head it belongs to.
    pub(crate) fn new(
        incoming: Incoming,
        head: &HeaderMap,
        mut link: Option<Link>,
        tape: Tape,
        account: Account,
    ) -> Self {
        if let Some(link) = &mut link {
            link.watchdog.arm(Instant::now() + account.gateway.limits.body_idle, tape.progress());
        }
        let farewell = account.ticket.as_ref().filter(|_| is_endless(head)).map(|ticket| {
            let (gone, leaving) = (ticket.instance.gone.clone(), account.gateway.leaving.clone());
            let most = ticket.way.pool.lobby.spread().min(account.gateway.limits.linger);
            Box::pin(linger(gone, leaving, most)) as Farewell
        });
        Self { incoming, link, tape, account, farewell, is_over: false }
    }

    /// Ends at once when there is no body to wait for.
    pub(crate) fn end_if_empty(&mut self, cx: &mut Context<'_>) {
        if self.incoming.is_end_stream() {
            self.end(cx);
        }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        if self.is_over {
            return Poll::Ready(None);
        }
        if self.farewell.as_mut().is_some_and(|farewell| farewell.as_mut().poll(cx).is_ready()) {
            self.is_over = true;
            self.link = None;
            self.account.settle(Ending::Whole);
            return Poll::Ready(None);
        }
        let mut polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let Some(link) = &mut self.link
        {
            link.drive(cx);
            polled = Pin::new(&mut self.incoming).poll_frame(cx);
        }
        match polled {
            Poll::Pending => self.poll_stalled(cx),
            Poll::Ready(None) => {
                self.end(cx);
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(self.cut(Cut::Broken(error))))),
            Poll::Ready(Some(Ok(frame))) => {
                self.account.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                // hyper does not ask again after a last frame that is known to be the last.
                self.end_if_empty(cx);
                Poll::Ready(Some(Ok(frame)))
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.is_over || self.incoming.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }

    fn poll_stalled(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Cut>>> {
        let Some(link) = &mut self.link else { return Poll::Pending };
        let progress = self.account.bytes + self.tape.progress();
        let body_idle = self.account.gateway.limits.body_idle;
        if link.watchdog.poll_stalled(cx, progress, body_idle).is_pending() {
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(self.cut(Cut::Slow))))
    }

    fn cut(&mut self, cut: Cut) -> Cut {
        self.is_over = true;
        self.link = None;
        let reason = match (&cut, self.tape.is_broken()) {
            (_, true) => None,
            (Cut::Slow, _) => Some("the answer stood still for too long"),
            (Cut::Broken(_), _) => Some("the instance broke off within its answer"),
        };
        self.account.settle(reason.map_or(Ending::Abandoned, Ending::Failed));
        cut
    }

    /// All of the answer is here: the connection may carry the next request, and the instance is done with this one.
    fn end(&mut self, cx: &mut Context<'_>) {
        self.is_over = true;
        if let Some(mut link) = self.link.take() {
            // The driver may still have to notice that both messages are complete.
            if !link.is_ready() {
                link.drive(cx);
            }
            if link.is_ready()
                && let Some(ticket) = &self.account.ticket
            {
                ticket.instance.keep_link(link, self.account.gateway.limits.idle_max);
            }
        }
        self.account.settle(Ending::Whole);
    }
}

/// Whether an answer is one that has no end of its own.
fn is_endless(head: &HeaderMap) -> bool {
    head.get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"))
        && !head.contains_key(header::CONTENT_LENGTH)
}

/// Waits until an instance has left the table, or the router hands over, and then for a random part of `most`.
pub(crate) async fn linger(gone: CancellationToken, leaving: CancellationToken, most: Duration) {
    tokio::select! {
        () = gone.cancelled() => {}
        () = leaving.cancelled() => {}
    }
    tokio::time::sleep(most.mul_f64(random::part())).await;
}
