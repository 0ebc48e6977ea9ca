//! The systems under measurement: how each is started, published to and consumed from.

mod hob;
mod nats;
mod rabbitmq;
mod redis;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use crate::cells::Cell;
use crate::load::{Consuming, Publishing};
use crate::server::Server;

/// A system in one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum System {
    /// Hob through its HTTP door, durable before it is acknowledged.
    Hob,
    /// Hob's bus within the measured process: what the door costs.
    HobEmbedded,
    /// Redis Streams with `appendfsync always`.
    RedisAlways,
    /// Redis Streams with `appendfsync everysec`.
    RedisEverysec,
    /// NATS JetStream with `sync_interval: always`.
    NatsAlways,
    /// NATS JetStream as it comes.
    NatsDefault,
    /// RabbitMQ with a quorum queue for each subscriber.
    Rabbitmq,
}

impl System {
    /// Whether what it acknowledges is on disk.
    pub fn is_durable(self) -> bool {
        !matches!(self, Self::RedisEverysec | Self::NatsDefault)
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Hob => "hob",
            Self::HobEmbedded => "hob, embedded",
            Self::RedisAlways => "redis always",
            Self::RedisEverysec => "redis everysec",
            Self::NatsAlways => "nats always",
            Self::NatsDefault => "nats default",
            Self::Rabbitmq => "rabbitmq quorum",
        })
    }
}

/// How Hob's subscribers are served; peers have one way each.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Lease and acknowledge.
    Pull,
    /// A live stream.
    #[default]
    Stream,
    /// Called at an endpoint.
    Push,
}

/// Where programs and data are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The folder of peers.
    pub peers: PathBuf,
    /// The `hob` to measure.
    pub hob: PathBuf,
    /// This folder: scripts.
    pub scripts: PathBuf,
    /// Where servers keep their data: on the disk to measure.
    pub work: PathBuf,
    /// The processors of servers, as `taskset` takes them.
    pub processors: Option<String>,
    /// What strace does with a server's calls.
    pub watch: Watch,
}

/// What strace does with a server's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Watch {
    /// It does not run.
    #[default]
    Nothing,
    /// Its writes and fsyncs are written down.
    Record,
    /// Each fsync takes so many microseconds longer.
    Delay(u64),
}

impl Places {
    /// A command for a server with its data in a folder.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let Some(processors) = &self.processors else { return self.traced(program, folder) };
        let mut command = self.traced("taskset", folder);
        command.args(["-c", processors]).arg(program);
        command
    }

    fn traced(&self, program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
        let arguments = match self.watch {
            Watch::Nothing => return Command::new(program),
            Watch::Record => crate::loss::recording(folder),
            Watch::Delay(micros) => delaying(folder, micros),
        };
        let mut command = Command::new("strace");
        command.args(arguments).arg(program);
        command
    }
}

/// How strace makes a disk slow, for whatever asks it to make something durable. Calls that it does not look for cost
/// nothing, since the kernel passes them by.
fn delaying(folder: &Path, micros: u64) -> Vec<String> {
    let calls = "fsync,fdatasync,sync_file_range,msync,syncfs,sync";
    let to = folder.join("trace").display().to_string();
    let (traced, delay) = (format!("trace={calls}"), format!("inject={calls}:delay_exit={micros}"));
    let mut arguments = vec!["--seccomp-bpf", "-f", "-qq", "-e", &traced, "-e", "signal=none", "-o", &to];
    if micros > 0 {
        arguments.extend(["-e", &delay]);
    }
    arguments.into_iter().map(str::to_owned).collect()
}

/// A running system.
pub trait Running: Send {
    fn server(&mut self) -> &mut Server;

    /// Makes what is published to and consumed from.
    fn prepare(&mut self, cell: &Cell) -> Result<()>;

    /// Connections that have as many units under way as the cell says.
    fn publishers(&self, cell: &Cell) -> Result<Vec<Publishing>>;

    /// What consumes the subscriptions.
    fn consumers(&self, cell: &Cell) -> Result<Consuming>;

    /// Starts it again on the same folder after it was killed.
    fn restart(&mut self) -> Result<()>;

    /// Its next start is without strace.
    fn unwatch(&mut self);
}

/// Starts a system.
pub fn start(system: System, places: &Places) -> Result<Box<dyn Running>> {
    Ok(match system {
        System::Hob => Box::new(hob::Hob::start(places)?),
        System::HobEmbedded => anyhow::bail!("the embedded bus is measured by a process of its own"),
        System::RedisAlways => Box::new(redis::Redis::start(places, "always")?),
        System::RedisEverysec => Box::new(redis::Redis::start(places, "everysec")?),
        System::NatsAlways => Box::new(nats::Nats::start(places, Some("always"))?),
        System::NatsDefault => Box::new(nats::Nats::start(places, None)?),
        System::Rabbitmq => Box::new(rabbitmq::Rabbitmq::start(places)?),
    })
}
