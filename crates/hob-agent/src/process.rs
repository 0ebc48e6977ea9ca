//! One run of an instance: its folders, its port, its environment, how it is confined, and the shim that it is given to.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hob_core::{Digest, Id};
use hob_wire::{IntendedInstance, Isolation};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::process::Command;

use crate::confine::Plan;
use crate::health::Terms;
use crate::instance::Shared;
use crate::shim::spec::{Launch, SPEC_FILE, ShimSpec, read_json, write_json, write_json_for_now};
use crate::{Config, Error, users};

/// What an instance gets of the agent's own environment.
const INHERITED: [&str; 4] = ["PATH", "HOME", "LANG", "TZ"];
const PATH_OTHERWISE: &str = "/usr/local/bin:/usr/bin:/bin";
/// Tries to find a port that no other instance was just given.
const PORT_TRIES: usize = 64;
/// A shim that agents cannot reach by then will not come.
const SHIM_MAX: Duration = Duration::from_secs(30);

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

    /// An instance that was there before has this one.
    pub(crate) fn keep(&self, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(port);
    }

    pub(crate) fn give_back(&self, port: u16) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&port);
    }
}

/// Where runs of instances have their folders.
pub(crate) fn runs_root(config: &Config) -> PathBuf {
    config.work_dir.join("instances")
}

/// Where instances' temporary folders are.
pub(crate) fn temporary_root(config: &Config) -> PathBuf {
    config.work_dir.join("tmp")
}

/// An instance's own temporary folder, removed when it is gone.
pub(crate) fn temporary(config: &Config, id: &str) -> PathBuf {
    temporary_root(config).join(file_name(id))
}

/// How often an instance was started again and how long the last wait was, for the next agent.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Crashes {
    pub(crate) restarts: u32,
    pub(crate) wait_ms: Option<u64>,
}

impl Crashes {
    fn place(config: &Config, id: &str) -> PathBuf {
        config.work_dir.join("crashes").join(format!("{}.json", file_name(id)))
    }

    pub(crate) fn read(config: &Config, id: &str) -> Self {
        read_json(&Self::place(config, id)).unwrap_or_default()
    }

    /// What cannot be written is counted from the start by the next agent.
    pub(crate) fn note(self, config: &Config, id: &str) {
        let place = Self::place(config, id);
        if place.parent().is_some_and(|folder| make_private(folder).is_ok()) {
            let _ = write_json_for_now(&place, &self);
        }
    }

    pub(crate) fn forget(config: &Config, id: &str) {
        // Most instances never crashed.
        let _ = fs::remove_file(Self::place(config, id));
    }
}

/// Removes what is left of an instance's runs.
pub(crate) fn remove_runs(config: &Config, id: &str) {
    let prefix = format!("{}.", file_name(id));
    let Ok(runs) = fs::read_dir(runs_root(config)) else { return };
    for run in runs.flatten().filter(|run| run.file_name().to_string_lossy().starts_with(&prefix)) {
        // What cannot be removed now is when the next agent begins.
        let _ = fs::remove_dir_all(run.path());
    }
}

/// Its service's folder, kept.
fn data(config: &Config, spec: &IntendedInstance) -> PathBuf {
    let services = config.data_dir.join("services");
    let scope = services.join(spec.scope.environment.as_str()).join(spec.scope.tenant.as_str());
    scope.join(spec.service.as_str())
}

/// Ids are made by the core, which is trusted with what runs here, not with where files are written.
fn file_name(id: &str) -> String {
    id.chars()
        .map(|letter| if letter.is_ascii_alphanumeric() || letter == '-' { letter } else { '_' })
        .collect()
}

/// Makes a folder for its owner alone.
pub(crate) fn make_private(folder: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(Error::file("make", folder))
}

/// Prepares a run: its folder, and all that its shim needs to know.
pub(crate) fn prepare(
    shared: &Shared,
    spec: &IntendedInstance,
    package: &Path,
    port: Option<u16>,
) -> Result<PathBuf, Error> {
    let config = &shared.config;
    let (temporary, data) = (temporary(config, &spec.id), data(config, spec));
    for folder in [&temporary, &data] {
        fs::create_dir_all(folder).map_err(Error::file("make", folder))?;
    }
    let run = format!("{}.{}", file_name(&spec.id), Id::short());
    let plan = plan(shared, spec, package, &run)?;
    if let Some(user) = plan.user {
        for folder in [&temporary, &data] {
            users::give(folder, user).map_err(Error::file("give to its user", folder))?;
        }
    }
    let mut env = environment(spec, &temporary, &data, port);
    if plan.user.is_some() {
        env.insert("HOME".to_owned(), data.display().to_string());
    }
    let (program, arguments) = spec.run.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    let failed = |source| Error::Start { program: program.to_owned(), source };
    if program.is_empty() {
        return Err(failed(std::io::Error::other("no program is named")));
    }
    let is_packaged = package.join(program).try_exists().map_err(failed)?;
    let program = if is_packaged { format!("./{program}") } else { program.to_owned() };
    let argv = std::iter::once(program).chain(arguments.iter().cloned()).collect();
    let launch = Launch { package: package.to_owned(), argv, env, temporary, data, plan };
    let folder = runs_root(config).join(run);
    make_private(&folder)?;
    let shim = ShimSpec { intended: spec.clone(), launch, port };
    let place = folder.join(SPEC_FILE);
    // That of one which runs once must be there even after a loss of power, so that it is not run again.
    let written =
        if spec.once_ms.is_some() { write_json(&place, &shim) } else { write_json_for_now(&place, &shim) };
    written.map_err(Error::file("write", &place))?;
    Ok(folder)
}

/// As far as the node can, unless the descriptor says how far.
fn plan(shared: &Shared, spec: &IntendedInstance, package: &Path, run: &str) -> Result<Plan, Error> {
    let config = &shared.config;
    let want = spec.sandbox.isolation.unwrap_or(shared.facts.confinement.isolation);
    let is_root = rustix::process::geteuid().is_root();
    let user =
        (want >= Isolation::L3 && is_root).then(|| shared.users.of(&spec.scope, spec.service.as_str()));
    let user = user.transpose().map_err(Error::file("write the users of", &config.work_dir))?;
    let absolute = |paths: &[String]| paths.iter().map(|path| package.join(path)).collect::<Vec<_>>();
    let mut read = absolute(&spec.sandbox.read);
    read.extend(programs());
    let node = Digest::of(config.work_dir.as_os_str().as_encoded_bytes()).hex();
    Ok(Plan {
        want,
        user,
        group: format!("{}-{run}", &node[..12]),
        resources: spec.resources,
        read,
        write: absolute(&spec.sandbox.write),
        connect: spec.sandbox.connect.clone().map(|ports| connectable(ports, spec)),
        hide: vec![runs_root(config)],
    })
}

/// Where programs are found is what instances may run: the folders of `PATH`, each with what lies beside it, but no
/// home as a whole.
fn programs() -> Vec<PathBuf> {
    let homes: Vec<PathBuf> = std::env::var_os("HOME").map(PathBuf::from).into_iter().collect();
    let path = std::env::var_os("PATH").unwrap_or_else(|| PATH_OTHERWISE.into());
    let mut all = BTreeSet::new();
    for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute()) {
        let beside = folder.parent().filter(|parent| parent.parent().is_some());
        all.extend(
            beside.filter(|parent| !homes.iter().any(|home| home.starts_with(parent))).map(Path::to_owned),
        );
        all.insert(folder);
    }
    all.into_iter().collect()
}

/// Hob's own doors are always open: their ports stand in the environment.
fn connectable(mut ports: Vec<u16>, spec: &IntendedInstance) -> Vec<u16> {
    for name in ["HOB_URL", "HOB_PUBLIC_URL"] {
        let port: Option<u16> =
            spec.env.get(name).and_then(|url| url.rsplit(':').next()?.split('/').next()?.parse().ok());
        ports.extend(port);
    }
    ports
}

/// Everything in the environment of a process but for what its shim adds; nothing else is in it.
fn environment(
    spec: &IntendedInstance,
    temporary: &Path,
    data: &Path,
    port: Option<u16>,
) -> BTreeMap<String, String> {
    let mut all = BTreeMap::from([("PATH".to_owned(), PATH_OTHERWISE.to_owned())]);
    let inherited = |name: &&str| Some(((*name).to_owned(), std::env::var_os(name)?.into_string().ok()?));
    all.extend(INHERITED.iter().filter_map(inherited));
    all.extend(
        spec.env.iter().filter(|(name, _)| !name.starts_with("LD_")).map(|(k, v)| (k.clone(), v.clone())),
    );
    let mut own = |name: &str, value: String| drop(all.insert(name.to_owned(), value));
    own("TMPDIR", temporary.display().to_string());
    own("DATA_DIR", data.display().to_string());
    own("STATSD_HOST", "127.0.0.1".to_owned());
    if let Some(port) = port {
        own("PORT", port.to_string());
    }
    if let Some(silence) = Terms::of(spec).watchdog() {
        own("WATCHDOG_USEC", silence.as_micros().to_string());
    }
    all
}

/// Starts the shim of a folder and waits until it can be reached.
pub(crate) async fn start_shim(config: &Config, folder: &Path) -> Result<(), Error> {
    let failed = |source| Error::Start { program: "the shim".to_owned(), source };
    let mut command = Command::new(&config.exec);
    command.arg0("hob").arg("shim").arg(folder).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(failed)?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (Some(stdout), Some(mut stderr)) = (stdout, stderr) else {
        return Err(failed(std::io::ErrorKind::BrokenPipe.into()));
    };
    // It lives on when this process ends; while both live, its end is waited for here.
    tokio::spawn(async move { child.wait().await });
    let mut line = String::new();
    let heard = tokio::time::timeout(SHIM_MAX, BufReader::new(stdout).read_line(&mut line)).await;
    if matches!(heard, Ok(Ok(_))) && line == crate::shim::LISTENING {
        return Ok(());
    }
    let mut said = String::new();
    // What it said is all that can be told.
    let _ = tokio::time::timeout(Duration::from_secs(1), stderr.read_to_string(&mut said)).await;
    Err(failed(std::io::Error::other(format!("it did not come up: {}", said.trim()))))
}
