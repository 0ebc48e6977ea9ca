//! Control groups, of version 2, of both versions side by side, or none: limits through whichever hierarchy has the
//! controller, killing and counting through version 2. What is not there is named and missed.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hob_wire::{Resources, Usage};

/// The folder of all instances' groups, below where this process may make some.
const PARENT: &str = "hob";
/// Controllers that are used, with the limit that each is for.
const CONTROLLERS: [&str; 4] = ["cpu", "cpuacct", "memory", "pids"];
/// The name under which the hierarchy of version 2 stands among an instance's groups.
const UNIFIED: &str = "unified";
/// The kernel's period of a quota.
const PERIOD_USEC: u64 = 100_000;
/// Tries to remove a group whose last processes are on their way out.
const REMOVE_TRIES: u32 = 50;
const REMOVE_PAUSE: Duration = Duration::from_millis(10);

/// The hierarchies of this machine.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Hierarchies {
    /// Where version 2 is mounted.
    unified: Option<PathBuf>,
    /// Where controllers of version 1 are mounted.
    apart: BTreeMap<&'static str, PathBuf>,
    /// This process's own group in each, below the mount; empty at the top.
    own: BTreeMap<String, String>,
}

impl Hierarchies {
    /// Those of this machine. Root makes its groups at the top, others below their own.
    pub(crate) fn here() -> Self {
        let own = if rustix::process::geteuid().is_root() {
            None
        } else {
            fs::read_to_string("/proc/self/cgroup").ok()
        };
        Self::read(
            &fs::read_to_string("/proc/self/mounts").unwrap_or_default(),
            own.as_deref().unwrap_or_default(),
        )
    }

    /// Reads `/proc/self/mounts` and `/proc/self/cgroup`.
    fn read(mounts: &str, own: &str) -> Self {
        let mut found = Self::default();
        for line in mounts.lines() {
            let mut words = line.split(' ').skip(1);
            let (Some(place), Some(kind), Some(options)) = (words.next(), words.next(), words.next()) else {
                continue;
            };
            match kind {
                "cgroup2" if found.unified.is_none() => found.unified = Some(place.into()),
                "cgroup" => {
                    for name in CONTROLLERS {
                        if options.split(',').any(|option| option == name) {
                            found.apart.entry(name).or_insert_with(|| place.into());
                        }
                    }
                }
                _ => {}
            }
        }
        for line in own.lines() {
            let mut parts = line.splitn(3, ':').skip(1);
            let (Some(names), Some(path)) = (parts.next(), parts.next()) else { continue };
            for name in names.split(',') {
                let name = if name.is_empty() { UNIFIED } else { name };
                found.own.insert(name.to_owned(), path.trim_start_matches('/').to_owned());
            }
        }
        found
    }

    /// `v2`, `hybrid` or `off`.
    pub(crate) fn mode(&self) -> &'static str {
        match (&self.unified, self.apart.is_empty()) {
            (_, false) => "hybrid",
            (Some(_), true) => "v2",
            (None, true) => "off",
        }
    }

    fn parent(&self, controller: &str, mount: &Path) -> PathBuf {
        match self.own.get(controller) {
            Some(own) if !own.is_empty() => mount.join(own).join(PARENT),
            _ => mount.join(PARENT),
        }
    }

    /// Removes groups that were made before a time and are empty, and says how many: a shim that was killed leaves its own, and so
    /// does one whose data directory is gone. The kernel keeps those with a process in them.
    pub(crate) fn sweep(&self, before: SystemTime) -> usize {
        let apart = self.apart.iter().map(|(controller, mount)| self.parent(controller, mount));
        let unified = self.unified.iter().map(|mount| self.parent(UNIFIED, mount));
        let groups = apart.chain(unified).filter_map(|parent| fs::read_dir(parent).ok()).flatten().flatten();
        let is_old = |group: &fs::DirEntry| {
            group.metadata().and_then(|about| about.modified()).is_ok_and(|made| made < before)
        };
        groups.filter(is_old).filter(|group| fs::remove_dir(group.path()).is_ok()).count()
    }

    /// Makes the groups of an instance with its limits.
    pub(crate) fn make(&self, name: &str, resources: &Resources) -> Groups {
        let mut groups = Groups::default();
        if self.mode() == "off" {
            groups.missing.push("control groups: none are mounted".to_owned());
            return groups;
        }
        for (controller, mount) in &self.apart {
            groups.add(controller, self.parent(controller, mount).join(name));
        }
        if let Some(mount) = &self.unified {
            let parent = self.parent(UNIFIED, mount);
            enable(&parent);
            groups.add(UNIFIED, parent.join(name));
        } else {
            groups.missing.push("killing as a group: version 2 is not mounted".to_owned());
        }
        groups.limit(resources);
        groups
    }
}

/// Has version 2 offer its controllers to the groups below a folder. What it does not offer is missed where it is used.
fn enable(parent: &Path) {
    let own = parent.parent().unwrap_or(parent);
    // The folder may be there, or not be allowed: making the group below it will say so.
    let _ = fs::create_dir_all(parent);
    for folder in [own, parent] {
        let offered = fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
        for name in offered.split_whitespace().filter(|name| CONTROLLERS.contains(name)) {
            let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{name}"));
        }
    }
}

/// The control groups of one instance.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    /// Folders, by controller; of version 2 under `unified`.
    pub(crate) folders: BTreeMap<String, PathBuf>,
    /// Limits in force.
    pub(crate) limits: Vec<String>,
    /// What could not be had.
    pub(crate) missing: Vec<String>,
}

impl Groups {
    /// Groups that were made before.
    pub(crate) fn at(folders: BTreeMap<String, PathBuf>) -> Self {
        Self { folders, ..Self::default() }
    }

    fn add(&mut self, controller: &str, folder: PathBuf) {
        match fs::create_dir_all(&folder) {
            Ok(()) => drop(self.folders.insert(controller.to_owned(), folder)),
            Err(error) => self.missing.push(format!("{controller}: {error}")),
        }
    }

    /// The folder in which a controller's files are, and whether it is of version 2.
    fn of(&self, controller: &str) -> Option<(&PathBuf, bool)> {
        let apart = self.folders.get(controller).map(|folder| (folder, false));
        apart.or_else(|| self.folders.get(UNIFIED).map(|folder| (folder, true)))
    }

    fn limit(&mut self, resources: &Resources) {
        let quota = resources.cpu_millis.map(|millis| u64::from(millis) * PERIOD_USEC / 1000);
        let wanted = [
            ("memory", "memory.limit_in_bytes", "memory.max", resources.memory_bytes.map(|n| n.to_string())),
            ("pids", "pids.max", "pids.max", resources.pids.map(|n| n.to_string())),
            ("cpu", "cpu.cfs_quota_us", "cpu.max", quota.map(|n| n.to_string())),
        ];
        for (controller, apart, unified, value) in wanted {
            let Some(value) = value else { continue };
            let written = match self.of(controller) {
                None => Err(io::ErrorKind::NotFound.into()),
                Some((folder, true)) if controller == "cpu" => {
                    write_there(&folder.join(unified), &format!("{value} {PERIOD_USEC}"))
                }
                Some((folder, is_unified)) => {
                    write_there(&folder.join(if is_unified { unified } else { apart }), &value)
                }
            };
            match written {
                Ok(()) => self.limits.push(controller.to_owned()),
                // Why it has none was said when it was to be made.
                Err(_) if self.missing.iter().any(|why| why.starts_with(&format!("{controller}: "))) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    self.missing.push(format!("{controller}: no such controller"));
                }
                Err(error) => self.missing.push(format!("{controller}: {error}")),
            }
        }
    }

    /// Moves this process into all of them.
    pub(crate) fn join(&self) -> Vec<String> {
        let join = |(name, folder): (&String, &PathBuf)| {
            let error = write_there(&folder.join("cgroup.procs"), "0").err()?;
            Some(format!("{name}: {error}"))
        };
        self.folders.iter().filter_map(join).collect()
    }

    /// Kills everything in them, when version 2 is there to do so.
    pub(crate) fn kill(&self) -> bool {
        let folder = self.folders.get(UNIFIED);
        folder.is_some_and(|folder| write_there(&folder.join("cgroup.kill"), "1").is_ok())
    }

    /// Whether memory ran out.
    pub(crate) fn ran_out_of_memory(&self) -> bool {
        let Some((folder, is_unified)) = self.of("memory") else { return false };
        let file = if is_unified { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(folder.join(file)).unwrap_or_default();
        text.lines().filter_map(|line| line.strip_prefix("oom_kill ")).any(|count| count.trim() != "0")
    }

    /// Removes them. A group with processes in it stays.
    pub(crate) fn remove(&self) {
        for folder in self.folders.values() {
            for _ in 0..REMOVE_TRIES {
                match fs::remove_dir(folder) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        std::thread::sleep(REMOVE_PAUSE)
                    }
                    _ => break,
                }
            }
        }
    }

    /// What the processes in them use. None of what no controller counts.
    pub(crate) fn usage(&self) -> (Option<f64>, Option<u64>, Option<u32>) {
        let number = |folder: &PathBuf, file: &str| -> Option<u64> {
            fs::read_to_string(folder.join(file)).ok()?.trim().parse().ok()
        };
        let cpu = match self.folders.get("cpuacct") {
            Some(folder) => number(folder, "cpuacct.usage").map(|nanos| nanos as f64 / 1e9),
            None => self.folders.get(UNIFIED).and_then(|folder| {
                let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
                let micros = text.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
                Some(micros.trim().parse::<u64>().ok()? as f64 / 1e6)
            }),
        };
        let memory = self.of("memory").and_then(|(folder, is_unified)| {
            number(folder, if is_unified { "memory.current" } else { "memory.usage_in_bytes" })
        });
        let pids = self.of("pids").and_then(|(folder, _)| number(folder, "pids.current"));
        (cpu, memory, pids.and_then(|pids| u32::try_from(pids).ok()))
    }
}

/// What an instance uses: by its groups; what these do not count, by its process and the children that it waited for.
pub(crate) fn usage(folders: &BTreeMap<String, PathBuf>, pid: u32) -> Usage {
    let (cpu, memory, pids) = Groups::at(folders.clone()).usage();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<u64> = stat
        .rsplit_once(") ")
        .map(|(_, rest)| rest.split(' ').map(|field| field.trim().parse().unwrap_or(0)).collect())
        .unwrap_or_default();
    let field = |index: usize| fields.get(index).copied().unwrap_or(0);
    let ticks = rustix::param::clock_ticks_per_second().max(1) as f64;
    let pages = rustix::param::page_size() as u64;
    Usage {
        cpu_seconds: cpu.unwrap_or_else(|| (11..=14).map(field).sum::<u64>() as f64 / ticks),
        memory_bytes: memory.unwrap_or_else(|| field(21) * pages),
        pids: pids.unwrap_or_else(|| u32::try_from(field(17)).unwrap_or(0)),
    }
}

/// Writes to a file that the kernel made: one that is not there is not made.
fn write_there(path: &Path, value: &str) -> io::Result<()> {
    use io::Write as _;
    fs::OpenOptions::new().write(true).open(path)?.write_all(value.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITED: Resources =
        Resources { cpu_millis: Some(500), memory_bytes: Some(1 << 26), pids: Some(50) };

    /// A folder in the place of `/sys/fs/cgroup`, since a test mounts nothing: files that the kernel would make are
    /// made beforehand.
    fn fake(files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for file in files {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, if file.ends_with("controllers") { "cpu io memory pids" } else { "" }).unwrap();
        }
        root
    }

    fn text(root: &tempfile::TempDir, file: &str) -> String {
        fs::read_to_string(root.path().join(file)).unwrap()
    }

    #[test]
    fn version_2_alone_limits_kills_and_counts_in_one_group() {
        let own = ["memory.max", "pids.max", "cpu.max", "cgroup.procs", "cgroup.kill"]
            .map(|f| format!("hob/a/{f}"));
        let mut files = vec!["cgroup.controllers", "cgroup.subtree_control"];
        files.extend(["hob/cgroup.controllers", "hob/cgroup.subtree_control"]);
        files.extend(own.iter().map(String::as_str));
        let root = fake(&files);
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        let all = Hierarchies::read(&mounts, "");
        assert_eq!(all.mode(), "v2");
        let groups = all.make("a", &LIMITED);
        assert_eq!((groups.limits.join(" "), groups.missing.len()), ("memory pids cpu".to_owned(), 0));
        assert_eq!(text(&root, "hob/a/memory.max"), "67108864");
        assert_eq!(
            (text(&root, "hob/a/pids.max"), text(&root, "hob/a/cpu.max")),
            ("50".into(), "50000 100000".into())
        );
        assert_eq!(
            text(&root, "hob/cgroup.subtree_control"),
            "+pids",
            "each is asked for alone, the last is seen"
        );
        assert!(groups.join().is_empty() && groups.kill());
        assert_eq!(
            (text(&root, "hob/a/cgroup.procs"), text(&root, "hob/a/cgroup.kill")),
            ("0".into(), "1".into())
        );
        fs::write(root.path().join("hob/a/cpu.stat"), "usage_usec 1500000\nuser_usec 1\n").unwrap();
        fs::write(root.path().join("hob/a/memory.current"), "4096\n").unwrap();
        fs::write(root.path().join("hob/a/pids.current"), "3\n").unwrap();
        assert_eq!(groups.usage(), (Some(1.5), Some(4096), Some(3)));
        fs::write(root.path().join("hob/a/memory.events"), "oom 1\noom_kill 1\n").unwrap();
        assert!(groups.ran_out_of_memory());
    }

    #[test]
    fn a_controller_that_is_missing_is_named_and_the_rest_holds() {
        let root = fake(&["hob/a/pids.max"]);
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        let groups = Hierarchies::read(&mounts, "").make("a", &LIMITED);
        assert_eq!(groups.limits, ["pids"]);
        assert_eq!(groups.missing, ["memory: no such controller", "cpu: no such controller"]);
        let off = Hierarchies::read("tmpfs / tmpfs rw 0 0\n", "").make("a", &LIMITED);
        assert_eq!(off.missing, ["control groups: none are mounted"]);
    }

    #[test]
    fn both_versions_side_by_side_each_do_their_part() {
        let root = fake(&["memory/hob/a/memory.limit_in_bytes", "unified/hob/a/cgroup.kill"]);
        let at = |name: &str| root.path().join(name).display().to_string();
        let mounts = format!(
            "cgroup {} cgroup rw,relatime,memory 0 0\ncgroup2 {} cgroup2 rw 0 0\n",
            at("memory"),
            at("unified")
        );
        let all = Hierarchies::read(&mounts, "");
        assert_eq!(all.mode(), "hybrid");
        let groups = all.make("a", &Resources { memory_bytes: Some(4096), ..Resources::default() });
        assert_eq!((groups.limits.join(" "), groups.missing.len()), ("memory".to_owned(), 0));
        assert_eq!(text(&root, "memory/hob/a/memory.limit_in_bytes"), "4096");
        assert!(groups.kill());
    }

    #[test]
    fn old_empty_groups_are_swept_and_others_stay() {
        let root = fake(&["hob/full/cgroup.procs", "hob/cgroup.controllers"]);
        fs::create_dir_all(root.path().join("hob/empty")).unwrap();
        let mounts = format!("cgroup2 {} cgroup2 rw 0 0\n", root.path().display());
        let all = Hierarchies::read(&mounts, "");
        assert_eq!(all.sweep(SystemTime::UNIX_EPOCH), 0, "they are young");
        let made = fs::metadata(root.path().join("hob/empty")).unwrap().modified().unwrap();
        assert_eq!(all.sweep(made + Duration::from_secs(1)), 1);
        assert!(root.path().join("hob/full").is_dir() && !root.path().join("hob/empty").is_dir());
    }

    #[test]
    fn others_than_root_make_groups_below_their_own() {
        let all = Hierarchies::read("cgroup2 /sys/fs/cgroup cgroup2 rw 0 0\n", "0::/user.slice/app\n");
        let place = all.parent(UNIFIED, Path::new("/sys/fs/cgroup"));
        assert_eq!(place, Path::new("/sys/fs/cgroup/user.slice/app/hob"));
    }
}
