//! A request's body on its way to an instance. It is passed on as it comes; of a request that may be repeated the
//! beginning is kept, so that it can be played again to another instance.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::instance::lock;

/// A body that may be played several times, as long as all that was played before is kept.
pub(crate) struct Tape {
    shared: Option<Arc<Mutex<Reel>>>,
}

struct Reel {
    source: Incoming,
    kept: Vec<Bytes>,
    kept_bytes: usize,
    kept_bytes_max: usize,
    is_keeping: bool,
    is_over: bool,
    is_broken: bool,
    is_too_large: bool,
    bytes_max: u64,
    bytes: u64,
    size: SizeHint,
}

/// One playing of a tape: the body that goes to an instance.
pub(crate) struct Play {
    reel: Option<Arc<Mutex<Reel>>>,
    position: usize,
}

/// Why a body does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client broke off in the middle of its request.
    #[error("read the request's body")]
    Client(#[source] hyper::Error),
    /// There is more of it than is passed on. How much there would be was not announced.
    #[error("pass on a request's body of more than {0} bytes")]
    TooLarge(u64),
}

impl Tape {
    /// A tape of at most `bytes_max` bytes that keeps up to `kept_bytes_max` of them for playing them again; with 0 it can be
    /// played once.
    pub(crate) fn new(source: Incoming, kept_bytes_max: usize, bytes_max: u64) -> Self {
        if source.is_end_stream() {
            return Self { shared: None };
        }
        let reel = Reel {
            size: source.size_hint(),
            source,
            kept: Vec::new(),
            kept_bytes: 0,
            kept_bytes_max,
            is_keeping: kept_bytes_max > 0,
            is_over: false,
            is_broken: false,
            is_too_large: false,
            bytes_max,
            bytes: 0,
        };
        Self { shared: Some(Arc::new(Mutex::new(reel))) }
    }

    /// The body from its beginning. Only the newest playing may be polled.
    pub(crate) fn play(&self) -> Play {
        Play { reel: self.shared.clone(), position: 0 }
    }

    /// Whether it can be played from its beginning: nothing was played yet, or all of that is kept.
    pub(crate) fn can_play_again(&self) -> bool {
        self.read(true, |reel| reel.is_keeping || reel.bytes == 0)
    }

    /// Whether the client broke off.
    pub(crate) fn is_broken(&self) -> bool {
        self.read(false, |reel| reel.is_broken)
    }

    /// Whether there was more of it than is passed on.
    pub(crate) fn is_too_large(&self) -> bool {
        self.read(false, |reel| reel.is_too_large)
    }

    /// Whether all of it was read from the client.
    pub(crate) fn is_over(&self) -> bool {
        self.read(true, |reel| reel.is_over || reel.source.is_end_stream())
    }

    /// Bytes read from the client.
    pub(crate) fn progress(&self) -> u64 {
        self.read(0, |reel| reel.bytes)
    }

    fn read<T>(&self, without_body: T, read: impl FnOnce(&Reel) -> T) -> T {
        self.shared.as_ref().map_or(without_body, |reel| read(&lock(reel)))
    }
}

impl Reel {
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = match std::task::ready!(Pin::new(&mut self.source).poll_frame(cx)) {
            None => {
                self.is_over = true;
                return Poll::Ready(None);
            }
            Some(Err(error)) => {
                self.is_broken = true;
                return Poll::Ready(Some(Err(Broken::Client(error))));
            }
            Some(Ok(frame)) => frame,
        };
        match frame.data_ref() {
            Some(data) if self.bytes + data.len() as u64 > self.bytes_max => {
                (self.is_broken, self.is_too_large) = (true, true);
                return Poll::Ready(Some(Err(Broken::TooLarge(self.bytes_max))));
            }
            Some(data) => self.keep(data.clone()),
            // Trailers come last and once; a request with trailers is simply not repeated.
            None => self.stop_keeping(),
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn keep(&mut self, data: Bytes) {
        self.bytes += data.len() as u64;
        if self.is_keeping && self.kept_bytes + data.len() <= self.kept_bytes_max {
            self.kept_bytes += data.len();
            self.kept.push(data);
        } else {
            self.stop_keeping();
        }
    }

    fn stop_keeping(&mut self) {
        self.is_keeping = false;
        self.kept = Vec::new();
        // So that a body that consists of trailers alone counts as played, too.
        self.bytes = self.bytes.max(1);
    }
}

impl Body for Play {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let play = self.get_mut();
        let Some(reel) = &play.reel else { return Poll::Ready(None) };
        let mut reel = lock(reel);
        if let Some(data) = reel.kept.get(play.position) {
            play.position += 1;
            return Poll::Ready(Some(Ok(Frame::data(data.clone()))));
        }
        let frame = reel.poll_source(cx);
        play.position = reel.kept.len();
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.reel.as_ref().is_none_or(|reel| {
            let reel = lock(reel);
            self.position >= reel.kept.len() && (reel.is_over || reel.source.is_end_stream())
        })
    }

    fn size_hint(&self) -> SizeHint {
        // Asked before the first frame, so the whole body's size is the answer also when it is played again.
        self.reel.as_ref().map_or(SizeHint::with_exact(0), |reel| lock(reel).size)
    }
}
