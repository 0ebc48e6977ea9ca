//! Users of the node's own choice, one for each service and scope: its releases and instances share their data, so they
//! share its owner; no other service does.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt as _, lchown};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use hob_core::{Digest, Scope};

use crate::shim::spec::{read_json, write_json};

/// Users that a node gives out; no system hands these to people or packages.
const FIRST: u32 = 100_000;
const COUNT: u32 = 60_000;

/// The users given out so far, kept in a file.
pub(crate) struct Users {
    file: PathBuf,
    known: Mutex<BTreeMap<String, u32>>,
}

impl Users {
    pub(crate) fn open(work_dir: &Path) -> Self {
        let file = work_dir.join("users.json");
        let known = read_json(&file).unwrap_or_default();
        Self { file, known: Mutex::new(known) }
    }

    /// The user of a service in a scope, the same each time.
    pub(crate) fn of(&self, scope: &Scope, service: &str) -> io::Result<u32> {
        let key = format!("{scope}/{service}");
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(user) = known.get(&key) {
            return Ok(*user);
        }
        let mut user = first_try(&self.file, &key);
        let mut tries = 0;
        while known.values().any(|taken| *taken == user) {
            tries += 1;
            if tries >= COUNT {
                return Err(io::Error::other("no user is left"));
            }
            user = FIRST + (user - FIRST + 1) % COUNT;
        }
        known.insert(key, user);
        write_json(&self.file, &*known)?;
        Ok(user)
    }
}

/// By the name, so that two nodes of one machine seldom give the same.
fn first_try(file: &Path, key: &str) -> u32 {
    let digest = Digest::of(format!("{} {key}", file.display()).as_bytes());
    let bytes = digest.as_bytes();
    FIRST + u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) % COUNT
}

/// Gives a folder and all in it to a user, unless it is theirs.
pub(crate) fn give(folder: &Path, user: u32) -> io::Result<()> {
    if fs::symlink_metadata(folder)?.uid() == user {
        return Ok(());
    }
    give_all(folder, user)?;
    lchown(folder, Some(user), Some(user))
}

/// The folder itself comes last, so that what was interrupted is done again.
fn give_all(folder: &Path, user: u32) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            give_all(&entry.path(), user)?;
        }
        lchown(entry.path(), Some(user), Some(user))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_keeps_its_user_and_shares_it_with_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let (uk, ie): (Scope, Scope) = ("qa/uk".parse().unwrap(), "qa/ie".parse().unwrap());
        let users = Users::open(folder.path());
        let all: Vec<u32> = (0..50).map(|n| users.of(&uk, &format!("service-{n}")).unwrap()).collect();
        let mut distinct = all.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), 50);
        assert_ne!(users.of(&ie, "service-0").unwrap(), all[0]);
        assert_eq!(Users::open(folder.path()).of(&uk, "service-7").unwrap(), all[7]);
    }
}
