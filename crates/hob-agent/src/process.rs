//! One process of an instance: its environment, its folders, its port, its start and its signals.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use hob_wire::IntendedInstance;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, Command};

use crate::spawner::Spawner;
use crate::{Config, Error};

/// What an instance gets of the agent's own environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
const PATH_OTHERWISE: &str = "/usr/local/bin:/usr/bin:/bin";
/// Tries to find a port that no other instance was just given.
const PORT_TRIES: usize = 64;

/// Ports that instances of this node were given.
#[derive(Default)]
pub(crate) struct Ports(Mutex<BTreeSet<u16>>);

impl Ports {
    /// A free port on loopback. Another program may take it before the instance does: then it fails to start, and gets
    /// another one when it is started again.
    pub(crate) fn take(&self) -> Result<u16, Error> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut port = 0;
        for _ in 0..PORT_TRIES {
            let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(Error::Socket)?;
            port = listener.local_addr().map_err(Error::Socket)?.port();
            if taken.insert(port) {
                break;
            }
        }
        Ok(port)
    }

    pub(crate) fn give_back(&self, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

/// The folders of an instance.
pub(crate) struct Folders {
    /// Its own, removed when it is gone.
    pub(crate) temporary: PathBuf,
    /// Its service's, kept.
    pub(crate) data: PathBuf,
}

/// Where instances' temporary folders are.
pub(crate) fn temporary_root(config: &Config) -> PathBuf {
    config.work_dir.join("tmp")
}

impl Folders {
    pub(crate) fn make(config: &Config, spec: &IntendedInstance) -> Result<Self, Error> {
        let temporary = temporary_root(config).join(file_name(&spec.id));
        let services = config.data_dir.join("services");
        let data = services.join(spec.scope.environment.as_str()).join(spec.scope.tenant.as_str());
        let data = data.join(spec.service.as_str());
        for folder in [&temporary, &data] {
            std::fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
        }
        Ok(Self { temporary, data })
    }
}

/// Ids are made by the core, which is trusted with what runs here, not with where files are written.
fn file_name(id: &str) -> String {
    id.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' })
        .collect()
}

/// Everything in the environment of a process; nothing else is in it.
pub(crate) fn environment(
    spec: &IntendedInstance,
    folders: &Folders,
    port: Option<u16>,
    statsd_port: u16,
) -> BTreeMap<OsString, OsString> {
    let mut all = BTreeMap::from([(OsString::from("PATH"), OsString::from(PATH_OTHERWISE))]);
    let inherited = INHERITED.iter().filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)));
    all.extend(inherited);
    all.extend(spec.env.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
    let mut own = |name: &str, value: OsString| all.insert(OsString::from(name), value);
    own("TMPDIR", folders.temporary.clone().into());
    own("DATA_DIR", folders.data.clone().into());
    own("STATSD_HOST", "127.0.0.1".into());
    own("STATSD_PORT", statsd_port.to_string().into());
    if let Some(port) = port {
        own("PORT", port.to_string().into());
    }
    all
}

/// Starts the program in the package's folder, through the agent's own program, which ties it to this process.
pub(crate) async fn start(
    config: &Config,
    spawner: &Spawner,
    spec: &IntendedInstance,
    package: &Path,
    environment: BTreeMap<OsString, OsString>,
) -> Result<Child, Error> {
    let (program, arguments) = spec.run.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let failed = |source| Error::Start { program: program.to_owned(), source };
    if program.is_empty() {
        return Err(failed(std::io::Error::other("no program is named")));
    }
    let is_packaged = package.join(program).try_exists().map_err(failed)?;
    let program_path = if is_packaged { Path::new(".").join(program) } else { PathBuf::from(program) };
    let mut command = Command::new(&config.exec);
    command.args(["exec", "--parent", &std::process::id().to_string(), "--"]);
    command.arg(program_path).args(arguments);
    command.current_dir(package).env_clear().envs(environment);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    spawner.spawn(command).await.map_err(failed)
}

/// Sends a signal to a process and all of its group. Right after the start there is no group yet.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    // Neither can fail otherwise than because the process has ended.
    if kill_process_group(pid, signal).is_err() {
        let _ = kill_process(pid, signal);
    }
}

/// Kills what a process that has ended left in its group.
pub(crate) fn kill_group(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // There is mostly nothing left.
        let _ = kill_process_group(pid, Signal::KILL);
    }
}
