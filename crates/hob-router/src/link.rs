//! One connection to an instance.
//!
//! hyper splits a connection into a handle that sends and a driver that does the reading and writing. The driver usually
//! gets a task of its own; here it is polled by whoever uses the connection, the task of the client's connection. That
//! saves two wake-ups between tasks for each request, and an idle connection that the instance closed is noticed by the
//! driver's first look, before it takes a request from the handle: what could not be sent comes back whole.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::Limits;
use crate::tape::{Play, Tape};
use crate::watchdog::Watchdog;

/// One connection to an instance, which carries one request at a time.
pub(crate) struct Link {
    sender: SendRequest<Play>,
    driver: Option<Pin<Box<Driver>>>,
    pub(crate) watchdog: Watchdog,
    /// Since when it carries no request.
    pub(crate) idle_since: Instant,
}

type Driver = Connection<TokioIo<TcpStream>, Play>;

/// How long a request and its answer may take.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// From the request sent to the head of the answer.
    pub(crate) answer: Duration,
    /// How often it is looked at whether the request's body goes on.
    pub(crate) body_look: Duration,
    /// Bytes that must have come between two looks.
    pub(crate) body_least: u64,
}

impl Patience {
    pub(crate) fn new(limits: &Limits, answer: Option<Duration>) -> Self {
        Self {
            answer: answer.unwrap_or(limits.response_head),
            body_look: limits.body_look,
            body_least: limits.body_look.as_secs().saturating_mul(limits.body_rate_min).max(1),
        }
    }
}

/// Why no connection came about; nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connect to {0}")]
    Connect(SocketAddr, #[source] io::Error),
    #[error("connect to {0} in time")]
    Slow(SocketAddr),
    #[error("begin to speak HTTP with {0}")]
    Handshake(SocketAddr, #[source] hyper::Error),
}

/// Why no head of an answer came back.
pub(crate) enum SendError {
    /// Nothing of the request was sent; here it is again.
    NotSent(Box<Request<Play>>),
    /// The connection broke; the instance may have seen the request.
    Broken(hyper::Error),
    /// What came back is no HTTP.
    Nonsense(hyper::Error),
    /// The client broke off within its body.
    Client,
    /// The client's body is larger than is passed on.
    ClientTooLarge,
    /// The client's body stood still for too long.
    ClientSlow,
    /// The instance took too long.
    Slow,
}

impl Link {
    /// Connects to an instance.
    pub(crate) async fn connect(address: SocketAddr, limits: &Limits) -> Result<Self, ConnectError> {
        let stream = open(address, limits.connect).await?;
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(limits.head_bytes_max.max(READ_BYTES_MAX))
            .max_header_size(limits.head_bytes_max)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|source| ConnectError::Handshake(address, source))?;
        let now = Instant::now();
        let watchdog = Watchdog::new(now + limits.response_head);
        Ok(Self { sender, driver: Some(Box::pin(driver)), watchdog, idle_since: now })
    }

    /// Sends a request whose body is a playing of `tape`, and waits for the answer's head.
    pub(crate) async fn send(
        &mut self,
        request: Request<Play>,
        tape: &Tape,
        patience: Patience,
    ) -> Result<Response<Incoming>, SendError> {
        let mut is_sent = tape.is_over();
        let first = if is_sent { patience.answer } else { patience.body_look };
        self.watchdog.arm(Instant::now() + first, tape.progress());
        let mut answer = pin!(self.sender.try_send_request(request));
        let driver = &mut self.driver;
        let watchdog = &mut self.watchdog;
        let outcome = std::future::poll_fn(|cx| {
            drive(driver, cx);
            if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
                return Poll::Ready(Ok(answer));
            }
            while watchdog.poll(cx).is_ready() {
                if is_sent {
                    return Poll::Ready(Err(()));
                }
                is_sent = tape.is_over();
                if !is_sent && watchdog.moved(tape.progress()) < patience.body_least {
                    return Poll::Ready(Err(()));
                }
                let next = if is_sent { patience.answer } else { patience.body_look };
                watchdog.again(next, tape.progress());
            }
            Poll::Pending
        });
        match outcome.await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(mut error)) => Err(match error.take_message() {
                Some(request) => SendError::NotSent(Box::new(request)),
                None if tape.is_too_large() => SendError::ClientTooLarge,
                None if tape.is_broken() => SendError::Client,
                None if error.error().is_parse() => SendError::Nonsense(error.into_error()),
                None => SendError::Broken(error.into_error()),
            }),
            Err(()) if tape.is_over() => Err(SendError::Slow),
            Err(()) => Err(SendError::ClientSlow),
        }
    }

    /// Reads and writes what can be now.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.driver, cx);
    }

    /// Whether it can carry another request.
    pub(crate) fn is_ready(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }
}

/// Bytes read from a connection at once, at most.
pub(crate) const READ_BYTES_MAX: usize = 64 * 1024;

/// Opens a TCP connection that sends without delay.
pub(crate) async fn open(address: SocketAddr, time: Duration) -> Result<TcpStream, ConnectError> {
    let connected = timeout(time, TcpStream::connect(address)).await;
    let stream = connected
        .map_err(|_| ConnectError::Slow(address))?
        .map_err(|source| ConnectError::Connect(address, source))?;
    stream.set_nodelay(true).map_err(|source| ConnectError::Connect(address, source))?;
    Ok(stream)
}

fn drive(driver: &mut Option<Pin<Box<Driver>>>, cx: &mut Context<'_>) {
    // Its result is told to the waiting request as well. Dropping it closes the socket and hands back what is unsent.
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
        *driver = None;
    }
}
