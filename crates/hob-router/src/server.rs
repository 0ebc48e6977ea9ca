//! The listener: takes clients' connections, watches over them, and lets them end when the router stops.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::activity::{Activity, Observer, Socket};
use crate::core_client::CoreClient;
use crate::fleet::Fleet;
use crate::gateway::Gateway;
use crate::headers::Origin;
use crate::instance::lock;
use crate::link::READ_BYTES_MAX;
use crate::proxy::{self, Client};
use crate::records::{self, Recorder};
use crate::{Config, Error, control, report, snapshot_file};

/// How long to wait before accepting again after the system had no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How long the last report and the last records may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A router that has its port and does not yet take requests.
pub struct Router {
    listener: TcpListener,
    address: SocketAddr,
    core: Arc<CoreClient>,
    config: Config,
}

/// Runs a router until `shutdown` completes and requests in flight have ended.
///
/// # Errors
/// When the port cannot be had, or the core's address is none.
pub async fn serve(config: Config, shutdown: impl Future<Output = ()>) -> Result<(), Error> {
    Router::bind(config).await?.run(shutdown).await;
    Ok(())
}

impl Router {
    /// Takes the port.
    ///
    /// # Errors
    /// When the port cannot be had, or the core's address is none.
    pub async fn bind(config: Config) -> Result<Self, Error> {
        let core = CoreClient::new(&config.core_url, &config.token)
            .ok_or_else(|| Error::CoreUrl { url: config.core_url.clone() })?;
        let address = config.listen;
        let listen = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse { address },
            _ => Error::Listen { address, source },
        };
        let listener = TcpListener::bind(address).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        Ok(Self { listener, address, core: Arc::new(core), config })
    }

    /// Where it takes requests; the port is the real one also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Routes requests until `shutdown` completes; then those in flight have time to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, core, config, .. } = self;
        let (recorder, queue) = Recorder::new(&config.limits);
        let gateway = Arc::new(Gateway {
            fleet: Arc::new(Fleet::new()),
            limits: config.limits,
            clock: config.clock,
            recorder,
            held: AtomicUsize::new(0),
            stopped: CancellationToken::new(),
        });
        let (keep, kept) = watch::channel(None);
        if let Some(path) = config.snapshot_file {
            if let Some(snapshot) = snapshot_file::read(&path) {
                gateway.fleet.install(&snapshot);
            }
            tokio::spawn(snapshot_file::keep(path, kept));
        }
        let follower = tokio::spawn(control::follow(Arc::clone(&core), Arc::clone(&gateway.fleet), keep));
        let stop = CancellationToken::new();
        let last_words = TaskTracker::new();
        last_words.spawn(report::report(Arc::clone(&core), Arc::clone(&gateway), config.name, stop.clone()));
        last_words.spawn(records::send(core, Arc::clone(&gateway), queue, stop.clone()));

        let connections = Connections::default();
        accept(listener, &gateway, &connections, shutdown).await;
        connections.end(gateway.limits.shutdown, &gateway.stopped).await;
        stop.cancel();
        last_words.close();
        _ = tokio::time::timeout(FAREWELL, last_words.wait()).await;
        follower.abort();
    }
}

/// The open connections of clients. Each is told by a channel of its own to end: a shared one would make every
/// connection's every wake-up meet all others at one lock.
#[derive(Default, Clone)]
struct Connections {
    tasks: TaskTracker,
    open: Arc<Mutex<HashMap<u64, Open>>>,
}

struct Open {
    end: oneshot::Sender<()>,
    task: AbortHandle,
}

impl Connections {
    fn add(&self, number: u64, gateway: &Arc<Gateway>, client: Arc<Client>, socket: Socket) {
        let (end, ended) = oneshot::channel();
        let connections = self.clone();
        let gateway = Arc::clone(gateway);
        // Under the lock, so that the task cannot take itself out before it was put in.
        let mut open = lock(&self.open);
        let task = self.tasks.spawn(async move {
            attend(gateway, client, socket, ended).await;
            lock(&connections.open).remove(&number);
        });
        open.insert(number, Open { end, task: task.abort_handle() });
    }

    /// Lets each connection end after the request that it carries, if any, and cuts off those that take longer than
    /// `time`.
    async fn end(self, time: Duration, stopped: &CancellationToken) {
        let open = std::mem::take(&mut *lock(&self.open));
        let tasks: Vec<AbortHandle> = open
            .into_values()
            .map(|connection| {
                // One that has just ended does not listen any more.
                _ = connection.end.send(());
                connection.task
            })
            .collect();
        self.tasks.close();
        if tokio::time::timeout(time, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "requests in flight are cut off");
            tasks.iter().for_each(AbortHandle::abort);
        }
        stopped.cancel();
    }
}

async fn accept(
    listener: TcpListener,
    gateway: &Arc<Gateway>,
    connections: &Connections,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(gateway.limits.connections_max));
    for number in 0.. {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            next = next => next,
            () = shutdown.as_mut() => return,
        };
        match accepted {
            Ok((stream, address)) => {
                let activity = Arc::new(Activity::default());
                let origin = Arc::new(Origin::new(address));
                let Some(socket) = socket(stream, &activity) else { continue };
                connections.add(
                    number,
                    gateway,
                    Arc::new(Client { origin, activity, _place: place }),
                    socket,
                );
            }
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn socket(stream: TcpStream, activity: &Arc<Activity>) -> Option<Socket> {
    // Fails only when the client is gone already.
    stream.set_nodelay(true).ok()?;
    Some(Socket::new(stream, Arc::clone(activity)))
}

/// Serves one connection to its end.
async fn attend(gateway: Arc<Gateway>, client: Arc<Client>, socket: Socket, ended: oneshot::Receiver<()>) {
    let mut observer = Observer::new(&gateway.limits);
    let activity = Arc::clone(&client.activity);
    let mut builder = http1::Builder::new();
    builder.max_buf_size(gateway.limits.head_bytes_max.max(READ_BYTES_MAX));
    builder.max_header_size(gateway.limits.head_bytes_max);
    let service =
        service_fn(move |request| proxy::handle(Arc::clone(&gateway), Arc::clone(&client), request));
    let mut connection = pin!(builder.serve_connection(socket, service).with_upgrades());
    let mut look = pin!(sleep(observer.period()));
    let mut ended = pin!(ended);
    let mut is_ending = false;
    loop {
        tokio::select! {
            biased;
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%error, "a client's connection broke");
                }
                return;
            }
            _ = ended.as_mut(), if !is_ending => {
                is_ending = true;
                connection.as_mut().graceful_shutdown();
            }
            () = look.as_mut() => {
                if observer.look(&activity) {
                    return;
                }
                look.as_mut().reset(tokio::time::Instant::now() + observer.period());
            }
        }
    }
}
