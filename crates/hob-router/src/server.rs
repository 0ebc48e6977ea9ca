//! A router from its doors to its end.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connections::Connections;
use crate::core_client::CoreClient;
use crate::gateway::Gateway;
use crate::records::{self, Recorder};
use crate::tls::Certificates;
use crate::{Config, Error, control, report, snapshot_file};

/// How long the last report and the last records may take.
const FAREWELL: Duration = Duration::from_secs(1);

/// A router that has its port and does not yet take requests.
pub struct Router {
    doors: Doors,
    address: SocketAddr,
    core: Arc<CoreClient>,
    config: Config,
}

/// The listening sockets of a router.
pub struct Doors {
    /// HTTP.
    pub plain: TcpListener,
    /// HTTPS, with a folder of certificates.
    pub secure: Option<(TcpListener, PathBuf)>,
}

/// How a router ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Idle connections at once, others after their request.
    Now,
    /// Another router has the same doors and takes new connections from now on. Those that are here end one by one, each
    /// after an answer that says so.
    HandOver,
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
        let address = config.listen;
        let listen = |source: io::Error| match source.kind() {
            io::ErrorKind::AddrInUse => Error::PortInUse { address },
            _ => Error::Listen { address, source },
        };
        let core = core(&config)?;
        let plain = TcpListener::bind(address).await.map_err(listen)?;
        Self::with(config, core, Doors { plain, secure: None })
    }

    /// A router behind doors that somebody else holds open.
    ///
    /// # Errors
    /// When the doors are none, or the core's address is none.
    pub fn behind(config: Config, doors: Doors) -> Result<Self, Error> {
        let core = core(&config)?;
        Self::with(config, core, doors)
    }

    fn with(config: Config, core: CoreClient, doors: Doors) -> Result<Self, Error> {
        let address = config.listen;
        let address = doors.plain.local_addr().map_err(|source| Error::Listen { address, source })?;
        Ok(Self { doors, address, core: Arc::new(core), config })
    }

    /// Where it takes requests; the port is the real one also when port 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Routes requests until `shutdown` completes; then those in flight have time to end.
    pub async fn run(self, shutdown: impl Future<Output = ()>) {
        let stop = async {
            shutdown.await;
            Stop::Now
        };
        self.run_until(|| (), stop).await;
    }

    /// Routes requests until `stop` says how to end. `ready` is called before the first connection is taken.
    pub async fn run_until(self, ready: impl FnOnce(), stop: impl Future<Output = Stop>) {
        let Self { doors, core, config, .. } = self;
        let (recorder, queue) = Recorder::new(&config.limits);
        let gateway = Arc::new(Gateway::new(config.limits, config.clock, recorder));
        let (keep, mut kept) = watch::channel(None);
        let kept_file = config.snapshot_file.map(|path| {
            let kept = kept.clone();
            (path.clone(), tokio::spawn(snapshot_file::keep(path, kept)))
        });
        let follower = tokio::spawn(control::follow(Arc::clone(&core), Arc::clone(&gateway.fleet), keep));
        let over = CancellationToken::new();
        let last_words = TaskTracker::new();
        let mut stop = pin!(stop);
        let fresh = gateway.limits.fresh;
        let is_fresh =
            async { tokio::time::timeout(fresh, kept.changed()).await.is_ok_and(|told| told.is_ok()) };
        let early = tokio::select! {
            is_fresh = is_fresh => {
                // The kept snapshot serves until the core is there; it never replaces a newer one.
                if !is_fresh && let Some(snapshot) = kept_file.as_ref().and_then(|(path, _)| snapshot_file::read(path)) {
                    gateway.fleet.install_first(&snapshot);
                }
                None
            }
            how = stop.as_mut() => Some(how),
        };
        last_words.spawn(report::report(Arc::clone(&core), Arc::clone(&gateway), config.name, over.clone()));
        last_words.spawn(records::send(core, Arc::clone(&gateway), queue, over.clone()));

        let connections = Connections::new(&gateway);
        let closed = CancellationToken::new();
        let how = match early {
            Some(how) => how,
            None => {
                ready();
                let mut how = Stop::Now;
                let until = async {
                    how = stop.await;
                    closed.cancel();
                };
                let secure = accept_secure(&connections, doors.secure.as_ref(), &closed);
                tokio::join!(connections.accept(&doors.plain, None, &closed), secure, until);
                how
            }
        };
        drop(doors);
        let time = match how {
            Stop::Now => gateway.limits.shutdown,
            Stop::HandOver => {
                gateway.leave();
                // The next router keeps the snapshots now.
                if let Some((_, keeper)) = &kept_file {
                    keeper.abort();
                }
                gateway.limits.leave
            }
        };
        connections.end(how, time).await;
        _ = tokio::time::timeout(FAREWELL, gateway.tunnels.wait()).await;
        over.cancel();
        last_words.close();
        _ = tokio::time::timeout(FAREWELL, last_words.wait()).await;
        follower.abort();
    }
}

async fn accept_secure(
    connections: &Connections,
    door: Option<&(TcpListener, PathBuf)>,
    closed: &CancellationToken,
) {
    let Some((listener, folder)) = door else { return };
    let certificates = Certificates::read(folder.clone());
    match certificates.config() {
        Err(error) => tracing::error!(%error, "there is no TLS"),
        Ok(config) => {
            let acceptor = TlsAcceptor::from(Arc::new(config));
            tokio::select! {
                () = connections.accept(listener, Some(&acceptor), closed) => {}
                () = certificates.follow() => {}
            }
        }
    }
}

fn core(config: &Config) -> Result<CoreClient, Error> {
    CoreClient::new(&config.core_url, &config.token)
        .ok_or_else(|| Error::CoreUrl { url: config.core_url.clone() })
}
