//! Counters, timers and gauges, sent as statsd datagrams to the instance's own socket.

use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::Config;

/// Sends metrics. Never blocks and never fails: what the socket does not take is counted and gone.
#[derive(Clone, Debug, Default)]
pub struct Statsd(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    socket: UdpSocket,
    dropped: AtomicU64,
}

impl Statsd {
    /// A sender to the configured socket; one that does nothing when there is none.
    pub fn new(config: &Config) -> Self {
        let Some((host, port)) = &config.statsd else { return Self(None) };
        let open = || {
            let socket = UdpSocket::bind("127.0.0.1:0")?;
            socket.connect((host.as_str(), *port))?;
            socket.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(socket)
        };
        match open() {
            Ok(socket) => Self(Some(Arc::new(Inner { socket, dropped: AtomicU64::new(0) }))),
            Err(error) => {
                tracing::warn!(%error, host, port, "metrics are not sent: the statsd socket cannot be reached");
                Self(None)
            }
        }
    }

    /// Adds to a counter.
    pub fn count(&self, name: &str, by: u64) {
        self.send(|| format!("{name}:{by}|c"));
    }

    /// Records how long something took.
    pub fn timing(&self, name: &str, took: Duration) {
        self.send(|| format!("{name}:{:.3}|ms", took.as_secs_f64() * 1000.0));
    }

    /// Sets a gauge.
    pub fn gauge(&self, name: &str, value: f64) {
        self.send(|| format!("{name}:{value}|g"));
    }

    /// Datagrams that the socket did not take.
    pub fn dropped(&self) -> u64 {
        self.0.as_ref().map_or(0, |inner| inner.dropped.load(Ordering::Relaxed))
    }

    fn send(&self, text: impl FnOnce() -> String) {
        let Some(inner) = &self.0 else { return };
        if inner.socket.send(text().as_bytes()).is_err() {
            inner.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
