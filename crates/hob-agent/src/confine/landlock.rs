//! Files by list, with Landlock: what every program may read, what is its own, and what its descriptor names.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, NetPort, PathBeneath, PathFd, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus,
};

use super::{Folders, Plan};

/// What every program may read and run: libraries, interpreters, certificates, time zones, names.
const READ: [&str; 12] = [
    "/bin",
    "/etc",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix",
    "/opt",
    "/proc",
    "/run/systemd/resolve",
    "/sbin",
    "/sys",
    "/usr",
];
/// Devices that every program may read and write.
const DEVICES: [&str; 8] = [
    "/dev/full",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/random",
    "/dev/shm",
    "/dev/tty",
    "/dev/urandom",
];
const ZERO: &str = "/dev/zero";
/// The newest rules that are asked for; an older kernel enforces what it knows.
const NEWEST: ABI = ABI::V5;

/// Restricts this process and all that it becomes; what is missing when something is.
pub(super) fn restrict(plan: &Plan, folders: &Folders<'_>, is_private: bool) -> Vec<String> {
    match try_restrict(plan, folders, is_private) {
        Ok(RulesetStatus::FullyEnforced) => Vec::new(),
        Ok(RulesetStatus::PartiallyEnforced) => Vec::new(),
        Ok(RulesetStatus::NotEnforced) => vec!["files by list: the kernel has no Landlock".to_owned()],
        Err(error) => vec![format!("files by list: {error}")],
    }
}

fn try_restrict(plan: &Plan, folders: &Folders<'_>, is_private: bool) -> Result<RulesetStatus, RulesetError> {
    let (read, all) = (AccessFs::from_read(NEWEST), AccessFs::from_all(NEWEST));
    let mut ruleset = Ruleset::default().handle_access(all)?;
    if plan.connect.is_some() {
        ruleset = ruleset.handle_access(AccessNet::ConnectTcp)?;
    }
    let own = [folders.data, folders.temporary].map(Path::to_owned);
    let private = is_private.then(|| PathBuf::from("/tmp"));
    let devices = DEVICES.iter().chain([&ZERO]).map(PathBuf::from);
    let writable = own.into_iter().chain(private).chain(devices).chain(plan.write.iter().cloned());
    let readable = READ.iter().map(PathBuf::from).chain(plan.read.iter().cloned());
    let readable = readable.chain([folders.package.to_owned()]);
    let mut created = ruleset.create()?;
    for (path, access) in readable.map(|path| (path, read)).chain(writable.map(|path| (path, all))) {
        created = allow(created, &path, access)?;
    }
    for port in plan.connect.iter().flatten() {
        created = created.add_rule(NetPort::new(*port, AccessNet::ConnectTcp))?;
    }
    Ok(created.restrict_self()?.ruleset)
}

/// What is not there cannot be allowed, and needs not.
fn allow(
    ruleset: landlock::RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<landlock::RulesetCreated, RulesetError> {
    let Ok(file) = PathFd::new(path) else { return Ok(ruleset) };
    let of_files = AccessFs::from_file(NEWEST);
    let access = if path.is_dir() { access } else { access & of_files };
    ruleset.add_rule(PathBeneath::new(file, access))
}
