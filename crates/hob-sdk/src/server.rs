//! The server layer: runs an axum router the way Hob expects a service to behave.
//!
//! A service's `main` is [`run`]; [`serve`] adds `/health/ready`, request ids, metrics and problem bodies, logs JSON lines, and drains on SIGTERM.

mod conditional;
mod layer;
mod log;
mod problem;

use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use tokio::net::TcpListener;

pub use conditional::{Representation, matches_etag};
pub use log::init_log;
pub use problem::{Failure, bad_request, not_found};

use crate::{Config, ConfigError, Statsd};

/// How long requests under way may take once the process has been told to stop.
const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Why a server cannot run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no port to listen on.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The port cannot be had.
    #[error("listen on {address}: is it in use?")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("accept connections")]
    Accept(#[source] std::io::Error),
}

/// Runs a service's main function: reads the configuration, begins to log, and logs why the service ended when it failed.
pub async fn run<M, F, E>(main: M) -> ExitCode
where
    M: FnOnce(Config) -> F,
    F: Future<Output = Result<(), E>>,
    E: std::error::Error + 'static,
{
    let config = match Config::from_env().and_then(|config| init_log(&config).map(|()| config)) {
        Ok(config) => config,
        Err(error) => {
            // There is no log yet: this line is the only way to say what is missing.
            let _ = writeln!(std::io::stderr(), "failed to {error}");
            return ExitCode::FAILURE;
        }
    };
    match main(config).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = &error as &dyn std::error::Error, "the service cannot run");
            ExitCode::FAILURE
        }
    }
}

/// Serves `router` on the configured port until the process is told to stop, then ends the requests under way.
///
/// # Errors
/// When the port is missing or cannot be had.
pub async fn serve(config: &Config, router: Router) -> Result<(), Error> {
    let address = SocketAddr::from(([127, 0, 0, 1], config.required_port()?));
    let listener = TcpListener::bind(address).await.map_err(|source| Error::Listen { address, source })?;
    tracing::info!(%address, release = config.release, "listening");
    serve_until(listener, config, router, stop_signal()).await
}

/// Serves `router` on a listener until `stop` is ready, then ends the requests under way.
///
/// # Errors
/// When the listener fails.
pub async fn serve_until(
    listener: TcpListener,
    config: &Config,
    router: Router,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), Error> {
    let app = app(config, router);
    let (stopping, stopped) = tokio::sync::oneshot::channel();
    let signal = async move {
        stop.await;
        let _ = stopping.send(());
    };
    let server = axum::serve(listener, app).with_graceful_shutdown(signal);
    let overdue = async move {
        // A sender that is dropped unsent means that the server itself has ended.
        match stopped.await {
            Ok(()) => tokio::time::sleep(DRAIN_MAX).await,
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        ended = server => ended.map_err(Error::Accept),
        () = overdue => {
            tracing::warn!(after_s = DRAIN_MAX.as_secs(), "requests were cut off because they took too long to end");
            Ok(())
        }
    }
}

/// `router` with everything that [`serve`] adds, for tests that call it without a socket.
pub fn app(config: &Config, router: Router) -> Router {
    let layer = layer::Shared { statsd: Statsd::new(config) };
    router
        .route("/health/ready", get(async || axum::Json(serde_json::json!({ "ready": true }))))
        .fallback(async || not_found("there is nothing at this path"))
        .layer(axum::middleware::from_fn_with_state(layer, layer::around))
}

/// Ready when the process is told to stop: SIGTERM, or Ctrl-C by hand.
pub async fn stop_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted => {}
        },
        Err(error) => {
            tracing::error!(%error, "SIGTERM cannot be heard; only Ctrl-C stops this process in order");
            let _ = interrupted.await;
        }
    }
}
