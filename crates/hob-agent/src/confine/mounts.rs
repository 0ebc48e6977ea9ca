//! Mounts of an instance's own: an empty `/tmp`, a read-only package, its own `/proc`, and nothing of what is hidden.

use std::fs::{self, File};
use std::os::fd::AsRawFd as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, mount, mount_bind_recursive, mount_change, mount_remount,
};
use rustix::thread::UnshareFlags;

use super::mount_table::{Covers, closed_above, covers};
use super::{Folders, Plan};
use crate::shim::raw;

/// How large an instance's `/tmp` may grow, in the kernel's words. It is memory.
const TMP_SIZE: &std::ffi::CStr = c"mode=1777,size=64m";
const COVER_SIZE: &std::ffi::CStr = c"mode=755,size=1m";

/// Gives this process its own mounts. An error when it has none; words of what is missing when it has some.
pub(super) fn separate(plan: &Plan, folders: &Folders<'_>) -> Result<Vec<String>, String> {
    let failed = |error: std::io::Error| format!("own mounts: {error}");
    let own = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    raw::unshare(own).map_err(failed)?;
    let private = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    mount_change("/", private).map_err(|error| failed(error.into()))?;
    let mut missing = Vec::new();
    let mut note = |what: &str, done: std::io::Result<()>| {
        if let Err(error) = done {
            missing.push(format!("{what}: {error}"));
        }
    };
    note("own /tmp", cover(&table(plan, folders)));
    note("read-only package", make_read_only(folders.package));
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    note("own /proc", mount("proc", "/proc", "proc", flags, None).map_err(Into::into));
    note("own host name", rustix::system::sethostname(host_name(&plan.group)).map_err(Into::into));
    Ok(missing)
}

fn table(plan: &Plan, folders: &Folders<'_>) -> Covers {
    let kept: Vec<PathBuf> = [folders.package, folders.data, folders.temporary]
        .into_iter()
        .map(Path::to_owned)
        .chain(plan.read.iter().chain(&plan.write).cloned())
        .filter(|path| path.is_absolute())
        .collect();
    // The user that it becomes may pass through no folder that is closed to others.
    let closed = kept.iter().filter(|_| plan.user.is_some()).filter_map(|path| closed_above(path));
    covers(plan.hide.iter().cloned().chain([PathBuf::from("/tmp")]).chain(closed), &kept)
}

fn cover(covers: &Covers) -> std::io::Result<()> {
    for (folder, kept) in &covers.0 {
        let open =
            |path: &PathBuf| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok();
        let kept: Vec<_> = kept.iter().filter_map(|path| Some((path, open(path)?))).collect();
        let is_tmp = folder == Path::new("/tmp");
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("tmpfs", folder, "tmpfs", flags, Some(if is_tmp { TMP_SIZE } else { COVER_SIZE }))?;
        for (path, file) in kept {
            let source = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
            if fs::metadata(&source)?.is_dir() {
                fs::create_dir_all(path)?;
            } else {
                fs::create_dir_all(path.parent().unwrap_or(folder))?;
                File::create(path)?;
            }
            mount_bind_recursive(&source, path)?;
        }
    }
    Ok(())
}

fn make_read_only(package: &Path) -> std::io::Result<()> {
    mount_bind_recursive(package, package)?;
    let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
    Ok(mount_remount(package, flags, "")?)
}

/// A group's name is the node's, the instance's and the run's.
fn host_name(group: &str) -> &[u8] {
    let run = group.split_once('-').map_or(group, |(_, run)| run);
    let name = run.split_once('.').map_or(run, |(id, _)| id).as_bytes();
    &name[..name.len().min(64)]
}
