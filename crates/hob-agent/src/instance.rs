//! The life of one instance: fetched, started, probed, watched, started again, until it should run no more.

use std::future::Future;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Datagram, InstanceState, IntendedInstance, RecordIn, RecordSource};
use rustix::process::Signal;
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backoff::Backoff;
use crate::board::Board;
use crate::health::Health;
use crate::output::Output;
use crate::packages::Packages;
use crate::process::{self, Folders, Ports};
use crate::queue::Queue;
use crate::spawner::Spawner;
use crate::statsd::Statsd;
use crate::{Config, Error, probe};

/// How long a dead process's pipes are read on.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What all instances of a node share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) board: Board,
    pub(crate) packages: Packages,
    pub(crate) spawner: Spawner,
    pub(crate) ports: Ports,
    pub(crate) prober: reqwest::Client,
    pub(crate) records: Arc<Queue<RecordIn>>,
    pub(crate) samples: Arc<Queue<Datagram>>,
}

/// One instance, and the orders for it.
pub(crate) struct Instance {
    spec: Arc<IntendedInstance>,
    shared: Arc<Shared>,
    stop: CancellationToken,
    /// Process ids to kill.
    shots: mpsc::Receiver<u32>,
    output: Output,
}

/// A process of an instance.
struct Process {
    child: Child,
    pid: u32,
    address: Option<String>,
    readers: [JoinHandle<()>; 2],
}

/// How a process ended.
struct Ended {
    how: String,
    ready_for: Duration,
}

impl Instance {
    pub(crate) fn new(
        spec: IntendedInstance,
        shared: Arc<Shared>,
        stop: CancellationToken,
        shots: mpsc::Receiver<u32>,
    ) -> Self {
        let spec = Arc::new(spec);
        let output = Output::new(Arc::clone(&spec), shared.config.clock.clone(), Arc::clone(&shared.records));
        Self { spec, shared, stop, shots, output }
    }

    /// Lives until it is told to stop and has ended.
    pub(crate) async fn live(mut self) {
        let mut backoff = Backoff::default();
        while !self.stop.is_cancelled() {
            let ended = match self.run_once().await {
                Ok(ended) => ended,
                Err(error) => Ended { how: error.chain(), ready_for: Duration::ZERO },
            };
            if self.stop.is_cancelled() {
                break;
            }
            let wait = backoff.next(ended.ready_for);
            self.failed(&ended.how, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => break,
            }
            self.shared.board.update(&self.spec.id, |report| report.restarts += 1);
        }
        if let Ok(folders) = Folders::make(&self.shared.config, &self.spec) {
            // What is left is removed when the next agent begins.
            let _ = std::fs::remove_dir_all(folders.temporary);
        }
        self.shared.board.update(&self.spec.id, |report| {
            report.state = InstanceState::Stopped;
            (report.pid, report.address, report.reason) = (None, None, None);
        });
    }

    fn failed(&self, how: &str, wait: Duration) {
        let tail = self.output.take_tail();
        let again = hob_core::format_duration(wait);
        self.output.say(format!("{how}; it is started again in {again}"));
        self.shared.board.update(&self.spec.id, |report| {
            report.state = InstanceState::Failed;
            (report.pid, report.address) = (None, None);
            report.reason = Some(reason(how, &tail));
        });
    }

    async fn run_once(&mut self) -> Result<Ended, Error> {
        self.shared.board.update(&self.spec.id, |report| report.state = InstanceState::Starting);
        let (shared, package) = (Arc::clone(&self.shared), self.spec.package);
        let folder = tokio::select! {
            folder = shared.packages.folder(&package) => folder?,
            () = self.stop.cancelled() => return Ok(Ended { how: String::new(), ready_for: Duration::ZERO }),
        };
        let statsd = Statsd::open(&self.spec, shared.config.clock.clone(), Arc::clone(&shared.samples)).await;
        let statsd = statsd.map_err(Error::Socket)?;
        let port = if self.spec.listens { Some(shared.ports.take()?) } else { None };
        let ended = match self.start(&folder, port, statsd.port()).await {
            Ok(process) => Ok(self.attend(process).await),
            Err(error) => Err(error),
        };
        if let Some(port) = port {
            shared.ports.give_back(port);
        }
        ended
    }

    async fn start(&self, package: &Path, port: Option<u16>, statsd_port: u16) -> Result<Process, Error> {
        let config = &self.shared.config;
        let folders = Folders::make(config, &self.spec)?;
        let environment = process::environment(&self.spec, &folders, port, statsd_port);
        let mut child =
            process::start(config, &self.shared.spawner, &self.spec, package, environment).await?;
        let gone = || Error::Start {
            program: self.spec.run.join(" "),
            source: std::io::Error::other("it ended at once"),
        };
        let pid = child.id().ok_or_else(gone)?;
        let (stdout, stderr) = (child.stdout.take().ok_or_else(gone)?, child.stderr.take().ok_or_else(gone)?);
        let readers = [
            tokio::spawn(self.output.clone().follow(stdout, RecordSource::Stdout)),
            tokio::spawn(self.output.clone().follow(stderr, RecordSource::Stderr)),
        ];
        let address = port.map(|port| format!("127.0.0.1:{port}"));
        self.output.say(match &address {
            Some(address) => format!("started as process {pid}, to listen at {address}"),
            None => format!("started as process {pid}"),
        });
        let now = config.clock.now();
        self.shared.board.update(&self.spec.id, |report| {
            report.pid = Some(pid);
            report.address.clone_from(&address);
            report.started = Some(now);
        });
        Ok(Process { child, pid, address, readers })
    }

    /// Watches a process until it has ended.
    async fn attend(&mut self, mut process: Process) -> Ended {
        let spec = Arc::clone(&self.spec);
        let probe = spec.readiness.as_ref().zip(process.address.clone());
        let mut health = if probe.is_some() { Health::default() } else { Health::unprobed() };
        let mut ready_since = health.is_ready().then(Instant::now);
        self.show(&health);
        let mut probing = Box::pin(next_probe(&self.shared.prober, probe.clone(), Duration::ZERO));
        let ended = loop {
            tokio::select! {
                status = process.child.wait() => break Some(status),
                result = &mut probing => {
                    if health.probed(result) {
                        ready_since = health.is_ready().then(Instant::now);
                    }
                    self.show(&health);
                    let pause = probe.as_ref().map_or(Duration::MAX, |(p, _)| probe::pause(p, health.is_ready()));
                    probing = Box::pin(next_probe(&self.shared.prober, probe.clone(), pause));
                }
                Some(pid) = self.shots.recv() => self.shoot(&process, pid),
                () = self.stop.cancelled() => break None,
            }
        };
        drop(probing);
        let status = match ended {
            Some(status) => status,
            None => self.stop_process(&mut process).await,
        };
        process::kill_group(process.pid);
        for reader in &mut process.readers {
            if tokio::time::timeout(LAST_WORDS, &mut *reader).await.is_err() {
                reader.abort();
            }
        }
        let mut how = describe(status);
        if self.stop.is_cancelled() {
            self.output.say(how.clone());
        } else if let Some(probe) = health.last_failure().filter(|_| !health.is_ready()) {
            how = format!("{how}; the last probe: {probe}");
        }
        Ended { how, ready_for: ready_since.map_or(Duration::ZERO, |since| since.elapsed()) }
    }

    fn show(&self, health: &Health) {
        self.shared.board.update(&self.spec.id, |report| {
            report.state = if health.is_ready() { InstanceState::Ready } else { InstanceState::Starting };
            report.reason = health.last_failure().filter(|_| !health.is_ready()).map(str::to_owned);
        });
    }

    fn shoot(&self, process: &Process, pid: u32) {
        if pid == process.pid {
            self.output.say(format!("process {pid} is shot"));
            process::signal(pid, Signal::KILL);
        }
    }

    /// Asks the process to end, and after its time makes it.
    async fn stop_process(&mut self, process: &mut Process) -> std::io::Result<ExitStatus> {
        self.shared.board.update(&self.spec.id, |report| report.state = InstanceState::Draining);
        process::signal(process.pid, Signal::TERM);
        let deadline = tokio::time::sleep(Duration::from_millis(self.spec.stop.timeout_ms));
        let mut deadline = std::pin::pin!(deadline);
        loop {
            tokio::select! {
                status = process.child.wait() => return status,
                () = &mut deadline => break,
                Some(pid) = self.shots.recv() => self.shoot(process, pid),
            }
        }
        self.output.say(format!("process {} did not end in its time and is killed", process.pid));
        process::signal(process.pid, Signal::KILL);
        process.child.wait().await
    }
}

/// Waits, then probes; for ever when there is nothing to probe.
async fn next_probe(
    client: &reqwest::Client,
    probe: Option<(&hob_wire::Check, String)>,
    pause: Duration,
) -> Result<(), String> {
    let Some((probe, address)) = probe else { return std::future::pending().await };
    tokio::time::sleep(pause).await;
    probe::ask(client, &address, probe).await
}

fn describe(status: std::io::Result<ExitStatus>) -> String {
    use std::os::unix::process::ExitStatusExt;
    match status {
        Ok(status) => match (status.code(), status.signal()) {
            (Some(code), _) => format!("ended with status {code}"),
            (None, Some(signal)) => format!("was ended by signal {signal}"),
            (None, None) => format!("ended: {status}"),
        },
        Err(error) => format!("ended in a way that could not be seen: {error}"),
    }
}

fn reason(how: &str, tail: &[String]) -> String {
    match tail {
        [] => format!("{how}; it wrote nothing"),
        lines => format!("{how}; its last lines:\n{}", lines.join("\n")),
    }
}

/// Keeps the life of an instance small where it is spawned.
pub(crate) fn live(instance: Instance) -> impl Future<Output = ()> + Send {
    Box::pin(instance.live())
}
