//! The core process and the router process: the children of `hob up`.

mod act;
mod announce;
mod fetch;
mod housekeeping;
mod intake;
mod push;
mod run;
mod sampler;

use std::process::ExitCode;

use hob_core::{Clock, Secret};
use tracing_subscriber::EnvFilter;

use crate::cli::{Child, Core, Global, Router};
use crate::failure::Failure;
use crate::settings::Settings;

/// The core could not start for a reason that starting again does not mend.
pub(crate) const EXIT_HOPELESS: u8 = 78;

/// Threads that a process of Hob runs its tasks on, at most.
const WORKERS_MAX: usize = 2;

/// How long a router waits for fresh routes before it begins with those it knew last.
const ROUTER_FRESH_MAX: std::time::Duration = std::time::Duration::from_secs(1);

/// Runs the core until it is told to stop.
pub(crate) fn run_core(global: &Global, arguments: &Core) -> Result<ExitCode, Failure> {
    let settings = prepare(global, &arguments.child)?;
    let sizes = run::Sizes { segment_bytes: arguments.segment_bytes, index_events: arguments.index_events };
    let runtime = runtime()?;
    let ended = runtime.block_on(run::run(settings, sizes));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(failure) => {
            failure.tell();
            Ok(ExitCode::from(EXIT_HOPELESS))
        }
    }
}

/// Runs a router until it is told to stop. With `hob up` it finds its token in the data directory; alone it takes
/// `HOB_URL` and `HOB_TOKEN`.
pub(crate) fn run_router(global: &Global, arguments: &Router) -> Result<ExitCode, Failure> {
    let settings = prepare(global, &arguments.child)?;
    let token = match &global.token {
        Some(token) => Secret::new(token.clone()),
        None => settings.token("router").map_err(Failure::from)?,
    };
    let core_url = global.url.clone().unwrap_or_else(|| settings.api_url());
    let name = arguments.behind.clone();
    let config = hob_router::Config {
        name: name.unwrap_or_else(|| "router".parse().expect("a short word is a name")),
        listen: std::net::SocketAddr::from(([127, 0, 0, 1], settings.router_port())),
        core_url,
        token,
        snapshot_file: Some(settings.data.join("routing.json")),
        clock: Clock::system(),
        limits: hob_router::Limits { fresh: ROUTER_FRESH_MAX, ..hob_router::Limits::default() },
    };
    let runtime = runtime()?;
    let ended = match arguments.behind {
        Some(_) => runtime.block_on(crate::doors::serve(config, settings.certificates())),
        None => runtime
            .block_on(hob_router::serve(config, async {
                stopped().await;
            }))
            .map_err(|error| hob_api::chain(&error)),
    };
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match ended {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            Failure::new(error).tell();
            Ok(ExitCode::from(EXIT_HOPELESS))
        }
    }
}

/// No more workers than processors: two that share one only wake each other.
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = processors.min(WORKERS_MAX);
    tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()
}

/// Has this process log, and read where it works.
pub(crate) fn prepare(global: &Global, child: &Child) -> Result<Settings, Failure> {
    if let Some(parent) = child.parent {
        crate::supervisor::die_with_parent(parent)?;
    }
    let filter = EnvFilter::try_from_env("HOB_LOG").unwrap_or_else(|_| EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .init();
    Settings::to_run(global, child.port_offset)
}

/// How a process is asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// SIGTERM: Hob ends, is started again or upgraded; what it runs goes on.
    Leave,
    /// SIGINT, Ctrl-C: everything ends.
    StopAll,
}

/// Resolves at SIGTERM or SIGINT.
pub(crate) async fn stopped() -> Asked {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::error!("signals cannot be watched: stop this process with SIGKILL");
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => Asked::Leave,
        _ = interrupt.recv() => Asked::StopAll,
    }
}
