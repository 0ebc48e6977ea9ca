//! The life of one instance: fetched, started or adopted, probed, warmed, watched, started again, until it should run no
//! more.

use std::future::Future;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hob_wire::{Confinement, Datagram, InstanceState, IntendedInstance, NodeFacts};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::attached::attach;
use crate::backoff::Backoff;
use crate::board::Board;
use crate::health::{Health, Terms};
use crate::output::{Output, Written};
use crate::packages::Packages;
use crate::process::{self, Crashes, Ports};
use crate::queue::Queue;
use crate::running::{Left, Running};
use crate::shim::spec::{Ended, Status};
use crate::statsd::Statsd;
use crate::users::Users;
use crate::{Config, Error, attached};

/// What all instances of a node share.
pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) facts: NodeFacts,
    pub(crate) board: Board,
    pub(crate) packages: Packages,
    pub(crate) users: Users,
    pub(crate) ports: Ports,
    pub(crate) prober: reqwest::Client,
    pub(crate) records: Arc<Queue<Written>>,
    pub(crate) samples: Arc<Queue<Datagram>>,
    /// Raised when the agent ends and instances live on.
    pub(crate) leave: CancellationToken,
    /// Shims whose program has ended and whose last lines are on their way.
    pub(crate) burials: TaskTracker,
}

/// One instance, and the orders for it.
pub(crate) struct Instance {
    pub(crate) spec: Arc<IntendedInstance>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stop: CancellationToken,
    /// Process ids to kill.
    pub(crate) shots: mpsc::Receiver<u32>,
    pub(crate) output: Output,
    crashes: Crashes,
}

/// How a run ended.
pub(crate) struct End {
    pub(crate) how: String,
    /// `status 0`, `signal 9`.
    pub(crate) ended: Option<String>,
    pub(crate) ready_for: Duration,
    /// Whether it did what it was to do once.
    pub(crate) is_success: bool,
}

/// What an agent found of an instance that was there before it.
pub(crate) enum Adopted {
    Running(Box<Running>),
    /// One that was to run once, and has.
    Ended(Box<Status>),
}

impl End {
    fn of(status: &Status) -> Self {
        let (how, ended, is_success) = describe(status);
        Self { how, ended, ready_for: Duration::ZERO, is_success }
    }

    fn failed(how: String) -> Self {
        Self { how, ended: None, ready_for: Duration::ZERO, is_success: false }
    }
}

impl Instance {
    pub(crate) fn new(
        spec: IntendedInstance,
        shared: Arc<Shared>,
        stop: CancellationToken,
        shots: mpsc::Receiver<u32>,
    ) -> Self {
        let crashes = Crashes::read(&shared.config, &spec.id);
        let spec = Arc::new(spec);
        let output = Output::new(Arc::clone(&spec), shared.config.clock.clone(), Arc::clone(&shared.records));
        Self { spec, shared, stop, shots, output, crashes }
    }

    /// Lives until it is told to stop and has ended, or the agent leaves it.
    pub(crate) async fn live(mut self, mut adopted: Option<Adopted>) {
        let mut backoff = Backoff::after(self.crashes.wait_ms.map(Duration::from_millis));
        while !self.stop.is_cancelled() {
            let ran = match adopted.take() {
                Some(Adopted::Running(running)) => running.attend(&mut self).await,
                Some(Adopted::Ended(status)) => Ok(Left::Ended(End::of(&status))),
                None => self.run_once().await,
            };
            let end = match ran {
                Ok(Left::Ended(end)) => end,
                Ok(Left::Agent) => return,
                Err(error) => End::failed(error.chain()),
            };
            if self.stop.is_cancelled() {
                break;
            }
            if self.spec.once_ms.is_some() {
                self.rest(&end).await;
                break;
            }
            let wait = backoff.next(end.ready_for);
            self.crashes.restarts += 1;
            self.crashes.wait_ms = u64::try_from(wait.as_millis()).ok();
            self.crashes.note(&self.shared.config, &self.spec.id);
            self.failed(&end, wait);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => break,
                () = self.shared.leave.cancelled() => return,
            }
            let restarts = self.crashes.restarts;
            self.shared.board.update(&self.spec.id, |report| report.restarts = restarts);
        }
        if self.shared.leave.is_cancelled() && !self.stop.is_cancelled() {
            return;
        }
        // What is left is removed when the next agent begins.
        let _ = std::fs::remove_dir_all(process::temporary(&self.shared.config, &self.spec.id));
        Crashes::forget(&self.shared.config, &self.spec.id);
        self.shared.board.end(&self.spec.id);
    }

    /// One that ran once is told of for as long as it is intended.
    async fn rest(&mut self, end: &End) {
        let tail = self.output.take_tail();
        self.shared.board.update(&self.spec.id, |report| {
            report.state = if end.is_success { InstanceState::Stopped } else { InstanceState::Failed };
            (report.pid, report.address) = (None, None);
            report.ended.clone_from(&end.ended);
            report.reason = (!end.is_success).then(|| reason(&end.how, &tail));
        });
        tokio::select! {
            () = self.stop.cancelled() => process::remove_runs(&self.shared.config, &self.spec.id),
            () = self.shared.leave.cancelled() => {}
        }
    }

    fn failed(&self, end: &End, wait: Duration) {
        let tail = self.output.take_tail();
        let again = hob_core::format_duration(wait);
        self.output.say(format!("{}; it is started again in {again}", end.how));
        self.shared.board.update(&self.spec.id, |report| {
            report.state = InstanceState::Failed;
            (report.pid, report.address, report.status) = (None, None, None);
            report.ended.clone_from(&end.ended);
            report.reason = Some(reason(&end.how, &tail));
        });
    }

    async fn run_once(&mut self) -> Result<Left, Error> {
        self.shared.board.update(&self.spec.id, |report| report.state = InstanceState::Starting);
        let (shared, package) = (Arc::clone(&self.shared), self.spec.package);
        let folder = tokio::select! {
            folder = shared.packages.folder(&package) => folder?,
            () = self.stop.cancelled() => return Ok(Left::Ended(End::failed(String::new()))),
            () = shared.leave.cancelled() => return Ok(Left::Agent),
        };
        let port = if self.spec.listens { Some(shared.ports.take()?) } else { None };
        let prepared = process::prepare(&shared, &self.spec, &folder, port);
        let started = match prepared {
            Ok(folder) => self.start(folder, port).await,
            Err(error) => Err(error),
        };
        let running = match started {
            Ok(running) => running,
            Err(error) => {
                port.into_iter().for_each(|port| shared.ports.give_back(port));
                return Err(error);
            }
        };
        running.attend(self).await
    }

    async fn start(&self, folder: PathBuf, port: Option<u16>) -> Result<Running, Error> {
        let failed = |source| Error::Start { program: "the shim".to_owned(), source };
        let begun = process::start_shim(&self.shared.config, &folder).await;
        let attached = match begun {
            Ok(()) => attach(&folder).await.map_err(failed),
            Err(error) => Err(error),
        };
        let attached = match attached {
            Ok(attached) => attached,
            Err(error) => {
                // A shim without its folder ends by itself.
                let _ = std::fs::remove_dir_all(&folder);
                return Err(error);
            }
        };
        let running = self.take(folder, port, attached, Health::new(Terms::of(&self.spec)));
        if let Some(program) = &running.status().program {
            let pid = program.pid;
            self.output.say(match &running.address {
                Some(address) => format!("started as process {pid}, to listen at {address}"),
                None => format!("started as process {pid}"),
            });
        }
        Ok(running)
    }

    /// Begins to follow a shim.
    pub(crate) fn take(
        &self,
        folder: PathBuf,
        port: Option<u16>,
        attached: attached::Attached,
        health: Health,
    ) -> Running {
        let config = &self.shared.config;
        let status = attached.status.clone();
        self.output.begin(status.acknowledged);
        let (door, statsd, news, reader) = attached::follow(attached, self.output.clone());
        let samples = Arc::clone(&self.shared.samples);
        let statsd = Statsd::read(statsd, &self.spec, config.clock.clone(), samples);
        let address = port.map(|port| format!("127.0.0.1:{port}"));
        self.show_began(&status, address.as_deref());
        let progress = watch::Sender::new(String::new());
        Running {
            folder,
            port,
            address,
            door,
            news,
            reader,
            statsd,
            health,
            progress,
            probing: None,
            last: status,
        }
    }

    fn show_began(&self, status: &Status, address: Option<&str>) {
        self.shared.board.set_groups(&self.spec.id, status.groups.clone());
        let restarts = self.crashes.restarts;
        let pid = status.program.filter(|_| status.ended.is_none()).map(|program| program.pid);
        self.shared.board.update(&self.spec.id, |report| {
            (report.pid, report.restarts) = (pid, restarts);
            report.address = address.map(str::to_owned);
            report.started = Some(status.started);
            report.confinement = Confinement::clone(&status.confinement);
            report.reason = None;
        });
    }
}

/// How a program ended, in words and in short.
pub(crate) fn describe(status: &Status) -> (String, Option<String>, bool) {
    let memory = if status.out_of_memory { " (it had used up its memory)" } else { "" };
    match &status.ended {
        Some(Ended::Status(code)) => {
            (format!("ended with status {code}{memory}"), Some(format!("status {code}")), *code == 0)
        }
        Some(Ended::Signal(signal)) => {
            (format!("was ended by signal {signal}{memory}"), Some(format!("signal {signal}{memory}")), false)
        }
        Some(Ended::NotStarted(why)) => (why.clone(), None, false),
        None => ("ended with its shim, which was killed".to_owned(), None, false),
    }
}

fn reason(how: &str, tail: &[String]) -> String {
    match tail {
        [] => format!("{how}; it wrote nothing"),
        lines => format!("{how}; its last lines:\n{}", lines.join("\n")),
    }
}

/// Keeps the life of an instance small where it is spawned.
pub(crate) fn live(instance: Instance, adopted: Option<Adopted>) -> impl Future<Output = ()> + Send {
    Box::pin(instance.live(adopted))
}
