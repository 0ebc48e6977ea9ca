//! A server under measurement: started on a free port with a fresh folder, pinned, and stopped.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::machine;

/// How long a server may take until its port answers.
const START_MAX: Duration = Duration::from_secs(180);
/// How long it may take to end.
const STOP_MAX: Duration = Duration::from_secs(15);

/// A running server. It is killed and its folder removed when dropped.
pub struct Server {
    pub child: Child,
    pub folder: PathBuf,
}

/// A port that is free now.
pub fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A new folder for a server's data.
pub fn fresh_folder(work: &Path, name: &str) -> Result<PathBuf> {
    for nth in 0.. {
        let folder = work.join(format!("{name}-{}-{nth}", std::process::id()));
        if fs::create_dir_all(work).and_then(|()| fs::create_dir(&folder)).is_ok() {
            return Ok(folder);
        }
        if nth == 1000 {
            break;
        }
    }
    bail!("no folder can be made in {}", work.display())
}

/// A command that runs on these processors, wherever this process runs; on the same ones when none are named.
#[cfg(feature = "embedded")]
pub fn pinned(program: impl AsRef<std::ffi::OsStr>, processors: Option<&str>) -> Command {
    let Some(processors) = processors else { return Command::new(program) };
    let mut command = Command::new("taskset");
    command.args(["-c", processors]).arg(program);
    command
}

fn spawn(mut command: Command, folder: &Path) -> Result<Child> {
    let said = fs::File::create(folder.join("said"))?;
    let command = command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
    command.spawn().with_context(|| format!("start {command:?}"))
}

impl Server {
    /// Starts a command whose output goes to a file in the folder.
    pub fn start(command: Command, folder: PathBuf) -> Result<Self> {
        let child = spawn(command, &folder)?;
        Ok(Self { child, folder })
    }

    /// Starts a command on the folder of a server that was killed.
    pub fn restart(&mut self, command: Command) -> Result<()> {
        self.child = spawn(command, &self.folder)?;
        Ok(())
    }

    /// Waits until the port takes connections.
    pub fn wait_for(&mut self, port: u16) -> Result<()> {
        let deadline = Instant::now() + START_MAX;
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}: {}", self.folder.display(), self.said());
            }
            if Instant::now() > deadline {
                bail!("{} does not answer: {}", self.folder.display(), self.said());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// The end of what it wrote.
    pub fn said(&self) -> String {
        let text = fs::read_to_string(self.folder.join("said")).unwrap_or_default();
        text[text.len().saturating_sub(2_000)..].to_owned()
    }

    /// Its processes, and the one that watches it.
    fn pids(&self) -> Vec<u32> {
        machine::family(self.child.id())
    }

    /// Its processes.
    pub fn own_pids(&self) -> Vec<u32> {
        self.pids().into_iter().filter(|pid| machine::name(*pid) != "strace").collect()
    }

    /// Kills it and all that it started, as `kill -9` does. Who only watches it (strace) ends by itself, and has then
    /// written down everything.
    pub fn kill(&mut self) {
        let family = self.pids();
        if family.len() > 1 && machine::name(family[0]) == "strace" {
            kill(&family[1..]);
            let deadline = Instant::now() + STOP_MAX;
            while Instant::now() < deadline && !matches!(self.child.try_wait(), Ok(Some(_))) {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
        kill(&family);
        let _ = self.child.wait();
    }

    /// Ends it as its operator would.
    pub fn stop(&mut self) {
        let family = self.pids();
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let deadline = Instant::now() + STOP_MAX;
        while Instant::now() < deadline {
            if matches!(self.child.try_wait(), Ok(Some(_))) {
                // What it started and left behind: Erlang's port mapper.
                kill(&family[1..]);
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.kill();
    }
}

fn kill(pids: &[u32]) {
    for pid in pids {
        let pid = i32::try_from(*pid).ok().and_then(rustix::process::Pid::from_raw);
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}
