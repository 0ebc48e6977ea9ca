//! The lock on a data directory: one process at a time, freed by the system when that process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::open::OpenError;

const LOCK_FILE: &str = "lock";
/// A process number has fewer digits than this.
const HOLDER_BYTES_MAX: u64 = 32;

/// Held for as long as it lives.
#[derive(Debug)]
pub(crate) struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock and leaves this process's number in it, or says who holds it.
    pub(crate) fn take(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(LOCK_FILE);
        let mut options = OpenOptions::new();
        options.create(true).read(true).write(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(OpenError::io("open", &path))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => {
                let holder = read_holder(&mut file);
                return Err(OpenError::InUse { path: directory.to_owned(), holder });
            }
            Err(errno) => return Err(OpenError::io("lock", &path)(errno.into())),
        }
        let noted = file.set_len(0).and_then(|()| file.rewind()).and_then(|()| {
            let number = std::process::id().to_string();
            file.write_all(number.as_bytes())
        });
        if let Err(error) = noted {
            // Who holds the lock is only a help to people.
            tracing::warn!(path = %path.display(), %error, "the process number could not be left in the lock");
        }
        Ok(Self { _file: file })
    }
}

fn read_holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(HOLDER_BYTES_MAX).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
