//! The two calls that no crate offers as safe, each made safe by what it checks. Nothing else is here.
#![expect(unsafe_code, reason = "the workspace's one exempt module: fork and unshare have no safe form")]

use std::io;

use rustix::thread::UnshareFlags;

/// Splits this process in two: the child's id here, none in the child. Refused unless this process has a single thread:
/// then no lock can be held by a thread that the child does not have.
pub(crate) fn fork() -> io::Result<Option<u32>> {
    if std::fs::read_dir("/proc/self/task")?.count() != 1 {
        return Err(io::Error::other("only a process of one thread may be split"));
    }
    // SAFETY: there is one thread, so the child's memory is as consistent as this one's.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(None),
        child => Ok(Some(u32::try_from(child).unwrap_or(0))),
    }
}

/// Takes this process, or its next children, out of namespaces. The table of open files is never unshared.
pub(crate) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    if flags.contains(UnshareFlags::FILES) {
        return Err(io::Error::other("open files are not unshared"));
    }
    // SAFETY: the other flags change what names mean to the kernel, not memory or descriptors that Rust knows of.
    unsafe { rustix::thread::unshare_unsafe(flags) }.map_err(io::Error::from)
}
