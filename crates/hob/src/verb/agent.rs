//! `hob agent`: this machine as a node of a platform elsewhere.

use std::process::ExitCode;

use hob_agent::{Join, Shutdown};
use hob_core::{Clock, Name, Secret};

use crate::cli::{Agent, Child, Global};
use crate::core::{Asked, stopped};
use crate::failure::{Exit, Failure};

/// Joins once, and runs the node's instances until it is told to end.
pub(super) fn run(global: &Global, arguments: Agent) -> Result<ExitCode, Failure> {
    let settings = crate::core::prepare(global, &Child { port_offset: None, parent: None })?;
    let url = arguments.join.or_else(|| global.url.clone()).ok_or_else(|| {
        Failure::with(Exit::Usage, "no platform is named").hint("say its API with --join URL")
    })?;
    let name = match arguments.name {
        Some(name) => name,
        None => host_name()?,
    };
    let join = Join {
        core_url: url,
        token: global.token.clone().map(Secret::new),
        name,
        data_dir: settings.data,
        clock: Clock::system(),
        exec: crate::supervisor::SELF.into(),
    };
    let ends = async move {
        match stopped().await {
            Asked::Leave if !arguments.stop_instances => Shutdown::Leave,
            _ => Shutdown::StopInstances,
        }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let ran = runtime.block_on(async {
        let config = hob_agent::join(join).await?;
        crate::screen::say(format!("node {} runs", config.node));
        hob_agent::run(config, ends).await
    });
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    ran.map_err(|error| match error {
        hob_agent::Error::Revoked { .. } => Failure::with(Exit::NotAllowed, hob_api::chain(&error))
            .hint("hob nodes token makes a join token; hob explain HOB-0126 says more"),
        error => Failure::new(hob_api::chain(&error)),
    })?;
    Ok(ExitCode::SUCCESS)
}

fn host_name() -> Result<Name, Failure> {
    let host = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    let first = host.split('.').next().unwrap_or_default();
    first.parse().map_err(|_| {
        Failure::with(Exit::Usage, format!("the host's name {first:?} is no name of a node"))
            .hint("give one with --name")
    })
}
