//! Clients' connections: taken in, watched over, and told to end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Observer, Socket};
use crate::gateway::Gateway;
use crate::headers::Origin;
use crate::instance::lock;
use crate::limiter::network;
use crate::link::READ_BYTES_MAX;
use crate::proxy::{self, Client};
use crate::random;
use crate::server::Stop;
use crate::stream::Stream;

/// Requests at once on one connection of HTTP/2.
const H2_STREAMS_MAX: u32 = 128;
/// Requests that a client may take back before they were looked at; a flood of them ends the connection.
const H2_RESETS_MAX: usize = 20;
/// How long to wait before accepting again after the system had no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// A connection that was idle for so long, when the router hands over, is closed: its client will not just now send on
/// it.
const SETTLED: Duration = Duration::from_secs(1);

/// The open connections of clients. Each is told by a channel of its own to end: a shared one would make every
/// connection's every wake-up meet all others at one lock.
#[derive(Clone)]
pub(crate) struct Connections {
    gateway: Arc<Gateway>,
    tasks: TaskTracker,
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    number: u64,
    all: HashMap<u64, Entry>,
    by_client: HashMap<IpAddr, u32>,
}

struct Entry {
    end: oneshot::Sender<Stop>,
    task: AbortHandle,
}

/// What goes into a connection.
struct Arrival {
    stream: TcpStream,
    address: SocketAddr,
    place: OwnedSemaphorePermit,
    tls: Option<TlsAcceptor>,
}

impl Connections {
    pub(crate) fn new(gateway: &Arc<Gateway>) -> Self {
        Self {
            gateway: Arc::clone(gateway),
            tasks: TaskTracker::new(),
            places: Arc::new(Semaphore::new(gateway.limits.connections_max)),
            open: Arc::default(),
        }
    }

    /// Takes connections in until `stop`.
    pub(crate) async fn accept(
        &self,
        listener: &TcpListener,
        tls: Option<&TlsAcceptor>,
        stop: &CancellationToken,
    ) {
        loop {
            let next = async {
                let place =
                    Arc::clone(&self.places).acquire_owned().await.expect("the semaphore is never closed");
                (place, listener.accept().await)
            };
            let (place, accepted) = tokio::select! {
                next = next => next,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, address)) => self.add(Arrival { stream, address, place, tls: tls.cloned() }),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn add(&self, arrival: Arrival) {
        let client = network(arrival.address.ip());
        // All clients of a trusted proxy come from its address.
        let is_many = self.gateway.fleet.trusts(arrival.address.ip());
        // Under the lock, so that the task cannot take itself out before it was put in.
        let mut open = lock(&self.open);
        let of_client = open.by_client.entry(client).or_default();
        if *of_client >= self.gateway.limits.client_connections_max && !is_many {
            self.gateway.counts.add(None, "connections");
            return;
        }
        *of_client += 1;
        let number = open.number;
        open.number += 1;
        self.gateway.connections.fetch_add(1, Ordering::Relaxed);
        let (end, ended) = oneshot::channel();
        let connections = self.clone();
        let task = self.tasks.spawn(async move {
            let _gone = Gone { connections: connections.clone(), number, client };
            attend(&connections.gateway, arrival, ended).await;
        });
        open.all.insert(number, Entry { end, task: task.abort_handle() });
    }

    /// Lets each connection end after the request that it carries, if any, and cuts off those that take longer than
    /// `time`. When the router hands over, idle connections end at random moments; else at once.
    pub(crate) async fn end(self, how: Stop, time: Duration) {
        let all = std::mem::take(&mut lock(&self.open).all);
        let tasks: Vec<AbortHandle> = all
            .into_values()
            .map(|connection| {
                // One that has just ended does not listen any more.
                _ = connection.end.send(how);
                connection.task
            })
            .collect();
        self.tasks.close();
        self.gateway.tunnels.close();
        let ended = async {
            self.tasks.wait().await;
            if how == Stop::HandOver {
                self.gateway.tunnels.wait().await;
            }
        };
        if tokio::time::timeout(time, ended).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "requests in flight are cut off");
            tasks.iter().for_each(AbortHandle::abort);
        }
        self.gateway.stopped.cancel();
    }
}

/// Takes a connection out of the counts, however it ended.
struct Gone {
    connections: Connections,
    number: u64,
    client: IpAddr,
}

impl Drop for Gone {
    fn drop(&mut self) {
        let mut open = lock(&self.connections.open);
        open.all.remove(&self.number);
        if let Some(count) = open.by_client.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                open.by_client.remove(&self.client);
            }
        }
        self.connections.gateway.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves one connection to its end.
async fn attend(gateway: &Arc<Gateway>, arrival: Arrival, ended: oneshot::Receiver<Stop>) {
    let Arrival { stream, address, place, tls } = arrival;
    // Fails only when the client is gone already.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stream = match tls {
        None => Stream::Plain(stream),
        Some(tls) => match timeout(gateway.limits.head_read, tls.accept(stream)).await {
            Ok(Ok(stream)) => Stream::Tls(Box::new(stream)),
            Ok(Err(error)) => return tracing::debug!(%error, "a client did not begin TLS"),
            Err(_) => return gateway.counts.add(None, "slow"),
        },
    };
    let is_h2 = stream.is_h2();
    let activity = Arc::new(Activity::default());
    if is_h2 {
        // Its frames say where requests begin and end.
        activity.switch();
    }
    let origin = Arc::new(Origin::new(address, stream.is_secure()));
    let socket = Socket::new(stream, Arc::clone(&activity));
    let client = Arc::new(Client { origin, activity: Arc::clone(&activity), is_h2, _place: place });
    let shared = Arc::clone(gateway);
    let service = service_fn(move |request| proxy::handle(Arc::clone(&shared), Arc::clone(&client), request));
    let limits = &gateway.limits;
    if is_h2 {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder
            .max_concurrent_streams(H2_STREAMS_MAX)
            .max_pending_accept_reset_streams(H2_RESETS_MAX)
            .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX));
        let connection = pin!(builder.serve_connection(socket, service));
        return watch(gateway, &activity, connection, |c| c.graceful_shutdown(), is_h2, ended).await;
    }
    let mut builder = http1::Builder::new();
    builder.max_buf_size(limits.head_bytes_max.max(READ_BYTES_MAX));
    builder.max_header_size(limits.head_bytes_max);
    let connection = pin!(builder.serve_connection(socket, service).with_upgrades());
    watch(gateway, &activity, connection, |c| c.graceful_shutdown(), is_h2, ended).await;
}

/// Drives a connection to its end, or until it overstays, and has it end when it is told so.
async fn watch<C: Future<Output = hyper::Result<()>>>(
    gateway: &Gateway,
    activity: &Activity,
    mut connection: Pin<&mut C>,
    close: impl Fn(Pin<&mut C>),
    is_h2: bool,
    ended: oneshot::Receiver<Stop>,
) {
    let mut observer = Observer::new(&gateway.limits);
    let mut look = pin!(sleep(observer.period()));
    let mut ended = pin!(ended);
    let mut order = None;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    count_broken(gateway, &error);
                    tracing::debug!(%error, "a client's connection broke");
                }
                return;
            }
            how = ended.as_mut(), if order.is_none() => {
                order = Some(how.unwrap_or(Stop::Now));
                match order {
                    Some(Stop::HandOver) => {
                        observer.look(activity);
                        look.as_mut().reset(Instant::now() + SETTLED + gateway.limits.spread.mul_f64(random::part()));
                    }
                    _ => close(connection.as_mut()),
                }
            }
            () = look.as_mut() => {
                // Whoever sends while the router hands over gets an answer that is the last; only the idle are closed.
                // HTTP/2 says which requests it still takes, and ends after them.
                if order == Some(Stop::HandOver) && (is_h2 || observer.is_settled(activity)) {
                    close(connection.as_mut());
                }
                if observer.look(activity) {
                    if activity.is_within_head() {
                        gateway.counts.add(None, "slow");
                    }
                    return;
                }
                let period = if order.is_some() { SETTLED } else { observer.period() };
                look.as_mut().reset(Instant::now() + period);
            }
        }
    }
}

fn count_broken(gateway: &Gateway, error: &hyper::Error) {
    if error.is_parse_too_large() {
        gateway.counts.add(None, "header");
    }
}
