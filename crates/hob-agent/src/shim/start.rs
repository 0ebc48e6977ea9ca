//! From a shim to a running program: control groups, namespaces, pipes, a child that confines itself and becomes the
//! program.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use hob_wire::Confinement;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Gid, Pid, Signal, Uid, WaitOptions, set_parent_process_death_signal, setsid, wait};
use serde::{Deserialize, Serialize};

use super::raw;
use super::spec::{Launch, ProcessId};
use crate::confine::cgroup::{Groups, Hierarchies};
use crate::confine::{self, Folders, Reached};

/// How often the first process of a namespace looks for others that nobody waits for.
const REAP_EVERY: Duration = Duration::from_secs(5);

/// A program that was started.
pub(super) struct Started {
    pub(super) program: ProcessId,
    /// The first process of its namespace: with it, everything in there ends.
    pub(super) first: Option<u32>,
    pub(super) groups: Groups,
    pub(super) confinement: Confinement,
    pub(super) stdout: File,
    pub(super) stderr: File,
}

/// What the child says before it is the program, or instead.
#[derive(Serialize, Deserialize)]
enum Word {
    Confined(Confinement),
    Failed(String),
}

/// Starts the program. The error says why it did not begin.
pub(super) fn start(launch: &Launch) -> Result<Started, String> {
    let told = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("failed to {what}: {error}")
    };
    let mut reached = Reached::default();
    let groups = Hierarchies::here().make(&launch.plan.group, &launch.plan.resources);
    reached.limits.clone_from(&groups.limits);
    reached.missing.extend(groups.missing.iter().cloned());
    reached.has_group = !groups.folders.is_empty();
    confine::enter(&launch.plan, &mut reached);
    let first =
        if reached.has_processes { Some(first_process().map_err(told("start a namespace"))?) } else { None };
    let pipe = || pipe_with(PipeFlags::CLOEXEC).map_err(io::Error::from).map_err(told("open a pipe"));
    let ((stdout, stdout_in), (stderr, stderr_in), (words, words_in)) = (pipe()?, pipe()?, pipe()?);
    if let Some(user) = launch.plan.user {
        // A program may open its own output by name.
        for end in [&stdout_in, &stderr_in] {
            let _ = rustix::fs::fchown(end, Some(Uid::from_raw(user)), Some(Gid::from_raw(user)));
        }
    }
    let Some(pid) = raw::fork().map_err(told("start a process"))? else {
        drop((stdout, stderr, words));
        let mut words = File::from(words_in);
        let why = become_program(launch, &groups, reached, [stdout_in, stderr_in], &mut words);
        tell(&mut words, &Word::Failed(why));
        std::process::exit(1);
    };
    drop((stdout_in, stderr_in, words_in));
    let program = ProcessId::of(pid).unwrap_or(ProcessId { pid, start: 0 });
    let mut text = String::new();
    let heard = File::from(words).read_to_string(&mut text).map_err(told("hear of the process"));
    let mut confinement = Confinement::default();
    for word in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
        match word {
            Word::Confined(reached) => confinement = reached,
            Word::Failed(why) => {
                kill(first);
                groups.remove();
                return Err(why);
            }
        }
    }
    heard?;
    let (stdout, stderr) = (File::from(stdout), File::from(stderr));
    Ok(Started { program, first, groups, confinement, stdout, stderr })
}

/// What can be had on this node, found out by trying it.
pub(super) fn probe(launch: &Launch) -> Result<Confinement, String> {
    let started = start(launch)?;
    kill(started.first);
    started.groups.remove();
    Ok(started.confinement)
}

fn tell(words: &mut File, word: &Word) -> bool {
    let mut line = serde_json::to_vec(word).unwrap_or_default();
    line.push(b'\n');
    words.write_all(&line).is_ok()
}

/// Returns only when it fails, with the reason.
fn become_program(
    launch: &Launch,
    groups: &Groups,
    mut reached: Reached,
    [stdout, stderr]: [OwnedFd; 2],
    words: &mut File,
) -> String {
    let failed = |what: &str, error: io::Error| format!("failed to {what}: {error}");
    if let Err(error) = setsid() {
        return failed("begin a session", error.into());
    }
    reached.missing.extend(groups.join());
    let null = match File::open("/dev/null") {
        Ok(null) => null,
        Err(error) => return failed("open /dev/null", error),
    };
    let folders = Folders { package: &launch.package, data: &launch.data, temporary: &launch.temporary };
    confine::apply(&launch.plan, &folders, &mut reached);
    // After the change of user, which forgets it.
    if let Err(error) = set_parent_process_death_signal(Some(Signal::KILL)) {
        return failed("be tied to the shim", error.into());
    }
    // When nobody hears it, the shim ended before this process was tied to it.
    if !tell(words, &Word::Confined(reached.confinement())) {
        return "its shim has ended".to_owned();
    }
    let Some((program, arguments)) = launch.argv.split_first() else {
        // Only the confinement was to be tried.
        std::process::exit(0);
    };
    let mut command = Command::new(program);
    command.args(arguments).current_dir(&launch.package).env_clear().envs(&launch.env);
    command.stdin(null).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    let error = command.exec();
    let is_outside = Path::new(program).is_absolute() && error.kind() == io::ErrorKind::PermissionDenied;
    let hint = if is_outside { "; name its folder in sandbox.read" } else { "" };
    format!("failed to start {program}: {error}{hint}")
}

/// Starts the first process of the namespace that children are in now: it waits for those that nobody else does, and
/// when it is killed everything in the namespace is.
fn first_process() -> io::Result<u32> {
    if let Some(pid) = raw::fork()? {
        return Ok(pid);
    }
    if set_parent_process_death_signal(Some(Signal::KILL)).is_err() {
        std::process::exit(1);
    }
    loop {
        while let Ok(Some(_)) = wait(WaitOptions::NOHANG) {}
        std::thread::sleep(REAP_EVERY);
    }
}

/// Kills a process by its number.
pub(super) fn kill(pid: Option<u32>) {
    if let Some(pid) = pid.and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw) {
        // It has ended already otherwise.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}
