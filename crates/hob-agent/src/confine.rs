//! Confines an instance as far as its node can, and says how far that was. Levels are a ladder: one is reached when
//! it and all below it were. What cannot be had is named with its reason and is never a failure.
//!
//! [`enter`] is called by the shim and says which namespaces its children will be in; [`apply`] by the child that is
//! about to become the program.

pub(crate) mod cgroup;
mod landlock;
mod mount_table;
mod mounts;
mod seccomp;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use hob_wire::{Confinement, Isolation, Resources};
use rustix::process::{Gid, Resource, Rlimit, Uid, geteuid, setrlimit};
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

use crate::shim::raw;

/// Open files that a program may have when its node allows as many.
const OPEN_FILES: u64 = 65_536;

/// How an instance is to be confined.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// The level to try for.
    pub(crate) want: Isolation,
    /// The user and group to become.
    pub(crate) user: Option<u32>,
    /// The name of its control group.
    pub(crate) group: String,
    pub(crate) resources: Resources,
    /// Files and folders to read beside what every program may, and to write.
    pub(crate) read: Vec<PathBuf>,
    pub(crate) write: Vec<PathBuf>,
    /// Ports to connect to; any without a list.
    pub(crate) connect: Option<Vec<u16>>,
    /// Folders that are not to be seen.
    pub(crate) hide: Vec<PathBuf>,
}

/// The folders that every instance has.
pub(crate) struct Folders<'a> {
    pub(crate) package: &'a Path,
    pub(crate) data: &'a Path,
    pub(crate) temporary: &'a Path,
}

/// What has been reached so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reached {
    /// Children are in a process namespace of their own.
    pub(crate) has_processes: bool,
    has_mounts: bool,
    is_restricted: bool,
    has_user: bool,
    pub(crate) has_group: bool,
    pub(crate) limits: Vec<String>,
    pub(crate) missing: Vec<String>,
}

impl Reached {
    fn miss(&mut self, what: &str, why: impl std::fmt::Display) {
        self.missing.push(format!("{what}: {why}"));
    }

    /// What is told of it.
    pub(crate) fn confinement(&self) -> Confinement {
        let steps = [
            (self.is_restricted, Isolation::L1),
            (self.has_processes && self.has_mounts, Isolation::L2),
            (self.has_user && self.has_group, Isolation::L3),
        ];
        let isolation = steps.into_iter().take_while(|(is_so, _)| *is_so).last();
        Confinement {
            isolation: isolation.map_or(Isolation::L0, |(_, level)| level),
            limits: self.limits.clone(),
            missing: self.missing.clone(),
        }
    }
}

/// Puts the children to come into a process namespace of their own. Without the right to, this process enters a user
/// namespace first, in which it has it.
pub(crate) fn enter(plan: &Plan, reached: &mut Reached) {
    if plan.want < Isolation::L2 {
        return;
    }
    let entered =
        if geteuid().is_root() { raw::unshare(UnshareFlags::NEWPID) } else { enter_user_namespace() };
    match entered {
        Ok(()) => reached.has_processes = true,
        Err(error) => reached.miss("own processes", error),
    }
}

fn enter_user_namespace() -> io::Result<()> {
    let (user, group) = (geteuid().as_raw(), rustix::process::getegid().as_raw());
    raw::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID)?;
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{user} {user} 1"))?;
    fs::write("/proc/self/gid_map", format!("{group} {group} 1"))
}

/// Confines this process, which is about to become the program.
pub(crate) fn apply(plan: &Plan, folders: &Folders<'_>, reached: &mut Reached) {
    limit_files();
    let mut is_private = false;
    if plan.want >= Isolation::L2 && reached.has_processes {
        match mounts::separate(plan, folders) {
            Ok(missing) => {
                reached.has_mounts = missing.is_empty();
                reached.missing.extend(missing);
                is_private = true;
            }
            Err(why) => reached.missing.push(why),
        }
    }
    if plan.want >= Isolation::L3 {
        match plan.user {
            Some(user) if is_private => match become_user(user) {
                Ok(()) => reached.has_user = true,
                Err(error) => reached.miss("own user", error),
            },
            Some(_) => reached.miss("own user", "needs mounts of its own"),
            None => reached.miss("own user", "the agent does not run as root"),
        }
    }
    if plan.want >= Isolation::L1 {
        let before = reached.missing.len();
        if let Err(error) = rustix::thread::set_no_new_privs(true) {
            reached.miss("no new privileges", error);
        }
        reached.missing.extend(landlock::restrict(plan, folders, is_private));
        if let Err(why) = seccomp::deny() {
            reached.miss("system calls", why);
        }
        reached.is_restricted = reached.missing.len() == before;
    }
}

/// Many open files where the node allows, and no dumps of memory, which hold secrets. Neither is worth a word when it
/// cannot be had.
fn limit_files() {
    let now = rustix::process::getrlimit(Resource::Nofile);
    let maximum = now.maximum.map_or(OPEN_FILES, |maximum| maximum.min(OPEN_FILES));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(maximum), maximum: now.maximum });
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn become_user(user: u32) -> io::Result<()> {
    let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_reached_with_all_below_it() {
        let mut reached = Reached { has_user: true, has_group: true, ..Reached::default() };
        assert_eq!(reached.confinement().isolation, Isolation::L0);
        reached.is_restricted = true;
        assert_eq!(reached.confinement().isolation, Isolation::L1);
        (reached.has_mounts, reached.has_processes) = (true, true);
        assert_eq!(reached.confinement().isolation, Isolation::L3);
        reached.has_group = false;
        assert_eq!(reached.confinement().isolation, Isolation::L2);
    }
}
