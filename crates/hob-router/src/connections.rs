//! Clients' connections: taken in, watched over, and told to end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
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
    pub(crate) async fn accept(&self, listener: &TcpListener, stop: &CancellationToken) {
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
                Ok((stream, address)) => self.add(Arrival { stream, address, place }),
                Err(error) => {
                    tracing::warn!(%error, "a connection was not accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn add(&self, arrival: Arrival) {
        let client = network(arrival.address.ip());
        // Under the lock, so that the task cannot take itself out before it was put in.
        let mut open = lock(&self.open);
        let of_client = open.by_client.entry(client).or_default();
        if *of_client >= self.gateway.limits.client_connections_max {
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
    let Arrival { stream, address, place } = arrival;
    // Fails only when the client is gone already.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let activity = Arc::new(Activity::default());
    let socket = Socket::new(stream, Arc::clone(&activity));
    let origin = Arc::new(Origin::new(address));
    let client = Arc::new(Client { origin, activity: Arc::clone(&activity), is_h2: false, _place: place });
    let mut builder = http1::Builder::new();
    builder.max_buf_size(gateway.limits.head_bytes_max.max(READ_BYTES_MAX));
    builder.max_header_size(gateway.limits.head_bytes_max);
    let shared = Arc::clone(gateway);
    let service = service_fn(move |request| proxy::handle(Arc::clone(&shared), Arc::clone(&client), request));
    let mut connection = pin!(builder.serve_connection(socket, service).with_upgrades());
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
                        observer.look(&activity);
                        look.as_mut().reset(Instant::now() + SETTLED + gateway.limits.spread.mul_f64(random::part()));
                    }
                    _ => connection.as_mut().graceful_shutdown(),
                }
            }
            () = look.as_mut() => {
                // Whoever sends while the router hands over gets an answer that is the last; only the idle are closed.
                if order == Some(Stop::HandOver) && observer.is_settled(&activity) {
                    connection.as_mut().graceful_shutdown();
                }
                if observer.look(&activity) {
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
