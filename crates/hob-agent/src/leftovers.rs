//! Processes that an agent before this one left: children of instances that were killed with it. They are known by
//! their private `TMPDIR`, which lies in this agent's folder and nowhere else.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Kills them, and says how many there were. Processes that cannot be looked at belong to others.
pub(crate) fn sweep(temporary: &Path) -> usize {
    let Ok(processes) = fs::read_dir("/proc") else { return 0 };
    let mut marker = b"TMPDIR=".to_vec();
    marker.extend_from_slice(temporary.as_os_str().as_bytes());
    marker.push(b'/');
    let own = std::process::id();
    let mut killed = 0;
    for entry in processes.flatten() {
        let Some(number) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let Ok(environment) = fs::read(entry.path().join("environ")) else { continue };
        let is_ours = environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&marker));
        let pid = i32::try_from(number).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid.filter(|_| is_ours && number != own) {
            killed += usize::from(kill_process(pid, Signal::KILL).is_ok());
        }
    }
    killed
}
