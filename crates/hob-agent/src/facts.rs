//! What this node is, and how far it can confine instances: found out by trying.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use hob_core::Id;
use hob_wire::{Confinement, Isolation, NodeFacts, Resources};
use tokio::process::Command;

use crate::confine::Plan;
use crate::confine::cgroup::Hierarchies;
use crate::process::make_private;
use crate::shim::PROBE;
use crate::shim::spec::{Launch, SPEC_FILE, write_json_for_now};
use crate::{Config, Error};

/// The trial may take this long.
const PROBE_MAX: Duration = Duration::from_secs(20);
/// The user that the trial becomes: nobody.
const NOBODY: u32 = 65_534;
/// Limits that are tried.
const LIMITS: Resources = Resources { cpu_millis: Some(1000), memory_bytes: Some(256 << 20), pids: Some(64) };

/// Looks at the machine.
pub(crate) async fn find(config: &Config) -> Result<NodeFacts, Error> {
    let machine = rustix::system::sysinfo();
    Ok(NodeFacts {
        host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        cores: std::thread::available_parallelism()
            .map_or(1, |cores| u32::try_from(cores.get()).unwrap_or(1)),
        memory_bytes: machine.totalram.saturating_mul(u64::from(machine.mem_unit.max(1))),
        cgroups: Hierarchies::here().mode().to_owned(),
        confinement: confinement(config).await?,
    })
}

/// What an instance gets at most here.
async fn confinement(config: &Config) -> Result<Confinement, Error> {
    let folder = config.work_dir.join(format!("trial.{}", Id::short()));
    make_private(&folder)?;
    let is_root = rustix::process::geteuid().is_root();
    let plan = Plan {
        want: Isolation::L3,
        user: is_root.then_some(NOBODY),
        group: format!("trial-{}", Id::short()),
        resources: LIMITS,
        ..Plan::default()
    };
    let launch = Launch {
        package: folder.clone(),
        argv: Vec::new(),
        env: Default::default(),
        temporary: folder.clone(),
        data: folder.clone(),
        plan,
    };
    let place = folder.join(SPEC_FILE);
    write_json_for_now(&place, &launch).map_err(Error::file("write", &place))?;
    let tried = tokio::time::timeout(PROBE_MAX, try_out(config, &folder)).await;
    // It is empty but for what was written above.
    let _ = std::fs::remove_dir_all(&folder);
    Ok(tried.unwrap_or_else(|_| Err("it took too long".to_owned())).unwrap_or_else(|why| {
        tracing::warn!(%why, "how far instances can be confined could not be tried out");
        Confinement { missing: vec![format!("the trial of confinement: {why}")], ..Confinement::default() }
    }))
}

async fn try_out(config: &Config, folder: &Path) -> Result<Confinement, String> {
    let mut command = Command::new(&config.exec);
    command.arg("shim").arg(PROBE).arg(folder).stdin(Stdio::null()).kill_on_drop(true);
    let output = command.output().await.map_err(|error| error.to_string())?;
    let said = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    serde_json::from_slice(&output.stdout).map_err(|_| said())
}
