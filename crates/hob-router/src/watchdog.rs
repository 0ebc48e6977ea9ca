//! A deadline that costs nothing while all goes well: the timer stays armed across requests and is looked at only when
//! it goes off.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// A deadline that moves often and is met seldom.
pub(crate) struct Watchdog {
    sleep: Pin<Box<Sleep>>,
    deadline: Instant,
    /// How far the watched bodies had come when this was last asked.
    progress: u64,
}

impl Watchdog {
    pub(crate) fn new(deadline: Instant) -> Self {
        Self { sleep: Box::pin(sleep_until(deadline)), deadline, progress: 0 }
    }

    /// Moves the deadline. Only to an earlier time than the timer's is the timer itself touched.
    pub(crate) fn arm(&mut self, deadline: Instant, progress: u64) {
        self.deadline = deadline;
        self.progress = progress;
        if deadline < self.sleep.deadline() {
            self.sleep.as_mut().reset(deadline);
        }
    }

    /// Ready once the deadline has passed.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.sleep.as_mut().reset(self.deadline);
        }
        Poll::Pending
    }

    /// How far the watched bodies have come since the deadline was set.
    pub(crate) fn moved(&self, progress: u64) -> u64 {
        progress - self.progress.min(progress)
    }

    /// Sets the timer anew after it went off.
    pub(crate) fn again(&mut self, period: Duration, progress: u64) {
        self.arm(Instant::now() + period, progress);
        self.sleep.as_mut().reset(self.deadline);
    }

    /// Ready once nothing moved for `period`, as told by `progress`; noticed at the latest after twice that.
    pub(crate) fn poll_stalled(&mut self, cx: &mut Context<'_>, progress: u64, period: Duration) -> Poll<()> {
        while self.poll(cx).is_ready() {
            if progress == self.progress {
                return Poll::Ready(());
            }
            self.again(period, progress);
        }
        Poll::Pending
    }
}
