//! What a client's connection is doing, so that clients that are slow, silent or deaf do not hold a connection for
//! ever. The way of a request only writes down what happens; a look every few seconds compares notes with the last.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::Limits;
use crate::framing::Framing;
use crate::stream::Stream;

/// What a connection is doing; changed by whoever notices.
#[derive(Default)]
pub(crate) struct Activity {
    /// The number of changes so far, above two bits that hold the [`Phase`].
    phase: AtomicU32,
    /// The number of writes so far, above one bit that says whether the last had to wait.
    writes: AtomicU32,
    is_switched: AtomicBool,
    /// Requests under way, where there may be several at once: HTTP/2.
    streams: AtomicU32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Between requests.
    Idle = 0,
    /// A request's head is coming in.
    Head = 1,
    /// A request is being answered.
    Busy = 2,
}

impl Activity {
    /// A request's head has come in.
    pub(crate) fn busy(&self) {
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.enter(Phase::Busy);
    }

    /// An answer has gone out.
    pub(crate) fn idle(&self) {
        let fewer = |streams: u32| Some(streams.saturating_sub(1));
        let before = self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer);
        if before.is_ok_and(|before| before <= 1) {
            self.enter(Phase::Idle);
        }
    }

    /// What comes from now on is no HTTP any more.
    pub(crate) fn switch(&self) {
        self.is_switched.store(true, Ordering::Relaxed);
    }

    /// Whether a request's head is coming in.
    pub(crate) fn is_within_head(&self) -> bool {
        self.phase.load(Ordering::Relaxed) & 3 == Phase::Head as u32
    }

    fn read(&self) {
        if self.phase.load(Ordering::Relaxed) & 3 == Phase::Idle as u32 {
            self.enter(Phase::Head);
        }
    }

    // One task writes, so reading and writing apart is no race.
    fn enter(&self, phase: Phase) {
        let changes = (self.phase.load(Ordering::Relaxed) >> 2).wrapping_add(1);
        self.phase.store((changes << 2) | phase as u32, Ordering::Relaxed);
    }

    fn wrote(&self, has_to_wait: bool) {
        let writes = self.writes.load(Ordering::Relaxed);
        let count = if has_to_wait { writes >> 1 } else { (writes >> 1).wrapping_add(1) };
        self.writes.store((count << 1) | u32::from(has_to_wait), Ordering::Relaxed);
    }
}

/// The looks at one connection.
pub(crate) struct Observer {
    period: Duration,
    head_looks_max: u32,
    idle_looks_max: u32,
    write_looks_max: u32,
    phase: u32,
    phase_looks: u32,
    writes: u32,
    write_looks: u32,
}

impl Observer {
    pub(crate) fn new(limits: &Limits) -> Self {
        // Two looks see the same head when it is a period old at least, and two periods at most.
        let period = (limits.head_read / 2).max(Duration::from_millis(1));
        let looks = |time: Duration| {
            u32::try_from(time.as_nanos().div_ceil(period.as_nanos())).unwrap_or(u32::MAX).max(1)
        };
        Self {
            period,
            head_looks_max: looks(limits.head_read),
            idle_looks_max: looks(limits.client_idle),
            write_looks_max: looks(limits.body_idle),
            phase: 0,
            phase_looks: 0,
            writes: 0,
            write_looks: 0,
        }
    }

    /// How long until the next look.
    pub(crate) fn period(&self) -> Duration {
        self.period
    }

    /// Whether the connection idles, and did so when it was looked at last.
    pub(crate) fn is_settled(&self, activity: &Activity) -> bool {
        let phase = activity.phase.load(Ordering::Relaxed);
        phase == self.phase
            && phase & 3 == Phase::Idle as u32
            && activity.streams.load(Ordering::Relaxed) == 0
    }

    /// Looks; returns whether the connection has overstayed.
    pub(crate) fn look(&mut self, activity: &Activity) -> bool {
        let (phase, writes) =
            (activity.phase.load(Ordering::Relaxed), activity.writes.load(Ordering::Relaxed));
        self.phase_looks = if phase == self.phase { self.phase_looks + 1 } else { 0 };
        self.write_looks = if writes == self.writes && writes & 1 == 1 { self.write_looks + 1 } else { 0 };
        (self.phase, self.writes) = (phase, writes);
        let is_late = match phase & 3 {
            0 => self.phase_looks >= self.idle_looks_max && activity.streams.load(Ordering::Relaxed) == 0,
            1 => self.phase_looks >= self.head_looks_max,
            _ => false,
        };
        is_late || self.write_looks >= self.write_looks_max
    }
}

/// A client's socket, which notes what it does.
pub(crate) struct Socket {
    stream: Stream,
    activity: std::sync::Arc<Activity>,
    framing: Framing,
}

/// Bytes that are read from a client at once.
const CHUNK_BYTES: usize = 16 * 1024;

thread_local! {
    /// Where bytes are looked at before hyper gets them. Its own buffer cannot be read before it is handed over.
    static CHUNK: RefCell<Box<[u8]>> = RefCell::new(vec![0; CHUNK_BYTES].into());
}

impl Socket {
    pub(crate) fn new(stream: Stream, activity: std::sync::Arc<Activity>) -> Self {
        Self { stream, activity, framing: Framing::default() }
    }

    /// Reads, and checks what was read for framing that two readers could take differently. Where there is any, hyper
    /// gets in place of the rest a byte that it refuses there.
    fn poll_checked(&mut self, cx: &mut Context<'_>, mut buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        CHUNK.with_borrow_mut(|chunk| {
            let most = buffer.remaining().min(CHUNK_BYTES);
            let mut read = ReadBuf::new(&mut chunk[..most]);
            std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            let bytes = read.filled_mut();
            let good = self.framing.check(bytes);
            let end = bytes.len().min(good + 1);
            if let Some(bad) = bytes.get_mut(good) {
                *bad = self.framing.poison();
            }
            buffer.put_slice(&bytes[..end]);
            Poll::Ready(Ok(()))
        })
    }
}

impl Read for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if socket.activity.is_switched.load(Ordering::Relaxed) {
            return Pin::new(&mut TokioIo::new(&mut socket.stream)).poll_read(cx, buffer);
        }
        let read = std::task::ready!(socket.poll_checked(cx, buffer));
        socket.activity.read();
        Poll::Ready(read)
    }
}

impl Write for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = Pin::new(&mut socket.stream).poll_write(cx, bytes);
        socket.activity.wrote(written.is_pending());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let socket = self.get_mut();
        let written = Pin::new(&mut socket.stream).poll_write_vectored(cx, slices);
        socket.activity.wrote(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observer() -> Observer {
        let second = Duration::from_secs(1);
        Observer::new(&Limits {
            head_read: 2 * second,
            client_idle: 4 * second,
            body_idle: 3 * second,
            ..Limits::default()
        })
    }

    fn looks_until_late(activity: &Activity) -> Option<u32> {
        let mut observer = observer();
        observer.look(activity);
        (1..100).find(|_| observer.look(activity))
    }

    #[test]
    fn each_phase_has_its_patience() {
        let activity = Activity::default();
        activity.idle();
        assert_eq!(looks_until_late(&activity), Some(4), "idle");
        activity.read();
        assert_eq!(looks_until_late(&activity), Some(2), "within a head");
        activity.busy();
        assert_eq!(looks_until_late(&activity), None, "an instance may think");
        activity.wrote(true);
        assert_eq!(looks_until_late(&activity), Some(3), "the client does not read");
        activity.wrote(false);
        assert_eq!(looks_until_late(&activity), None);
    }

    #[test]
    fn whoever_goes_on_stays() {
        let (activity, mut observer) = (Activity::default(), observer());
        for _ in 0..50 {
            activity.read();
            activity.busy();
            activity.idle();
            assert!(!observer.look(&activity));
        }
    }
}
