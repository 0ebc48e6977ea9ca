//! The last step before a program of a service runs: it is tied to its parent's life and gets a session of its own.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal, setsid};

/// Becomes the program `argv` names, and returns only when that fails. The kernel sends it SIGKILL when the thread
/// that started this process ends, and so when its process does; when that has happened already, it is refused.
pub fn exec_instance(parent_pid: u32, argv: &[OsString]) -> io::Error {
    match prepare(parent_pid, argv) {
        Ok(mut command) => command.exec(),
        Err(error) => error,
    }
}

fn prepare(parent_pid: u32, argv: &[OsString]) -> io::Result<Command> {
    let (program, arguments) = argv
        .split_first()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no program is named"))?;
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let parent = getppid().map(Pid::as_raw_pid);
    if parent != i32::try_from(parent_pid).ok() {
        return Err(io::Error::other("the process that asked for this one has ended"));
    }
    setsid()?;
    let mut command = Command::new(program);
    command.args(arguments);
    Ok(command)
}
