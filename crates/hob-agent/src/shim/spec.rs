//! What a shim is told, and what it leaves on disk: the files of an instance's folder.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use hob_core::{Digest, Timestamp};
use hob_wire::{Confinement, IntendedInstance, RecordSource, StopSignal};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::notify::Notified;
use crate::confine::Plan;

/// Written by the agent before it starts the shim.
pub(crate) const SPEC_FILE: &str = "spec.json";
/// Written by the shim, whole and synced each time.
pub(crate) const STATE_FILE: &str = "state.json";
/// Where the shim listens.
pub(crate) const SOCKET_FILE: &str = "socket";
/// Lines that wait for an agent and have no room in memory.
pub(crate) const SPOOL_FILE: &str = "spool";

/// A program, where it runs and how it is confined.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// Where the program runs: the package's files.
    pub(crate) package: PathBuf,
    /// The program and its arguments.
    pub(crate) argv: Vec<String>,
    /// Everything in its environment, but for what the shim adds.
    pub(crate) env: BTreeMap<String, String>,
    /// Its folder for temporary files.
    pub(crate) temporary: PathBuf,
    /// Its service's data.
    pub(crate) data: PathBuf,
    pub(crate) plan: Plan,
}

/// One run of one instance: everything its shim needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ShimSpec {
    /// What was intended, by which the next agent knows it again.
    pub(crate) intended: IntendedInstance,
    pub(crate) launch: Launch,
    /// The port that it should listen on.
    pub(crate) port: Option<u16>,
}

impl ShimSpec {
    /// Tells one spec from another.
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }
}

/// A process by more than its number, which the kernel gives again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: u32,
    /// When it started, in the kernel's ticks.
    pub(crate) start: u64,
}

impl ProcessId {
    /// The process that has this number now.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, rest) = stat.rsplit_once(") ")?;
        let start = rest.split(' ').nth(19)?.parse().ok()?;
        Some(Self { pid, start })
    }

    /// Whether it is still there; one that ended and was not waited for is.
    pub(crate) fn is_there(self) -> bool {
        Self::of(self.pid) == Some(self)
    }
}

/// How a program ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ended {
    Status(i32),
    Signal(i32),
    /// It never began.
    NotStarted(String),
}

/// What a shim knows of its instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Status {
    /// The digest of the spec that it was started with.
    pub(crate) spec: Digest,
    pub(crate) shim: ProcessId,
    pub(crate) program: Option<ProcessId>,
    pub(crate) started: Timestamp,
    /// Set once all that it wrote was read.
    pub(crate) ended: Option<Ended>,
    /// Whether memory ran out in its control group.
    pub(crate) out_of_memory: bool,
    /// The number of the last line, and of the last that has arrived for good.
    pub(crate) last_line: u64,
    pub(crate) acknowledged: u64,
    pub(crate) notified: Notified,
    pub(crate) confinement: Confinement,
    /// Folders of its control groups, by controller.
    pub(crate) groups: BTreeMap<String, PathBuf>,
}

/// A line that an instance wrote.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Rises by one with each line of a run.
    pub(crate) number: u64,
    pub(crate) time: Timestamp,
    pub(crate) source: RecordSource,
    pub(crate) text: String,
    /// Lines that had no room just before this one.
    #[serde(default)]
    pub(crate) dropped: u64,
}

/// What a shim tells the agent, each a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FromShim {
    Status(Box<Status>),
    Line(Line),
}

/// What an agent tells a shim, each a line of JSON.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToShim {
    /// Lines up to this number have arrived for good.
    Ack(u64),
    /// Ask the program to end, and make it after so long.
    Stop { signal: StopSignal, timeout_ms: u64 },
    /// Kill the program, when it still is this process.
    Kill { pid: u32 },
    /// It ended and nothing more is wanted of it.
    Release,
}

/// Reads a file of JSON.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    serde_json::from_slice(&fs::read(path)?).map_err(io::Error::from)
}

/// Writes a file of JSON for its owner alone, whole or not at all, and on disk when this returns.
pub(crate) fn write_json<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write(path, value, true)
}

/// The same for what is of no use once the machine has lost its power, as all that only speaks of running processes.
pub(crate) fn write_json_for_now<T: Serialize>(path: &Path, value: &T) -> io::Result<()> {
    write(path, value, false)
}

fn write<T: Serialize>(path: &Path, value: &T, is_durable: bool) -> io::Result<()> {
    let part = path.with_extension("part");
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&part)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    if is_durable {
        file.sync_all()?;
    }
    fs::rename(&part, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_start() {
        let own = ProcessId::of(std::process::id()).unwrap();
        assert!(own.is_there());
        assert!(!ProcessId { start: own.start + 1, ..own }.is_there());
        assert_eq!(ProcessId::of(u32::MAX), None);
    }
}
